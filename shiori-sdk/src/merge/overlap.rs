//! Overlaps: places that both sides changed, and what a merge does there.

use std::ops::Range;

/// A place that both sides changed differently.
///
/// [`kind`](Self::kind) is the kind of content. The ranges are its positions, counted from 0, in the
/// node at [`path`](Self::path), one range for each of the three documents. The range of a side is
/// empty if that side deleted the content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Overlap {
    /// What both sides changed.
    pub kind: OverlapKind,
    /// The nodes around it, from a top-level block inwards. Empty for the document itself: the
    /// ranges are of top-level blocks then.
    pub path: Vec<Step>,
    /// The range in the base.
    pub base: Range<usize>,
    /// The range in ours.
    pub ours: Range<usize>,
    /// The range in theirs.
    pub theirs: Range<usize>,
}

/// What both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverlapKind {
    /// Whole nodes. The ranges are of the children of the node at the path.
    Nodes,
    /// Words of a text block, or lines of code. The ranges are of offsets in the node at the path as
    /// editors count them: UTF-16 code units of text, and one for each node that is no text.
    Text,
    /// A mark of the same words, such as a link with two different targets. The ranges are as those of
    /// [`Text`](Self::Text). The words cannot hold both, so they have ours, and theirs under
    /// [`OnOverlap::Theirs`].
    Marks,
    /// Fields of the node at the path: both set the same attribute to different values, or one of
    /// three documents has not even the shape of a document. All ranges are empty. The node cannot
    /// hold both, so it has ours, and theirs under [`OnOverlap::Theirs`].
    Fields,
}

/// A step from a node to one of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Step {
    /// Which child it is in the base, counted from 0.
    pub base: usize,
    /// Which it is in ours.
    pub ours: usize,
    /// Which it is in theirs.
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

/// What a merge does where both sides changed the same blocks or words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnOverlap {
    /// The merge is not wanted: the caller looks at [`Merged::overlaps`](super::Merged::overlaps) and does not use the
    /// document.
    Fail,
    /// What theirs made of the blocks comes first, then what ours did, without repeating what both
    /// share. Where one side removed a block that the other changed, the changed block stays. The
    /// same holds for words.
    KeepBoth,
    /// Ours wins at that place; what theirs did elsewhere is kept.
    Ours,
    /// Theirs wins at that place; what ours did elsewhere is kept.
    Theirs,
}
