use async_trait::async_trait;
use shiori_sdk::{Date, Timestamp, UserId, Version};

use super::{MemoryStore, State};
use crate::store::{HistoryPolicy, RevisionHead, RevisionRecord, RevisionStore, StoreError};

#[async_trait]
impl RevisionStore for MemoryStore {
    async fn revisions(
        &self,
        user: UserId,
        date: Date,
        replaced_after: Timestamp,
    ) -> Result<Vec<RevisionHead>, StoreError> {
        self.step("revisions", |state| {
            let heads = state.revisions_of(user, date).map(|(_, record)| record.head.clone());
            heads.filter(|head| head.replaced_at > replaced_after).rev().collect()
        })
        .await
    }

    async fn revision(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        replaced_after: Timestamp,
    ) -> Result<Option<RevisionRecord>, StoreError> {
        self.step("revision", |state| {
            let found = state.revisions.get(&(user, date, version));
            found.filter(|record| record.head.replaced_at > replaced_after).cloned()
        })
        .await
    }

    async fn purge_revisions(
        &self,
        user: UserId,
        date: Option<Date>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.step("purge_revisions", |state| {
            let keys = state.revisions.keys().copied();
            let of_date = |on: Date| date.is_none_or(|date| date == on);
            let keys = keys.filter(|(of, on, _)| *of == user && of_date(*on));
            let keys: Vec<_> = keys.take(limit as usize).collect();
            for key in &keys {
                state.revisions.remove(key);
            }
            keys.len() as u64
        })
        .await
    }

    async fn expire_revisions(
        &self,
        replaced_until: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.step("expire_revisions", |state| {
            let rows = state.revisions.iter();
            let mut keys: Vec<_> = rows
                .map(|(key, record)| (record.head.replaced_at, *key))
                .filter(|(replaced_at, _)| *replaced_at <= replaced_until)
                .collect();
            keys.sort_unstable();
            keys.truncate(limit as usize);
            for (_, key) in &keys {
                state.revisions.remove(key);
            }
            keys.len() as u64
        })
        .await
    }
}

impl State {
    /// The revisions of a date, the oldest first.
    fn revisions_of(
        &self,
        user: UserId,
        date: Date,
    ) -> impl DoubleEndedIterator<Item = (&(UserId, Date, Version), &RevisionRecord)> {
        let range = (user, date, Version::new(0))..=(user, date, Version::new(u64::MAX));
        self.revisions.range(range)
    }

    /// Keeps the text of the date's diary, and deletes the oldest revisions beyond the limit.
    pub(super) fn keep(&mut self, user: UserId, date: Date, policy: HistoryPolicy, now: Timestamp) {
        let Some(slot) = self.diaries.get(&(user, date)).filter(|slot| !slot.is_vacant) else {
            return;
        };
        let head = RevisionHead {
            version: slot.version,
            title: slot.title.clone(),
            bytes: slot.content.as_json().len() as u64,
            saved_at: slot.text.at.unwrap_or(slot.updated_at),
            replaced_at: now,
        };
        let record = RevisionRecord { head, content: slot.content.clone() };
        self.revisions.entry((user, date, slot.version)).or_insert(record);
        let newest = self.revisions_of(user, date).rev();
        let surplus: Vec<_> = newest.skip(policy.per_date as usize).map(|(key, _)| *key).collect();
        for key in surplus {
            self.revisions.remove(&key);
        }
    }
}
