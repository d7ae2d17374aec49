use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use shiori_sdk::{
    Date, DateRange, DateVersion, DiaryId, Document, DocumentLimits, REMEMBERED_SAVES, SaveId,
    SessionId, Timestamp, UserId, Version,
};

use super::{SqliteStore, connection::Statements, date_versions, revision};
use crate::store::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryPlace, DiaryRecord, DiaryStore,
    DiaryUsage, HistoryPolicy, ManyDiaries, NewVersion, PAGE_BYTES, PAGE_DIARIES, Page,
    SaveOutcome, StoreError, TextSource, keeps, one_day,
};

#[async_trait]
impl DiaryStore for SqliteStore {
    async fn save(&self, save: &NewVersion) -> Result<SaveOutcome, StoreError> {
        let save = save.clone();
        match self.write(move |connection| apply(connection, &save)).await? {
            Swap::Done(outcome) => Ok(outcome),
            Swap::Conflict(current) => Ok(SaveOutcome::Conflict(parse(current)?)),
        }
    }

    async fn get(&self, user: UserId, date: Date) -> Result<Option<DiaryRecord>, StoreError> {
        self.snapshot(move |connection| record(connection, user, date)).await
    }

    async fn list(&self, user: UserId, range: DateRange) -> Result<Vec<DiaryHead>, StoreError> {
        self.snapshot_of(range, move |connection| heads(connection, user, range)).await
    }

