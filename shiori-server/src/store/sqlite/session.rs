use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use shiori_sdk::{SessionId, Timestamp, UserId};

use super::{SqliteStore, connection::Statements};
use crate::store::{
    Attempts, RepeatPolicy, RotateOutcome, Session, SessionKey, SessionStore, StoreError,
};

#[async_trait]
impl SessionStore for SqliteStore {
    async fn create(&self, session: &Session, max_sessions: usize) -> Result<(), StoreError> {
        let session = session.clone();
        let others = i64::try_from(max_sessions.saturating_sub(1)).unwrap_or(i64::MAX);
        self.write(move |connection| {
            let (id, user) = (session.id.as_bytes(), session.user.as_bytes());
            connection.run(
                "INSERT INTO sessions (id, user_id, generation, is_used, rotated_at, created_at,
                                       last_seen_at, expires_at, user_agent)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    id,
                    user,
                    signed(session.generation)?,
                    session.is_used,
                    session.rotated_at.as_millis(),
                    session.created_at.as_millis(),
                    session.last_seen_at.as_millis(),
                    session.expires_at.as_millis(),
                    session.user_agent,
                ],
            )?;
            // Expired sessions are deleted as well, so that they do not count towards the limit.
            connection.run(
                "DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2 AND id NOT IN (
                     SELECT id FROM sessions
                     WHERE user_id = ?1 AND id <> ?2 AND expires_at > ?3
                     ORDER BY last_seen_at DESC, id DESC LIMIT ?4)",
                params![user, id, session.created_at.as_millis(), others],
            )?;
            Ok(())
        })
        .await
    }

    async fn get(
        &self,
        user: UserId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        self.snapshot(move |connection| live(connection, SessionKey { user, id, now })).await
    }

    async fn touch(
        &self,
        SessionKey { user, id, now }: SessionKey,
        generation: Option<u64>,
    ) -> Result<(), StoreError> {
        let generation = generation.map(signed).transpose()?;
        self.write(move |connection| {
            connection.run(
                "UPDATE sessions
                 SET last_seen_at = MAX(last_seen_at, ?), is_used = is_used OR generation IS ?
                 WHERE id = ? AND user_id = ?",
                params![now.as_millis(), generation, id.as_bytes(), user.as_bytes()],
            )?;
            Ok(())
        })
        .await
    }

    async fn rotate(
        &self,
        SessionKey { user, id, now }: SessionKey,
        presented: u64,
        repeats: RepeatPolicy,
        expires_at: Timestamp,
    ) -> Result<RotateOutcome, StoreError> {
        self.write(move |connection| {
            let row = connection.find(
                "SELECT id, user_id, generation, is_used, rotated_at, created_at, last_seen_at,
                        expires_at, user_agent
                 FROM sessions WHERE id = ? AND user_id = ?",
                params![id.as_bytes(), user.as_bytes()],
                SessionRow::decode,
            )?;
            let Some(found) = row.map(Session::try_from).transpose()? else {
                return Ok(RotateOutcome::NotFound);
            };
            let rotation = found.rotate(presented, now, repeats, expires_at);
            match &rotation {
                RotateOutcome::Rotated(rotated) => {
                    connection.run(
                        "UPDATE sessions
                         SET generation = ?, is_used = ?, rotated_at = ?, last_seen_at = ?,
                             expires_at = ?
                         WHERE id = ?",
                        params![
                            signed(rotated.generation)?,
                            rotated.is_used,
                            rotated.rotated_at.as_millis(),
                            rotated.last_seen_at.as_millis(),
                            rotated.expires_at.as_millis(),
                            id.as_bytes(),
                        ],
                    )?;
                }
                RotateOutcome::Reused => {
                    connection.run("DELETE FROM sessions WHERE id = ?", [id.as_bytes()])?;
                }
                RotateOutcome::Replayed(_) | RotateOutcome::NotFound => {}
            }
            Ok(rotation)
        })
        .await
    }

    async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        self.snapshot(move |connection| {
            let rows = connection.all(
                "SELECT id, user_id, generation, is_used, rotated_at, created_at, last_seen_at,
                        expires_at, user_agent
                 FROM sessions WHERE user_id = ? AND expires_at > ?
                 ORDER BY last_seen_at DESC, id DESC",
                params![user.as_bytes(), now.as_millis()],
                SessionRow::decode,
            )?;
            rows.into_iter().map(Session::try_from).collect()
        })
        .await
    }

    async fn revoke(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let ended = connection.run(
                "DELETE FROM sessions WHERE id = ? AND user_id = ?",
                params![id.as_bytes(), user.as_bytes()],
            )?;
            Ok(ended > 0)
        })
        .await
    }

    async fn revoke_all(
        &self,
        user: UserId,
        until: Timestamp,
        except: Option<SessionId>,
    ) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let ended = connection.run(
                "DELETE FROM sessions WHERE user_id = ? AND created_at <= ? AND id IS NOT ?",
                params![
                    user.as_bytes(),
                    until.as_millis(),
                    except.as_ref().map(SessionId::as_bytes),
                ],
            )?;
            Ok(ended as u64)
        })
        .await
    }

    async fn record_attempt(
        &self,
        key: &[u8; 32],
        now: Timestamp,
        window: Duration,
    ) -> Result<Attempts, StoreError> {
        Ok(self.0.attempts.record(key, now, window))
    }

    async fn refund_attempt(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        self.0.attempts.refund(key);
        Ok(())
    }

    async fn clear_attempts(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        self.0.attempts.clear(key);
        Ok(())
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let purged = connection.run(
                "DELETE FROM sessions WHERE id IN
                     (SELECT id FROM sessions WHERE expires_at <= ? LIMIT ?)",
                params![now.as_millis(), limit],
            )?;
            Ok(purged as u64)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

/// The session; `None` if it has ended.
pub(super) fn live(
    connection: &Connection,
    SessionKey { user, id, now }: SessionKey,
) -> Result<Option<Session>, StoreError> {
    let row = connection.find(
        "SELECT id, user_id, generation, is_used, rotated_at, created_at, last_seen_at, expires_at,
                user_agent
         FROM sessions WHERE id = ? AND user_id = ? AND expires_at > ?",
        params![id.as_bytes(), user.as_bytes(), now.as_millis()],
        SessionRow::decode,
    )?;
    row.map(Session::try_from).transpose()
}

struct SessionRow {
    id: [u8; 16],
    user_id: [u8; 16],
    generation: i64,
    is_used: bool,
    rotated_at: i64,
    created_at: i64,
    last_seen_at: i64,
    expires_at: i64,
    user_agent: Option<String>,
}

impl SessionRow {
    fn decode(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            user_id: row.get(1)?,
            generation: row.get(2)?,
            is_used: row.get(3)?,
            rotated_at: row.get(4)?,
            created_at: row.get(5)?,
            last_seen_at: row.get(6)?,
            expires_at: row.get(7)?,
            user_agent: row.get(8)?,
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: SessionId::from_bytes(row.id),
            user: UserId::from_bytes(row.user_id),
            generation: row
                .generation
                .try_into()
                .map_err(|_| StoreError::Corrupt { what: "a generation" })?,
            is_used: row.is_used,
            rotated_at: Timestamp::from_millis(row.rotated_at),
            created_at: Timestamp::from_millis(row.created_at),
            last_seen_at: Timestamp::from_millis(row.last_seen_at),
            expires_at: Timestamp::from_millis(row.expires_at),
            user_agent: row.user_agent,
        })
    }
}

/// SQLite's integers are signed. A generation never reaches the limit in practice.
fn signed(generation: u64) -> Result<i64, StoreError> {
    generation.try_into().map_err(|_| StoreError::Corrupt { what: "a generation" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::open_temporary, *};
    use crate::store::contract::session::new_session;

    crate::session_contract!(async {
        let (store, dir) = open_temporary().await;
        (Arc::new(store) as Arc<dyn SessionStore>, dir)
    });

    #[tokio::test]
    async fn purging_is_bounded_and_deletes_all_expired_rows() {
        let (store, _dir) = open_temporary().await;
        let now = Timestamp::now();
        for _ in 0..5 {
            let expired = Session { expires_at: now, ..new_session(UserId::new(), now) };
            SessionStore::create(&store, &expired, 10).await.expect("opened");
        }
        let live = new_session(UserId::new(), now);
        SessionStore::create(&store, &live, 10).await.expect("opened");
        for expected in [2, 2, 1, 0] {
            assert_eq!(store.purge_expired(now, 2).await.expect("purged"), expected);
        }
        assert_eq!(store.get(live.user, live.id, now).await.expect("read"), Some(live));
    }
}
