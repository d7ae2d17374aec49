use std::{fmt, time::Duration};

use async_trait::async_trait;
use shiori_sdk::{SessionId, Timestamp, UserId};

use super::StoreError;

/// The session in a request's token, and the time of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    /// The session's user.
    pub user: UserId,
    /// The session.
    pub id: SessionId,
    /// The time at which it must be active.
    pub now: Timestamp,
}

/// The store of sessions, and of attempts to sign in or up.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// Creates the session, and revokes the user's least recently used sessions so that at most
    /// `max_sessions` remain, including the new one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn create(&self, session: &Session, max_sessions: usize) -> Result<(), StoreError>;

    /// The user's session, unless it was revoked or has expired.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn get(
        &self,
        user: UserId,
        id: SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError>;

    /// Stores that the session is used at `key.now`, with a token of `generation`. If that is still
    /// the current generation, it has been used from now on. `None` if the token is of an earlier
    /// version, which stated no generation.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn touch(&self, key: SessionKey, generation: Option<u64>) -> Result<(), StoreError>;

    /// Rotates the refresh token at `key.now` by compare-and-swap on the session's generation. The
    /// presented generation must be the current one or, as long as `repeats` allows, the previous
    /// one, because the response may have been lost. Any other generation is a reuse and revokes
    /// the session. A rotation also sets the expiry to `expires_at`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn rotate(
        &self,
        key: SessionKey,
        presented: u64,
        repeats: RepeatPolicy,
        expires_at: Timestamp,
    ) -> Result<RotateOutcome, StoreError>;

    /// The user's unexpired sessions, the most recently used first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StoreError>;

    /// Revokes the user's session. Returns whether it existed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn revoke(&self, user: UserId, id: SessionId) -> Result<bool, StoreError>;

    /// Ends the user's sessions that were created at or before `until`, except this one. Returns
    /// how many sessions it has ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn revoke_all(
        &self,
        user: UserId,
        until: Timestamp,
        except: Option<SessionId>,
    ) -> Result<u64, StoreError>;

    /// Counts an attempt for `key` in a window, which begins with its first attempt. Call it before
    /// the attempt, so that concurrent ones are counted, too.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn record_attempt(
        &self,
        key: &[u8; 32],
        now: Timestamp,
        window: Duration,
    ) -> Result<Attempts, StoreError>;

    /// Subtracts an attempt that succeeded or was not checked, if its window has not ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn refund_attempt(&self, key: &[u8; 32]) -> Result<(), StoreError>;

    /// Ends the window of `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn clear_attempts(&self, key: &[u8; 32]) -> Result<(), StoreError>;

    /// Deletes expired sessions and counts of attempts, at most `limit` of each. Returns their number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// Checks that the store is available.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// The session of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The id of the session.
    pub id: SessionId,
    /// The user.
    pub user: UserId,
    /// The generation of the current refresh token; it grows by one with every rotation.
    pub generation: u64,
    /// Whether a token of this generation has been used.
    pub is_used: bool,
    /// When the token was last rotated.
    pub rotated_at: Timestamp,
    /// When the device signed in.
    pub created_at: Timestamp,
    /// When the session was last used.
    pub last_seen_at: Timestamp,
    /// When the session expires without a refresh.
    pub expires_at: Timestamp,
    /// The User-Agent of the device.
    pub user_agent: Option<String>,
}

impl Session {
    /// The session after a use at this time with a token of `generation`.
    #[cfg(feature = "distributed")]
    pub(super) fn touch(self, now: Timestamp, generation: Option<u64>) -> Self {
        Self {
            is_used: self.is_used || generation == Some(self.generation),
            last_seen_at: now.max(self.last_seen_at),
            ..self
        }
    }

    /// The outcome of presenting a refresh token of this generation, with the next session.
    pub(super) fn rotate(
        self,
        presented: u64,
        now: Timestamp,
        repeats: RepeatPolicy,
        expires_at: Timestamp,
    ) -> RotateOutcome {
        if now >= self.expires_at {
            return RotateOutcome::NotFound;
        }
        if self.generation == presented {
            return RotateOutcome::Rotated(Self {
                generation: presented.saturating_add(1),
                is_used: false,
                rotated_at: now,
                last_seen_at: now.max(self.last_seen_at),
                expires_at,
                ..self
            });
        }
        let is_the_one_before = self.generation.checked_sub(1) == Some(presented);
        let repeatable = if self.is_used { repeats.used } else { repeats.unused };
        if is_the_one_before && now.duration_since(self.rotated_at) <= repeatable {
            return RotateOutcome::Replayed(self);
        }
        RotateOutcome::Reused
    }
}

/// How long after a rotation the previous refresh token may be presented again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatPolicy {
    /// While no token of the new generation has been used: its holder may not have received it.
    pub unused: Duration,
    /// Otherwise: a copy of the request may be late.
    pub used: Duration,
}

/// The outcome of [`SessionStore::rotate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The session has a new generation.
    Rotated(Session),
    /// The previous generation was presented while it could be repeated; the session is unchanged.
    Replayed(Session),
    /// An old refresh token was reused; the session is revoked.
    Reused,
    /// The session does not exist, was revoked, or has expired.
    NotFound,
}

/// A limit of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottlePolicy {
    /// Attempts per window.
    pub attempts: u32,
    /// The length of the window, which begins with the first attempt.
    pub window: Duration,
}

/// The attempts in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Their number, including the one that was just counted.
    pub count: u32,
    /// The time until the window ends.
    pub remaining: Duration,
}
