//! Steps that are sent to a thread with a connection.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crossbeam_channel::{Sender, TrySendError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// A message to a thread.
pub(super) enum Message {
    Step(Box<dyn Step>),
    /// Ends one thread after the steps before it.
    Close,
}

/// A step and its caller, independent of the type of the outcome.
pub(super) trait Step: Send {
    /// Whether the caller is still waiting for the outcome.
    fn is_wanted(&self) -> bool;

    /// Runs the step and stores its outcome, replacing an earlier one. Returns whether it
    /// succeeded. A panic of the step is a failure.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Whether the outcome is [`StoreError::Unavailable`].
    fn is_unavailable(&self) -> bool;

    /// Replaces the outcome.
    fn fail(&mut self, error: StoreError);

    /// Sends the outcome to the caller.
    fn answer(self: Box<Self>);
}

/// The number of threads that run steps. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<AtomicUsize>);

impl Busy {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts this thread until the result is dropped.
    pub(super) fn enter(&self) -> BusyThread<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        BusyThread(self)
    }
}

/// A thread that runs steps.
pub(super) struct BusyThread<'a>(&'a Busy);

impl Drop for BusyThread<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Closure<T, F> {
    work: F,
    outcome: Result<T, StoreError>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: Fn(&Connection) -> Result<T, StoreError> + Send> Step for Closure<T, F> {
    fn is_wanted(&self) -> bool {
        !self.caller.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> bool {
        // Changes before a panic are rolled back with the step.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(connection)));
        self.outcome = outcome.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("a step of the store panicked".into()))
        });
        self.outcome.is_ok()
    }

    fn is_unavailable(&self) -> bool {
        matches!(self.outcome, Err(StoreError::Unavailable(_)))
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Err(error);
    }

    fn answer(self: Box<Self>) {
        // Fails if the caller was dropped.
        let _ = self.caller.send(self.outcome);
    }
}

/// Queues a step and waits for its outcome. If the caller is dropped, the step is executed
/// completely or not at all.
pub(super) async fn run<T: Send + 'static>(
    queue: &Sender<Message>,
    work: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (caller, outcome) = oneshot::channel();
    let step = Closure { work, outcome: Err(closed()), caller };
    queue.try_send(Message::Step(Box::new(step))).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Overloaded,
        TrySendError::Disconnected(_) => closed(),
    })?;
    outcome.await.unwrap_or_else(|_| Err(closed()))
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}
