use std::{collections::BTreeMap, sync::LazyLock};

use async_trait::async_trait;
use shiori_sdk::{Date, DateRange, DayEmotion, SummaryId, Timestamp, UserId, Week};
use sqlx::{
    Connection, FromRow, MySql, QueryBuilder, Transaction,
    mysql::{MySqlArguments, MySqlRow},
    query::Query,
};

use super::{MySqlStore, StepError};
use crate::{
    store::{
        CompletedSummary, DueJobs, DueKind, InsertOutcome, QueuedRow, ResultRecord, RowId,
        StoreError, SummaryStore, WeekStatus,
        sql::{
            LIST_QUEUED, NEWEST_REQUESTS, NEWEST_TAG, NEWEST_TAGS, Newest, OLD_SUMMARIES,
            PURGE_BATCH, ReflectionRow, SummaryRow, TagRow, WeekStatusRow, due_jobs, json,
            known_emotions, known_statuses, revision, unreadable_failure, week_starts,
        },
    },
    summary::SummaryJob,
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
        max_unfinished: u32,
    ) -> Result<InsertOutcome, StoreError> {
        self.step(|mut connection| async move {
            let mut transaction = connection.raw().begin().await?;
            // Locks the user's row, so that concurrent requests of this user wait.
            sqlx::query(
                "INSERT INTO summary_user (user_id) VALUES (?)
                 ON DUPLICATE KEY UPDATE user_id = user_id",
            )
            .bind(&row.user.as_bytes()[..])
            .execute(&mut *transaction)
            .await?;
            let unfinished: Vec<(u32, Vec<u8>)> = sqlx::query_as(
                "SELECT start, id FROM summary WHERE user_id = ? AND unfinished = 1",
            )
            .bind(&row.user.as_bytes()[..])
            .fetch_all(&mut *transaction)
            .await?;
            let mut count = unfinished.len();
            let start = row.week.start().as_number();
            if let Some((_, id)) = unfinished.into_iter().find(|(other, _)| *other == start) {
                let found: SummaryRow = sqlx::query_as("SELECT * FROM summary WHERE id = ?")
                    .bind(&id)
                    .fetch_one(&mut *transaction)
                    .await?;
                match SummaryJob::try_from(found) {
                    Ok(job) => return Ok(InsertOutcome::Unfinished(Box::new(job))),
                    Err(_) => fail_unreadable(&mut transaction, &id, row.requested_at).await?,
                }
                count -= 1;
            }
            if count >= max_unfinished as usize {
                return Ok(InsertOutcome::TooMany);
            }
            insert_row(&mut transaction, row).await?;
            transaction.commit().await?;
            Ok(InsertOutcome::Inserted)
        })
        .await
    }

    async fn get(&self, id: SummaryId) -> Result<Option<SummaryJob>, StoreError> {
        let row: Option<SummaryRow> = self
            .step(|mut connection| async move {
                Ok(sqlx::query_as("SELECT * FROM summary WHERE id = ?")
                    .bind(&id.as_bytes()[..])
                    .fetch_optional(connection.raw())
                    .await?)
            })
            .await?;
        row.map(SummaryJob::try_from).transpose()
    }

    async fn compare_and_swap(
        &self,
        from: &SummaryJob,
        to: &SummaryJob,
        result: Option<&ResultRecord>,
    ) -> Result<bool, StoreError> {
        let swapped = self
            .step(|mut connection| async move {
                let Some(result) = result else {
                    let swapped = swap(from, to)?.execute(connection.raw()).await?;
                    return Ok(swapped.rows_affected() == 1);
                };
                let mut transaction = connection.raw().begin().await?;
                if swap(from, to)?.execute(&mut *transaction).await?.rows_affected() == 0 {
                    return Ok(false);
                }
                insert_result(&mut transaction, to, result).await?;
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
            .step(|mut connection| async move {
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
            .step(|mut connection| async move {
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
        let tags: Vec<TagRow> = self
            .step(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT date, label, confidence, distribution FROM emotion_tag
                     WHERE summary_id = ? ORDER BY date",
                )
                .bind(&id.as_bytes()[..])
                .fetch_all(connection.raw())
                .await?)
            })
            .await?;
        Ok(Some(found.with_tags(tags)))
    }

    async fn week_statuses(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<Vec<WeekStatus>, StoreError> {
        let (first, count) = week_starts(range);
        let newest = Newest::new(first.as_number(), range.end().as_number(), count);
        let rows = self.newest(NEWEST_REQUESTS, user, newest, |row: &WeekStatusRow| row.start);
        Ok(known_statuses(rows.await?))
    }

    async fn emotion_tags(
        &self,
        user: UserId,
        range: DateRange,
    ) -> Result<BTreeMap<Date, DayEmotion>, StoreError> {
        let (first, last) = (range.start().as_number(), range.end().as_number());
        let rows = if first == last {
            self.step(|mut connection| async move {
                Ok(sqlx::query_as(NEWEST_TAG)
                    .bind(&user.as_bytes()[..])
                    .bind(first)
                    .fetch_all(connection.raw())
                    .await?)
            })
            .await?
        } else {
            let newest = Newest::new(first, last, range.days());
            self.newest(NEWEST_TAGS, user, newest, |row: &TagRow| row.date).await?
        };
        let emotions = known_emotions(rows);
        Ok(emotions.into_iter().map(|day| (day.date, day)).collect())
    }

    async fn list_expired(&self, now: Timestamp, limit: u32) -> Result<DueJobs, StoreError> {
        let rows: Vec<SummaryRow> = self
            .step(|mut connection| async move {
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
            .step(|mut connection| async move {
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
                .step(|mut connection| async move {
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
            .step(|mut connection| async move {
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
        self.step(|mut connection| async move {
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
            let cancelled = sqlx::query(
                "UPDATE summary SET status = 'cancelled', finished_at = ?, lease_token = NULL,
                    lease_expires = NULL, lease_worker = NULL, progress = NULL, failure = NULL,
                    revision = GREATEST(revision, 0) + 1
                 WHERE id = ? AND user_id = ? AND unfinished = 1",
            )
            .bind(now.as_millis())
            .bind(&id.as_bytes()[..])
            .bind(&user.as_bytes()[..])
            .execute(connection.raw())
            .await?;
            Ok(cancelled.rows_affected() == 1)
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
    /// The newest row of each key, read in pages with this statement.
    async fn newest<T>(
        &self,
        statement: &'static str,
        user: UserId,
        mut newest: Newest<T>,
        key: impl Fn(&T) -> u32 + Send,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> FromRow<'r, MySqlRow> + Send + Unpin,
    {
        while let Some((first, last, limit)) = newest.page() {
            let page: Vec<T> = self
                .step(|mut connection| async move {
                    Ok(sqlx::query_as(statement)
                        .bind(&user.as_bytes()[..])
                        .bind(first)
                        .bind(last)
                        .bind(limit)
                        .fetch_all(connection.raw())
                        .await?)
                })
                .await?;
            newest.add(page, &key);
        }
        Ok(newest.into_rows())
    }

    /// Deletes finished summaries of the job's week that are not kept, with their results.
    async fn purge(&self, job: &SummaryJob) -> Result<(), StoreError> {
        self.step(|mut connection| async move {
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
            progress = ?, failure = ?
         WHERE id = ? AND revision = ? AND lease_expires <=> ?",
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
    .bind(to.failure.as_ref().map(json).transpose()?)
    .bind(&from.id.as_bytes()[..])
    .bind(revision(from))
    .bind(from.lease.as_ref().map(|lease| lease.expires_at.as_millis())))
}

/// Fails a row that cannot be read, so that its week can be summarised.
async fn fail_unreadable(
    transaction: &mut Transaction<'_, MySql>,
    id: &[u8],
    now: Timestamp,
) -> Result<(), StepError> {
    sqlx::query(
        "UPDATE summary SET status = 'failed', finished_at = ?, lease_token = NULL,
            lease_expires = NULL, lease_worker = NULL, progress = NULL, failure = ?,
            revision = GREATEST(revision, 0) + 1
         WHERE id = ?",
    )
    .bind(now.as_millis())
    .bind(unreadable_failure()?)
    .bind(id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn insert_row(
    transaction: &mut Transaction<'_, MySql>,
    row: &SummaryJob,
) -> Result<(), StepError> {
    sqlx::query(
        "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
            not_before, next_hint_at, versions_read, trace)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.id.as_bytes()[..])
    .bind(&row.user.as_bytes()[..])
    .bind(row.week.start().as_number())
    .bind(row.status.as_str())
    .bind(revision(row))
    .bind(row.attempts)
    .bind(row.requested_at.as_millis())
    .bind(row.not_before.as_millis())
    .bind(row.next_hint_at.as_millis())
    .bind(json(&row.versions_read)?)
    .bind(&row.trace)
    .execute(&mut **transaction)
    .await?;
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

    use super::{super::open_for_tests, *};
    use crate::{store::contract::summary as contract, summary::SummaryPolicy};

    crate::summary_contract!([ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"], async {
        (Arc::new(open_for_tests().await) as Arc<dyn SummaryStore>, ())
    });

    /// Changes the stored row of a summary.
    async fn plant(store: &MySqlStore, id: SummaryId, assignment: &str) {
        let update = format!("UPDATE summary SET {assignment} WHERE id = ?");
        let update = sqlx::query(sqlx::AssertSqlSafe(update)).bind(id.as_bytes().to_vec());
        update.execute(&store.pool).await.expect("planted");
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

    /// The unique index rejects a second unfinished summary of a week.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn the_database_rejects_a_second_unfinished_summary() {
        let store = open_for_tests().await;
        let (user, now) = (UserId::new(), Timestamp::now());
        let week = Week::starting(Date::new(2026, 2, 16).expect("a date")).expect("a week");
        let row = || SummaryJob::new(user, week, None, now, &SummaryPolicy::default());
        let mut transaction = store.pool.begin().await.expect("begun");
        assert!(insert_row(&mut transaction, &row()).await.is_ok());
        let Err(StepError::Sql(error)) = insert_row(&mut transaction, &row()).await else {
            panic!("expected a unique violation")
        };
        assert!(super::super::is_duplicate(&error));
        // MySQL quotes the values of the key in its message.
        let shown = format!("{:?}", StoreError::from(error));
        assert!(shown.contains("23000") && !shown.contains("20260216"), "{shown}");
    }
}
