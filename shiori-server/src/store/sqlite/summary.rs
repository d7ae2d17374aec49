use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use shiori_sdk::{
    Date, DateRange, DayEmotion, PartialText, Revision, SummaryId, Timestamp, UserId, Week,
};
use shiori_worker::protocol::TextSoFar;

use super::{SqliteStore, connection::Statements};
use crate::{
    store::{
        CompletedSummary, DueJobs, DueKind, InsertOutcome, PAGE_RESULTS, Page, QueuedRow,
        ResultPlace, ResultRecord, RowId, StoreError, StoredResult, SummaryQuota, SummaryStore,
        Unfinished, WeekStatus,
        sql::{
            DELETE_TEXT, LIST_QUEUED, NEWEST_REQUESTS, NEWEST_TAGS, Newest, OLD_SUMMARIES,
            PARTIAL_TEXT, RESULTS_PAGE, ReflectionRow, ResultRow, SummaryRow, TagRow, UNFINISHED,
            WeekStatusRow, due_jobs, json, known_emotions, known_statuses, request_day, revision,
            revision_number, unfinished, unreadable_failure, week_starts,
        },
    },
    summary::{Annotations, SummaryJob},
};

/// The newest emotion tag of one date. Its parameters are the user and the date.
const NEWEST_TAG: &str = "SELECT date, label, confidence, distribution FROM emotion_tag
     WHERE user_id = ? AND date = ?
     ORDER BY generated_at DESC, summary_id DESC LIMIT 1";

#[async_trait]
impl SummaryStore for SqliteStore {
    async fn insert(
        &self,
        row: &SummaryJob,
        quota: SummaryQuota,
    ) -> Result<InsertOutcome, StoreError> {
        let row = row.clone();
        self.write(move |connection| insert(connection, &row, quota)).await
    }

    async fn get(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError> {
        self.snapshot(move |connection| {
            let row = connection.find(
                "SELECT * FROM summary WHERE id = ?",
                [id.as_bytes()],
                summary_row,
            )?;
            row.map(SummaryJob::try_from).transpose()
        })
        .await
    }

    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        let (from, to, result) = (from.clone(), to.clone(), result.cloned());
        self.write(move |connection| {
            let has_swapped = swap(connection, &from, &to)?;
            if has_swapped && from.text_number.is_some() && to.text_number.is_none() {
                connection.run(DELETE_TEXT, [to.id.as_bytes()])?;
            }
            if has_swapped && let Some(result) = &result {
                insert_result(connection, &to, result)?;
            }
            if has_swapped && to.status.is_final() {
                purge(connection, &to)?;
            }
            Ok(has_swapped)
        })
        .await
    }

    async fn swap_text(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        text: &TextSoFar,
    ) -> Result<bool, StoreError> {
        let (from, to, text) = (from.clone(), to.clone(), text.clone());
        self.write(move |connection| {
            let has_swapped = swap(connection, &from, &to)?;
            if has_swapped {
                connection.run(
                    "INSERT INTO partial_text (summary_id, revision, number, text)
                     VALUES (?, ?, ?, ?)
                     ON CONFLICT (summary_id) DO UPDATE SET revision = excluded.revision,
                         number = excluded.number, text = excluded.text",
                    params![to.id.as_bytes(), revision(&to), text.number, text.text],
                )?;
            }
            Ok(has_swapped)
        })
        .await
    }

    async fn partial_text(
        &self,
        id: SummaryId,
        revision: Revision,
    ) -> Result<Option<PartialText>, StoreError> {
        self.snapshot(move |connection| {
            let params = params![id.as_bytes(), revision_number(revision)];
            Ok(connection.find(PARTIAL_TEXT, params, |row| {
                Ok(PartialText { revision, number: number(row.get(0)?), text: row.get(1)? })
            })?)
        })
        .await
    }

