use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shiori_sdk::{
    Date, DateRange, DiaryId, Document, DocumentLimits, REMEMBERED_SAVES, SaveId, Timestamp,
    UserId, Version,
};
use sqlx::{FromRow, Sqlite, SqliteConnection, Transaction};

use super::SqliteStore;
use crate::store::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryRecord, DiaryStore, NewVersion,
    SaveOutcome, StoreError,
};

const HEAD: &str = "id, date, title, version, is_archived, updated_at";

#[async_trait]
impl DiaryStore for SqliteStore {
    async fn save(&self, save: &NewVersion) -> Result<SaveOutcome, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let slot = Slot::read(&mut transaction, save.user, save.date).await?;
        if let Some(replayed) = slot.applied(save.save_id) {
            return Ok(SaveOutcome::Replayed(replayed));
        }
        if slot.live_version() != save.expected {
            return conflict(&mut transaction, save.user, save.date).await;
        }
        let stored = AppliedSave {
            id: slot.id,
            version: slot.version.next(),
            updated_at: save.now,
            created: slot.is_vacant,
        };
        sqlx::query(
            "INSERT INTO diary (user_id, date, id, title, content, version, updated_at, saves)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (user_id, date) DO UPDATE SET
                title = excluded.title, content = excluded.content, version = excluded.version,
                updated_at = excluded.updated_at, saves = excluded.saves, deleted = 0",
        )
        .bind(&save.user.as_bytes()[..])
        .bind(save.date.as_number())
        .bind(&stored.id.as_bytes()[..])
        .bind(&save.title)
        .bind(save.content.as_json())
        .bind(number(stored.version))
        .bind(save.now.as_millis())
        .bind(slot.saves_with(save.save_id, stored)?)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(SaveOutcome::Saved(stored))
    }

    async fn get(&self, user: UserId, date: Date) -> Result<Option<DiaryRecord>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        record(&mut connection, user, date).await
    }

    async fn list(&self, user: UserId, range: DateRange) -> Result<Vec<DiaryHead>, StoreError> {
        let statement = format!(
            "SELECT {HEAD} FROM diary
             WHERE user_id = ? AND date BETWEEN ? AND ? AND deleted = 0 ORDER BY date"
        );
        let rows: Vec<HeadRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(&user.as_bytes()[..])
            .bind(range.start().as_number())
            .bind(range.end().as_number())
            .fetch_all(&self.readers)
            .await?;
        rows.into_iter().map(DiaryHead::try_from).collect()
    }

    async fn list_with_content(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<DiaryRecord>, StoreError> {
        let statement = format!(
            "SELECT {HEAD}, content FROM diary
             WHERE user_id = ? AND date BETWEEN ? AND ? AND deleted = 0 ORDER BY date"
        );
        let rows: Vec<RecordRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(&user.as_bytes()[..])
            .bind(range.start().as_number())
            .bind(range.end().as_number())
            .fetch_all(&self.readers)
            .await?;
        rows.into_iter().map(DiaryRecord::try_from).collect()
    }

    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let deleted = sqlx::query(
            "UPDATE diary SET deleted = 1, is_archived = 0, title = '', content = '', saves = '[]',
                version = version + 1, updated_at = ?
             WHERE user_id = ? AND date = ? AND version = ? AND deleted = 0",
        )
        .bind(now.as_millis())
        .bind(&user.as_bytes()[..])
        .bind(date.as_number())
        .bind(number(version))
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if deleted == 1 {
            transaction.commit().await?;
            return Ok(DeleteOutcome::Deleted);
        }
        Ok(match record(&mut transaction, user, date).await? {
            None => DeleteOutcome::NotFound,
            Some(current) => DeleteOutcome::Conflict(current),
        })
    }

    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let changed = sqlx::query(
            "UPDATE diary SET is_archived = ?, version = version + 1, updated_at = ?
             WHERE user_id = ? AND date = ? AND version = ? AND deleted = 0",
        )
        .bind(archived)
        .bind(now.as_millis())
        .bind(&user.as_bytes()[..])
        .bind(date.as_number())
        .bind(number(version))
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if changed == 1 {
            transaction.commit().await?;
            return Ok(ArchiveOutcome::Archived(version.next()));
        }
        Ok(match record(&mut transaction, user, date).await? {
            None => ArchiveOutcome::NotFound,
            Some(current) => ArchiveOutcome::Conflict(current),
        })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ping().await
    }
}

/// The place of one date's diary as a save finds it: with a diary, with what is left of a deleted
/// one, or with nothing.
struct Slot {
    id: DiaryId,
    version: Version,
    /// Whether there is no diary now.
    is_vacant: bool,
    saves: Vec<RememberedSave>,
}

