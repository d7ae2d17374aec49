//! The pauses between polls of a summary.

use std::time::Duration;

use crate::transport::retry::PollingPolicy;

/// Computes the pauses between polls. If the server waits for a change before it responds, no
/// pauses are needed. If it responds early without a change, it does not support long-polling, and
/// the pauses grow.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// Polls in a row that needed a pause.
    paused_polls: u32,
}

impl Pacing {
    /// The pause after a poll, given whether it returned a change, how long the server was
    /// requested to wait, and how long the response took.
    pub(super) fn pause(
        &mut self,
        policy: &PollingPolicy,
        is_changed: bool,
        wait: Duration,
        elapsed: Duration,
    ) -> Duration {
        if is_changed || (!wait.is_zero() && elapsed >= wait / 2) {
            self.paused_polls = 0;
            return Duration::ZERO;
        }
        self.paused_polls = self.paused_polls.saturating_add(1);
        policy.interval(self.paused_polls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_polls_that_return_early_without_a_change_are_paused() {
        let policy = PollingPolicy::default();
        let (wait, early) = (Duration::from_secs(20), Duration::from_millis(5));
        let mut pacing = Pacing::default();
        assert_eq!(pacing.pause(&policy, true, wait, early), Duration::ZERO);
        assert_eq!(pacing.pause(&policy, false, wait, wait), Duration::ZERO);
        for _ in 0..3 {
            assert!(
                pacing.pause(&policy, false, wait, early) >= policy.first_interval.mul_f64(0.8)
            );
        }
        assert!(pacing.pause(&policy, false, wait, early) > policy.first_interval.mul_f64(1.2));
        pacing.pause(&policy, true, wait, early);
        assert!(pacing.pause(&policy, false, wait, early) <= policy.first_interval.mul_f64(1.2));
    }
}
