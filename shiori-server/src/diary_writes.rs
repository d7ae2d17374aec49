//! Changes of diaries, each followed by its hint for the other clients of the user.

use shiori_sdk::{ChangeHint, Date, DiaryChange, DiaryHint, Timestamp, UserId, Version};

use crate::{
    changes::Changes,
    store::{
        ArchiveOutcome, DeleteOutcome, DiaryStore, HistoryPolicy, NewVersion, SaveOutcome,
        StoreError,
    },
};

/// Changes diaries. If the outcome of a change is unknown, the clients compare the versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiaryWrites<'a> {
    pub(crate) store: &'a dyn DiaryStore,
    pub(crate) changes: &'a Changes,
}

impl DiaryWrites<'_> {
    /// As [`DiaryStore::save`].
    pub(crate) async fn save(self, save: &NewVersion) -> Result<SaveOutcome, StoreError> {
        let write = self.changes.begin_write(save.user);
        let outcome = self.store.save(save).await?;
        write.end();
        // Also after a replay: the server of the first request may have been killed before it.
        if let SaveOutcome::Saved(saved) | SaveOutcome::Replayed(saved) = &outcome {
            self.publish(save.user, save.date, saved.version, DiaryChange::Saved);
        }
        Ok(outcome)
    }

    /// As [`DiaryStore::delete`].
    pub(crate) async fn delete(
        self,
        user: UserId,
        date: Date,
        version: Version,
        history: HistoryPolicy,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError> {
        let write = self.changes.begin_write(user);
        let outcome = self.store.delete(user, date, version, history, now).await?;
        write.end();
        if outcome == DeleteOutcome::Deleted {
            self.publish(user, date, version.next(), DiaryChange::Deleted);
        }
        Ok(outcome)
    }

    /// As [`DiaryStore::archive`].
    pub(crate) async fn archive(
        self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError> {
        let write = self.changes.begin_write(user);
        let outcome = self.store.archive(user, date, version, archived, now).await?;
        write.end();
        if let ArchiveOutcome::Archived(version) = outcome {
            let change = if archived { DiaryChange::Archived } else { DiaryChange::Restored };
            self.publish(user, date, version, change);
        }
        Ok(outcome)
    }

    fn publish(self, user: UserId, date: Date, version: Version, change: DiaryChange) {
        self.changes.publish(user, ChangeHint::Diary(DiaryHint { date, version, change }));
    }
}
