//! The queue of hints, which loses them, fails, and loses all its data.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{SummaryId, Timestamp};
use shiori_worker::{
    JobQueue,
    queue::{CheckLease, InProcessQueue, QueueError},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    clock::SimulatedClock,
    network::while_alive,
    schedule::{fails, note, point},
};

const CAPACITY: usize = 100;

/// A connection of one process to the queue.
#[derive(Debug, Clone)]
pub(super) struct SimulatedQueue {
    shared: Arc<Shared>,
    pub(super) clock: SimulatedClock,
    /// Whether a dispatcher finds lost hints. `false` is a fault that the simulation must find.
    finds_lost_hints: bool,
    process: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    /// The current queue; another one after a loss of its data.
    queue: Mutex<Arc<InProcessQueue>>,
    /// Notified after a loss.
    lost: Notify,
}

impl SimulatedQueue {
    pub(super) fn new(finds_lost_hints: bool) -> Self {
        let clock = SimulatedClock::new();
        let queue = Mutex::new(open(&clock));
        let shared = Arc::new(Shared { queue, lost: Notify::new() });
        Self { shared, clock, finds_lost_hints, process: CancellationToken::new() }
    }

    /// A connection of this process.
    pub(super) fn connect(&self, process: &CancellationToken) -> Self {
        Self { process: process.clone(), ..self.clone() }
    }

    /// Loses all hints and the lease of the check.
    pub(super) fn flush(&self) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        *queue = open(&self.clock);
        self.shared.lost.notify_waiters();
    }

    fn current(&self) -> Arc<InProcessQueue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One step of the queue.
    async fn step<T>(
        &self,
        name: &'static str,
        effect: impl AsyncFnOnce(Arc<InProcessQueue>) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        point().await;
        while_alive(&self.process).await;
        if fails() {
            note(|| format!("queue: {name} failed"));
            return Err(unavailable());
        }
        let outcome = effect(self.current()).await;
        point().await;
        while_alive(&self.process).await;
        if fails() {
            note(|| format!("queue: the answer of {name} was lost"));
            return Err(unavailable());
        }
        outcome
    }
}

fn open(clock: &SimulatedClock) -> Arc<InProcessQueue> {
    Arc::new(InProcessQueue::new(CAPACITY, Arc::new(clock.clone())))
}

fn unavailable() -> QueueError {
    QueueError::Unavailable("simulated".into())
}

#[async_trait]
impl JobQueue for SimulatedQueue {
    async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError> {
        self.offer_all(&[(id, due)]).await
    }

    async fn offer_all(&self, hints: &[(SummaryId, Timestamp)]) -> Result<(), QueueError> {
        let kept: Vec<_> = hints.iter().filter(|_| !fails()).copied().collect();
        if kept.len() < hints.len() {
            note(|| format!("queue: {} hints were lost", hints.len() - kept.len()));
        }
        let offer = async |queue: Arc<InProcessQueue>| queue.offer_all(&kept).await;
        self.step("offer", offer).await
    }

    async fn missing(&self, ids: &[SummaryId]) -> Result<Vec<SummaryId>, QueueError> {
        if !self.finds_lost_hints {
            return Ok(Vec::new());
        }
        self.step("missing", async |queue| queue.missing(ids).await).await
    }

    async fn take(&self) -> Result<SummaryId, QueueError> {
        self.step("take", async |queue| {
            tokio::select! {
                biased;
                () = self.shared.lost.notified() => Err(unavailable()),
                id = queue.take() => id,
            }
        })
        .await
    }

    fn now(&self) -> Timestamp {
        self.current().now()
    }

    async fn depth(&self) -> Result<usize, QueueError> {
        self.current().depth().await
    }

    async fn lease_check(
        &self,
        holder: Uuid,
        duration: Duration,
    ) -> Result<CheckLease, QueueError> {
        self.step("lease_check", async |queue| queue.lease_check(holder, duration).await).await
    }

    async fn release_check(&self, holder: Uuid) -> Result<(), QueueError> {
        self.step("release_check", async |queue| queue.release_check(holder).await).await
    }
}
