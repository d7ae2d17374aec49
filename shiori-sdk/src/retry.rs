//! When to try again, and how long to wait before.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

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
        full_jitter(self.first_backoff, self.max_backoff, attempt)
    }
}

/// How saves that met a conflict are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConflictPolicy {
    /// Saves in all, the first included. Default 16.
    pub attempts: u32,
    /// How long it may take in all. Default 10 s.
    pub deadline: Duration,
    /// The second pause is up to this long; before the first retry there is none. Default 100 ms.
    pub first_backoff: Duration,
    /// No pause is longer. Default 2 s.
    pub max_backoff: Duration,
}

impl Default for ConflictPolicy {
    fn default() -> Self {
        Self {
            attempts: 16,
            deadline: Duration::from_secs(10),
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
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

    /// The pause after this many conflicts. The first retry comes at once, for the answer has just
    /// told what stands; after a second conflict many are writing, and it is time to spread out.
    pub(crate) fn backoff(&self, conflicts: u32) -> Duration {
        match conflicts {
            0 | 1 => Duration::ZERO,
            more => full_jitter(self.first_backoff, self.max_backoff, more - 1),
        }
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

/// Exponential backoff with full jitter (AWS, "Exponential Backoff And Jitter"): uniform between
/// nothing and a ceiling that doubles.
fn full_jitter(first: Duration, max: Duration, attempt: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(doubled).min(max).mul_f64(rand::random())
}

/// Bounds the retries of all clones together, so that a failing server is not met with a
/// multiple of the load (smithy-rs' token bucket).
#[derive(Debug)]
pub(crate) struct RetryBudget {
    tokens: AtomicU32,
}

impl RetryBudget {
    const CAPACITY: u32 = 500;

    pub(crate) const RETRY: u32 = 5;
    pub(crate) const RETRY_AFTER_TIMEOUT: u32 = 10;

    pub(crate) fn new() -> Self {
        Self { tokens: AtomicU32::new(Self::CAPACITY) }
    }

    /// Takes the cost of a retry, if there is enough.
    pub(crate) fn take(&self, cost: u32) -> bool {
        self.update(|tokens| tokens.checked_sub(cost))
    }

    /// Gives back after a success: what its last retry cost, or 1.
    pub(crate) fn give(&self, cost: u32) {
        self.update(|tokens| Some((tokens + cost.max(1)).min(Self::CAPACITY)));
    }

    fn update(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded() {
        let (retry, conflict, polling) =
            (RetryPolicy::default(), ConflictPolicy::default(), PollingPolicy::default());
        for n in 0..200 {
            assert!(retry.backoff(n) <= retry.max_backoff);
            assert!(conflict.backoff(n) <= conflict.max_backoff);
            assert!(polling.interval(n) <= polling.max_interval.mul_f64(1.2));
            assert!(polling.interval(n) >= polling.first_interval.mul_f64(0.8));
        }
        assert_eq!(conflict.backoff(1), Duration::ZERO, "the first retry comes at once");
    }

    #[test]
    fn the_budget_runs_dry_and_recovers() {
        let budget = RetryBudget::new();
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
