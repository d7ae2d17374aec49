//! Saving a text that an editor was started from some time ago.

use super::{
    entry::ReplicaDiary,
    note::{ConflictCause, ConflictNote},
    reconcile::merged,
    record::{LocalChange, Record, Text},
};
use crate::types::{Document, Draft, Version};

impl Record {
    /// Saves a text that was edited from `base`. If the diary has changed since, both are merged, and
    /// overlaps are listed. `dropped` is the text of the head in case its content was dropped.
    pub(super) fn write_edited(
        mut self,
        base: Option<&ReplicaDiary>,
        draft: Draft,
        dropped: Option<Draft>,
    ) -> Self {
        if let Some(head) = &mut self.head
            && head.live.is_some()
            && head.content.is_none()
            && let Some(dropped) = dropped.filter(|dropped| dropped.title == head.title.0)
        {
            head.content = Some(dropped.content);
        }
        let base = base.map(ReplicaDiary::to_draft);
        let draft = match self.text() {
            Some(current) if base.as_ref() != Some(&current) => {
                let nothing = || Draft::new("", Document::without_blocks());
                let from = base.clone().unwrap_or_else(nothing);
                let (merged, has_overlap) = merged(&from, &draft, &current);
                if has_overlap {
                    self.note_edit(ConflictCause::Overlap, base, draft, Some(current));
                }
                merged
            }
            None if base.is_some() && self.pending.text != Some(Text::Deleted) => {
                self.note_edit(ConflictCause::DeletedElsewhere, base, draft.clone(), None);
                draft
            }
            Some(_) | None => draft,
        };
        self.write(LocalChange::Save(draft))
    }

    /// The text that the user sees.
    fn text(&self) -> Option<Draft> {
        let view = self.view()?;
        Some(Draft::new(view.title, view.content?.clone()))
    }

    fn note_edit(
        &mut self,
        cause: ConflictCause,
        base: Option<Draft>,
        ours: Draft,
        theirs: Option<Draft>,
    ) {
        let version = self.head.as_ref().map_or(Version::new(0), |head| head.version);
        let ours = Some(ours);
        self.notes.add(ConflictNote { number: 0, cause, version, base, ours, theirs });
    }
}
