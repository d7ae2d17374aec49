//! When to try again, and how long to wait before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::backoff::{Backoff, scale};

/// How requests are repeated that did not arrive, or whose answer did not.
///
/// A request is repeated when it cannot have been applied, or when applying it twice is the same
/// as once. A conflict is never repeated by this policy: the same version cannot succeed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, the first included. Default 3, as smithy-rs' `RetryConfig::standard`.
    pub attempts: u32,
    /// The first pause is up to this long. Default 100 ms.
    pub first_backoff: Duration,
    /// No pause is longer, unless the server asks for it. Default 5 s.
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
    /// Every request is sent once.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// The same policy with another number of attempts, at least 1.
    pub fn with_attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// The pause after this failed attempt, from 1 on.
    pub(crate) fn backoff(&self, attempt: u32) -> Duration {
        Backoff::new(self.first_backoff, self.max_backoff).pause(attempt, rand::random())
    }
}

/// How saves that met a conflict are repeated.
///
/// The pause before another try is drawn from a window that is measured in round trips of the very
/// save that lost: the busier or the farther the server, the wider the writers spread. It grows
/// with every conflict. Only the first conflict of a writer that is a single version behind is
/// answered at once, on what the conflict tells; that is two devices, not a crowd.
/// [`ConflictPacing`] has the rule, and the guide on [conflicts](crate::guide::conflicts) the
/// figures it was chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConflictPolicy {
    /// Saves in all, the first included. Default 16.
    pub attempts: u32,
    /// How long it may take in all. Default 10 s.
    pub deadline: Duration,
    /// How many round trips wide the window of a pause is at least. Default 8.
    pub round_trips: u32,
    /// No window is narrower. Default 10 ms.
    pub min_window: Duration,
    /// No window is wider, and so no pause longer. Default 2 s.
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

    /// The pauses of one change, from its first conflict on.
    pub fn pacing(self) -> ConflictPacing {
        ConflictPacing { policy: self, conflicts: 0, window: Duration::ZERO }
    }
}

/// The pauses between the saves of one change, as a [`ConflictPolicy`] has them. The SDK keeps one
/// for every change; it is public for those who write a loop of their own.
///
/// ```
/// use std::time::Duration;
/// use shiori_sdk::ConflictPolicy;
///
/// let mut pacing = ConflictPolicy::default().pacing();
/// let round_trip = Duration::from_millis(5);
/// // One other save was first: the next try comes at once.
/// assert_eq!(pacing.pause(1, round_trip, 0.5), Duration::ZERO);
/// // The second conflict spreads the writers over 8 round trips, and the third over 1.5 times that.
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
    /// The pause after another conflict. Zero means that the next save is best made at once, on
    /// the diary that the conflict has told; after any other pause that diary is old, and a fresh
    /// read comes first.
    ///
    /// `behind` is by how many versions the save was late, `round_trip` how long the answer to it
    /// took, and `random` is uniform in `0.0..1.0`.
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

/// How a summary is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollingPolicy {
    /// How long the server may hold one request. Default 20 s, at most 30 s.
    pub long_poll: Duration,
    /// Without long-polling, the first pause between two requests. Default 1 s, as
    /// google-cloud-rust.
    pub first_interval: Duration,
    /// The longest pause; each is 1.5 times the one before, ± 20 %. Default 5 s.
    pub max_interval: Duration,
    /// How long [`SummaryHandle::wait`](crate::SummaryHandle::wait) waits in all. Default 180 s.
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
    /// The same policy with another longest wait for one request, at most 30 s.
    pub fn with_long_poll(self, long_poll: Duration) -> Self {
        Self { long_poll: long_poll.min(Duration::from_secs(30)), ..self }
    }

    /// The same policy with another deadline.
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The pause before this timed poll, from 1 on.
    pub(crate) fn interval(&self, poll: u32) -> Duration {
        let exponent = i32::try_from(poll.saturating_sub(1).min(64)).unwrap_or(64);
        let grown = self.first_interval.as_secs_f64() * 1.5_f64.powi(exponent);
        let capped = grown.min(self.max_interval.as_secs_f64());
        Duration::from_secs_f64(capped * rand::random_range(0.8..=1.2))
    }
}

/// Bounds the retries of all clones of a client together, so that a failing server is not met with
/// a multiple of the load: smithy-rs' token bucket.
///
/// It begins full. A retry takes 5 tokens, one after a timeout 10; a success gives back what its
/// last retry took, or 1. Without tokens there are no retries. Clones share the tokens, so one
/// budget may bound several clients. Saves that met a conflict take none.
#[derive(Debug, Clone)]
pub struct RetryBudget(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    capacity: u32,
    tokens: AtomicU32,
}

impl Default for RetryBudget {
    /// A budget of 500 tokens.
    fn default() -> Self {
        Self::new(500)
    }
}

impl RetryBudget {
    pub(crate) const RETRY: u32 = 5;
    pub(crate) const RETRY_AFTER_TIMEOUT: u32 = 10;

    /// A budget of this many tokens.
    pub fn new(capacity: u32) -> Self {
        Self(Arc::new(Bucket { capacity, tokens: AtomicU32::new(capacity) }))
    }

    /// The tokens that are left.
    pub fn remaining(&self) -> u32 {
        self.0.tokens.load(Ordering::Relaxed)
    }

    /// Takes the cost of a retry, if there is enough.
    pub(crate) fn take(&self, cost: u32) -> bool {
        self.update(|tokens| tokens.checked_sub(cost))
    }

    /// Gives back after a success: what its last retry cost, or 1.
    pub(crate) fn give(&self, cost: u32) {
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
    fn a_crowd_spreads_from_its_first_conflict_on() {
        let pause = |behind| {
            ConflictPolicy::default().pacing().pause(behind, Duration::from_millis(3), 0.5)
        };
        assert_eq!(pause(1), Duration::ZERO);
        assert_eq!(pause(2), Duration::from_millis(12));
    }

    #[test]
    fn the_budget_runs_dry_and_recovers() {
        let budget = RetryBudget::default();
        let taken = (0..1000).filter(|_| budget.take(RetryBudget::RETRY)).count();
        assert_eq!(taken, 100);
        assert!(!budget.take(RetryBudget::RETRY));
        budget.give(RetryBudget::RETRY);
        assert!(budget.take(RetryBudget::RETRY));
        (0..1000).for_each(|_| budget.give(0));
        let taken = (0..1000).filter(|_| budget.take(RetryBudget::RETRY_AFTER_TIMEOUT)).count();
        assert_eq!(taken, 50);
    }
}
