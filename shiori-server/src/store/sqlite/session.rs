use std::time::Duration;

use async_trait::async_trait;
use shiori_sdk::{SessionId, Timestamp, UserId};
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, id_bytes};
use crate::store::{
    LoginAttempt, RotateOutcome, Session, SessionStore, StoreError, ThrottlePolicy,
};

#[async_trait]
impl SessionStore for SqliteStore {
    async fn create(&self, session: &Session, max_sessions: usize) -> Result<(), StoreError> {
        let (id, user) = (&session.id.as_bytes()[..], &session.user.as_bytes()[..]);
        let mut step = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO sessions (id, user_id, generation, rotated_at, created_at, last_seen_at,
                                   expires_at, user_agent)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(user)
        .bind(signed(session.generation)?)
        .bind(session.rotated_at.as_millis())
        .bind(session.created_at.as_millis())
        .bind(session.last_seen_at.as_millis())
        .bind(session.expires_at.as_millis())
        .bind(&session.user_agent)
        .execute(&mut *step)
        .await?;
        // The expired ones go with the surplus, so that they do not count among the kept.
        sqlx::query(
            "DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2 AND id NOT IN (
                 SELECT id FROM sessions
                 WHERE user_id = ?1 AND id <> ?2 AND expires_at > ?3
                 ORDER BY last_seen_at DESC, id DESC LIMIT ?4)",
        )
        .bind(user)
        .bind(id)
        .bind(session.created_at.as_millis())
        .bind(i64::try_from(max_sessions.saturating_sub(1)).unwrap_or(i64::MAX))
        .execute(&mut *step)
        .await?;
        step.commit().await?;
        Ok(())
    }

    async fn get(
        &self,
        user: UserId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        sqlx::query("SELECT * FROM sessions WHERE id = ? AND user_id = ? AND expires_at > ?")
            .bind(&id.as_bytes()[..])
            .bind(&user.as_bytes()[..])
            .bind(now.as_millis())
            .fetch_optional(&self.readers)
            .await?
            .map(|row| session(&row))
            .transpose()
    }

    async fn touch(&self, user: UserId, id: SessionId, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE sessions SET last_seen_at = MAX(last_seen_at, ?) WHERE id = ? AND user_id = ?",
        )
        .bind(now.as_millis())
        .bind(&id.as_bytes()[..])
        .bind(&user.as_bytes()[..])
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn rotate(
        &self,
        user: UserId,
        id: SessionId,
        presented: u64,
        now: Timestamp,
        grace: Duration,
        expires_at: Timestamp,
    ) -> Result<RotateOutcome, StoreError> {
        let key = &id.as_bytes()[..];
        let mut step = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query("SELECT * FROM sessions WHERE id = ? AND user_id = ?")
            .bind(key)
            .bind(&user.as_bytes()[..])
            .fetch_optional(&mut *step)
            .await?;
        let Some(found) = row.map(|row| session(&row)).transpose()? else {
            return Ok(RotateOutcome::NotFound);
        };
        let rotation = found.rotate(presented, now, grace, expires_at);
        match &rotation {
            RotateOutcome::Rotated(rotated) => {
                sqlx::query(
                    "UPDATE sessions
                     SET generation = ?, rotated_at = ?, last_seen_at = ?, expires_at = ?
                     WHERE id = ?",
                )
                .bind(signed(rotated.generation)?)
                .bind(rotated.rotated_at.as_millis())
                .bind(rotated.last_seen_at.as_millis())
                .bind(rotated.expires_at.as_millis())
                .bind(key)
                .execute(&mut *step)
                .await?;
            }
            RotateOutcome::Reused => {
                let delete = sqlx::query("DELETE FROM sessions WHERE id = ?").bind(key);
                delete.execute(&mut *step).await?;
            }
            RotateOutcome::Replayed(_) | RotateOutcome::NotFound => {}
        }
        step.commit().await?;
        Ok(rotation)
    }

    async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        sqlx::query(
            "SELECT * FROM sessions WHERE user_id = ? AND expires_at > ?
             ORDER BY last_seen_at DESC, id DESC",
        )
        .bind(&user.as_bytes()[..])
        .bind(now.as_millis())
        .fetch_all(&self.readers)
        .await?
        .iter()
        .map(session)
        .collect()
    }

    async fn revoke(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let ended = sqlx::query("DELETE FROM sessions WHERE id = ? AND user_id = ?")
            .bind(&id.as_bytes()[..])
            .bind(&user.as_bytes()[..])
            .execute(&self.writer)
            .await?;
        Ok(ended.rows_affected() > 0)
    }

    async fn record_login_attempt(
        &self,
        key: &[u8; 32],
        now: Timestamp,
        policy: ThrottlePolicy,
    ) -> Result<LoginAttempt, StoreError> {
        let mut step = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let row = sqlx::query(
            "INSERT INTO login_attempts (key, attempts, window_ends_at) VALUES (?1, 1, ?2)
             ON CONFLICT (key) DO UPDATE SET
                 attempts = iif(window_ends_at > ?3, attempts + 1, 1),
                 window_ends_at = iif(window_ends_at > ?3, window_ends_at, ?2)
             RETURNING attempts, window_ends_at",
        )
        .bind(&key[..])
        .bind((now + policy.window).as_millis())
        .bind(now.as_millis())
        .fetch_one(&mut *step)
        .await?;
        step.commit().await?;
        let attempts: i64 = row.try_get("attempts")?;
        if attempts <= i64::from(policy.attempts) {
            return Ok(LoginAttempt::Allowed);
        }
        let window_ends_at = Timestamp::from_millis(row.try_get("window_ends_at")?);
        Ok(LoginAttempt::Throttled(window_ends_at.duration_since(now)))
    }

    async fn clear_login_attempts(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM login_attempts WHERE key = ?")
            .bind(&key[..])
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut purged = 0;
        for statement in [
            "DELETE FROM sessions WHERE id IN
                 (SELECT id FROM sessions WHERE expires_at <= ? LIMIT ?)",
            "DELETE FROM login_attempts WHERE key IN
                 (SELECT key FROM login_attempts WHERE window_ends_at <= ? LIMIT ?)",
        ] {
            let deleted =
                sqlx::query(statement).bind(now.as_millis()).bind(limit).execute(&self.writer);
            purged += deleted.await?.rows_affected();
        }
        Ok(purged)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    let millis = |column| row.try_get(column).map(Timestamp::from_millis);
    Ok(Session {
        id: SessionId::from_bytes(id_bytes(row, "id")?),
        user: UserId::from_bytes(id_bytes(row, "user_id")?),
        generation: u64::try_from(row.try_get::<i64, _>("generation")?)
            .map_err(|_| StoreError::Corrupt { what: "a generation" })?,
        rotated_at: millis("rotated_at")?,
        created_at: millis("created_at")?,
        last_seen_at: millis("last_seen_at")?,
        expires_at: millis("expires_at")?,
        user_agent: row.try_get("user_agent")?,
    })
}