    async fn latest_result(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<CompletedSummary>, StoreError> {
        self.snapshot(move |connection| {
            let Some(job) = latest_completed(connection, user, week)? else { return Ok(None) };
            let result = find_result(connection, job.id)?;
            Ok(result.map(|result| CompletedSummary { job, result }))
        })
        .await
    }

    async fn latest_completed(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<SummaryJob>, StoreError> {
        self.snapshot(move |connection| latest_completed(connection, user, week)).await
    }

    async fn result(&self, id: SummaryId) -> Result<Option<ResultRecord>, StoreError> {
        self.snapshot(move |connection| find_result(connection, id)).await
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Result<Annotations, StoreError> {
        self.snapshot_of(range, move |connection| annotations(connection, user, range)).await
    }

    async fn results_page(
        &self,
        user: UserId,
        after: &ResultPlace,
    ) -> Result<Page<StoredResult, ResultPlace>, StoreError> {
        let after = after.clone();
        let page = move |connection: &Connection| results_page(connection, user, &after);
        self.long_snapshot(page).await
    }

    async fn week_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError> {
        self.snapshot_of(range, move |connection| week_statuses(connection, user, range)).await
    }

    async fn emotion_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError> {
        self.snapshot_of(range, move |connection| emotion_tags(connection, user, range)).await
    }

    async fn list_expired(&self, now: Timestamp, limit: u32) -> Result<DueJobs, StoreError> {
        self.snapshot(move |connection| {
            let rows = connection.all(
                "SELECT * FROM summary
                 WHERE status = 'running' AND (lease_expires <= ? OR lease_expires IS NULL)
                 ORDER BY lease_expires LIMIT ?",
                params![now.as_millis(), limit],
                summary_row,
            )?;
            Ok(due_jobs(rows))
        })
        .await
    }

    async fn list_queued(
        &self,
        after: &QueuedRow,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<QueuedRow>, StoreError> {
        let after = after.clone();
        self.snapshot(move |connection| {
            let place = |row: &rusqlite::Row<'_>| {
                Ok(QueuedRow { next_hint_at: row.get(0)?, id: RowId::new(row.get(1)?) })
            };
            let (time, id) = (after.next_hint_at, after.id.as_bytes());
            Ok(connection.all(
                LIST_QUEUED,
                params![time, until.as_millis(), time, id, limit],
                place,
            )?)
        })
        .await
    }

    async fn read_queued(&self, rows: &[RowId]) -> Result<DueJobs, StoreError> {
        let ids = rows.to_vec();
        self.snapshot(move |connection| {
            let mut rows = Vec::with_capacity(ids.len());
            for id in &ids {
                rows.extend(connection.find(
                    "SELECT * FROM summary WHERE id = ? AND status = 'queued'",
                    [id.as_bytes()],
                    summary_row,
                )?);
            }
            Ok(due_jobs(rows))
        })
        .await
    }

    async fn list_overdue(
        &self,
        requested_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SummaryId>, StoreError> {
        self.snapshot(move |connection| {
            let rows = connection.all(
                "SELECT * FROM summary
                 WHERE status = 'queued' AND requested_at <= ? AND not_before <= ?
                 ORDER BY requested_at LIMIT ?",
                params![requested_before.as_millis(), now.as_millis(), limit],
                summary_row,
            )?;
            Ok(due_jobs(rows).jobs.into_iter().map(|job| job.id).collect())
        })
        .await
    }

    async fn unfinished(&self, limit: u32) -> Result<Unfinished, StoreError> {
        let count = move |connection: &Connection| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get("status")?, row.get(1)?, row.get(2)?));
            Ok(unfinished(connection.all(UNFINISHED, [limit, limit], row)?))
        };
        self.long_snapshot(count).await
    }

    async fn postpone(
        &self,
        kind: DueKind,
        row: &RowId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let row = row.clone();
        self.write(move |connection| {
            let statement = match kind {
                DueKind::Hint => {
                    "UPDATE summary SET next_hint_at = ? WHERE id = ? AND status = 'queued'"
                }
                DueKind::Lease => {
                    "UPDATE summary SET lease_expires = ? WHERE id = ? AND status = 'running'"
                }
            };
            connection.run(statement, params![until.as_millis(), row.as_bytes()])?;
            Ok(())
        })
        .await
    }

    async fn cancel_unreadable(
        &self,
        user: UserId,
        id: SummaryId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let cancelled = connection.run(
                "UPDATE summary SET status = 'cancelled', finished_at = ?, lease_token = NULL,
                    lease_expires = NULL, lease_worker = NULL, progress = NULL,
                    text_number = NULL, failure = NULL, revision = max(revision, 0) + 1
                 WHERE id = ? AND user_id = ? AND status IN ('queued', 'running')",
                params![now.as_millis(), id.as_bytes(), user.as_bytes()],
            )?;
            if cancelled == 1 {
                connection.run(DELETE_TEXT, [id.as_bytes()])?;
            }
            Ok(cancelled == 1)
        })
        .await
    }

    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let erased = connection.run(
                "DELETE FROM summary WHERE id IN
                     (SELECT id FROM summary WHERE user_id = ? LIMIT ?)",
                params![user.as_bytes(), limit],
            )?;
            // The requests of the day.
            connection.run("DELETE FROM summary_user WHERE user_id = ?", [user.as_bytes()])?;
            Ok(erased as u64)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

