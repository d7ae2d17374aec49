//! Policies of retries, conflicts and polling, and the retry budget.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    backoff::{Backoff, scale},
    types::MAX_LONG_POLL,
};

/// How failed requests are retried.
///
/// A request is retried if the server cannot have received it, or if it is idempotent. This policy
/// does not retry version conflicts, because the same version cannot succeed; see
/// [`ConflictPolicy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first. Default 3, as in smithy-rs'
    /// `RetryConfig::standard`.
    pub attempts: u32,
    /// The upper bound of the first pause. Default 100 ms.
    pub first_backoff: Duration,
    /// The upper bound of every pause, unless `Retry-After` is longer. Default 5 s.
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
        }
    }
}

impl RetryPolicy {
    /// A policy without retries.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// The same policy with another number of attempts, at least 1.
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// The pause after this failed attempt, counted from 1.
    pub(crate) fn backoff(&self, attempt: u32) -> Duration {
        Backoff::new(self.first_backoff, self.max_backoff).pause(attempt, rand::random())
    }
}

/// How saves are retried after a version conflict.
///
/// Each pause is random within a window that is measured in round trips of the rejected save, so
/// that the pauses are longer if the server is slow or far away. The window grows with every
/// conflict. There is no pause after the first conflict of a writer that is one version behind:
/// only many concurrent writers need one, two devices do not. [`ConflictPacing`] has the exact
/// rule, and the guide on [conflicts](crate::guide::conflicts) the measurements behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConflictPolicy {
    /// The maximum number of saves, including the first. Default 16.
    pub attempts: u32,
    /// The time after which no further save is started. Default 10 s.
    pub deadline: Duration,
    /// The minimum width of a pause's window, in round trips. Default 8.
    pub round_trips: u32,
    /// The minimum width of a pause's window. Default 10 ms.
    pub min_window: Duration,
    /// The maximum width of a pause's window, which is also the longest pause. Default 2 s.
    pub max_window: Duration,
}

impl Default for ConflictPolicy {
    fn default() -> Self {
        Self {
            attempts: 16,
            deadline: Duration::from_secs(10),
            round_trips: 8,
            min_window: Duration::from_millis(10),
            max_window: Duration::from_secs(2),
        }
    }
}

impl ConflictPolicy {
    /// The same policy with another number of saves, at least 1.
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// The same policy with another deadline.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The pauses of one change, starting at its first conflict.
    pub fn pacing(self) -> ConflictPacing {
        ConflictPacing { policy: self, conflicts: 0, window: Duration::ZERO }
    }
}

/// Computes the pauses between the saves of one change according to a [`ConflictPolicy`]. Public for
/// callers that write their own retry loop.
///
/// ```
/// use std::time::Duration;
/// use shiori_sdk::ConflictPolicy;
///
/// let mut pacing = ConflictPolicy::default().pacing();
/// let round_trip = Duration::from_millis(5);
/// // One version behind: the first retry is immediate.
/// assert_eq!(pacing.pause(1, round_trip, 0.5), Duration::ZERO);
/// // After the second conflict the window is 8 round trips, after the third 1.5 times that.
/// assert_eq!(pacing.pause(1, round_trip, 0.5), Duration::from_millis(20));
/// assert_eq!(pacing.pause(1, round_trip, 0.5), Duration::from_millis(30));
/// ```
#[derive(Debug, Clone)]
pub struct ConflictPacing {
    policy: ConflictPolicy,
    conflicts: u32,
    window: Duration,
}

impl ConflictPacing {
    /// The pause after another conflict. If it is zero, save again at once, based on the diary in
    /// the conflict. After a longer pause that diary is stale, so read it again first.
    ///
    /// `behind` is the number of versions between the expected and the current one, `round_trip` the
    /// time between request and response, and `random` is uniform in `0.0..1.0`.
    pub fn pause(&mut self, behind: u64, round_trip: Duration, random: f64) -> Duration {
        let ConflictPolicy { round_trips, min_window, max_window, .. } = self.policy;
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts == 1 && behind <= 1 {
            return Duration::ZERO;
        }
        let measured = round_trip.saturating_mul(round_trips).max(min_window);
        self.window = measured.max(self.window.saturating_mul(3) / 2).min(max_window);
        scale(self.window, random)
    }
}

/// How the SDK waits for a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollingPolicy {
    /// How long the server may wait for a change before it responds. Default 20 s, at most 30 s.
    pub long_poll: Duration,
    /// The first pause between two requests if the server does not support long-polling. Default 1
    /// s, as in google-cloud-rust.
    pub first_interval: Duration,
    /// The longest pause; each is 1.5 times the previous one, ± 20 %. Default 5 s.
    pub max_interval: Duration,
    /// The total timeout of [`SummaryHandle::wait`](crate::SummaryHandle::wait). Default 180 s.
    pub deadline: Duration,
}

