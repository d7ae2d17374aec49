//! Servers that crash, their connections to the store, and requests to them that are lost.

use std::{
    future::pending,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    clock::SimulatedClock,
    ledger::Ledger,
    queue::SimulatedQueue,
    schedule::{fails, index, jitter, note, one_in, point},
};
use crate::{
    changes::Changes,
    diary_writes::DiaryWrites,
    dispatcher,
    metrics::{Engines, Metrics},
    store::{
        StoreError,
        memory::{Effect, MemoryStore, Steps},
    },
    summary::{MAX_OFFERS, Summaries, SummariesParts, SummaryPolicy, Wakeups},
};

/// Steps that are not in the trace, because the dispatchers repeat them.
const POLLED: [&str; 2] = ["list_expired", "list_queued"];

/// How long a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An await at which a process may crash. Never returns in a process that has crashed.
pub(super) async fn while_alive(process: &CancellationToken) {
    if !process.is_cancelled() && fails() && one_in(6) {
        note(|| "a process crashes at this await".to_owned());
        process.cancel();
    }
    if process.is_cancelled() {
        pending::<()>().await;
    }
}

/// Runs the future until the process crashes, which drops it at its current await.
pub(super) async fn until_crash<T>(
    process: CancellationToken,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = process.cancelled() => None,
        outcome = future => Some(outcome),
    }
}

/// The connection of a server to the store.
#[derive(Debug)]
struct Connection {
    server: usize,
    process: CancellationToken,
    ledger: Ledger,
}

#[async_trait]
impl Steps for Connection {
    async fn before(&self, step: &'static str) -> Result<(), StoreError> {
        point().await;
        while_alive(&self.process).await;
        if fails() {
            note(|| format!("server {}: {step} failed", self.server));
            return Err(StoreError::Unavailable("simulated".into()));
        }
        Ok(())
    }

    async fn after(&self, step: &'static str) -> Result<(), StoreError> {
        if !POLLED.contains(&step) {
            note(|| format!("server {}: {step}", self.server));
        }
        point().await;
        while_alive(&self.process).await;
        if fails() {
            note(|| format!("server {}: the answer of {step} was lost", self.server));
            return Err(StoreError::Unavailable("simulated".into()));
        }
        Ok(())
    }

    fn applied(&self, effect: Effect<'_>) {
        self.ledger.applied(&effect);
    }
}

/// One run of a server process.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) nth: usize,
    pub(super) store: MemoryStore,
    pub(super) changes: Changes,
    pub(super) summaries: Summaries,
    pub(super) clock: SimulatedClock,
    pub(super) process: CancellationToken,
}

impl Server {
    /// The changes of diaries, as the handlers of this server make them.
    pub(super) fn diaries(&self) -> DiaryWrites<'_> {
        DiaryWrites { store: &self.store, changes: &self.changes }
    }
}

/// All servers, and what they share. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Network {
    store: MemoryStore,
    pub(super) queue: SimulatedQueue,
    pub(super) ledger: Ledger,
    policy: SummaryPolicy,
    /// Whether the servers run dispatchers.
    dispatches: bool,
    servers: Arc<Mutex<Vec<Server>>>,
}

/// The metrics of all servers. They affect nothing.
static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::new(Engines::default()));

impl Network {
    pub(super) fn new(
        store: MemoryStore,
        queue: SimulatedQueue,
        ledger: Ledger,
        policy: SummaryPolicy,
        dispatches: bool,
    ) -> Self {
        Self { store, queue, ledger, policy, dispatches, servers: Arc::default() }
    }

    /// Adds a server.
    pub(super) fn add_server(&self) {
        let nth = self.count();
        let server = self.start(nth, SimulatedClock::new());
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
    }

    pub(super) fn count(&self) -> usize {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The current run of this server.
    pub(super) fn server(&self, nth: usize) -> Server {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)[nth].clone()
    }

    /// Ends the run of this server at its current awaits.
    pub(super) fn crash(&self, nth: usize) {
        note(|| format!("server {nth}: crash"));
        self.server(nth).process.cancel();
    }

    /// Starts a new run of this server if it has crashed.
    pub(super) fn restart(&self, nth: usize) {
        let last = self.server(nth);
        if last.process.is_cancelled() {
            note(|| format!("server {nth}: start"));
            let server = self.start(nth, last.clock);
            self.servers.lock().unwrap_or_else(PoisonError::into_inner)[nth] = server;
        }
    }

    fn start(&self, nth: usize, clock: SimulatedClock) -> Server {
        let process = CancellationToken::new();
        let ledger = self.ledger.clone();
        let connection = Connection { server: nth, process: process.clone(), ledger };
        let store = self.store.with_steps(Arc::new(connection));
        let changes = Changes::default();
        let summaries = Summaries::new(SummariesParts {
            store: Arc::new(store.clone()),
            diaries: Arc::new(store.clone()),
            queue: Arc::new(self.queue.connect(&process)),
            wakeups: Wakeups::default(),
            changes: changes.clone(),
            policy: self.policy,
            clock: Arc::new(clock.clone()),
            metrics: METRICS.clone(),
            offers: Arc::new(Semaphore::new(MAX_OFFERS)),
            jitter,
            stopping: CancellationToken::new(),
        });
        if self.dispatches {
            let summaries = summaries.clone();
            let dispatcher = async move {
                dispatcher::run_summaries(&summaries, &CancellationToken::new()).await;
            };
            tokio::spawn(until_crash(process.clone(), dispatcher));
        }
        Server { nth, store, changes, summaries, clock, process }
    }

    /// A request to one of the servers. `None` if there is no answer; the server may then have
    /// handled it, or may still do so.
    pub(super) async fn call<T, F>(
        &self,
        name: &'static str,
        request: impl FnOnce(Server) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        point().await;
        let server = self.server(index(self.count()));
        if server.process.is_cancelled() || fails() {
            note(|| format!("{name}: the request was lost"));
            return None;
        }
        let nth = server.nth;
        let handler = until_crash(server.process.clone(), request(server));
        // Some handlers continue when their client has given up; the others are dropped.
        let answer = if one_in(2) {
            let handler = tokio::spawn(handler);
            timeout(TIMEOUT, async { handler.await.ok().flatten() }).await
        } else {
            timeout(TIMEOUT, handler).await
        };
        let answer = answer.ok().flatten();
        if answer.is_none() || fails() {
            note(|| format!("{name}: no answer from server {nth}"));
            return None;
        }
        point().await;
        answer
    }
}