/// SQLite's integers have a sign. Generations count from small numbers on.
fn signed(generation: u64) -> Result<i64, StoreError> {
    generation.try_into().map_err(|_| StoreError::Corrupt { what: "a generation" })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::open_temporary, *};
    use crate::store::contract::session::{POLICY, new_session, random_key};

    crate::session_contract!(async {
        let (store, dir) = open_temporary().await;
        (Arc::new(store) as Arc<dyn SessionStore>, dir)
    });

    #[tokio::test]
    async fn purging_is_bounded_and_leaves_no_row_behind() {
        let (store, _dir) = open_temporary().await;
        let now = Timestamp::now();
        for _ in 0..5 {
            let expired = Session { expires_at: now, ..new_session(UserId::new(), now) };
            SessionStore::create(&store, &expired, 10).await.expect("opened");
            let earlier = now - POLICY.window;
            store.record_login_attempt(&random_key(), earlier, POLICY).await.expect("admitted");
        }
        let live = new_session(UserId::new(), now);
        SessionStore::create(&store, &live, 10).await.expect("opened");
        for expected in [4, 4, 2, 0] {
            assert_eq!(store.purge_expired(now, 2).await.expect("purged"), expected);
        }
        assert_eq!(store.get(live.user, live.id, now).await.expect("read"), Some(live));
    }
}
