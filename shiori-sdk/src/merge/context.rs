//! What every level of a merge shares: its settings, its bounds and the overlaps found so far.

use serde_json::value::RawValue;

use super::{
    block::Numbering,
    overlap::{OnOverlap, Overlap, Step},
};

/// Nodes that may nest, the document counted, for the innermost to be looked into: it bounds the
/// stack. It is what a document may have by default.
const MAX_DEPTH: usize = 64;

/// How often the text of a document may be gone through again, one level deeper each time. Only
/// a document that nests everything it has within one block, again and again, comes near it.
const MAX_DESCENTS: usize = 8;

/// What is shared by all levels of one merge.
pub(super) struct Context<'a> {
    pub(super) on_overlap: OnOverlap,
    pub(super) numbering: Numbering<'a>,
    pub(super) overlaps: Vec<Overlap>,
    /// Whether the merge has to be checked: changes of both sides may be one change, text was moved, or
    /// blocks are equal to others, such as blank lines.
    pub(super) needs_check: bool,
    /// Whether the check failed, so that all places where changes of both sides meet are overlaps.
    pub(super) reports_shared: bool,
    /// The node whose content is being merged.
    path: Vec<Step>,
    /// Bytes that may still be looked into.
    budget: usize,
}

impl Context<'_> {
    pub(super) fn new(on_overlap: OnOverlap, bytes: usize) -> Self {
        Self {
            on_overlap,
            numbering: Numbering::default(),
            overlaps: Vec::new(),
            needs_check: false,
            reports_shared: false,
            path: Vec::new(),
            budget: bytes.saturating_mul(MAX_DESCENTS),
        }
    }

    /// Reports an overlap at the node whose content is being merged.
    pub(super) fn report(&mut self, overlap: Overlap) {
        self.overlaps.push(Overlap { path: self.path.clone(), ..overlap });
    }

    /// Runs `merge` for the content of a node, and forgets what it reported when it returns `None`.
    /// `None`, too, when the node is too deep or the documents were gone through too often.
    pub(super) fn descend<T>(
        &mut self,
        step: Step,
        three: [&RawValue; 3],
        merge: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        self.spend(three)?;
        if self.path.len() + 2 > MAX_DEPTH {
            return None;
        }
        let reported = self.overlaps.len();
        self.path.push(step);
        let merged = merge(self);
        self.path.pop();
        if merged.is_none() {
            self.overlaps.truncate(reported);
        }
        merged
    }

    /// Notes that parts of the documents are gone through; `None` when that was too often.
    pub(super) fn spend<'r>(
        &mut self,
        parts: impl IntoIterator<Item = &'r RawValue>,
    ) -> Option<()> {
        let bytes: usize = parts.into_iter().map(|raw| raw.get().len()).sum();
        self.budget = self.budget.checked_sub(bytes)?;
        Some(())
    }
}
