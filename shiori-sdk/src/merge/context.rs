//! The state that all levels of a merge share: settings, bounds and the overlaps found so far.

use serde_json::value::RawValue;

use super::{
    block::Numbering,
    overlap::{OnOverlap, Overlap, Step},
    replay::Signs,
};

/// The maximum depth of nodes that are merged inside, including the document. It bounds the stack,
/// and equals the default limit of a document's depth.
const MAX_DEPTH: usize = 64;

/// How often the text of a document may be read again, one level deeper each time. Only a document
/// that nests all of its content in one block at each level reaches it.
const MAX_DESCENTS: usize = 8;

/// The state that all levels of one merge share.
pub(super) struct Context<'a> {
    pub(super) on_overlap: OnOverlap,
    pub(super) numbering: Numbering<'a>,
    pub(super) signs: Signs<'a>,
    pub(super) overlaps: Vec<Overlap>,
    /// Whether the merge must be checked: changes of both sides may be parts of one change, text
    /// was moved, or blocks are equal to others, such as blank lines.
    pub(super) needs_check: bool,
    /// Whether blocks of the document may be matched with others anywhere in it, because words were
    /// moved or blocks copied.
    pub(super) is_ambiguous: bool,
    /// Whether the check failed, so that all places where changes of both sides may affect each
    /// other are overlaps.
    pub(super) reports_shared: bool,
    /// The node whose content is being merged.
    path: Vec<Step>,
    /// The number of bytes that may still be read.
    budget: usize,
}

impl<'a> Context<'a> {
    /// The state of a merge of documents with this number of bytes.
    pub(super) fn new(on_overlap: OnOverlap, numbering: Numbering<'a>, bytes: usize) -> Self {
        Self {
            on_overlap,
            numbering,
            signs: Signs::default(),
            overlaps: Vec::new(),
            needs_check: false,
            is_ambiguous: false,
            reports_shared: false,
            path: Vec::new(),
            budget: bytes.saturating_mul(MAX_DESCENTS),
        }
    }

    /// The state of other merges of the same blocks. What is known of the blocks is kept.
    pub(super) fn of_same_blocks(&self) -> Self {
        let numbering = self.numbering.clone();
        let signs = self.signs.clone();
        Self { signs, ..Self::new(OnOverlap::KeepBoth, numbering, 0) }
    }

    /// Begins another merge, of documents with this number of bytes. What is known of their blocks
    /// is kept.
    pub(super) fn restart(&mut self, bytes: usize) {
        self.overlaps.clear();
        self.needs_check = false;
        self.budget = bytes.saturating_mul(MAX_DESCENTS);
    }

    /// Reports an overlap at the node whose content is being merged.
    pub(super) fn report(&mut self, overlap: Overlap) {
        self.overlaps.push(Overlap { path: self.path.clone(), ..overlap });
    }

    /// Runs `merge` for the content of a node, and discards the overlaps that it reported if it
    /// returns `None`. Also `None` if the node is too deep or the documents were read too often.
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

    /// Accounts for reading parts of the documents; `None` if they were read too often.
    pub(super) fn spend<'r>(
        &mut self,
        parts: impl IntoIterator<Item = &'r RawValue>,
    ) -> Option<()> {
        let bytes: usize = parts.into_iter().map(|raw| raw.get().len()).sum();
        self.budget = self.budget.checked_sub(bytes)?;
        Some(())
    }
}
