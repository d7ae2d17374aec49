mod annotations;
mod insertion;

use std::{collections::BTreeMap, sync::LazyLock};

use async_trait::async_trait;
use shiori_sdk::{
    Date, DateRange, DayEmotion, PartialText, Revision, SummaryId, Timestamp, UserId, Week,
};
use shiori_worker::protocol::TextSoFar;
use sqlx::{MySql, QueryBuilder, Transaction, mysql::MySqlArguments, query::Query};
use tokio::try_join;

use super::{MySqlStore, StepError};
use crate::{
    store::{
        CompletedSummary, DueJobs, DueKind, InsertOutcome, PAGE_RESULTS, Page, QueuedRow,
        ResultPlace, ResultRecord, RowId, StoreError, StoredResult, SummaryQuota, SummaryStore,
        Unfinished, WeekStatus,
        sql::{
            DELETE_TEXT, LIST_QUEUED, OLD_SUMMARIES, PARTIAL_TEXT, PURGE_BATCH, RESULTS_PAGE,
            ReflectionRow, ResultRow, SummaryRow, TagRow, UNFINISHED, due_jobs, json, revision,
            revision_number, unfinished,
        },
    },
    summary::{Annotations, SummaryJob},
};

/// The ids in a statement that selects or deletes rows by their ids. The number is fixed, so that
/// each statement is prepared once; repeated ids have no effect.
const IDS: usize = PURGE_BATCH as usize;

static READ_QUEUED: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT * FROM summary WHERE id IN ({}) AND status = 'queued'", placeholders())
});

static DELETE_SUMMARIES: LazyLock<String> =
    LazyLock::new(|| format!("DELETE FROM summary WHERE id IN ({})", placeholders()));

fn placeholders() -> String {
    vec!["?"; IDS].join(", ")
}

#[async_trait]
impl SummaryStore for MySqlStore {
    async fn insert(
        &self,
        row: &SummaryJob,
        quota: SummaryQuota,
    ) -> Result<InsertOutcome, StoreError> {
        self.insert_within(row, quota).await
    }

    async fn get(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError> {
        self.get_row(id.as_bytes()).await?.map(SummaryJob::try_from).transpose()
    }

    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        let ends_text = from.text_number.is_some() && to.text_number.is_none();
        let swapped = self
            .step(|mut connection| async move {
                if result.is_none() && !ends_text {
                    let swapped = swap(from, to)?.execute(connection.raw()).await?;
                    return Ok(swapped.rows_affected() == 1);
                }
                let mut transaction = connection.begin().await?;
                if swap(from, to)?.execute(&mut *transaction).await?.rows_affected() == 0 {
                    return Ok(false);
                }
                if ends_text {
                    delete_text(&mut transaction, to.id.as_bytes()).await?;
                }
                if let Some(result) = result {
                    insert_result(&mut transaction, to, result).await?;
                }
                transaction.commit().await?;
                Ok(true)
            })
            .await?;
        // The step is committed, so a failed deletion does not fail it.
        if swapped
            && to.status.is_final()
            && let Err(error) = self.purge(to).await
        {
            tracing::warn!(%error, "could not delete old summaries of a week");
        }
        Ok(swapped)
    }

