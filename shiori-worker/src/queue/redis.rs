use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use redis::{Script, cmd};
use shiori_sdk::{SummaryId, Timestamp};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{CheckLease, JobQueue, QueueError};
use crate::{
    Clock, MeasuredClock,
    redis::{Connection, Redis, RedisError, RedisTime},
};

/// How long `BZPOPMIN` blocks before the clock is read again.
const BLOCK: Duration = Duration::from_secs(2);

/// A response may take this much longer than [`BLOCK`] before the connection is considered lost.
const BLOCK_MARGIN: Duration = Duration::from_secs(3);

/// How often the queue is read again while its earliest hint is not due yet.
const RECHECK: Duration = Duration::from_millis(200);

/// Acquires or extends the lease of the check. Returns 1 if the holder is new, 2 if it had the
/// lease, and 0 if another holder has it.
static LEASE_CHECK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local holder = redis.call('GET', KEYS[1])
        if holder and holder ~= ARGV[1] then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return holder and 2 or 1
        ",
    )
});

/// Deletes the lease of the check if this holder has it.
static RELEASE_CHECK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
        ",
    )
});

/// A queue in Redis, shared by any number of servers and workers: a sorted set of summary ids,
/// scored by their due time in milliseconds. It may be flushed at any time; the servers'
/// dispatchers fill it again.
pub struct RedisQueue {
    redis: Redis,
    key: String,
    /// The lease of the check, in the same slot of a cluster, so that both are lost together.
    check_key: String,
    clock: Arc<dyn Clock>,
    /// The clock, if this queue measures it.
    measured: Option<Arc<MeasuredClock>>,
    /// The connection for blocking commands, which delay all later commands on their connection.
    blocking: Mutex<Option<Connection>>,
}

impl RedisQueue {
    /// The queue of this name with this clock, which all servers and workers of the queue must
    /// share. No connection is made yet.
    pub fn new(redis: Redis, name: &str, clock: Arc<dyn Clock>) -> Self {
        let key = redis.key(name);
        let check_key = beside(&key, "check");
        Self { redis, key, check_key, clock, measured: None, blocking: Mutex::new(None) }
    }

    /// The queue of this name with the clock of Redis, which it measures while hints are taken. No
    /// connection is made yet.
    pub fn with_redis_clock(redis: Redis, name: &str) -> Self {
        let clock = Arc::new(MeasuredClock::new(Arc::new(RedisTime::new(redis.clone(), name))));
        Self { measured: Some(clock.clone()), ..Self::new(redis, name, clock) }
    }

    /// The time until the earliest hint is due; `None` if the queue is empty.
    async fn next_due(&self) -> Result<Option<Duration>, RedisError> {
        let first = cmd("ZRANGE").arg(&self.key).arg(0).arg(0).arg("WITHSCORES").to_owned();
        let first: Vec<(String, f64)> = self.redis.query_idempotent(&first).await?;
        let now = self.clock.now();
        Ok(first.first().map(|(_, score)| due(*score).duration_since(now)))
    }

    /// Waits for a hint and removes the earliest, due or not.
    async fn pop(&self, connection: &mut Connection) -> Result<Option<(String, f64)>, RedisError> {
        let pop = cmd("BZPOPMIN").arg(&self.key).arg(BLOCK.as_secs_f64()).to_owned();
        let answer = timeout(BLOCK + BLOCK_MARGIN, pop.query_async(connection)).await;
        let answer = answer.map_err(|_| RedisError::timed_out())?;
        let popped: Option<(String, String, f64)> = self.redis.check_blocking(answer).await?;
        Ok(popped.map(|(_, member, score)| (member, score)))
    }

    async fn add(&self, hints: &[(SummaryId, Timestamp)]) -> Result<(), RedisError> {
        let mut add = cmd("ZADD").arg(&self.key).arg("NX").to_owned();
        for (id, due) in hints {
            add.arg(due.as_millis()).arg(id.to_string());
        }
        self.redis.query_idempotent(&add).await
    }
}

#[async_trait]
impl JobQueue for RedisQueue {
    async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError> {
        Ok(self.add(&[(id, due)]).await?)
    }

