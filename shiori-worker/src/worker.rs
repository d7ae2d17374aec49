use std::{sync::Arc, time::Duration};

use shiori_sdk::{FailureKind, Progress, SummaryId};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    Job, JobQueue, Pipeline, PipelineError, ServerApi, ServerApiError,
    protocol::{Claim, Failure, Heartbeat, LeaseToken, SummaryResult},
};

/// Progress is told at most this often; in between, the newest waits.
const PROGRESS_PACE: Duration = Duration::from_millis(250);

/// How often a claim is tried. Afterwards the hint is dropped, and the dispatcher offers it again.
const CLAIM_TRIES: u32 = 3;

/// How long a result is offered to a server that does not answer, while heartbeats go on.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(120);

/// The numbers of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Names the worker in the store, for people. At most 128 characters.
    pub worker_id: String,
    /// Summaries in flight. Default 16.
    pub concurrency: usize,
    /// How long jobs under way may take to finish at shutdown before they are handed back.
    /// Default 10 s.
    pub drain_timeout: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            worker_id: format!("worker-{}", std::process::id()),
            concurrency: 16,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Takes hints, claims their summaries, and brings them to an end.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    queue: Arc<dyn JobQueue>,
    runner: Runner,
}

impl Worker {
    /// A worker over this queue, server and pipeline.
    pub fn new(
        config: WorkerConfig,
        queue: Arc<dyn JobQueue>,
        api: ServerApi,
        pipeline: Pipeline,
    ) -> Self {
        let hand_back = CancellationToken::new();
        let worker_id = config.worker_id.as_str().into();
        Self { config, queue, runner: Runner { worker_id, api, pipeline, hand_back } }
    }

    /// Works until `shutdown`. Then it takes no more, finishes what it has within
    /// [`WorkerConfig::drain_timeout`], hands back the rest for others to take at once, and
    /// ends; no task of it is left.
    pub async fn run(self, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.config.concurrency));
        let mut jobs = JoinSet::new();
        let mut backoff = Backoff::new();
        loop {
            while jobs.try_join_next().is_some() {}
            let permit = tokio::select! {
                () = shutdown.cancelled() => break,
                permit = permits.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let job = tokio::select! {
                () = shutdown.cancelled() => break,
                job = self.queue.take() => job,
            };
            match job {
                Ok(job) => {
                    backoff = Backoff::new();
                    let runner = self.runner.clone();
                    jobs.spawn(async move {
                        runner.work(job).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "queue not reached");
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = sleep(backoff.next()) => {}
                    }
                }
            }
        }
        tracing::info!(in_flight = jobs.len(), "worker drains");
        let finished = async { while jobs.join_next().await.is_some() {} };
        if timeout(self.config.drain_timeout, finished).await.is_err() {
            self.runner.hand_back.cancel();
            // Each has only a goodbye to say; the lease runs out for one that cannot.
            let gone = async { while jobs.join_next().await.is_some() {} };
            if timeout(self.config.drain_timeout, gone).await.is_err() {
                jobs.shutdown().await;
            }
        }
    }
}

/// What every job needs. Clones share it.
#[derive(Debug, Clone)]
struct Runner {
    worker_id: Arc<str>,
    api: ServerApi,
    pipeline: Pipeline,
    /// Cancelled when the time to drain is over.
    hand_back: CancellationToken,
}

impl Runner {
    async fn work(&self, job: Job) {
        let span = tracing::info_span!("job", summary_id = %job.summary_id, attempt = job.attempt, trace = job.trace);
        async {
            match self.claim(job.summary_id).await {
                Ok(claim) => self.run(job.summary_id, claim).await,
                Err(ServerApiError::NotClaimable) => tracing::debug!("not claimable"),
                Err(error) => tracing::warn!(%error, "not claimed"),
            }
        }
        .instrument(span)
        .await;
    }

    async fn claim(&self, id: SummaryId) -> Result<Claim, ServerApiError> {
        let mut backoff = Backoff::new();
        let mut tries = 1;
        loop {
            match self.api.claim(id, &self.worker_id).await {
                Err(ServerApiError::Unavailable { retry_after }) if tries < CLAIM_TRIES => {
                    tries += 1;
                    let pause = backoff.next().max(retry_after.unwrap_or_default());
                    tokio::select! {
                        () = self.hand_back.cancelled() => {
                            return Err(ServerApiError::Unavailable { retry_after });
                        }
                        () = sleep(pause) => {}
                    }
                }
                other => return other,
            }
        }
    }

