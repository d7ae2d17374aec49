//! What operators see of an engine: its failed steps, and the use of its connections.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::StoreError;

/// An engine as the metrics read it. No method waits for the engine.
pub(crate) trait Engine: Send + Sync + fmt::Debug {
    /// The name of the engine, one of few.
    fn name(&self) -> &'static str;

    /// The steps that have failed.
    fn failures(&self) -> Failures;

    /// The use of the connections. `None` if the driver does not report it.
    fn connections(&self) -> Option<ConnectionUse> {
        None
    }

    /// How often the engine was found to have lost its data. `None` if that is not checked.
    fn data_losses(&self) -> Option<u64> {
        None
    }
}

/// The numbers of failed steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// [`StoreError::Unavailable`].
    pub(crate) unavailable: u64,
    /// [`StoreError::Overloaded`].
    pub(crate) overloaded: u64,
}

/// The use of the connections of an engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectionUse {
    pub(crate) max: usize,
    pub(crate) in_use: usize,
    /// Open and not in use.
    pub(crate) idle: usize,
    /// Steps that wait for a connection.
    pub(crate) waiting: usize,
}

/// Counts the failed steps of one engine. Clones share the counts. Data that cannot be read is not
/// counted, because the engine works.
#[derive(Debug, Clone, Default)]
pub(super) struct FailureCounts(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    unavailable: AtomicU64,
    overloaded: AtomicU64,
}

impl FailureCounts {
    /// Counts the outcome if it is a failure, and returns it.
    pub(super) fn counted<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let count = match &outcome {
            Err(StoreError::Unavailable(_)) => &self.0.unavailable,
            Err(StoreError::Overloaded) => &self.0.overloaded,
            Ok(_) | Err(StoreError::Corrupt { .. }) => return outcome,
        };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    pub(super) fn read(&self) -> Failures {
        Failures {
            unavailable: self.0.unavailable.load(Ordering::Relaxed),
            overloaded: self.0.overloaded.load(Ordering::Relaxed),
        }
    }
}
