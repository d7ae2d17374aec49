use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use shiori_sdk::{Date, Timestamp, UserId, Version};

use super::{
    SqliteStore,
    connection::Statements,
    diary::{number, stored_document, to_count, to_version},
};
use crate::store::{HistoryPolicy, RevisionHead, RevisionRecord, RevisionStore, StoreError};

/// Reads no text: it is stored behind these columns, in pages of its own if it is long.
const LIST: &str = "SELECT version, title, bytes, saved_at, replaced_at FROM diary_revision
     WHERE user_id = ? AND date = ? AND replaced_at > ? ORDER BY version DESC";

const EXPIRE: &str = "DELETE FROM diary_revision WHERE (user_id, date, version) IN
         (SELECT user_id, date, version FROM diary_revision
          WHERE replaced_at <= ? ORDER BY replaced_at LIMIT ?)";

#[async_trait]
impl RevisionStore for SqliteStore {
    async fn revisions(
        &self,
        user: UserId,
        date: Date,
        replaced_after: Timestamp,
    ) -> Result<Vec<RevisionHead>, StoreError> {
        self.snapshot(move |connection| {
            let key = params![user.as_bytes(), date.as_number(), replaced_after.as_millis()];
            let rows = connection.all(LIST, key, HeadRow::decode)?;
            rows.into_iter().map(RevisionHead::try_from).collect()
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
        self.snapshot(move |connection| {
            let (date, version) = (date.as_number(), number(version));
            let row = connection.find(
                "SELECT version, title, bytes, saved_at, replaced_at, content FROM diary_revision
                 WHERE user_id = ? AND date = ? AND version = ? AND replaced_at > ?",
                params![user.as_bytes(), date, version, replaced_after.as_millis()],
                |row| Ok((HeadRow::decode(row)?, row.get::<_, String>(5)?)),
            )?;
            let Some((head, content)) = row else { return Ok(None) };
            let content = stored_document(&content)?;
            Ok(Some(RevisionRecord { head: head.try_into()?, content }))
        })
        .await
    }

    async fn purge_revisions(
        &self,
        user: UserId,
        date: Option<Date>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let (first, last) = match date {
            Some(date) => (date.as_number(), date.as_number()),
            None => (0, u32::MAX),
        };
        self.write(move |connection| {
            let deleted = connection.run(
                "DELETE FROM diary_revision WHERE user_id = ?1 AND (date, version) IN
                     (SELECT date, version FROM diary_revision
                      WHERE user_id = ?1 AND date BETWEEN ?2 AND ?3 ORDER BY date, version LIMIT ?4)",
                params![user.as_bytes(), first, last, limit],
            )?;
            Ok(deleted as u64)
        })
        .await
    }

    async fn expire_revisions(
        &self,
        replaced_until: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.write(move |connection| {
            Ok(connection.run(EXPIRE, params![replaced_until.as_millis(), limit])? as u64)
        })
        .await
    }
}

/// Keeps the text of this version, if the date has a diary with it, and deletes the date's oldest
/// revisions beyond the limit.
pub(super) fn keep(
    connection: &Connection,
    user: UserId,
    date: Date,
    version: i64,
    policy: HistoryPolicy,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (user, date) = (user.as_bytes(), date.as_number());
    let added = connection.run(
        "INSERT INTO diary_revision
             (user_id, date, version, title, bytes, saved_at, replaced_at, content)
         SELECT user_id, date, version, title, bytes, coalesce(text_at, updated_at), ?, content
         FROM diary JOIN diary_text USING (text_id)
         WHERE user_id = ? AND date = ? AND version = ? AND deleted = 0
         ON CONFLICT DO NOTHING",
        params![now.as_millis(), user, date, version],
    )?;
    if added > 0 {
        connection.run(
            "DELETE FROM diary_revision WHERE user_id = ?1 AND date = ?2 AND version <=
                 (SELECT version FROM diary_revision WHERE user_id = ?1 AND date = ?2
                  ORDER BY version DESC LIMIT 1 OFFSET ?3)",
            params![user, date, policy.per_date],
        )?;
    }
    Ok(())
}

struct HeadRow {
    version: i64,
    title: String,
    bytes: i64,
    saved_at: i64,
    replaced_at: i64,
}

impl HeadRow {
    fn decode(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            version: row.get(0)?,
            title: row.get(1)?,
            bytes: row.get(2)?,
            saved_at: row.get(3)?,
            replaced_at: row.get(4)?,
        })
    }
}

impl TryFrom<HeadRow> for RevisionHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        Ok(Self {
            version: to_version(row.version)?,
            title: row.title,
            bytes: to_count(row.bytes),
            saved_at: Timestamp::from_millis(row.saved_at),
            replaced_at: Timestamp::from_millis(row.replaced_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{
        DiaryStore, NewVersion, contract::revision::first_save, sqlite::open_temporary,
    };

    crate::revision_contract!(async {
        let (store, directory) = open_temporary().await;
        (Arc::new(store), directory)
    });

    /// A text that a version without revisions has saved is kept, with the time of its diary.
    #[tokio::test]
    async fn a_text_without_a_known_session_is_kept() {
        let (store, _directory) = open_temporary().await;
        let first = first_save();
        store.save(&first).await.expect("saved");
        let forgotten = store.write(|connection| {
            Ok(connection.run("UPDATE diary SET text_by = NULL, text_at = NULL", [])?)
        });
        assert_eq!(forgotten.await.expect("updated"), 1);
        let second = NewVersion { expected: Some(Version::new(1)), ..first.clone() };
        store.save(&second).await.expect("saved");
        let kept = store.revisions(first.user, first.date, Timestamp::UNIX_EPOCH).await;
        let kept = kept.expect("listed");
        assert_eq!((kept.len(), kept[0].saved_at), (1, first.now));
    }

    /// A listing reads the revisions of one date, and an expiry only those that it deletes.
    #[tokio::test]
    async fn revisions_are_found_by_indexes() {
        let (store, _directory) = open_temporary().await;
        for (statement, index) in [
            (LIST, "SEARCH diary_revision USING PRIMARY KEY (user_id=? AND date=?)"),
            (EXPIRE, "SEARCH diary_revision USING COVERING INDEX diary_revision_by_age"),
        ] {
            let plan = format!("EXPLAIN QUERY PLAN {statement}");
            let plan = store.snapshot(move |connection| {
                let mut prepared = connection.prepare(&plan)?;
                // Without values, the parameters are NULL.
                let (mut rows, mut steps) = (prepared.raw_query(), Vec::new());
                while let Some(row) = rows.next()? {
                    steps.push(row.get::<_, String>("detail")?);
                }
                Ok(steps)
            });
            let steps = plan.await.expect("planned");
            assert!(steps.iter().any(|step| step.starts_with(index)), "{steps:?}");
            let sorts = |step: &String| step.contains("SCAN diary") || step.contains("TEMP B-TREE");
            assert!(!steps.iter().any(sorts), "{steps:?}");
        }
    }
}
