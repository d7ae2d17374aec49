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
        match self.pending.text.take() {
            None => {}
            Some(Text::Draft(ours)) => {
                let (merged, has_overlap) = merged(&self.base(), &ours, &theirs);
                self.pending.text = Some(Text::Draft(merged));
                if is_uncertain || self.lacks_content() {
                    self.note(ConflictCause::Uncertain, version, Some(ours), Some(theirs));
                } else if has_overlap {
                    self.note(ConflictCause::Overlap, version, Some(ours), Some(theirs));
                }
            }
            // Only the next version proves that the same text was not deleted and written again.
            Some(Text::Deleted) if self.is_next(version) && self.base() == theirs => {
                self.pending.text = Some(Text::Deleted);
            }
            Some(Text::Deleted) => {
                self.note(ConflictCause::DeletedHere, version, None, Some(theirs));
            }
        }
        self.head = Some(Head::live(current));
    }

    /// As [`receive`](Self::receive), if the server's text may contain `sent`, a draft whose result is
    /// not known. What was changed in the draft since is merged after it, so that no change of either
    /// is lost.
    pub(super) fn receive_uncertain(&mut self, current: Diary, sent: Draft) {
        let version = current.version;
        let later = self.pending.text.replace(Text::Draft(sent.clone()));
        self.receive(current, true);
        if let (Some(Text::Draft(later)), Some(Text::Draft(current))) = (later, &self.pending.text)
        {
            let (merged, has_overlap) = merged(&sent, &later, current);
            if has_overlap {
                let (base, ours, theirs) = (Some(sent), Some(later), Some(current.clone()));
                let cause = ConflictCause::Overlap;
                self.notes.add(ConflictNote { number: 0, cause, version, base, ours, theirs });
            }
            self.pending.text = Some(Text::Draft(merged));
        }
    }

    /// Takes the deletion of the diary by another device. A pending draft stays, and its base too,
    /// because other devices that have the same base may save the diary again.
    pub(super) fn remove(&mut self, version: Version) {
        if let (Some(_), Some(Text::Draft(ours))) = (self.live(), &self.pending.text) {
            let ours = ours.clone();
            self.note(ConflictCause::DeletedElsewhere, version, Some(ours), None);
        }
        self.head = Some(match self.head.take() {
            Some(head) => Head { version, live: None, ..head },
            None => Head::deleted(version),
        });
    }

    /// Whether the server has a diary whose content was dropped here.
    pub(super) fn lacks_content(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.live.is_some() && head.content.is_none())
    }

    /// The text that a pending draft was made from. Without content, all blocks count as inserted.
    fn base(&self) -> Draft {
        let nothing = || Draft::new("", Document::without_blocks());
        self.head.as_ref().map_or_else(nothing, |head| {
            let content = head.content.clone().unwrap_or_else(Document::without_blocks);
            Draft::new(head.title.0.clone(), content)
        })
    }

    fn is_next(&self, version: Version) -> bool {
        self.head.as_ref().is_some_and(|head| version == head.version.next())
    }

    /// Lists a conflict with the text of the head as its base.
    pub(super) fn note(
        &mut self,
        cause: ConflictCause,
        version: Version,
        ours: Option<Draft>,
        theirs: Option<Draft>,
    ) {
        let has_base = self.head.as_ref().is_some_and(|head| head.content.is_some());
        let base = has_base.then(|| self.base());
        self.notes.add(ConflictNote { number: 0, cause, version, base, ours, theirs });
    }
}

/// The merged draft, and whether both sides changed the same place. If only theirs has changes, it is
/// theirs to the byte.
pub(super) fn merged(base: &Draft, ours: &Draft, theirs: &Draft) -> (Draft, bool) {
    let merged = merge3_with(&base.content, &ours.content, &theirs.content, OnOverlap::KeepBoth);
    let title = |on_overlap| merge_titles(&base.title, &ours.title, &theirs.title, on_overlap);
    let has_overlap = !merged.overlaps.is_empty() || title(OnOverlap::Fail).is_none();
    let title = title(OnOverlap::KeepBoth).unwrap_or_else(|| theirs.title.clone());
    let merged = Draft { title, content: merged.document };
    (if merged == *theirs { theirs.clone() } else { merged }, has_overlap)
}