/// A save that was applied, kept to recognise it should it come again.
#[derive(Serialize, Deserialize)]
struct RememberedSave {
    save_id: SaveId,
    version: Version,
    updated_at: Timestamp,
    created: bool,
}

impl Slot {
    async fn read(
        transaction: &mut Transaction<'_, Sqlite>,
        user: UserId,
        date: Date,
    ) -> Result<Self, StoreError> {
        let row: Option<(Vec<u8>, i64, bool, String)> = sqlx::query_as(
            "SELECT id, version, deleted, saves FROM diary WHERE user_id = ? AND date = ?",
        )
        .bind(&user.as_bytes()[..])
        .bind(date.as_number())
        .fetch_optional(&mut **transaction)
        .await?;
        let Some((id, version, is_vacant, saves)) = row else {
            let version = Version::new(0);
            return Ok(Self { id: DiaryId::new(), version, is_vacant: true, saves: Vec::new() });
        };
        Ok(Self {
            id: diary_id(&id)?,
            version: to_version(version)?,
            is_vacant,
            saves: serde_json::from_str(&saves).map_err(|_| corrupt())?,
        })
    }

    fn live_version(&self) -> Option<Version> {
        (!self.is_vacant).then_some(self.version)
    }

    /// What the save with this id became, if it was applied already.
    fn applied(&self, save_id: Option<SaveId>) -> Option<AppliedSave> {
        let save = self.saves.iter().find(|save| Some(save.save_id) == save_id)?;
        Some(AppliedSave {
            id: self.id,
            version: save.version,
            updated_at: save.updated_at,
            created: save.created,
        })
    }

    /// The remembered saves, as JSON, with this one as the newest.
    fn saves_with(
        mut self,
        save_id: Option<SaveId>,
        stored: AppliedSave,
    ) -> Result<String, StoreError> {
        if let Some(save_id) = save_id {
            let AppliedSave { version, updated_at, created, .. } = stored;
            self.saves.push(RememberedSave { save_id, version, updated_at, created });
        }
        let surplus = self.saves.len().saturating_sub(REMEMBERED_SAVES);
        self.saves.drain(..surplus);
        serde_json::to_string(&self.saves).map_err(|_| corrupt())
    }
}

async fn conflict(
    connection: &mut SqliteConnection,
    user: UserId,
    date: Date,
) -> Result<SaveOutcome, StoreError> {
    record(connection, user, date).await.map(SaveOutcome::Conflict)
}

async fn record(
    connection: &mut SqliteConnection,
    user: UserId,
    date: Date,
) -> Result<Option<DiaryRecord>, StoreError> {
    let statement =
        format!("SELECT {HEAD}, content FROM diary WHERE user_id = ? AND date = ? AND deleted = 0");
    let row: Option<RecordRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(&user.as_bytes()[..])
        .bind(date.as_number())
        .fetch_optional(connection)
        .await?;
    row.map(DiaryRecord::try_from).transpose()
}

#[derive(FromRow)]
struct HeadRow {
    id: Vec<u8>,
    date: u32,
    title: String,
    version: i64,
    is_archived: bool,
    updated_at: i64,
}

#[derive(FromRow)]
struct RecordRow {
    #[sqlx(flatten)]
    head: HeadRow,
    content: String,
}

impl TryFrom<HeadRow> for DiaryHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: diary_id(&row.id)?,
            date: Date::from_number(row.date).map_err(|_| corrupt())?,
            title: row.title,
            version: to_version(row.version)?,
            is_archived: row.is_archived,
            updated_at: Timestamp::from_millis(row.updated_at),
        })
    }
}

impl TryFrom<RecordRow> for DiaryRecord {
    type Error = StoreError;

    fn try_from(row: RecordRow) -> Result<Self, StoreError> {
        // What was stored was within the limits of its time; only its shape matters now.
        let limits = DocumentLimits { max_depth: usize::MAX, max_nodes: usize::MAX };
        let content = Document::from_json_within(&row.content, &limits).map_err(|_| corrupt())?;
        Ok(Self { head: row.head.try_into()?, content })
    }
}

fn diary_id(bytes: &[u8]) -> Result<DiaryId, StoreError> {
    bytes.try_into().map(DiaryId::from_bytes).map_err(|_| corrupt())
}

fn to_version(number: i64) -> Result<Version, StoreError> {
    u64::try_from(number).map(Version::new).map_err(|_| corrupt())
}

/// SQLite's integers are signed. A version beyond them is no stored one, and equals none.
fn number(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(-1)
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a diary" }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::store::sqlite::open_temporary;

    crate::diary_contract!(async {
        let (store, directory) = open_temporary().await;
        (Arc::new(store), directory)
    });
}
