//! The insertion of a job: at most one unfinished job for each week of a user, within the limits of
//! unfinished jobs and of requests in a day.

use shiori_sdk::{Timestamp, UserId};
use sqlx::{FromRow, MySql, mysql::MySqlArguments, query::Query};

use super::{
    super::{MySqlStore, errors::is_duplicate},
    delete_text,
};
use crate::{
    store::{
        InsertOutcome, StoreError, SummaryQuota,
        sql::{json, request_day, revision, unreadable_failure},
    },
    summary::SummaryJob,
};

/// Attempts to insert a job while concurrent requests of the same user take its slot.
const MAX_CONFLICT_ATTEMPTS: u32 = 32;

/// An unfinished summary of a user.
#[derive(FromRow)]
struct Unfinished {
    start: u32,
    id: Vec<u8>,
    /// `None` if an older server inserted it.
    slot: Option<u32>,
}

/// A random one of this many slots, so that concurrent requests rarely take the same one. `None` if
/// a slot of each is taken.
fn random_slot(slots: u32, taken: &[Option<u32>]) -> Option<u32> {
    let free = slots.checked_sub(u32::try_from(taken.len()).ok()?).filter(|free| *free > 0)?;
    let mut taken: Vec<_> = taken.iter().flatten().copied().filter(|slot| *slot < slots).collect();
    taken.sort_unstable();
    // The nth free slot: each taken slot up to it moves it by one.
    let nth = rand::random_range(0..free);
    Some(taken.into_iter().fold(nth, |slot, taken| if taken <= slot { slot + 1 } else { slot }))
}