    /// Runs the pipeline under the lease, and hands over what becomes of it. The heartbeat runs
    /// on a task of its own, so that no model can hold it up, until the server has the outcome.
    async fn run(&self, id: SummaryId, claim: Claim) {
        tracing::info!(attempt = claim.attempt, days = claim.days.len(), "claimed");
        let token = claim.lease_token;
        let (progress, told) = watch::channel(None);
        let lost = CancellationToken::new();
        let heart = Heart {
            api: self.api.clone(),
            id,
            token,
            lease: Duration::from_millis(claim.lease_ms),
            progress: told,
            lost: lost.clone(),
        };
        let mut heart = JoinSet::from_iter([heart.beat()]);
        let report = |now| {
            progress.send_replace(Some(now));
        };
        let outcome = tokio::select! {
            outcome = self.pipeline.run(claim.days, &report) => Some(outcome),
            () = self.hand_back.cancelled() => None,
            () = lost.cancelled() => {
                tracing::warn!("lease lost, job abandoned");
                return;
            }
        };
        // With the outcome in hand only the server's word counts: a lease that seems to have run
        // out while it was not reached may still be the row's.
        let handed_over = self.hand_over(id, token, outcome).await;
        heart.shutdown().await;
        match handed_over {
            Ok(()) => tracing::info!("handed over"),
            Err(error) => tracing::warn!(%error, "not handed over"),
        }
    }

    async fn hand_over(
        &self,
        id: SummaryId,
        token: LeaseToken,
        outcome: Option<Result<crate::pipeline::Outcome, PipelineError>>,
    ) -> Result<(), ServerApiError> {
        let failure = match outcome {
            Some(Ok(made)) => {
                let result = SummaryResult {
                    summary_id: id,
                    lease_token: token,
                    reflection: made.reflection,
                    engine: made.engine,
                    emotion_engine: made.emotion_engine,
                    emotion_results: made.emotions,
                };
                match persist(|| self.api.result(&result)).await {
                    // The summary must not wait for its lease to run out because of it.
                    Err(ServerApiError::Refused { code }) => Failure {
                        lease_token: token,
                        kind: FailureKind::Internal,
                        message: format!("the server refused the result: {code}"),
                        retryable: false,
                        retry_after_ms: None,
                    },
                    other => return other,
                }
            }
            Some(Err(error)) => {
                tracing::warn!(kind = error.kind.as_str(), %error, "pipeline failed");
                let wait = error.retry_after.map(|wait| wait.as_millis());
                Failure {
                    lease_token: token,
                    kind: error.kind,
                    message: error.message.chars().take(500).collect(),
                    retryable: error.retryable,
                    retry_after_ms: wait.map(|wait| wait.try_into().unwrap_or(u64::MAX)),
                }
            }
            None => Failure {
                lease_token: token,
                kind: FailureKind::WorkerLost,
                message: "the worker was stopped".to_owned(),
                retryable: true,
                retry_after_ms: None,
            },
        };
        persist(|| self.api.failure(id, &failure)).await
    }
}

/// Repeats a call while the server does not answer, within [`HAND_OVER_LIMIT`]. The server
/// recognises what it has been told before.
async fn persist<F>(mut call: impl FnMut() -> F) -> Result<(), ServerApiError>
where
    F: Future<Output = Result<(), ServerApiError>>,
{
    let deadline = Instant::now() + HAND_OVER_LIMIT;
    let mut backoff = Backoff::new();
    loop {
        match call().await {
            Err(ServerApiError::Unavailable { retry_after }) => {
                let next = Instant::now() + backoff.next().max(retry_after.unwrap_or_default());
                if next >= deadline {
                    return Err(ServerApiError::Unavailable { retry_after });
                }
                sleep_until(next).await;
            }
            other => return other,
        }
    }
}

/// Keeps a lease alive.
struct Heart {
    api: ServerApi,
    id: SummaryId,
    token: LeaseToken,
    lease: Duration,
    progress: watch::Receiver<Option<Progress>>,
    /// Cancelled when the lease is lost.
    lost: CancellationToken,
}

impl Heart {
    /// Beats every third of the lease, and sooner when there is progress to tell. It ends when the
    /// lease is lost, as the server says or as the time since the last beat does.
    async fn beat(mut self) {
        let mut alive_until = Instant::now() + self.lease;
        let mut last = Instant::now();
        loop {
            let due = last + self.lease / 3;
            tokio::select! {
                () = sleep_until(due) => {}
                changed = self.progress.changed() => {
                    let pace = if changed.is_ok() { PROGRESS_PACE } else { self.lease / 3 };
                    sleep_until((last + pace).min(due)).await;
                }
            }
            let sent = Instant::now();
            let progress = *self.progress.borrow_and_update();
            let beat = Heartbeat { lease_token: self.token, progress };
            let answer = timeout(self.lease / 3, self.api.heartbeat(self.id, &beat)).await;
            last = Instant::now();
            match answer {
                Ok(Ok(())) => alive_until = sent + self.lease,
                Ok(Err(ServerApiError::LeaseLost | ServerApiError::Refused { .. })) => break,
                Ok(Err(error)) => tracing::warn!(%error, "heartbeat failed"),
                Err(_) => tracing::warn!("heartbeat timed out"),
            }
            if Instant::now() >= alive_until {
                break;
            }
        }
        self.lost.cancel();
    }
}

/// Growing pauses: exponential with full jitter, 100 ms to 5 s.
#[derive(Debug)]
struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self { ceiling: Duration::from_millis(100) }
    }

    fn next(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(rand::random());
        self.ceiling = (self.ceiling * 2).min(Duration::from_secs(5));
        pause
    }
}
