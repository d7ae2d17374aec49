//! Workers that crash, stop and start, their models, and their calls to the servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{Distribution, FailureKind, SummaryId};
use shiori_worker::{
    Pipeline, ServerApiError, ServerCalls, Worker, WorkerConfig,
    emotion::{EmotionError, EmotionModel, Judgement},
    protocol::{Claim, ClaimRequest, Failure, Heartbeat, OverdueRequest, SummaryResult},
    summarize::{
        Availability, SummarizeError, Summarizer, WeekText, Writing, WritingProgress, Written,
    },
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    network::{Network, Server, while_alive},
    schedule::{below, is_quiet, jitter, millis, note, one_in, point},
};
use crate::{
    store::SummaryStore,
    summary::{AttemptFailure, SummaryError},
};

/// One run of a worker process.
#[derive(Debug)]
pub(super) struct RunningWorker {
    nth: usize,
    process: CancellationToken,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl RunningWorker {
    pub(super) fn start(nth: usize, network: &Network, checks_lease: bool, model: &Model) -> Self {
        let (process, shutdown) = (CancellationToken::new(), CancellationToken::new());
        note(|| format!("worker {nth}: start"));
        let config = WorkerConfig {
            worker_id: format!("worker-{nth}"),
            concurrency: 2,
            drain_timeout: Duration::from_secs(2),
            patience: None,
        };
        let queue = network.queue.connect(&process);
        let pipeline = Pipeline {
            emotion: Arc::new(Judge),
            summarizer: Arc::new(model.clone()),
            fallback: None,
        };
        let calls = Calls { nth, network: network.clone(), process: process.clone(), checks_lease };
        let worker = Worker::new(config, Arc::new(queue), calls, pipeline).with_jitter(jitter);
        let run = worker.run(shutdown.clone());
        let task = tokio::spawn(async { drop(run.await) });
        Self { nth, process, shutdown, task }
    }

    /// Ends the worker at its current awaits.
    pub(super) fn crash(&self) {
        note(|| format!("worker {}: crash", self.nth));
        self.process.cancel();
        self.task.abort();
    }

    /// Stops the worker as an operator does.
    pub(super) fn stop(&self) {
        note(|| format!("worker {}: stop", self.nth));
        self.shutdown.cancel();
    }

    /// Whether it takes hints.
    pub(super) fn is_running(&self) -> bool {
        !self.shutdown.is_cancelled() && !self.process.is_cancelled() && !self.task.is_finished()
    }
}

/// The calls of a worker to the servers.
#[derive(Debug)]
struct Calls {
    nth: usize,
    network: Network,
    process: CancellationToken,
    /// Whether the servers check the lease of a result. `false` is a fault that the simulation must
    /// find.
    checks_lease: bool,
}

impl Calls {
    async fn call<T, F>(
        &self,
        name: &'static str,
        request: impl FnOnce(Server) -> F + Send,
    ) -> Result<T, ServerApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SummaryError>> + Send + 'static,
    {
        while_alive(&self.process).await;
        let answer = self.network.call(name, request).await;
        while_alive(&self.process).await;
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(SummaryError::NotClaimable)) => Err(ServerApiError::NotClaimable),
            Some(Err(SummaryError::LeaseLost)) => Err(ServerApiError::LeaseLost),
            None | Some(Err(_)) => Err(ServerApiError::Unavailable { retry_after: None }),
        }
    }
}

#[async_trait]
impl ServerCalls for Calls {
    async fn check(&self) -> Result<(), ServerApiError> {
        self.call("check", |_| async { Ok(()) }).await
    }

    async fn claim(&self, id: SummaryId, request: &ClaimRequest) -> Result<Claim, ServerApiError> {
        let request = request.clone();
        let claim = self.call("claim", move |server| async move {
            let ClaimRequest { worker_id, lease_token, .. } = request;
            let token = lease_token.ok_or(SummaryError::NotClaimable)?;
            server.summaries.claim(id, &worker_id, token, None).await
        });
        let claim = claim.await?;
        note(|| {
            let number = self.network.ledger.number(id);
            format!("worker {}: has summary {number}, attempt {}", self.nth, claim.attempt)
        });
        Ok(claim)
    }