impl MySqlStore {
    /// Inserts the job, as [`SummaryStore::insert`](crate::store::SummaryStore::insert).
    pub(super) async fn insert_within(
        &self,
        row: &SummaryJob,
        quota: SummaryQuota,
    ) -> Result<InsertOutcome, StoreError> {
        let (mut slot, mut is_counted) = (random_slot(quota.unfinished, &[]), false);
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
            let Some(free) = slot else {
                self.uncount_request(row, is_counted).await?;
                return Ok(InsertOutcome::TooMany);
            };
            if let Some(limit) = quota.per_day.filter(|_| !is_counted) {
                is_counted = self.count_request(row, limit).await?;
            }
            let is_exhausted = quota.per_day.is_some() && !is_counted;
            if !is_exhausted && self.insert_row(row, free).await? {
                return Ok(InsertOutcome::Inserted);
            }
            // The week or the slot is taken, or the user has reached the limit of the day.
            let unfinished = self.unfinished(row.user).await?;
            let start = row.week.start().as_number();
            if let Some(other) = unfinished.iter().find(|other| other.start == start) {
                if other.id == row.id.as_bytes() {
                    // The response to an earlier attempt was lost.
                    return Ok(InsertOutcome::Inserted);
                }
                match self.get_row(&other.id).await?.map(SummaryJob::try_from) {
                    Some(Ok(job)) if !job.status.is_final() => {
                        self.uncount_request(row, is_counted).await?;
                        return Ok(InsertOutcome::Unfinished(Box::new(job)));
                    }
                    Some(Err(_)) => self.fail_unreadable(&other.id, row.requested_at).await?,
                    // It was finished meanwhile.
                    _ => {}
                }
            }
            if let Some(limit) = quota.per_day.filter(|_| is_exhausted) {
                return Ok(InsertOutcome::TooManyOnDay(limit));
            }
            let others = unfinished.iter().filter(|other| other.start != start);
            let taken: Vec<_> = others.map(|other| other.slot).collect();
            slot = random_slot(quota.unfinished, &taken);
        }
        Err(StoreError::Unavailable("too many concurrent requests".into()))
    }

    /// Inserts a new job with this slot. `false` if the user has an unfinished job for the week or
    /// in the slot, which may be the same job.
    async fn insert_row(&self, row: &SummaryJob, slot: u32) -> Result<bool, StoreError> {
        self.idempotent(|mut connection| async move {
            match insert_job(row, slot)?.execute(connection.raw()).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// The user's unfinished summaries.
    async fn unfinished(&self, user: UserId) -> Result<Vec<Unfinished>, StoreError> {
        self.idempotent(|mut connection| async move {
            Ok(sqlx::query_as(
                "SELECT start, id, slot FROM summary WHERE user_id = ? AND unfinished = 1",
            )
            .bind(&user.as_bytes()[..])
            .fetch_all(connection.raw())
            .await?)
        })
        .await
    }

    /// Fails a row that cannot be read, so that its week can be summarised.
    async fn fail_unreadable(&self, id: &[u8], now: Timestamp) -> Result<(), StoreError> {
        let failure = unreadable_failure()?;
        self.idempotent(|mut connection| {
            let failure = &failure;
            async move {
                let mut transaction = connection.begin().await?;
                sqlx::query(
                    "UPDATE summary SET status = 'failed', finished_at = ?, lease_token = NULL,
                        lease_expires = NULL, lease_worker = NULL, progress = NULL,
                        text_number = NULL, failure = ?, revision = GREATEST(revision, 0) + 1
                     WHERE id = ? AND unfinished = 1",
                )
                .bind(now.as_millis())
                .bind(failure)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
                delete_text(&mut transaction, id).await?;
                transaction.commit().await?;
                Ok(())
            }
        })
        .await
    }

    /// Counts a request on its day; `false` if the user has reached the limit. After a lost
    /// connection, it may be counted twice.
    async fn count_request(&self, row: &SummaryJob, limit: u32) -> Result<bool, StoreError> {
        self.idempotent(|mut connection| async move {
            let day = request_day(row);
            // A first request that is concurrent with another is the second one.
            for _ in 0..2 {
                // The assignments are evaluated in this order.
                let counted = sqlx::query(
                    "UPDATE summary_user SET requests = IF(day = ?, requests + 1, 1), day = ?
                     WHERE user_id = ? AND (day <> ? OR requests < ?)",
                )
                .bind(day)
                .bind(day)
                .bind(&row.user.as_bytes()[..])
                .bind(day)
                .bind(limit)
                .execute(connection.raw())
                .await?;
                if counted.rows_affected() == 1 {
                    return Ok(true);
                }
                let first = sqlx::query(
                    "INSERT INTO summary_user (user_id, day, requests) VALUES (?, ?, 1)",
                );
                let first = first.bind(&row.user.as_bytes()[..]).bind(day);
                match first.execute(connection.raw()).await {
                    Ok(_) => return Ok(true),
                    Err(error) if is_duplicate(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(false)
        })
        .await
    }

    /// Takes a counted request back, because nothing was inserted.
    async fn uncount_request(&self, row: &SummaryJob, is_counted: bool) -> Result<(), StoreError> {
        if !is_counted {
            return Ok(());
        }
        self.idempotent(|mut connection| async move {
            sqlx::query(
                "UPDATE summary_user SET requests = requests - 1
                 WHERE user_id = ? AND day = ? AND requests > 0",
            )
            .bind(&row.user.as_bytes()[..])
            .bind(request_day(row))
            .execute(connection.raw())
            .await?;
            Ok(())
        })
        .await
    }
}

/// The insertion of a new job.
pub(super) fn insert_job(
    row: &SummaryJob,
    slot: u32,
) -> Result<Query<'_, MySql, MySqlArguments>, StoreError> {
    Ok(sqlx::query(
        "INSERT INTO summary (id, user_id, start, status, revision, attempts, requested_at,
            not_before, next_hint_at, versions_read, trace, slot)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    .bind(row.trace.as_deref())
    .bind(slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_slot_is_free() {
        let taken = [Some(4), None, Some(0), Some(1), Some(900)];
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            seen.insert(random_slot(8, &taken).expect("a free slot"));
        }
        assert!(seen.is_subset(&[2, 3, 5, 6, 7].into()), "{seen:?}");
        assert!(seen.len() > 1, "{seen:?}");
        assert_eq!(random_slot(5, &taken), None);
        assert_eq!(random_slot(0, &[]), None);
        assert_eq!(random_slot(1, &[]), Some(0));
    }
}
