use std::{fmt, time::Duration};

use async_trait::async_trait;
use shiori_sdk::{SessionId, Timestamp, UserId};

use super::StoreError;

/// Owns the sessions, and the count of failed logins.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// Opens the session. Of the user's live sessions the least recently used are ended, so that
    /// at most `keep` remain with the new one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn create(&self, session: &Session, max_sessions: usize) -> Result<(), StoreError>;

    /// The user's session, if it has neither ended nor expired.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn get(
        &self,
        user: UserId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError>;

    /// Notes that the session was used.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn touch(&self, user: UserId, id: SessionId, now: Timestamp) -> Result<(), StoreError>;

    /// Rotates the session's refresh token: a compare-and-swap on its generation. The presented
    /// generation must be the current one, or the one before within `grace` of its rotation, when
    /// the rotation's answer may have been lost. An older one was used twice: the session ends.
    /// A rotation also moves the expiry to `expires_at`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn rotate(
        &self,
        user: UserId,
        id: SessionId,
        presented: u64,
        now: Timestamp,
        grace: Duration,
        expires_at: Timestamp,
    ) -> Result<RotateOutcome, StoreError>;

    /// The user's live sessions, the most recently used first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError>;

    /// Ends the session if it is the user's; whether there was one to end.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn revoke(&self, user: UserId, id: SessionId) -> Result<bool, StoreError>;

    /// Counts a login attempt for `key` before its password is checked, so that guesses made at
    /// once are counted too.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn record_login_attempt(
        &self,
        key: &[u8; 32],
        now: Timestamp,
        policy: ThrottlePolicy,
    ) -> Result<LoginAttempt, StoreError>;

    /// Forgets the attempts for `key` after a login has succeeded.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn clear_login_attempts(&self, key: &[u8; 32]) -> Result<(), StoreError>;

    /// Deletes at most `limit` sessions and login counts each that are past their time; how many
    /// there were.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// One device's signed-in session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names the session.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// Which refresh token is the current one; it grows by one with every rotation.
    pub generation: u64,
    /// When the token was last rotated.
    pub rotated_at: Timestamp,
    /// When the device signed in.
    pub created_at: Timestamp,
    /// When the device was last heard of.
    pub last_seen_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub expires_at: Timestamp,
    /// What the device called itself.
    pub user_agent: Option<String>,
}

impl Session {
    /// What presenting a refresh token of this generation leads to, and the session after it;
    /// none is left of one whose old token was used again.
    pub(super) fn rotate(
        self,
        presented: u64,
        now: Timestamp,
        grace: Duration,
        expires_at: Timestamp,
    ) -> RotateOutcome {
        if now >= self.expires_at {
            return RotateOutcome::NotFound;
        }
        if self.generation == presented {
            return RotateOutcome::Rotated(Self {
                generation: presented.saturating_add(1),
                rotated_at: now,
                last_seen_at: now.max(self.last_seen_at),
                expires_at,
                ..self
            });
        }
        let is_the_one_before = self.generation.checked_sub(1) == Some(presented);
        if is_the_one_before && now.duration_since(self.rotated_at) <= grace {
            return RotateOutcome::Replayed(self);
        }
        RotateOutcome::Reused
    }
}

/// What became of [`SessionStore::rotate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The session has a new generation.
    Rotated(Session),
    /// The rotation had happened just before; its answer is given again.
    Replayed(Session),
    /// An old token was used again; the session has been ended.
    Reused,
    /// There is no such session any more.
    NotFound,
}

/// How many failed logins are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// Attempts within one window.
    pub attempts: u32,
    /// The window, from its first attempt on.
    pub window: Duration,
}

/// Whether a login may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAttempt {
    /// It may.
    Allowed,
    /// Too many were; the window ends after this time.
    Throttled(Duration),
}