fn insert(
    connection: &Connection,
    row: &SummaryJob,
    quota: SummaryQuota,
) -> Result<InsertOutcome, StoreError> {
    let (user, start) = (row.user.as_bytes(), row.week.start().as_number());
    let unfinished = connection.find(
        "SELECT * FROM summary
         WHERE user_id = ? AND start = ? AND status IN ('queued', 'running')",
        params![user, start],
        summary_row,
    )?;
    if let Some(unfinished) = unfinished {
        let id = unfinished.id.clone();
        match SummaryJob::try_from(unfinished) {
            Ok(job) => return Ok(InsertOutcome::Unfinished(Box::new(job))),
            Err(_) => fail_unreadable(connection, &id, row.requested_at)?,
        }
    }
    let count: Option<u32> = connection.find(
        "SELECT count(*) FROM summary WHERE user_id = ? AND status IN ('queued', 'running')",
        [user],
        |row| row.get(0),
    )?;
    if count.is_some_and(|count| count >= quota.unfinished) {
        return Ok(InsertOutcome::TooMany);
    }
    let per_day = quota.per_day.unwrap_or(u32::MAX);
    let counted = connection.run(
        "INSERT INTO summary_user (user_id, day, requests) VALUES (?1, ?2, 1)
         ON CONFLICT (user_id) DO UPDATE
         SET requests = iif(day = excluded.day, requests + 1, 1), day = excluded.day
         WHERE day <> excluded.day OR requests < ?3",
        params![user, request_day(row), per_day],
    )?;
    if counted == 0 {
        return Ok(InsertOutcome::TooManyOnDay(per_day));
    }
    connection.run(
        "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
            not_before, next_hint_at, versions_read, trace)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.id.as_bytes(),
            user,
            start,
            row.status.as_str(),
            revision(row),
            row.attempts,
            row.requested_at.as_millis(),
            row.not_before.as_millis(),
            row.next_hint_at.as_millis(),
            json(&row.versions_read)?,
            row.trace,
        ],
    )?;
    Ok(InsertOutcome::Inserted)
}

/// Fails a row that cannot be read, so that its week can be summarised.
fn fail_unreadable(connection: &Connection, id: &[u8], now: Timestamp) -> Result<(), StoreError> {
    connection.run(
        "UPDATE summary SET status = 'failed', finished_at = ?, lease_token = NULL,
            lease_expires = NULL, lease_worker = NULL, progress = NULL, text_number = NULL,
            failure = ?, revision = max(revision, 0) + 1
         WHERE id = ?",
        params![now.as_millis(), unreadable_failure()?, id],
    )?;
    connection.run(DELETE_TEXT, [id])?;
    Ok(())
}

/// Replaces `from` with `to` if the row still has the revision, lease and text of `from`. Returns
/// whether it did.
fn swap(connection: &Connection, from: &SummaryJob, to: &SummaryJob) -> Result<bool, StoreError> {
    let lease = to.lease.as_ref();
    let changed = connection.run(
        "UPDATE summary SET status = ?, revision = ?, attempts = ?, started_at = ?,
            finished_at = ?, not_before = ?, next_hint_at = ?, lease_token = ?,
            lease_expires = ?, lease_worker = ?, completed_by = ?, versions_read = ?,
            progress = ?, text_number = ?, failure = ?
         WHERE id = ? AND revision = ? AND lease_expires IS ? AND text_number IS ?",
        params![
            to.status.as_str(),
            revision(to),
            to.attempts,
            to.started_at.map(Timestamp::as_millis),
            to.finished_at.map(Timestamp::as_millis),
            to.not_before.as_millis(),
            to.next_hint_at.as_millis(),
            lease.map(|lease| lease.token.reveal()),
            lease.map(|lease| lease.expires_at.as_millis()),
            lease.map(|lease| lease.worker.as_str()),
            to.completed_by.map(|token| token.reveal()),
            json(&to.versions_read)?,
            to.progress.as_ref().map(json).transpose()?,
            to.text_number,
            to.failure.as_ref().map(json).transpose()?,
            from.id.as_bytes(),
            revision(from),
            from.lease.as_ref().map(|lease| lease.expires_at.as_millis()),
            from.text_number,
        ],
    )?;
    Ok(changed == 1)
}