    async fn swap_text(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        text: &TextSoFar,
    ) -> Result<bool, StoreError> {
        self.step(|mut connection| async move {
            let mut transaction = connection.begin().await?;
            if swap(from, to)?.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO partial_text (summary_id, revision, number, text) VALUES (?, ?, ?, ?)
                 ON DUPLICATE KEY UPDATE revision = VALUES(revision), number = VALUES(number),
                     text = VALUES(text)",
            )
            .bind(&to.id.as_bytes()[..])
            .bind(revision(to))
            .bind(text.number)
            .bind(&text.text)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn partial_text(
        &self,
        id: SummaryId,
        revision: Revision,
    ) -> Result<Option<PartialText>, StoreError> {
        let row: Option<(u32, String)> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(PARTIAL_TEXT)
                    .bind(&id.as_bytes()[..])
                    .bind(revision_number(revision))
                    .fetch_optional(connection.raw())
                    .await?)
            })
            .await?;
        Ok(row.map(|(number, text)| PartialText { revision, number, text }))
    }

    async fn latest_result(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<CompletedSummary>, StoreError> {
        let Some(job) = self.latest_completed(user, week).await? else { return Ok(None) };
        let result = self.result(job.id).await?;
        Ok(result.map(|result| CompletedSummary { job, result }))
    }

    async fn latest_completed(
        &self,
        user: UserId,
        week: Week,
    ) -> Result<Option<SummaryJob>, StoreError> {
        let row: Option<SummaryRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT * FROM summary WHERE id = (
                     SELECT summary_id FROM reflection WHERE user_id = ? AND start = ?
                     ORDER BY generated_at DESC, summary_id DESC LIMIT 1)",
                )
                .bind(&user.as_bytes()[..])
                .bind(week.start().as_number())
                .fetch_optional(connection.raw())
                .await?)
            })
            .await?;
        // If the summary of a week cannot be read, the week can be summarised again.
        Ok(row.and_then(|row| SummaryJob::try_from(row).ok()))
    }

    async fn result(&self, id: SummaryId) -> Result<Option<ResultRecord>, StoreError> {
        let found: Option<ReflectionRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT reflection, engine, emotion_engine, truncated, token_usage, generated_at
                     FROM reflection WHERE summary_id = ?",
                )
                .bind(&id.as_bytes()[..])
                .fetch_optional(connection.raw())
                .await?)
            })
            .await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(found.with_tags(self.tags(id.as_bytes()).await?)))
    }

    async fn results_page(
        &self,
        user: UserId,
        after: &ResultPlace,
    ) -> Result<Page<StoredResult, ResultPlace>, StoreError> {
        let rows: Vec<ResultRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(RESULTS_PAGE)
                    .bind(&user.as_bytes()[..])
                    .bind(after.start)
                    .bind(after.start)
                    .bind(after.generated_at)
                    .bind(&after.id)
                    .bind(PAGE_RESULTS)
                    .fetch_all(connection.raw())
                    .await?)
            })
            .await?;
        let next =
            rows.last().filter(|_| rows.len() == PAGE_RESULTS as usize).map(ResultRow::place);
        let mut page = Page { items: Vec::new(), unreadable: 0, next };
        for row in rows {
            let tags = self.tags(&row.summary_id).await?;
            match row.with_tags(tags) {
                Some(result) => page.items.push(result),
                None => page.unreadable += 1,
            }
        }
        Ok(page)
    }

    async fn annotations(&self, user: UserId, range: DateRange) -> Result<Annotations, StoreError> {
        if range.start() == range.end() {
            return self.annotations_of(user, range.start()).await;
        }
        let (weeks, tags) =
            try_join!(self.week_statuses(user, range), self.emotion_tags(user, range))?;
        Ok(Annotations { weeks, tags })
    }

    async fn week_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError> {
        self.newest_statuses(user, range).await
    }

    async fn emotion_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError> {
        self.newest_tags(user, range).await
    }

    async fn list_expired(&self, now: Timestamp, limit: u32) -> Result<DueJobs, StoreError> {
        let rows: Vec<SummaryRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT * FROM summary
                     WHERE status = 'running' AND (lease_expires <= ? OR lease_expires IS NULL)
                     ORDER BY lease_expires LIMIT ?",
                )
                .bind(now.as_millis())
                .bind(limit)
                .fetch_all(connection.raw())
                .await?)
            })
            .await?;
        Ok(due_jobs(rows))
    }

    async fn list_queued(
        &self,
        after: &QueuedRow,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<QueuedRow>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(LIST_QUEUED)
                    .bind(after.next_hint_at)
                    .bind(until.as_millis())
                    .bind(after.next_hint_at)
                    .bind(after.id.as_bytes())
                    .bind(limit)
                    .fetch_all(connection.raw())
                    .await?)
            })
            .await?;
        let place = |(next_hint_at, id)| QueuedRow { next_hint_at, id: RowId::new(id) };
        Ok(rows.into_iter().map(place).collect())
    }

    async fn read_queued(&self, rows: &[RowId]) -> Result<DueJobs, StoreError> {
        let mut found = Vec::new();
        for ids in rows.chunks(IDS) {
            let read: Vec<SummaryRow> = self
                .idempotent(|mut connection| async move {
                    let mut query = sqlx::query_as(READ_QUEUED.as_str());
                    for id in ids.iter().cycle().take(IDS) {
                        query = query.bind(id.as_bytes());
                    }
                    Ok(query.fetch_all(connection.raw()).await?)
                })
                .await?;
            found.extend(read);
        }
        Ok(due_jobs(found))
    }

    async fn list_overdue(
        &self,
        requested_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SummaryId>, StoreError> {
        let rows: Vec<SummaryRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT * FROM summary
                     WHERE status = 'queued' AND requested_at <= ? AND not_before <= ?
                     ORDER BY requested_at LIMIT ?",
                )
                .bind(requested_before.as_millis())
                .bind(now.as_millis())
                .bind(limit)
                .fetch_all(connection.raw())
                .await?)
            })
            .await?;
        Ok(due_jobs(rows).jobs.into_iter().map(|job| job.id).collect())
    }

    async fn unfinished(&self, limit: u32) -> Result<Unfinished, StoreError> {
        let rows = self.idempotent(|mut connection| async move {
            let query = sqlx::query_as(UNFINISHED).bind(limit).bind(limit);
            Ok(query.fetch_all(connection.raw()).await?)
        });
        Ok(unfinished(rows.await?))
    }

    async fn postpone(
        &self,
        kind: DueKind,
        row: &RowId,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = match kind {
            DueKind::Hint => {
                "UPDATE summary SET next_hint_at = ? WHERE id = ? AND status = 'queued'"
            }
            DueKind::Lease => {
                "UPDATE summary SET lease_expires = ? WHERE id = ? AND status = 'running'"
            }
        };
        self.idempotent(|mut connection| async move {
            sqlx::query(statement)
                .bind(until.as_millis())
                .bind(row.as_bytes())
                .execute(connection.raw())
                .await?;
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
        self.step(|mut connection| async move {
            let mut transaction = connection.begin().await?;
            let cancelled = sqlx::query(
                "UPDATE summary SET status = 'cancelled', finished_at = ?, lease_token = NULL,
                    lease_expires = NULL, lease_worker = NULL, progress = NULL,
                    text_number = NULL, failure = NULL, revision = GREATEST(revision, 0) + 1
                 WHERE id = ? AND user_id = ? AND unfinished = 1",
            )
            .bind(now.as_millis())
            .bind(&id.as_bytes()[..])
            .bind(&user.as_bytes()[..])
            .execute(&mut *transaction)
            .await?;
            let is_cancelled = cancelled.rows_affected() == 1;
            if is_cancelled {
                delete_text(&mut transaction, id.as_bytes()).await?;
            }
            transaction.commit().await?;
            Ok(is_cancelled)
        })
        .await
    }

    async fn erase(&self, user: UserId, limit: u32) -> Result<u64, StoreError> {
        self.step(|mut connection| async move {
            let erased = sqlx::query("DELETE FROM summary WHERE user_id = ? LIMIT ?")
                .bind(&user.as_bytes()[..])
                .bind(limit)
                .execute(connection.raw())
                .await?
                .rows_affected();
            if erased < u64::from(limit) {
                sqlx::query("DELETE FROM summary_user WHERE user_id = ?")
                    .bind(&user.as_bytes()[..])
                    .execute(connection.raw())
                    .await?;
            }
            Ok(erased)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ping().await
    }
}

impl MySqlStore {
    async fn get_row(&self, id: &[u8]) -> Result<Option<SummaryRow>, StoreError> {
        self.idempotent(|mut connection| async move {
            Ok(sqlx::query_as("SELECT * FROM summary WHERE id = ?")
                .bind(id)
                .fetch_optional(connection.raw())
                .await?)
        })
        .await
    }

    /// The emotions of a summary.
    async fn tags(&self, summary: &[u8]) -> Result<Vec<TagRow>, StoreError> {
        self.idempotent(|mut connection| async move {
            Ok(sqlx::query_as(
                "SELECT date, label, confidence, distribution FROM emotion_tag
                 WHERE summary_id = ? ORDER BY date",
            )
            .bind(summary)
            .fetch_all(connection.raw())
            .await?)
        })
        .await
    }

    /// Deletes finished summaries of the job's week that are not kept, with their results.
    async fn purge(&self, job: &SummaryJob) -> Result<(), StoreError> {
        self.idempotent(|mut connection| async move {
            let mut old = sqlx::query_scalar(OLD_SUMMARIES.as_str());
            for _ in 0..3 {
                old = old.bind(&job.user.as_bytes()[..]).bind(job.week.start().as_number());
            }
            let old: Vec<Vec<u8>> = old.fetch_all(connection.raw()).await?;
            if !old.is_empty() {
                let mut delete = sqlx::query(DELETE_SUMMARIES.as_str());
                for id in old.iter().cycle().take(IDS) {
                    delete = delete.bind(id);
                }
                delete.execute(connection.raw()).await?;
            }
            Ok(())
        })
        .await
    }
}

/// The compare-and-swap of a row.
fn swap<'q>(
    from: &'q SummaryJob,
    to: &'q SummaryJob,
) -> Result<Query<'q, MySql, MySqlArguments>, StoreError> {
    let lease = to.lease.as_ref();
    Ok(sqlx::query(
        "UPDATE summary SET status = ?, revision = ?, attempts = ?, started_at = ?,
            finished_at = ?, not_before = ?, next_hint_at = ?, lease_token = ?,
            lease_expires = ?, lease_worker = ?, completed_by = ?, versions_read = ?,
            progress = ?, text_number = ?, failure = ?
         WHERE id = ? AND revision = ? AND lease_expires <=> ? AND text_number <=> ?",
    )
    .bind(to.status.as_str())
    .bind(revision(to))
    .bind(to.attempts)
    .bind(to.started_at.map(Timestamp::as_millis))
    .bind(to.finished_at.map(Timestamp::as_millis))
    .bind(to.not_before.as_millis())
    .bind(to.next_hint_at.as_millis())
    .bind(lease.map(|lease| lease.token.reveal()))
    .bind(lease.map(|lease| lease.expires_at.as_millis()))
    .bind(lease.map(|lease| lease.worker.as_str()))
    .bind(to.completed_by.map(|token| token.reveal()))
    .bind(json(&to.versions_read)?)
    .bind(to.progress.as_ref().map(json).transpose()?)
    .bind(to.text_number)
    .bind(to.failure.as_ref().map(json).transpose()?)
    .bind(&from.id.as_bytes()[..])
    .bind(revision(from))
    .bind(from.lease.as_ref().map(|lease| lease.expires_at.as_millis()))
    .bind(from.text_number))
}

/// Deletes the text so far of a summary.
async fn delete_text(
    transaction: &mut Transaction<'_, MySql>,
    summary: &[u8],
) -> Result<(), StepError> {
    sqlx::query(DELETE_TEXT).bind(summary).execute(&mut **transaction).await?;
    Ok(())
}

async fn insert_result(
    transaction: &mut Transaction<'_, MySql>,
    row: &SummaryJob,
    result: &ResultRecord,
) -> Result<(), StepError> {
    sqlx::query(
        "INSERT INTO reflection (summary_id, user_id, start, reflection, engine, emotion_engine,
            truncated, token_usage, generated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.id.as_bytes()[..])
    .bind(&row.user.as_bytes()[..])
    .bind(row.week.start().as_number())
    .bind(&result.reflection)
    .bind(&result.engine)
    .bind(&result.emotion_engine)
    .bind(json(&result.truncated)?)
    .bind(result.usage.as_ref().map(json).transpose()?)
    .bind(result.generated_at.as_millis())
    .execute(&mut **transaction)
    .await?;
    if result.emotions.is_empty() {
        return Ok(());
    }
    let tags: Result<Vec<_>, StoreError> =
        result.emotions.iter().map(|tag| Ok((tag, json(&tag.distribution)?))).collect();
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO emotion_tag (summary_id, user_id, date, label, confidence, distribution,
            generated_at) ",
    );
    insert.push_values(tags?, |mut values, (tag, distribution)| {
        values
            .push_bind(&row.id.as_bytes()[..])
            .push_bind(&row.user.as_bytes()[..])
            .push_bind(tag.date.as_number())
            .push_bind(tag.label.korean())
            .push_bind(tag.confidence)
            .push_bind(distribution)
            .push_bind(result.generated_at.as_millis());
    });
    insert.build().execute(&mut **transaction).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shiori_sdk::Timestamp;

    use super::{
        super::{errors::is_duplicate, open_for_tests},
        insertion::insert_job,
        *,
    };
    use crate::{store::contract::summary as contract, summary::SummaryPolicy};

    crate::summary_contract!([ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"], async {
        (Arc::new(open_for_tests().await) as Arc<dyn SummaryStore>, ())
    });

    fn week(day: u8) -> Week {
        Week::starting(Date::new(2026, 2, day).expect("a date")).expect("a week")
    }

    fn unfinished(unfinished: u32) -> SummaryQuota {
        SummaryQuota { unfinished, per_day: None }
    }

    fn job(user: UserId, day: u8) -> SummaryJob {
        SummaryJob::new(user, week(day), None, Timestamp::now(), &SummaryPolicy::default())
    }

    /// A summary that an older server inserted, without a slot, counts when a slot is looked for.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_row_without_a_slot_counts() {
        let (store, user) = (open_for_tests().await, UserId::new());
        for day in [1, 2] {
            let job = job(user, day);
            assert!(matches!(store.insert(&job, unfinished(2)).await, Ok(InsertOutcome::Inserted)));
            plant(&store, job.id, if day == 1 { "slot = NULL" } else { "slot = 0" }).await;
        }
        // Slot 0 is taken, and slot 1 stays free for the row without a slot.
        assert!(matches!(
            store.insert(&job(user, 3), unfinished(1)).await,
            Ok(InsertOutcome::TooMany)
        ));
    }

    /// The response to an insertion may be lost.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_repeated_insertion_has_the_same_outcome() {
        let (store, job) = (open_for_tests().await, job(UserId::new(), 16));
        for _ in 0..2 {
            let outcome = store.insert(&job, unfinished(1)).await;
            assert!(matches!(outcome, Ok(InsertOutcome::Inserted)), "{outcome:?}");
        }
        assert_eq!(store.get(job.id).await.expect("read"), Some(job));
    }

    /// Changes the stored row of a summary.
    async fn plant(store: &MySqlStore, id: SummaryId, assignment: &str) {
        let update = format!("UPDATE summary SET {assignment} WHERE id = ?");
        let update = sqlx::query(sqlx::AssertSqlSafe(update)).bind(id.as_bytes().to_vec());
        let mut connection = store.pool.acquire().await.expect("a connection");
        update.execute(connection.raw()).await.expect("planted");
    }

    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn unreadable_details_do_not_stop_a_summary() {
        let store = open_for_tests().await;
        let plant = async |id, assignment: &str| plant(&store, id, assignment).await;
        let shared = Arc::new(store.clone());
        contract::unreadable_details_do_not_stop_a_summary(shared, plant, &[]).await;
    }

    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn an_unreadable_row_is_set_aside_replaced_and_cancelled() {
        let store = open_for_tests().await;
        let plant = async |id, assignment: &str| plant(&store, id, assignment).await;
        let shared = Arc::new(store.clone());
        contract::an_unreadable_row_is_set_aside_replaced_and_cancelled(shared, plant).await;
    }

    /// The unique keys reject a second unfinished summary of a week or in a slot.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn the_database_rejects_a_second_unfinished_summary() {
        let (store, user) = (open_for_tests().await, UserId::new());
        let mut connection = store.pool.acquire().await.expect("a connection");
        let mut insert = async |day, slot| {
            let job = job(user, day);
            insert_job(&job, slot).expect("a statement").execute(connection.raw()).await
        };
        insert(16, 0).await.expect("inserted");
        for (day, slot) in [(16, 1), (9, 0)] {
            let error = insert(day, slot).await.expect_err("a unique violation");
            assert!(is_duplicate(&error));
            // MySQL quotes the values of the key in its message.
            let shown = format!("{:?}", StoreError::from(error));
            assert!(shown.contains("23000") && !shown.contains("20260216"), "{shown}");
        }
        insert(9, 1).await.expect("inserted");
    }
}
