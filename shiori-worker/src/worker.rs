use std::{sync::Arc, time::Duration};

use shiori_sdk::{FailureKind, Progress, SummaryId};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, field::Empty};

use crate::{
    JobQueue, Pipeline, PipelineError, ServerApi, ServerApiError,
    protocol::{Claim, Failure, Heartbeat, LeaseToken, SummaryResult},
};

/// Progress is told at most this often; in between, the newest waits.
const PROGRESS_PACE: Duration = Duration::from_millis(250);

/// How often a claim is tried. Afterwards the hint is dropped, and the dispatcher offers it again.
const CLAIM_TRIES: u32 = 3;

/// A server that asks for more patience than this before a claim is not waited for: the hint is
/// dropped at once, for it would hold up others that could be claimed.
const CLAIM_PATIENCE: Duration = Duration::from_secs(5);

/// How long a result is offered to a server that does not answer, while heartbeats go on.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(120);

/// How long handing back may take at shutdown, once the time to drain is over. What cannot be
/// handed back by then is taken back when its lease runs out.
const HAND_BACK_LIMIT: Duration = Duration::from_secs(5);

/// The numbers of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Names the worker in the store, for people. At most 128 characters.
    pub worker_id: String,
    /// Summaries in flight. Default 16.
    pub concurrency: usize,
    /// How long jobs under way may take to finish at shutdown before they are handed back, which
    /// takes up to 5 s more. Default 10 s.
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
        let runner = Runner {
            worker_id: config.worker_id.as_str().into(),
            api,
            pipeline,
            hand_back: CancellationToken::new(),
            hearts: TaskTracker::new(),
        };
        Self { config, queue, runner }
    }

    /// Works until `shutdown`. Then it takes no more, finishes what it has within
    /// [`WorkerConfig::drain_timeout`], hands back the rest for others to take at once, and
    /// ends; no task of it is left.
    pub async fn run(self, shutdown: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.config.concurrency));
        let mut jobs = JoinSet::new();
        let mut backoff = Backoff::new();
        loop {
            while let Some(ended) = jobs.try_join_next() {
                mourn(ended);
            }
            // Biased: once it is to stop, no more is taken, however much waits.
            let permit = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                permit = permits.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let job = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                job = self.queue.take() => job,
            };
            match job {
                Ok(id) => {
                    backoff = Backoff::new();
                    let runner = self.runner.clone();
                    jobs.spawn(async move {
                        runner.work(id).await;
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
        if timeout(self.config.drain_timeout, all(&mut jobs)).await.is_err() {
            self.runner.hand_back.cancel();
            if timeout(HAND_BACK_LIMIT, all(&mut jobs)).await.is_err() {
                jobs.shutdown().await;
            }
        }
        // A job that was cut off has told its heart to stop, but has not seen it stop.
        self.runner.hearts.close();
        self.runner.hearts.wait().await;
    }
}

/// Waits for all jobs to end.
async fn all(jobs: &mut JoinSet<()>) {
    while let Some(ended) = jobs.join_next().await {
        mourn(ended);
    }
}

/// A job ends by itself; one that panicked is a fault of this crate's own, which must not pass
/// unseen.
fn mourn(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a job panicked");
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
    /// The heartbeat tasks, so that the last of them can be waited for.
    hearts: TaskTracker,
}

impl Runner {
    async fn work(&self, id: SummaryId) {
        let span = tracing::info_span!(
            "job",
            summary_id = %id,
            worker_id = &*self.worker_id,
            attempt = Empty,
            trace = Empty,
        );
        let entered = span.clone();
        async move {
            match self.claim(id).await {
                Ok((claim, asked)) => {
                    span.record("attempt", claim.attempt);
                    span.record("trace", claim.trace.as_deref());
                    self.run(id, claim, asked).await;
                }
                Err(ServerApiError::NotClaimable) => tracing::debug!("not claimable"),
                Err(error) => tracing::warn!(%error, "not claimed"),
            }
        }
        .instrument(entered)
        .await;
    }

    /// The claim, and when it was asked for: its lease did not begin before.
    async fn claim(&self, id: SummaryId) -> Result<(Claim, Instant), ServerApiError> {
        let mut backoff = Backoff::new();
        let mut tries = 1;
        let token = LeaseToken::new();
        loop {
            let asked = Instant::now();
            match self.api.claim(id, &self.worker_id, token).await {
                Err(ServerApiError::Unavailable { retry_after })
                    if tries < CLAIM_TRIES && retry_after.unwrap_or_default() <= CLAIM_PATIENCE =>
                {
                    tries += 1;
                    let pause = backoff.next().max(retry_after.unwrap_or_default());
                    tokio::select! {
                        () = self.hand_back.cancelled() => {
                            return Err(ServerApiError::Unavailable { retry_after });
                        }
                        () = sleep(pause) => {}
                    }
                }
                other => return other.map(|claim| (claim, asked)),
            }
        }
    }

    /// Runs the pipeline under the lease, and hands over what becomes of it. The heartbeat runs
    /// on a task of its own, so that no model can hold it up, until the server has the outcome.
    async fn run(&self, id: SummaryId, claim: Claim, asked: Instant) {
        tracing::info!(days = claim.days.len(), "claimed");
        let token = claim.lease_token;
        let (progress, told) = watch::channel(None);
        let lost = CancellationToken::new();
        let heart = Heart {
            api: self.api.clone(),
            id,
            token,
            lease: Duration::from_millis(claim.lease_ms),
            leased: asked,
            progress: told,
            lost: lost.clone(),
        };
        // Stops the heart however this ends.
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let beating = stop.run_until_cancelled_owned(heart.beat());
        self.hearts.spawn(beating.in_current_span());
        let report = |now| {
            progress.send_replace(Some(now));
        };
        // Biased: an outcome that is there is not thrown away.
        let outcome = tokio::select! {
            biased;
            outcome = self.pipeline.run(claim.days, claim.is_last, &report) => Some(outcome),
            () = self.hand_back.cancelled() => None,
            () = lost.cancelled() => {
                tracing::warn!("lease lost, job abandoned");
                return;
            }
        };
        // With the outcome in hand only the server's word counts: a lease that seems to have run
        // out while it was not reached may still be the row's.
        let handed_over = self.hand_over(id, token, outcome).await;
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
                    reflection: made.written.reflection,
                    engine: made.written.engine,
                    emotion_engine: made.emotion_engine,
                    emotion_results: made.emotions,
                    truncated: made.written.truncated,
                    usage: made.written.usage,
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
    /// When the lease began, or a little before.
    leased: Instant,
    progress: watch::Receiver<Option<Progress>>,
    /// Cancelled when the lease is lost.
    lost: CancellationToken,
}

impl Heart {
    /// Beats every third of the lease, and sooner when there is progress to tell or the last beat
    /// failed. It ends when the lease is lost, as the server says or as the time since the last
    /// good beat does.
    async fn beat(mut self) {
        let regular = self.lease / 3;
        let mut alive_until = self.leased + self.lease;
        let mut last = self.leased;
        let mut due = last + regular;
        let mut backoff = Backoff::new();
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                changed = self.progress.changed() => {
                    let pace = if changed.is_ok() { PROGRESS_PACE } else { regular };
                    sleep_until((last + pace).min(due)).await;
                }
            }
            let sent = Instant::now();
            let progress = *self.progress.borrow_and_update();
            let beat = Heartbeat { lease_token: self.token, progress };
            let answer = timeout(regular, self.api.heartbeat(self.id, &beat)).await;
            last = Instant::now();
            match answer {
                Ok(Ok(())) => {
                    alive_until = sent + self.lease;
                    due = sent + regular;
                    backoff = Backoff::new();
                    continue;
                }
                Ok(Err(ServerApiError::LeaseLost | ServerApiError::Refused { .. })) => break,
                Ok(Err(error)) => tracing::warn!(%error, "heartbeat failed"),
                Err(_) => tracing::warn!("heartbeat timed out"),
            }
            if last >= alive_until {
                break;
            }
            // The last try is made when the lease seems to run out: the server may see it later.
            due = (last + backoff.next().min(regular / 2)).min(alive_until);
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