    async fn offer_all(&self, hints: &[(SummaryId, Timestamp)]) -> Result<(), QueueError> {
        // The command requires at least one member.
        if hints.is_empty() { Ok(()) } else { Ok(self.add(hints).await?) }
    }

    async fn missing(&self, ids: &[SummaryId]) -> Result<Vec<SummaryId>, QueueError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut scores = cmd("ZMSCORE").arg(&self.key).to_owned();
        for id in ids {
            scores.arg(id.to_string());
        }
        let scores: Vec<Option<f64>> = self.redis.query_idempotent(&scores).await?;
        let of_all = ids.iter().zip(scores);
        Ok(of_all.filter(|(_, score)| score.is_none()).map(|(id, _)| *id).collect())
    }

    async fn take(&self) -> Result<SummaryId, QueueError> {
        // While `pop` runs, the future owns the connection. Cancelling it closes the connection, so
        // that Redis does not pop a later hint for a client that has stopped waiting.
        let mut blocking = self.blocking.lock().await;
        loop {
            if let Some(clock) = &self.measured {
                clock.refresh().await;
            }
            // A hint that is not due is not popped: if it were added again later and the process
            // was killed in between, it would be lost.
            if let Some(wait) = self.next_due().await?.filter(|wait| !wait.is_zero()) {
                sleep(wait.min(RECHECK)).await;
                continue;
            }
            let mut connection = match blocking.take() {
                Some(connection) => connection,
                None => self.redis.blocking().await?,
            };
            let popped = self.pop(&mut connection).await?;
            *blocking = Some(connection);
            let Some((member, score)) = popped else { continue };
            // A member that is not a summary id is discarded.
            let Ok(id) = member.parse::<SummaryId>() else { continue };
            if due(score) <= self.clock.now() {
                return Ok(id);
            }
            self.add(&[(id, due(score))]).await?;
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn clock_offset_seconds(&self) -> Option<f64> {
        self.measured.as_ref()?.offset_seconds()
    }

    async fn depth(&self) -> Result<usize, QueueError> {
        Ok(self.redis.query_idempotent(cmd("ZCARD").arg(&self.key)).await?)
    }

    async fn lease_check(
        &self,
        holder: Uuid,
        duration: Duration,
    ) -> Result<CheckLease, QueueError> {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let mut lease = LEASE_CHECK.key(&self.check_key);
        lease.arg(holder.to_string()).arg(millis);
        let outcome: u8 = self.redis.invoke(&lease).await?;
        Ok(match outcome {
            1 => CheckLease::Acquired,
            2 => CheckLease::Extended,
            _ => CheckLease::Taken,
        })
    }

    async fn release_check(&self, holder: Uuid) -> Result<(), QueueError> {
        let mut release = RELEASE_CHECK.key(&self.check_key);
        Ok(self.redis.invoke(release.arg(holder.to_string())).await?)
    }
}

/// A key in the same slot of a cluster: both have the same hash tag. By the cluster specification,
/// the tag is the text in the first pair of braces, or without one the whole key.
fn beside(key: &str, name: &str) -> String {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    match tag {
        Some((tag, _)) if !tag.is_empty() => format!("{key}:{name}"),
        _ => format!("{{{key}}}:{name}"),
    }
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueue").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Scores are doubles, which represent milliseconds exactly for more than 200,000 years.
#[allow(clippy::cast_possible_truncation)]
fn due(score: f64) -> Timestamp {
    Timestamp::from_millis(score as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    fn queue(clock: &ManualClock) -> RedisQueue {
        let url = std::env::var("SHIORI_TEST_REDIS_URL").expect("SHIORI_TEST_REDIS_URL");
        let redis = Redis::new(&url, "shiori-test").expect("a URL");
        RedisQueue::new(redis, &format!("queue:{}", SummaryId::new()), Arc::new(clock.clone()))
    }

    fn open() -> (Arc<RedisQueue>, ManualClock) {
        let clock = ManualClock::at(Timestamp::from_millis(1_771_200_000_000));
        (Arc::new(queue(&clock)), clock)
    }

    crate::queue::contract::queue_contract!(
        [ignore = "needs Redis: SHIORI_TEST_REDIS_URL"],
        async { open() }
    );

    /// Redis must not deliver a hint to a client that has stopped waiting.
    #[tokio::test]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn a_cancelled_take_does_not_remove_a_later_hint() {
        let (queue, clock) = open();
        for _ in 0..20 {
            let waited = timeout(Duration::from_millis(20), queue.take()).await;
            assert!(waited.is_err(), "the queue is empty");
            let id = SummaryId::new();
            queue.offer(id, clock.now()).await.expect("offered");
            let taken = timeout(Duration::from_secs(20), queue.take()).await;
            assert_eq!(taken.expect("in time").expect("taken"), id);
        }
    }

    #[tokio::test]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn a_member_that_is_not_a_summary_id_is_discarded() {
        let (queue, clock) = open();
        let add = cmd("ZADD").arg(&queue.key).arg(0).arg("not an id").to_owned();
        queue.redis.query::<()>(&add).await.expect("added");
        let id = SummaryId::new();
        queue.offer(id, clock.now()).await.expect("offered");
        assert_eq!(queue.take().await.expect("taken"), id);
    }

    /// After its data was flushed, the queue has neither hints nor a holder of the lease.
    #[tokio::test]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn the_lease_of_the_check_is_lost_with_the_hints() {
        let (queue, clock) = open();
        let (holder, id, lease) = (Uuid::new_v4(), SummaryId::new(), Duration::from_secs(600));
        queue.offer(id, clock.now()).await.expect("offered");
        let outcome = queue.lease_check(holder, lease).await.expect("leased");
        assert_eq!(outcome, CheckLease::Acquired);
        // `FLUSHALL` would affect other tests.
        let pattern = format!("*{}*", queue.key);
        let keys: Vec<String> =
            queue.redis.query(cmd("KEYS").arg(pattern)).await.expect("a response");
        assert_eq!(keys.len(), 2, "{keys:?}");
        queue.redis.query::<()>(cmd("DEL").arg(keys)).await.expect("deleted");
        assert_eq!(queue.missing(&[id]).await.expect("a response"), [id]);
        let outcome = queue.lease_check(holder, lease).await.expect("leased");
        assert_eq!(outcome, CheckLease::Acquired, "although the holder is the same");
        queue.release_check(holder).await.expect("released");
    }

    #[test]
    fn a_key_beside_another_has_its_hash_tag() {
        for (key, expected) in [
            ("shiori:queue", "{shiori:queue}:check"),
            ("{app}:queue", "{app}:queue:check"),
            ("a{}:queue", "{a{}:queue}:check"),
            ("a}b{c:queue", "{a}b{c:queue}:check"),
        ] {
            assert_eq!(beside(key, "check"), expected);
        }
    }

    /// Due times are compared with the clock of Redis, even if the local clock differs.
    #[tokio::test]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn the_clock_of_redis_is_measured() {
        let url = std::env::var("SHIORI_TEST_REDIS_URL").expect("SHIORI_TEST_REDIS_URL");
        let redis = Redis::new(&url, "shiori-test").expect("a URL");
        let name = format!("queue:{}", SummaryId::new());
        let queue = RedisQueue::with_redis_clock(redis.clone(), &name);
        let measured = queue.measured.clone().expect("measured here");
        measured.start().await.expect("measured");
        let (seconds, micros): (i64, i64) = redis.query(&cmd("TIME")).await.expect("answered");
        let off = queue.now().as_millis() - (seconds * 1000 + micros / 1000);
        assert!(off.unsigned_abs() < 100, "{off} ms");
        let id = SummaryId::new();
        queue.offer(id, queue.now() + Duration::from_millis(300)).await.expect("offered");
        assert!(timeout(Duration::from_millis(100), queue.take()).await.is_err(), "not due");
        assert_eq!(queue.take().await.expect("taken"), id);
    }

    #[tokio::test]
    async fn an_unreachable_redis_is_an_error() {
        let redis = Redis::new("redis://127.0.0.1:1/", "shiori-test").expect("a URL");
        let queue = RedisQueue::new(redis, "queue", Arc::new(crate::SystemClock));
        assert!(matches!(queue.take().await, Err(QueueError::Unavailable(_))));
        assert!(queue.offer(SummaryId::new(), Timestamp::UNIX_EPOCH).await.is_err());
    }
}
