//! The unfinished summaries and the hints in the queue.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use shiori_sdk::Timestamp;

use super::{family, labels::StatusLabels, metric};
use crate::store::Unfinished;

/// How often the backlog is read at most, for any number of scrapes.
const READ_INTERVAL: Duration = Duration::from_secs(5);

/// The backlog as it was last read.
#[derive(Debug)]
pub(crate) struct Backlog {
    queue_depth: Gauge,
    unfinished: Family<StatusLabels, Gauge>,
    oldest_age: Gauge<f64, AtomicU64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    read_at: Option<Instant>,
    oldest: Option<Timestamp>,
}

impl Backlog {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let queue_depth = metric(registry, "queue_depth", "Hints in the queue");
        let unfinished = family(
            registry,
            "summaries_unfinished",
            "Unfinished summaries by status, counted up to 10000 of each",
            ["queued", "running"].map(|status| StatusLabels { status }),
        );
        let oldest_age = Gauge::default();
        registry.register_with_unit(
            "summary_oldest_unfinished_age",
            "Time since the request of the oldest unfinished summary, 0 without one",
            Unit::Seconds,
            oldest_age.clone(),
        );
        Self { queue_depth, unfinished, oldest_age, state: Mutex::default() }
    }

    /// Whether the caller should read the backlog now. Others do not until it is due again.
    pub(crate) fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.read_at.is_none_or(|at| at.elapsed() >= READ_INTERVAL);
        if is_due {
            state.read_at = Some(Instant::now());
        }
        is_due
    }

    pub(crate) fn set_queue_depth(&self, depth: usize) {
        self.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_unfinished(&self, unfinished: Unfinished) {
        for (status, count) in [("queued", unfinished.queued), ("running", unfinished.running)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.unfinished.get_or_create(&StatusLabels { status }).set(count);
        }
        self.state().oldest = unfinished.oldest;
    }

    pub(super) fn set_age(&self, now: Timestamp) {
        let oldest = self.state().oldest;
        let age = oldest.map_or(Duration::ZERO, |oldest| now.duration_since(oldest));
        self.oldest_age.set(age.as_secs_f64());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