impl Default for PollingPolicy {
    fn default() -> Self {
        Self {
            long_poll: Duration::from_secs(20),
            first_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(5),
            deadline: Duration::from_secs(180),
        }
    }
}

impl PollingPolicy {
    /// The same policy with another long-poll duration, at most 30 s.
    pub fn with_long_poll(self, long_poll: Duration) -> Self {
        Self { long_poll: long_poll.min(MAX_LONG_POLL), ..self }
    }

    /// The same policy with another deadline.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The pause before this poll, counted from 1.
    pub(crate) fn interval(&self, poll: u32) -> Duration {
        let exponent = i32::try_from(poll.saturating_sub(1).min(64)).unwrap_or(64);
        let grown = self.first_interval.as_secs_f64() * 1.5_f64.powi(exponent);
        let capped = grown.min(self.max_interval.as_secs_f64());
        // Fails only if the value exceeds `Duration::MAX`.
        Duration::try_from_secs_f64(capped * rand::random_range(0.8..=1.2)).unwrap_or(Duration::MAX)
    }
}

/// Bounds the retries of all clones of a client together, so that retries do not multiply the load
/// on a failing server. It is the token bucket of smithy-rs.
///
/// The bucket starts full. A retry takes 5 tokens, a retry after a timeout 10; a success returns the
/// tokens of its last retry, or 1. Without tokens there are no retries. Clones share the tokens, so
/// several clients can share one budget. Saves after a version conflict take no tokens.
#[derive(Debug, Clone)]
pub struct RetryBudget(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    capacity: u32,
    tokens: AtomicU32,
}

impl Default for RetryBudget {
    /// A budget with 500 tokens.
    fn default() -> Self {
        Self::new(500)
    }
}

impl RetryBudget {
    pub(crate) const RETRY_COST: u32 = 5;
    pub(crate) const TIMEOUT_RETRY_COST: u32 = 10;

    /// A budget with this many tokens.
    pub fn new(capacity: u32) -> Self {
        Self(Arc::new(Bucket { capacity, tokens: AtomicU32::new(capacity) }))
    }

    /// The number of remaining tokens.
    pub fn remaining(&self) -> u32 {
        self.0.tokens.load(Ordering::Relaxed)
    }

    /// Takes the tokens of a retry. If there are too few, takes none and returns false.
    pub(crate) fn acquire(&self, cost: u32) -> bool {
        self.update(|tokens| tokens.checked_sub(cost))
    }

    /// Returns tokens after a success: those of its last retry, or 1.
    pub(crate) fn release(&self, cost: u32) {
        let capacity = self.0.capacity;
        self.update(|tokens| Some(tokens.saturating_add(cost.max(1)).min(capacity)));
    }

    fn update(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        self.0.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded() {
        let (retry, polling) = (RetryPolicy::default(), PollingPolicy::default());
        let policy = ConflictPolicy::default();
        let mut pacing = policy.pacing();
        for n in 0..200 {
            assert!(retry.backoff(n) <= retry.max_backoff);
            assert!(pacing.pause(2, Duration::from_secs(9), 1.0) <= policy.max_window);
            assert!(polling.interval(n) <= polling.max_interval.mul_f64(1.2));
            assert!(polling.interval(n) >= polling.first_interval.mul_f64(0.8));
        }
    }

    #[test]
    fn extreme_polling_intervals_do_not_panic() {
        let policy = PollingPolicy {
            first_interval: Duration::MAX,
            max_interval: Duration::MAX,
            ..PollingPolicy::default()
        };
        for poll in [0, 1, 64, u32::MAX] {
            assert!(policy.interval(poll) > policy.deadline);
        }
    }

    #[test]
    fn a_writer_that_is_several_versions_behind_pauses_after_its_first_conflict() {
        let pause = |behind| {
            ConflictPolicy::default().pacing().pause(behind, Duration::from_millis(3), 0.5)
        };
        assert_eq!(pause(1), Duration::ZERO);
        assert_eq!(pause(2), Duration::from_millis(12));
    }

    #[test]
    fn the_budget_is_exhausted_and_refilled() {
        let budget = RetryBudget::default();
        let taken = (0..1000).filter(|_| budget.acquire(RetryBudget::RETRY_COST)).count();
        assert_eq!(taken, 100);
        assert!(!budget.acquire(RetryBudget::RETRY_COST));
        budget.release(RetryBudget::RETRY_COST);
        assert!(budget.acquire(RetryBudget::RETRY_COST));
        (0..1000).for_each(|_| budget.release(0));
        let taken = (0..1000).filter(|_| budget.acquire(RetryBudget::TIMEOUT_RETRY_COST)).count();
        assert_eq!(taken, 50);
    }
}