    async fn list_with_content(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<DiaryRecord>, StoreError> {
        self.snapshot_of(range, move |connection| {
            rows(connection, user, range)?.into_iter().map(DiaryRecord::try_from).collect()
        })
        .await
    }

    async fn versions(
        &self,
        user: UserId,
        range: DateRange,
        limit: u32,
    ) -> Result<Vec<DateVersion>, StoreError> {
        self.snapshot_of(range, move |connection| {
            date_versions::versions(connection, user, range, limit)
        })
        .await
    }

    async fn read_many(&self, user: UserId, dates: &[Date]) -> Result<ManyDiaries, StoreError> {
        let dates = dates.to_vec();
        let read = move |connection: &_| date_versions::read_many(connection, user, &dates);
        self.long_snapshot(read).await
    }

    async fn page(
        &self,
        user: UserId,
        after: DiaryPlace,
    ) -> Result<Page<DiaryRecord, DiaryPlace>, StoreError> {
        self.long_snapshot(move |connection| page(connection, user, after)).await
    }

    async fn delete(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        history: HistoryPolicy,
        now: Timestamp,
    ) -> Result<DeleteOutcome, StoreError> {
        let swap = self.write(move |connection| {
            if history.is_on() {
                revision::keep(connection, user, date, number(version), history, now)?;
            }
            let deleted = connection.find(
                "UPDATE diary SET deleted = 1, is_archived = 0, title = '', bytes = 0,
                    version = version + 1, updated_at = ?
                 WHERE user_id = ? AND date = ? AND version = ? AND deleted = 0
                 RETURNING text_id",
                params![now.as_millis(), user.as_bytes(), date.as_number(), number(version)],
                |row| row.get::<_, i64>(0),
            )?;
            if let Some(text_id) = deleted {
                connection
                    .run("UPDATE diary_text SET content = '' WHERE text_id = ?", [text_id])?;
                return Ok(Swap::Done(()));
            }
            row(connection, user, date).map(Swap::Conflict)
        });
        match swap.await? {
            Swap::Done(()) => Ok(DeleteOutcome::Deleted),
            Swap::Conflict(current) => {
                Ok(parse(current)?.map_or(DeleteOutcome::NotFound, DeleteOutcome::Conflict))
            }
        }
    }

    async fn archive(
        &self,
        user: UserId,
        date: Date,
        version: Version,
        archived: bool,
        now: Timestamp,
    ) -> Result<ArchiveOutcome, StoreError> {
        let swap = self.write(move |connection| {
            let changed = connection.run(
                "UPDATE diary SET is_archived = ?, version = version + 1, updated_at = ?
                 WHERE user_id = ? AND date = ? AND version = ? AND deleted = 0",
                params![
                    archived,
                    now.as_millis(),
                    user.as_bytes(),
                    date.as_number(),
                    number(version),
                ],
            )?;
            if changed == 1 {
                return Ok(Swap::Done(version.next()));
            }
            row(connection, user, date).map(Swap::Conflict)
        });
        match swap.await? {
            Swap::Done(version) => Ok(ArchiveOutcome::Archived(version)),
            Swap::Conflict(current) => {
                Ok(parse(current)?.map_or(ArchiveOutcome::NotFound, ArchiveOutcome::Conflict))
            }
        }
    }

    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let texts = connection.all(
                "DELETE FROM diary WHERE user_id = ?1 AND date IN
                     (SELECT date FROM diary WHERE user_id = ?1 ORDER BY date LIMIT ?2)
                 RETURNING text_id",
                params![user.as_bytes(), limit],
                |row| row.get::<_, i64>(0),
            )?;
            for text_id in &texts {
                connection.run("DELETE FROM diary_text WHERE text_id = ?", [text_id])?;
            }
            Ok(texts.len() as u64)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

/// The result of a compare-and-swap. The caller parses the text of a conflict, because on the
/// writer's thread it would delay other steps.
enum Swap<T> {
    Done(T),
    Conflict(Option<RecordRow>),
}

fn apply(connection: &Connection, save: &NewVersion) -> Result<Swap<SaveOutcome>, StoreError> {
    let slot = Slot::read(connection, save.user, save.date)?;
    if let Some(replayed) = slot.applied(save.save_id) {
        return Ok(Swap::Done(SaveOutcome::Replayed(replayed)));
    }
    if slot.live_version() != save.expected {
        return row(connection, save.user, save.date).map(Swap::Conflict);
    }
    let bytes = save.content.as_json().len() as u64;
    let before = (!slot.is_vacant).then_some(slot.bytes);
    if save.quota.is_checked(before, bytes) {
        let usage = usage(connection, save.user)?;
        if let Some(exceeded) = save.quota.exceeded(usage, before, bytes) {
            return Ok(Swap::Done(SaveOutcome::QuotaExceeded(exceeded)));
        }
    }
    if !slot.is_vacant && keeps(save, slot.text) {
        let replaced = number(slot.version);
        revision::keep(connection, save.user, save.date, replaced, save.history, save.now)?;
    }
    let stored = AppliedSave {
        id: slot.id,
        version: slot.version.next(),
        updated_at: save.now,
        created: slot.is_vacant,
    };
    let text_id = slot.text_id;
    let saves = slot.saves_with(save.save_id, stored)?;
    let content = save.content.as_json();
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let (title, version, now) = (&save.title, number(stored.version), save.now.as_millis());
    let (user, date) = (save.user.as_bytes(), save.date.as_number());
    let session = save.session.as_bytes();
    if let Some(text_id) = text_id {
        connection.run(
            "UPDATE diary_text SET saves = ?, content = ? WHERE text_id = ?",
            params![saves, content, text_id],
        )?;
        connection.run(
            "UPDATE diary SET title = ?1, version = ?2, updated_at = ?3, deleted = 0, bytes = ?4,
                 text_by = ?5, text_at = ?3
             WHERE user_id = ?6 AND date = ?7",
            params![title, version, now, bytes, session, user, date],
        )?;
    } else {
        connection.run(
            "INSERT INTO diary_text (saves, content) VALUES (?, ?)",
            params![saves, content],
        )?;
        let text_id = connection.last_insert_rowid();
        connection.run(
            "INSERT INTO diary (user_id, date, id, title, version, updated_at, text_id, bytes,
                 text_by, text_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?6)",
            params![user, date, stored.id.as_bytes(), title, version, now, text_id, bytes, session],
        )?;
    }
    Ok(Swap::Done(SaveOutcome::Saved(stored)))
}

/// The record of one date as a save finds it: with a diary, with a deleted diary, or empty.
struct Slot {
    id: DiaryId,
    version: Version,
    /// Whether the date currently has no diary.
    is_vacant: bool,
    /// The row of the text; `None` if the date never had a diary.
    text_id: Option<i64>,
    /// The bytes of the document; 0 if the date has no diary.
    bytes: u64,
    text: TextSource,
    saves: Vec<RememberedSave>,
}

/// An applied save, stored to recognise a repetition.
#[derive(Serialize, Deserialize)]
struct RememberedSave {
    save_id: SaveId,
    version: Version,
    updated_at: Timestamp,
    created: bool,
}

impl Slot {
    fn read(connection: &Connection, user: UserId, date: Date) -> Result<Self, StoreError> {
        let row = connection.find(
            "SELECT id, version, deleted, text_id, bytes, text_by, text_at, saves
             FROM diary JOIN diary_text USING (text_id)
             WHERE user_id = ? AND date = ?",
            params![user.as_bytes(), date.as_number()],
            |row| {
                let head: ([u8; 16], i64, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let text: [i64; 2] = [row.get(3)?, row.get(4)?];
                let source: (Option<[u8; 16]>, Option<i64>) = (row.get(5)?, row.get(6)?);
                Ok((head, text, source, row.get::<_, String>(7)?))
            },
        )?;
        let Some(((id, version, is_vacant), [text_id, bytes], (by, at), saves)) = row else {
            return Ok(Self {
                id: DiaryId::new(),
                version: Version::new(0),
                is_vacant: true,
                text_id: None,
                bytes: 0,
                text: TextSource { by: None, at: None },
                saves: Vec::new(),
            });
        };
        Ok(Self {
            id: DiaryId::from_bytes(id),
            version: to_version(version)?,
            is_vacant,
            text_id: Some(text_id),
            bytes: to_count(bytes),
            text: TextSource {
                by: by.map(SessionId::from_bytes),
                at: at.map(Timestamp::from_millis),
            },
            // Without the ids, a repeated save is not recognised, but the date can still be saved.
            saves: serde_json::from_str(&saves).unwrap_or_else(|_| {
                tracing::error!(%date, "could not read the save ids of a date");
                Vec::new()
            }),
        })
    }

    fn live_version(&self) -> Option<Version> {
        (!self.is_vacant).then_some(self.version)
    }

    /// The outcome of the save with this id; `None` if it was not applied.
    fn applied(&self, save_id: Option<SaveId>) -> Option<AppliedSave> {
        let save = self.saves.iter().find(|save| Some(save.save_id) == save_id)?;
        Some(AppliedSave {
            id: self.id,
            version: save.version,
            updated_at: save.updated_at,
            created: save.created,
        })
    }

    /// The stored saves as JSON, with this one as the newest.
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

/// Counts a user's diaries and their bytes, from an index.
const USAGE: &str =
    "SELECT count(*), coalesce(sum(bytes), 0) FROM diary WHERE user_id = ? AND deleted = 0";

fn usage(connection: &Connection, user: UserId) -> Result<DiaryUsage, StoreError> {
    let counted = connection.find(USAGE, [user.as_bytes()], |row| {
        Ok(DiaryUsage { diaries: to_count(row.get(0)?), bytes: to_count(row.get(1)?) })
    })?;
    counted.ok_or_else(corrupt)
}

/// SQLite's integers are signed; a negative count was not written by this program.
pub(super) fn to_count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(super) fn record(
    connection: &Connection,
    user: UserId,
    date: Date,
) -> Result<Option<DiaryRecord>, StoreError> {
    parse(row(connection, user, date)?)
}

fn row(connection: &Connection, user: UserId, date: Date) -> Result<Option<RecordRow>, StoreError> {
    Ok(rows(connection, user, one_day(date))?.pop())
}

fn parse(row: Option<RecordRow>) -> Result<Option<DiaryRecord>, StoreError> {
    row.map(DiaryRecord::try_from).transpose()
}

fn rows(
    connection: &Connection,
    user: UserId,
    range: DateRange,
) -> rusqlite::Result<Vec<RecordRow>> {
    connection.all(
        "SELECT id, date, title, version, is_archived, updated_at, content
         FROM diary JOIN diary_text USING (text_id)
         WHERE user_id = ? AND date BETWEEN ? AND ? AND deleted = 0 ORDER BY date",
        params![user.as_bytes(), range.start().as_number(), range.end().as_number()],
        |row| Ok(RecordRow { head: HeadRow::decode(row)?, content: row.get(6)? }),
    )
}

fn page(
    connection: &Connection,
    user: UserId,
    after: DiaryPlace,
) -> Result<Page<DiaryRecord, DiaryPlace>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, date, title, version, is_archived, updated_at, content
         FROM diary JOIN diary_text USING (text_id)
         WHERE user_id = ? AND date > ? AND deleted = 0 ORDER BY date",
    )?;
    let mut rows = statement.query(params![user.as_bytes(), after.0])?;
    let mut page = Page { items: Vec::new(), unreadable: 0, next: None };
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        count += 1;
        page.next = Some(DiaryPlace(row.get(1)?));
        // An error of a column is one of its value.
        let decoded = HeadRow::decode(row)
            .and_then(|head| Ok(RecordRow { head, content: row.get(6)? }))
            .map_err(StoreError::from)
            .and_then(DiaryRecord::try_from);
        match decoded {
            Ok(record) => {
                bytes += record.content.as_json().len();
                page.items.push(record);
            }
            Err(_) => page.unreadable += 1,
        }
        if count == PAGE_DIARIES || bytes >= PAGE_BYTES {
            return Ok(page);
        }
    }
    page.next = None;
    Ok(page)
}