    async fn overdue(
        &self,
        request: &OverdueRequest,
    ) -> Result<Option<Vec<SummaryId>>, ServerApiError> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let overdue = self.call("overdue", move |server| async move {
            server.summaries.overdue(None, limit).await
        });
        overdue.await.map(Some)
    }

    async fn heartbeat(&self, id: SummaryId, beat: &Heartbeat) -> Result<(), ServerApiError> {
        let beat = beat.clone();
        let beat = self.call("heartbeat", move |server| async move {
            server.summaries.heartbeat(id, &beat).await
        });
        beat.await
    }

    async fn result(&self, result: &SummaryResult) -> Result<(), ServerApiError> {
        let (id, token, checks_lease) = (result.summary_id, result.lease_token, self.checks_lease);
        let mut result = result.clone();
        let complete = self.call("result", move |server| async move {
            if !checks_lease
                && let Some(lease) = server.store.get(id).await?.and_then(|job| job.lease)
            {
                result.lease_token = lease.token;
            }
            server.summaries.complete(result).await
        });
        complete.await?;
        self.network.ledger.result_accepted(id, token);
        Ok(())
    }

    async fn failure(&self, id: SummaryId, failure: &Failure) -> Result<(), ServerApiError> {
        let token = failure.lease_token;
        let failure = AttemptFailure {
            reason: shiori_sdk::SummaryFailure {
                kind: failure.kind,
                message: failure.message.clone(),
            },
            retryable: failure.retryable,
            retry_after: failure.retry_after_ms.map(Duration::from_millis),
            costs_attempt: failure.costs_attempt,
        };
        let fail = self.call("failure", move |server| async move {
            server.summaries.fail(id, token, &failure).await
        });
        fail.await
    }
}

/// An emotion model that always finds the same.
#[derive(Debug)]
struct Judge;

#[async_trait]
impl EmotionModel for Judge {
    fn engine(&self) -> &'static str {
        "simulated/1"
    }

    async fn judge(&self, texts: Vec<String>) -> Result<Vec<Judgement>, EmotionError> {
        point().await;
        let judgement =
            Judgement { distribution: Distribution::from_weights([1.0; 7]), evidence: 1.0 };
        Ok(vec![judgement; texts.len()])
    }
}

/// A language model that fails and hangs. Clones share whether it is suspended.
#[derive(Debug, Clone, Default)]
pub(super) struct Model(Arc<AtomicBool>);

impl Model {
    /// Suspends the model, or ends that.
    pub(super) fn suspend(&self, is_suspended: bool) {
        self.0.store(is_suspended, Relaxed);
    }
}

#[async_trait]
impl Summarizer for Model {
    fn engine(&self) -> &'static str {
        "simulated/1"
    }

    fn availability(&self) -> Availability {
        match self.0.load(Relaxed) {
            true if one_in(3) => Availability::Probe,
            true => Availability::Suspended(Duration::from_millis(500)),
            false => Availability::Ready,
        }
    }

    async fn summarize(
        &self,
        _: WeekText,
        progress: WritingProgress<'_>,
    ) -> Result<Written, SummarizeError> {
        let failed = |retryable, retry_after, costs_attempt| SummarizeError {
            kind: FailureKind::ModelUnavailable,
            message: "simulated".to_owned(),
            retryable,
            retry_after,
            costs_attempt,
        };
        for characters in 1..=1 + u32::try_from(below(3)).unwrap_or_default() {
            progress(Writing { characters, text: "글" });
            sleep(millis(700)).await;
        }
        if !is_quiet() {
            match below(12) {
                0 => return Err(failed(true, None, true)),
                1 => return Err(failed(false, None, true)),
                2 => return Err(failed(true, Some(millis(3_000)), false)),
                3 => sleep(millis(15_000)).await,
                _ => {}
            }
        }
        Ok(Written::new("글", self.engine()))
    }
}
