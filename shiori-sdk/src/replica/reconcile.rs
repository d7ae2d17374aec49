//! Merges what this replica wants with what the server has.

use super::{
    note::{ConflictCause, ConflictNote},
    record::{Head, Record, Text},
};
use crate::{
    diary::merge_titles,
    merge::{OnOverlap, merge3_with},
    types::{Diary, Document, Draft, Version},
};

impl Record {
    /// Takes the diary of the server as the new head, and merges the pending draft with it.
    /// `is_uncertain`: the server's text may contain changes of the draft that are not in the base.
    pub(super) fn receive(&mut self, current: Diary, is_uncertain: bool) {
        let (version, theirs) = (current.version, current.to_draft());
        let base = self.base();
        match self.pending.text.take() {
            None => {}
            Some(Text::Draft(ours)) => {
                let is_uncertain = is_uncertain || base.is_none();
                let (merged, has_overlap) =
                    merged(&base.clone().unwrap_or_else(nothing), &ours, &theirs);
                if has_overlap || is_uncertain {
                    let cause = if is_uncertain {
                        ConflictCause::Uncertain
                    } else {
                        ConflictCause::Overlap
                    };
                    self.note(cause, version, base, Some(ours), Some(theirs));
                }
                self.pending.text = Some(Text::Draft(merged));
            }
            // Only the next version proves that the same text was not deleted and written again.
            Some(Text::Deleted) if self.is_next(version) && base.as_ref() == Some(&theirs) => {
                self.pending.text = Some(Text::Deleted);
            }
            Some(Text::Deleted) => {
                self.note(ConflictCause::DeletedHere, version, base, None, Some(theirs));
            }
        }
        self.head = Some(Head::live(current));
    }

    /// Takes the deletion of the diary by another device. A pending draft stays, and its base too,
    /// because other devices that have the same base may save the diary again.
    pub(super) fn remove(&mut self, version: Version) {
        let was_live = self.head.as_ref().is_some_and(|head| head.live.is_some());
        if let (true, Some(Text::Draft(ours))) = (was_live, &self.pending.text) {
            let (base, ours) = (self.base(), ours.clone());
            self.note(ConflictCause::DeletedElsewhere, version, base, Some(ours), None);
        }
        self.head = Some(match self.head.take() {
            Some(head) => Head { version, live: None, ..head },
            None => Head::deleted(version),
        });
    }

    /// The text that a pending draft was made from; `None` if its content was dropped.
    fn base(&self) -> Option<Draft> {
        let Some(head) = &self.head else { return Some(nothing()) };
        match &head.content {
            Some(content) => Some(Draft::new(head.title.0.clone(), content.clone())),
            None if head.live.is_some() => None,
            None => Some(nothing()),
        }
    }

    fn is_next(&self, version: Version) -> bool {
        self.head.as_ref().is_some_and(|head| version == head.version.next())
    }

    pub(super) fn note(
        &mut self,
        cause: ConflictCause,
        version: Version,
        base: Option<Draft>,
        ours: Option<Draft>,
        theirs: Option<Draft>,
    ) {
        self.notes.add(ConflictNote { number: 0, cause, version, base, ours, theirs });
    }
}

/// The base of diaries that were written independently.
fn nothing() -> Draft {
    Draft::new("", Document::without_blocks())
}

/// The merged draft, and whether both sides changed the same place. If only theirs has changes, it is
/// theirs to the byte.
fn merged(base: &Draft, ours: &Draft, theirs: &Draft) -> (Draft, bool) {
    let merged = merge3_with(&base.content, &ours.content, &theirs.content, OnOverlap::KeepBoth);
    let title = |on_overlap| merge_titles(&base.title, &ours.title, &theirs.title, on_overlap);
    let has_overlap = !merged.overlaps.is_empty() || title(OnOverlap::Fail).is_none();
    let title = title(OnOverlap::KeepBoth).unwrap_or_else(|| theirs.title.clone());
    let merged = Draft { title, content: merged.document };
    (if merged == *theirs { theirs.clone() } else { merged }, has_overlap)
}