pub(super) fn heads(
    connection: &Connection,
    user: UserId,
    range: DateRange,
) -> Result<Vec<DiaryHead>, StoreError> {
    let rows = connection.all(
        "SELECT id, date, title, version, is_archived, updated_at FROM diary
         WHERE user_id = ? AND date BETWEEN ? AND ? AND deleted = 0 ORDER BY date",
        params![user.as_bytes(), range.start().as_number(), range.end().as_number()],
        HeadRow::decode,
    )?;
    rows.into_iter().map(DiaryHead::try_from).collect()
}

struct HeadRow {
    id: [u8; 16],
    date: u32,
    title: String,
    version: i64,
    is_archived: bool,
    updated_at: i64,
}

impl HeadRow {
    fn decode(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            date: row.get(1)?,
            title: row.get(2)?,
            version: row.get(3)?,
            is_archived: row.get(4)?,
            updated_at: row.get(5)?,
        })
    }
}

struct RecordRow {
    head: HeadRow,
    content: String,
}

impl TryFrom<HeadRow> for DiaryHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: DiaryId::from_bytes(row.id),
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
        Ok(Self { head: row.head.try_into()?, content: stored_document(&row.content)? })
    }
}

/// Parses a stored text. The limits were checked when it was saved, and may have changed afterwards.
pub(super) fn stored_document(json: &str) -> Result<Document, StoreError> {
    let limits = DocumentLimits { max_depth: usize::MAX, max_nodes: usize::MAX };
    Document::from_json_within(json, &limits).map_err(|_| corrupt())
}

pub(super) fn to_version(number: i64) -> Result<Version, StoreError> {
    u64::try_from(number).map(Version::new).map_err(|_| corrupt())
}

/// SQLite's integers are signed. A version beyond their range is converted to a number that no
/// diary has.
pub(super) fn number(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(-1)
}

pub(super) fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a diary" }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::USAGE;
    use crate::store::sqlite::open_temporary;

    crate::diary_contract!(async {
        let (store, directory) = open_temporary().await;
        (Arc::new(store), directory)
    });

    /// A count reads neither titles nor texts.
    #[tokio::test]
    async fn the_usage_is_counted_from_an_index() {
        let (store, _directory) = open_temporary().await;
        let plan = store.snapshot(|connection| {
            let mut prepared = connection.prepare(&format!("EXPLAIN QUERY PLAN {USAGE}"))?;
            let mut rows = prepared.query([[0_u8; 16]])?;
            let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(row.get::<_, String>("detail")?)
        });
        let plan = plan.await.expect("planned");
        assert!(plan.contains("COVERING INDEX diary_usage"), "{plan}");
    }
}
