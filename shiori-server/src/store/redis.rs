//! Sessions and counts of attempts in Redis.
//!
//! All sessions of a user are fields of one hash, so that each step is atomic on a cluster, too. A
//! field contains `last_seen_at expires_at generation rotated_at created_at user_agent`, separated
//! by spaces, with times in milliseconds. A generation that has been used has a `+` before it, which
//! servers of version 0.1.0 read as part of the number, and drop when they write the field. The user
//! agent is optional and may contain spaces.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::{Script, cmd};
use shiori_sdk::{SessionId, Timestamp, UserId};
use shiori_worker::redis::{Redis, RedisError};

use super::{
    Attempts, RepeatPolicy, RotateOutcome, Session, SessionKey, SessionStore, StoreError,
    engine::{Engine, Failures},
    redis_mark::Mark,
};

/// Attempts of a step whose compare-and-swap fails. Few requests use one session at a time.
const MAX_CONFLICT_ATTEMPTS: u32 = 64;

/// Adds a session, and deletes the expired ones and the least recently used ones beyond the limit.
static CREATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local key, id, value = KEYS[1], ARGV[1], ARGV[2]
        local now, others_kept = tonumber(ARGV[3]), tonumber(ARGV[4])
        local last = tonumber(ARGV[5])
        local others = {}
        local all = redis.call('HGETALL', key)
        for i = 1, #all, 2 do
            local seen, expires = string.match(all[i + 1], '^(%d+) (%d+) ')
            if all[i] ~= id then
                if not expires or tonumber(expires) <= now then
                    redis.call('HDEL', key, all[i])
                else
                    table.insert(others, { id = all[i], seen = tonumber(seen), expires = tonumber(expires) })
                end
            end
        end
        table.sort(others, function(a, b)
            if a.seen ~= b.seen then return a.seen > b.seen end
            return a.id > b.id
        end)
        for i, other in ipairs(others) do
            if i > others_kept then
                redis.call('HDEL', key, other.id)
            elseif other.expires > last then
                last = other.expires
            end
        end
        redis.call('HSET', key, id, value)
        redis.call('PEXPIREAT', key, string.format('%.0f', last))
        ",
    )
});

/// Compare-and-swap of one session's field; an empty new value deletes it. The hash expires with
/// its last session.
static SWAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
        if ARGV[3] == '' then
            redis.call('HDEL', KEYS[1], ARGV[1])
        else
            redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
            local ends = redis.call('PEXPIRETIME', KEYS[1])
            if ends < tonumber(ARGV[4]) then redis.call('PEXPIREAT', KEYS[1], ARGV[4]) end
        end
        return 1
        ",
    )
});

/// Deletes the sessions created until a time, except one. Returns their number. A field that cannot be
/// read is deleted, too.
static REVOKE_ALL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local ended = 0
        local all = redis.call('HGETALL', KEYS[1])
        for i = 1, #all, 2 do
            local created = string.match(all[i + 1], '^%-?%d+ %-?%d+ %+?%d+ %-?%d+ (%-?%d+)')
            if all[i] ~= ARGV[2] and (not created or tonumber(created) <= tonumber(ARGV[1])) then
                ended = ended + redis.call('HDEL', KEYS[1], all[i])
            end
        end
        return ended
        ",
    )
});

/// Counts an attempt in its window; returns their number, and the milliseconds until the window ends.
static RECORD_ATTEMPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
        local ends = tonumber(redis.call('HGET', KEYS[1], 'ends') or '0')
        if ends <= now then
            redis.call('DEL', KEYS[1])
            ends = now + window
            redis.call('HSET', KEYS[1], 'ends', string.format('%.0f', ends))
            redis.call('PEXPIRE', KEYS[1], ARGV[2])
        end
        return { redis.call('HINCRBY', KEYS[1], 'attempts', 1), ends - now }
        ",
    )
});

/// Subtracts an attempt, unless its window has ended.
static REFUND_ATTEMPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local attempts = tonumber(redis.call('HGET', KEYS[1], 'attempts') or '0')
        if attempts > 0 then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
        ",
    )
});

/// Sessions and counts of attempts in Redis, which expires them automatically.
#[derive(Debug, Clone)]
pub struct RedisSessions {
    redis: Redis,
    mark: Arc<Mark>,
}

impl RedisSessions {
    /// A store in this Redis.
    pub fn new(redis: Redis) -> Self {
        let mark = Arc::new(Mark::new(redis.clone()));
        Self { redis, mark }
    }

    /// Checks periodically whether Redis has lost its data, for the log and the metrics. Never returns.
    pub async fn keep_checking(&self) {
        self.mark.keep_checking().await;
    }

    fn sessions_key(&self, user: UserId) -> String {
        self.redis.key(&format!("sessions:{user}"))
    }

    fn attempts_key(&self, key: &[u8; 32]) -> String {
        self.redis.key(&format!("login-attempts:{}", URL_SAFE_NO_PAD.encode(key)))
    }

