//! Overlaps: places that both sides changed, and how a merge resolves them.

use std::ops::Range;

/// A place that both sides changed differently.
///
/// [`kind`](Self::kind) is the kind of content. The ranges are its positions, counted from 0, in the
/// node at [`path`](Self::path), one range for each of the three documents. The range of a side is
/// empty if that side deleted the content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Overlap {
    /// The kind of content that both sides changed.
    pub kind: OverlapKind,
    /// The nodes around it, from a top-level block inwards. If it is empty, the node is the
    /// document itself, and the ranges are ranges of top-level blocks.
    pub path: Vec<Step>,
    /// The range in the base.
    pub base: Range<usize>,
    /// The range in ours.
    pub ours: Range<usize>,
    /// The range in theirs.
    pub theirs: Range<usize>,
}

/// The kind of content that both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverlapKind {
    /// Whole nodes. The ranges are ranges of the children of the node at the path.
    Nodes,
    /// Words of a text block, or lines of code. The ranges are ranges of offsets in the node at the
    /// path as editors count them: UTF-16 code units of text, and one for each node that is not
    /// text.
    Text,
    /// A mark of the same words, such as a link with two different targets. The ranges are as for
    /// [`Text`](Self::Text). The words cannot have both marks, so they have ours, or theirs with
    /// [`OnOverlap::Theirs`].
    Marks,
    /// Fields of the node at the path: both set the same attribute to different values, or one of
    /// the three documents does not have the structure of a document. All ranges are empty. The
    /// node cannot have both values, so it has ours, or theirs with [`OnOverlap::Theirs`].
    Fields,
}

/// A step from a node to one of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Step {
    /// The index of the child in the base, counted from 0.
    pub base: usize,
    /// The index in ours.
    pub ours: usize,
    /// The index in theirs.
    pub theirs: usize,
}

impl Overlap {
    pub(super) const BESIDE_BLOCKS: Self = Self::of(OverlapKind::Fields, 0..0, 0..0, 0..0);

    /// One in the document itself.
    pub(super) const fn of(
        kind: OverlapKind,
        base: Range<usize>,
        ours: Range<usize>,
        theirs: Range<usize>,
    ) -> Self {
        Self { kind, path: Vec::new(), base, ours, theirs }
    }
}

/// How a merge resolves overlaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnOverlap {
    /// Overlaps are not resolved: the caller checks [`Merged::overlaps`](super::Merged::overlaps),
    /// and uses the document only if there are none.
    Fail,
    /// Keeps both versions of the blocks or words: theirs first, then ours, with the content that
    /// both share only once. If one side removed what the other changed, the changed version is
    /// kept.
    KeepBoth,
    /// Uses ours at the overlap. The changes of theirs elsewhere are kept.
    Ours,
    /// Uses theirs at the overlap. The changes of ours elsewhere are kept.
    Theirs,
}