fn insert_result(
    connection: &Connection,
    row: &SummaryJob,
    result: &ResultRecord,
) -> Result<(), StoreError> {
    connection.run(
        "INSERT INTO reflection (summary_id, user_id, start, reflection, engine, emotion_engine,
            truncated, token_usage, generated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.id.as_bytes(),
            row.user.as_bytes(),
            row.week.start().as_number(),
            result.reflection,
            result.engine,
            result.emotion_engine,
            json(&result.truncated)?,
            result.usage.as_ref().map(json).transpose()?,
            result.generated_at.as_millis(),
        ],
    )?;
    for tag in &result.emotions {
        connection.run(
            "INSERT INTO emotion_tag (summary_id, user_id, date, label, confidence, distribution,
                generated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                row.id.as_bytes(),
                row.user.as_bytes(),
                tag.date.as_number(),
                tag.label.korean(),
                tag.confidence,
                json(&tag.distribution)?,
                result.generated_at.as_millis(),
            ],
        )?;
    }
    Ok(())
}

/// Deletes finished summaries of the job's week that are not kept, with their results.
fn purge(connection: &Connection, job: &SummaryJob) -> Result<(), StoreError> {
    let (user, start) = (job.user.as_bytes(), job.week.start().as_number());
    let week = params![user, start, user, start, user, start];
    let old: Vec<Vec<u8>> = connection.all(&OLD_SUMMARIES, week, |row| row.get(0))?;
    for id in old {
        connection.run("DELETE FROM summary WHERE id = ?", [id])?;
    }
    Ok(())
}

fn latest_completed(
    connection: &Connection,
    user: UserId,
    week: Week,
) -> Result<Option<SummaryJob>, StoreError> {
    let row = connection.find(
        "SELECT * FROM summary WHERE id = (
            SELECT summary_id FROM reflection WHERE user_id = ? AND start = ?
            ORDER BY generated_at DESC, summary_id DESC LIMIT 1)",
        params![user.as_bytes(), week.start().as_number()],
        summary_row,
    )?;
    // If the summary of a week cannot be read, the week can be summarised again.
    Ok(row.and_then(|row| SummaryJob::try_from(row).ok()))
}

fn find_result(connection: &Connection, id: SummaryId) -> Result<Option<ResultRecord>, StoreError> {
    let found = connection.find(
        "SELECT reflection, engine, emotion_engine, truncated, token_usage, generated_at
         FROM reflection WHERE summary_id = ?",
        [id.as_bytes()],
        |row| {
            Ok(ReflectionRow {
                reflection: row.get(0)?,
                engine: row.get(1)?,
                emotion_engine: row.get(2)?,
                truncated: row.get(3)?,
                token_usage: row.get(4)?,
                generated_at: row.get(5)?,
            })
        },
    )?;
    let Some(found) = found else { return Ok(None) };
    Ok(Some(found.with_tags(tags(connection, id.as_bytes())?)))
}

fn tags(connection: &Connection, summary: &[u8]) -> rusqlite::Result<Vec<TagRow>> {
    connection.all(
        "SELECT date, label, confidence, distribution FROM emotion_tag
         WHERE summary_id = ? ORDER BY date",
        [summary],
        tag_row,
    )
}

