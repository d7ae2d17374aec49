//! Counts and paces the saves of one change.

use std::time::Duration;

use tokio::time::Instant;

use super::{attempt::RejectedSave, save::RetryReport};
use crate::{
    transport::{
        error::{Conflict, Error, WasSent},
        retry::{ConflictPacing, ConflictPolicy},
    },
    types::Draft,
};

/// The state of the retries of one change, under a [`ConflictPolicy`].
pub(super) struct ConflictRetry {
    policy: ConflictPolicy,
    pacing: ConflictPacing,
    started_at: Instant,
    conflicts: u32,
}

impl ConflictRetry {
    pub(super) fn new(policy: ConflictPolicy) -> Self {
        Self { policy, pacing: policy.pacing(), started_at: Instant::now(), conflicts: 0 }
    }

    /// Records a conflict. Returns the pause before the next save; `None` if the policy or the
    /// state of the save permits no other save.
    pub(super) fn next_pause(&mut self, rejected: &RejectedSave) -> Option<Duration> {
        self.conflicts += 1;
        let pause =
            self.pacing.pause(rejected.versions_behind(), rejected.round_trip, rand::random());
        let is_late = self.started_at.elapsed().saturating_add(pause) >= self.policy.deadline;
        let can_retry =
            self.conflicts < self.policy.attempts && !is_late && !rejected.maybe_applied;
        can_retry.then_some(pause)
    }

    /// The error of a rejected save, and the conflict to attach to it.
    pub(super) fn conflict(
        &self,
        rejected: RejectedSave,
        ours: Draft,
        base: Option<Draft>,
    ) -> (Error, Conflict) {
        let RejectedSave { expected, current, maybe_applied, error, .. } = rejected;
        let sent = if maybe_applied { WasSent::Maybe } else { WasSent::Yes };
        let error = error.with_attempts(self.conflicts).with_sent(sent);
        (error, Conflict { ours, base, expected, current, attempt: self.conflicts })
    }

    /// The report of a change that needed no save after its conflicts.
    pub(super) fn report_without_save(&self) -> RetryReport {
        RetryReport {
            attempts: self.conflicts,
            conflicts: self.conflicts,
            elapsed: self.started_at.elapsed(),
        }
    }

    /// The report of a change whose last save succeeded.
    pub(super) fn report(&self) -> RetryReport {
        RetryReport { attempts: self.conflicts + 1, ..self.report_without_save() }
    }
}
