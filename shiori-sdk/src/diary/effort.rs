//! The saves of one change: counted, paced, bounded.

use std::time::Duration;

use tokio::time::Instant;

use super::{RetryReport, attempt::Lost};
use crate::{Conflict, ConflictPacing, ConflictPolicy, Draft, Error, WasSent};

/// Counts and paces the saves of one change.
pub(super) struct Effort {
    policy: ConflictPolicy,
    pacing: ConflictPacing,
    started: Instant,
    conflicts: u32,
}

impl Effort {
    pub(super) fn new(policy: ConflictPolicy) -> Self {
        Self { policy, pacing: policy.pacing(), started: Instant::now(), conflicts: 0 }
    }

    /// A save has met a conflict: how long to pause before another, or `None` to give up.
    pub(super) fn lost(&mut self, lost: &Lost) -> Option<Duration> {
        self.conflicts += 1;
        let pause = self.pacing.pause(lost.behind(), lost.round_trip, rand::random());
        let late = self.started.elapsed() + pause >= self.policy.deadline;
        (self.conflicts < self.policy.attempts && !late && lost.is_settled).then_some(pause)
    }

    /// The server's refusal, and the conflict that it is about.
    pub(super) fn conflict(
        &self,
        lost: Lost,
        ours: Draft,
        base: Option<Draft>,
    ) -> (Error, Conflict) {
        let Lost { expected, current, is_settled, refusal, .. } = lost;
        let sent = if is_settled { WasSent::Yes } else { WasSent::Maybe };
        let refusal = refusal.with_attempts(self.conflicts).with_sent(sent);
        (refusal, Conflict { ours, base, expected, current, attempt: self.conflicts })
    }

    pub(super) fn conflicts(&self) -> u32 {
        self.conflicts
    }

    pub(super) fn report(&self) -> RetryReport {
        RetryReport {
            attempts: self.conflicts,
            conflicts: self.conflicts,
            elapsed: self.started.elapsed(),
        }
    }

    /// The report after one more save, which was stored.
    pub(super) fn counted(&self) -> RetryReport {
        RetryReport { attempts: self.conflicts + 1, ..self.report() }
    }
}