    async fn field(&self, user: UserId, id: SessionId) -> Result<Option<String>, StoreError> {
        let key = self.sessions_key(user);
        Ok(self.redis.query_idempotent(cmd("HGET").arg(key).arg(id.to_string())).await?)
    }

    /// Replaces or deletes the field if it still has the value `from`. Returns whether it did;
    /// `false` also if the connection broke after it did. The caller then reads the field again.
    async fn swap(
        &self,
        user: UserId,
        id: SessionId,
        from: &str,
        to: Option<&Session>,
    ) -> Result<bool, StoreError> {
        let swapped = self
            .redis
            .invoke_idempotent(
                SWAP.key(self.sessions_key(user))
                    .arg(id.to_string())
                    .arg(from)
                    .arg(to.map(encode).unwrap_or_default())
                    .arg(to.map_or(0, |session| session.expires_at.as_millis())),
            )
            .await?;
        Ok(swapped)
    }
}

/// All failed commands of the client, also those of the queue.
impl Engine for RedisSessions {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn failures(&self) -> Failures {
        Failures { unavailable: self.redis.failures(), overloaded: 0 }
    }

    fn data_losses(&self) -> Option<u64> {
        Some(self.mark.losses())
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn create(&self, session: &Session, max_sessions: usize) -> Result<(), StoreError> {
        let mut create = CREATE.key(self.sessions_key(session.user));
        create
            .arg(session.id.to_string())
            .arg(encode(session))
            .arg(session.created_at.as_millis())
            .arg(max_sessions.saturating_sub(1))
            .arg(session.expires_at.as_millis());
        Ok(self.redis.invoke_idempotent(&create).await?)
    }

    async fn get(
        &self,
        user: UserId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let session = self.field(user, id).await?.map(|field| decode(user, id, &field));
        Ok(session.transpose()?.filter(|session| now < session.expires_at))
    }

    async fn touch(
        &self,
        SessionKey { user, id, now }: SessionKey,
        generation: Option<u64>,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
            let Some(field) = self.field(user, id).await? else { return Ok(()) };
            let touched = decode(user, id, &field)?.touch(now, generation);
            if self.swap(user, id, &field, Some(&touched)).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn rotate(
        &self,
        SessionKey { user, id, now }: SessionKey,
        presented: u64,
        repeats: RepeatPolicy,
        expires_at: Timestamp,
    ) -> Result<RotateOutcome, StoreError> {
        for _ in 0..MAX_CONFLICT_ATTEMPTS {
            let Some(field) = self.field(user, id).await? else {
                return Ok(RotateOutcome::NotFound);
            };
            let rotation = decode(user, id, &field)?.rotate(presented, now, repeats, expires_at);
            let is_done = match &rotation {
                RotateOutcome::Rotated(rotated) => {
                    self.swap(user, id, &field, Some(rotated)).await?
                }
                RotateOutcome::Reused => self.swap(user, id, &field, None).await?,
                RotateOutcome::Replayed(_) | RotateOutcome::NotFound => true,
            };
            if is_done {
                return Ok(rotation);
            }
        }
        Err(contended())
    }

    async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let all = cmd("HGETALL").arg(self.sessions_key(user)).to_owned();
        let fields: Vec<(String, String)> = self.redis.query_idempotent(&all).await?;
        let mut sessions = Vec::with_capacity(fields.len());
        for (id, field) in fields {
            let session = decode(user, id.parse().map_err(|_| corrupt())?, &field)?;
            if now < session.expires_at {
                sessions.push(session);
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse((session.last_seen_at, session.id)));
        Ok(sessions)
    }

    async fn revoke(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let delete = cmd("HDEL").arg(self.sessions_key(user)).arg(id.to_string()).to_owned();
        Ok(self.redis.query(&delete).await?)
    }

    async fn revoke_all(
        &self,
        user: UserId,
        until: Timestamp,
        except: Option<SessionId>,
    ) -> Result<u64, StoreError> {
        let mut revoke = REVOKE_ALL.key(self.sessions_key(user));
        revoke.arg(until.as_millis()).arg(except.map(|id| id.to_string()).unwrap_or_default());
        Ok(self.redis.invoke(&revoke).await?)
    }

    async fn record_attempt(
        &self,
        key: &[u8; 32],
        now: Timestamp,
        window: Duration,
    ) -> Result<Attempts, StoreError> {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let mut record = RECORD_ATTEMPT.key(self.attempts_key(key));
        record.arg(now.as_millis()).arg(window);
        let (count, remaining_ms): (i64, u64) = self.redis.invoke(&record).await?;
        Ok(Attempts {
            count: u32::try_from(count.max(0)).unwrap_or(u32::MAX),
            remaining: Duration::from_millis(remaining_ms),
        })
    }

    async fn refund_attempt(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        Ok(self.redis.invoke(&REFUND_ATTEMPT.key(self.attempts_key(key))).await?)
    }

    async fn clear_attempts(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        Ok(self.redis.query_idempotent(cmd("DEL").arg(self.attempts_key(key))).await?)
    }

    /// Redis expires keys automatically.
    async fn purge_expired(&self, _now: Timestamp, _limit: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.redis.ping().await?)
    }
}

fn encode(session: &Session) -> String {
    let numbers = format!(
        "{} {} {}{} {} {}",
        session.last_seen_at.as_millis(),
        session.expires_at.as_millis(),
        if session.is_used { "+" } else { "" },
        session.generation,
        session.rotated_at.as_millis(),
        session.created_at.as_millis(),
    );
    match &session.user_agent {
        None => numbers,
        Some(user_agent) => format!("{numbers} {user_agent}"),
    }
}

fn decode(user: UserId, id: SessionId, field: &str) -> Result<Session, StoreError> {
    let mut parts = field.splitn(6, ' ');
    let mut part = || parts.next().ok_or_else(corrupt);
    let time = |part: &str| part.parse().map(Timestamp::from_millis).map_err(|_| corrupt());
    let (last_seen_at, expires_at) = (time(part()?)?, time(part()?)?);
    let generation = part()?;
    let (rotated_at, created_at) = (time(part()?)?, time(part()?)?);
    Ok(Session {
        id,
        user,
        generation: generation.parse().map_err(|_| corrupt())?,
        is_used: generation.starts_with('+'),
        rotated_at,
        created_at,
        last_seen_at,
        expires_at,
        user_agent: parts.next().map(str::to_owned),
    })
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a session" }
}

/// Every attempt of a compare-and-swap failed because of concurrent ones.
fn contended() -> StoreError {
    StoreError::Unavailable("too many concurrent writes".into())
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract::session::new_session;

    fn open() -> RedisSessions {
        let url = std::env::var("SHIORI_TEST_REDIS_URL").expect("SHIORI_TEST_REDIS_URL");
        // The tests can share a prefix, because they use new random users.
        RedisSessions::new(Redis::new(&url, "shiori-test").expect("a URL"))
    }

    crate::session_contract!([ignore = "needs Redis: SHIORI_TEST_REDIS_URL"], async {
        (Arc::new(open()) as Arc<dyn SessionStore>, ())
    });

    #[tokio::test]
    #[ignore = "needs Redis: SHIORI_TEST_REDIS_URL"]
    async fn sessions_and_counts_expire() {
        let store = open();
        let now = Timestamp::now();
        let session = new_session(UserId::new(), now);
        store.create(&session, 5).await.expect("opened");
        let key: [u8; 32] = rand::random();
        store.record_attempt(&key, now, Duration::from_secs(60)).await.expect("counted");
        for (key, at_most) in
            [(store.sessions_key(session.user), 86_400_000), (store.attempts_key(&key), 60_000)]
        {
            let left: i64 = store.redis.query(cmd("PTTL").arg(key)).await.expect("a response");
            assert!((1..=at_most).contains(&left), "{left}");
        }
        let later = session.expires_at + Duration::from_secs(60);
        let key = SessionKey { user: session.user, id: session.id, now };
        let repeats = RepeatPolicy { unused: Duration::ZERO, used: Duration::ZERO };
        let rotation = store.rotate(key, 1, repeats, later).await;
        assert!(matches!(rotation, Ok(RotateOutcome::Rotated(_))));
        let key = store.sessions_key(session.user);
        let ends: i64 = store.redis.query(cmd("PEXPIRETIME").arg(key)).await.expect("a response");
        assert_eq!(ends, later.as_millis());
    }

    #[test]
    fn an_encoded_session_is_decoded_unchanged() {
        for user_agent in [None, Some(String::new()), Some("a b  c \u{1f600}".to_owned())] {
            for is_used in [false, true] {
                let new = new_session(UserId::new(), Timestamp::from_millis(-1));
                let session = Session { user_agent: user_agent.clone(), is_used, ..new };
                let read = decode(session.user, session.id, &encode(&session)).expect("read");
                assert_eq!(read, session);
            }
        }
        assert!(decode(UserId::new(), SessionId::new(), "1 2 3 4").is_err());
    }

    /// Servers of both versions may run at the same time.
    #[test]
    fn version_0_1_0_reads_the_mark_of_a_used_generation_as_part_of_the_number() {
        let new = new_session(UserId::new(), Timestamp::from_millis(7));
        let session = Session { is_used: true, ..new };
        let numbers: Vec<i64> =
            encode(&session).split(' ').map(|part| part.parse().expect("a number")).collect();
        assert_eq!(numbers[2], 1);
        let written_by_it = "7 9 1 7 7 agent";
        let read = decode(session.user, session.id, written_by_it).expect("read");
        assert!(!read.is_used);
    }
}