fn results_page(
    connection: &Connection,
    user: UserId,
    after: &ResultPlace,
) -> Result<Page<StoredResult, ResultPlace>, StoreError> {
    let ResultPlace { start, generated_at, id } = after;
    let rows = connection.all(
        RESULTS_PAGE,
        params![user.as_bytes(), start, start, generated_at, id, PAGE_RESULTS],
        |row| {
            Ok(ResultRow {
                start: number(row.get(0)?),
                summary_id: row.get(2)?,
                reflection: ReflectionRow {
                    reflection: text(row, "reflection"),
                    engine: text(row, "engine"),
                    emotion_engine: text(row, "emotion_engine"),
                    truncated: text(row, "truncated"),
                    token_usage: detail(row, "token_usage"),
                    generated_at: row.get(1)?,
                },
            })
        },
    )?;
    let next = rows.last().filter(|_| rows.len() == PAGE_RESULTS as usize).map(ResultRow::place);
    let mut page = Page { items: Vec::new(), unreadable: 0, next };
    for row in rows {
        let tags = tags(connection, &row.summary_id)?;
        match row.with_tags(tags) {
            Some(result) => page.items.push(result),
            None => page.unreadable += 1,
        }
    }
    Ok(page)
}

pub(super) fn annotations(
    connection: &Connection,
    user: UserId,
    range: DateRange,
) -> Result<Annotations, StoreError> {
    Ok(Annotations {
        weeks: week_statuses(connection, user, range)?,
        tags: emotion_tags(connection, user, range)?,
    })
}

fn week_statuses(
    connection: &Connection,
    user: UserId,
    range: DateRange,
) -> Result<Vec<WeekStatus>, StoreError> {
    let (first, count) = week_starts(range);
    let mut newest = Newest::new(first.as_number(), range.end().as_number(), count);
    while let Some((first, last, limit)) = newest.page() {
        let params = params![user.as_bytes(), first, last, limit];
        let rows = connection.all(NEWEST_REQUESTS, params, |row| {
            Ok(WeekStatusRow {
                start: number(row.get(0)?),
                status: text(row, "status"),
                versions_read: text(row, "versions_read"),
                requested_at: row.get(3)?,
                id: row.get(4)?,
            })
        })?;
        newest.add(rows, |row| row.start);
    }
    Ok(known_statuses(newest.into_rows()))
}

fn emotion_tags(
    connection: &Connection,
    user: UserId,
    range: DateRange,
) -> Result<BTreeMap<Date, DayEmotion>, StoreError> {
    let (user, first, last) = (user.as_bytes(), range.start().as_number(), range.end().as_number());
    let rows = if first == last {
        connection.all(NEWEST_TAG, params![user, first], tag_row)?
    } else {
        let mut newest = Newest::new(first, last, range.days());
        while let Some((first, last, limit)) = newest.page() {
            let params = params![user, first, last, limit];
            newest.add(connection.all(NEWEST_TAGS, params, tag_row)?, |row| row.date);
        }
        newest.into_rows()
    };
    let emotions = known_emotions(rows);
    Ok(emotions.into_iter().map(|day| (day.date, day)).collect())
}

/// Decodes a row of `SELECT *`, by name.
fn summary_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<SummaryRow> {
    Ok(SummaryRow {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        start: number(row.get("start")?),
        status: text(row, "status"),
        revision: row.get("revision")?,
        attempts: number(row.get("attempts")?),
        requested_at: row.get("requested_at")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        not_before: row.get("not_before")?,
        next_hint_at: row.get("next_hint_at")?,
        lease_token: detail(row, "lease_token"),
        lease_expires: row.get("lease_expires")?,
        lease_worker: detail(row, "lease_worker"),
        completed_by: detail(row, "completed_by"),
        versions_read: text(row, "versions_read"),
        progress: detail(row, "progress"),
        text_number: row.get::<_, Option<i64>>("text_number")?.map(number),
        failure: detail(row, "failure"),
        trace: detail(row, "trace"),
    })
}

/// The text in this column; `None` if it is not UTF-8.
fn detail(row: &rusqlite::Row<'_>, column: &str) -> Option<String> {
    row.get(column).unwrap_or_default()
}

/// The text in this column; empty if it is not UTF-8.
fn text(row: &rusqlite::Row<'_>, column: &str) -> String {
    row.get(column).unwrap_or_default()
}

