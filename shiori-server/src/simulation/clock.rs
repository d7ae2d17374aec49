//! The clock of a process, which jumps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use shiori_sdk::Timestamp;
use shiori_worker::Clock;
use tokio::time::Instant;

/// The time at the start of a schedule.
const START_MS: i64 = 1_771_200_000_000;

/// The error that the clocks report. A jump exceeds it.
const ERROR: Duration = Duration::from_millis(20);

/// Virtual time, with a difference that a schedule changes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct SimulatedClock {
    started: Instant,
    ahead_ms: Arc<AtomicI64>,
}

impl SimulatedClock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), ahead_ms: Arc::default() }
    }

    /// Sets how far the clock is ahead of the virtual time.
    pub(super) fn set_ahead(&self, millis: i64) {
        self.ahead_ms.store(millis, Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(START_MS + elapsed + self.ahead_ms.load(Relaxed))
    }

    fn error(&self) -> Duration {
        ERROR
    }
}