/// The number, clamped to the range of the column's type in the other engine.
fn number(stored: i64) -> u32 {
    let clamped = stored.clamp(0, u32::MAX.into());
    // Within the range because of the clamp.
    u32::try_from(clamped).unwrap_or(u32::MAX)
}

fn tag_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<TagRow> {
    Ok(TagRow {
        date: row.get(0)?,
        label: row.get(1)?,
        confidence: row.get(2)?,
        distribution: row.get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{contract::summary as contract, sqlite::open_temporary};

    crate::summary_contract!(async {
        let (store, directory) = open_temporary().await;
        (Arc::new(store) as Arc<dyn SummaryStore>, directory)
    });

    /// Changes the stored row of a summary.
    async fn plant(store: &SqliteStore, id: SummaryId, assignment: &str) {
        let update = format!("UPDATE summary SET {assignment} WHERE id = ?");
        let planted = store.write(move |connection| Ok(connection.run(&update, [id.as_bytes()])?));
        assert_eq!(planted.await.expect("planted"), 1);
    }

    #[tokio::test]
    async fn unreadable_details_do_not_stop_a_summary() {
        let (store, _directory) = open_temporary().await;
        let plant = async |id, assignment: &str| plant(&store, id, assignment).await;
        let shared = Arc::new(store.clone());
        let not_utf8 = [
            "failure = CAST(x'ff' AS TEXT)",
            "lease_worker = CAST(x'ff' AS TEXT), lease_token = CAST(x'ff' AS TEXT)",
            "versions_read = CAST(x'ff' AS TEXT), trace = CAST(x'ff' AS TEXT)",
            "attempts = -1",
        ];
        contract::unreadable_details_do_not_stop_a_summary(shared, plant, &not_utf8).await;
    }

    #[tokio::test]
    async fn an_unreadable_row_is_set_aside_replaced_and_cancelled() {
        let (store, _directory) = open_temporary().await;
        let plant = async |id, assignment: &str| plant(&store, id, assignment).await;
        let shared = Arc::new(store.clone());
        contract::an_unreadable_row_is_set_aside_replaced_and_cancelled(shared, plant).await;
    }

    #[tokio::test]
    async fn finished_summaries_are_not_counted_as_unfinished() {
        let (store, _directory) = open_temporary().await;
        let count = || store.unfinished(10);
        assert_eq!(count().await.expect("counted"), Unfinished::default());
        let week = Week::starting(Date::new(2026, 2, 16).expect("a date")).expect("a week");
        let policy = crate::summary::SummaryPolicy::default();
        let jobs = [3000, 1000, 2000].map(|millis| {
            SummaryJob::new(UserId::new(), week, None, Timestamp::from_millis(millis), &policy)
        });
        for job in &jobs {
            SummaryStore::insert(&store, job, policy.quota()).await.expect("inserted");
        }
        let oldest = |millis| Some(Timestamp::from_millis(millis));
        let all = Unfinished { queued: 3, running: 0, oldest: oldest(1000) };
        assert_eq!(count().await.expect("counted"), all);
        let cancelled = jobs[1].cancel(Timestamp::from_millis(4000)).expect("unfinished");
        assert!(store.compare_and_swap(&jobs[1], &cancelled, None).await.expect("swapped"));
        let others = Unfinished { queued: 2, running: 0, oldest: oldest(2000) };
        assert_eq!(count().await.expect("counted"), others);
    }

    /// A read costs the same for any number of summaries of a week, also if they were written by a
    /// version that kept all of them.
    #[tokio::test]
    async fn the_newest_rows_are_read_from_an_index() {
        let (store, _directory) = open_temporary().await;
        for statement in [NEWEST_REQUESTS, NEWEST_TAGS, LIST_QUEUED, RESULTS_PAGE] {
            let plan = format!("EXPLAIN QUERY PLAN {statement}");
            let plan = store.snapshot(move |connection| {
                let mut prepared = connection.prepare(&plan)?;
                // Without values, the parameters are NULL.
                let (mut rows, mut plan) = (prepared.raw_query(), String::new());
                while let Some(row) = rows.next()? {
                    plan.push_str(&row.get::<_, String>("detail")?);
                }
                Ok(plan)
            });
            let plan = plan.await.expect("planned");
            assert!(plan.contains("USING") && plan.contains("INDEX"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
