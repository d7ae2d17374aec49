use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use shiori_sdk::{FailureKind, Progress, SummaryId, backoff::Backoff};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{
    Instrument,
    field::{Empty, display},
};

use crate::{
    JobQueue, Patience, Pipeline, PipelineError, ServerApiError, ServerCalls, TraceParent,
    WorkerMetrics,
    metrics::{AttemptOutcome, ClaimOutcome, ObservedEmotionModel, QueueOperation, ServerRequest},
    pipeline::{Attempt, Outcome},
    protocol::{
        Claim, ClaimRequest, Failure, Heartbeat, LeaseToken, MAX_REFLECTION_CHARS, OverdueRequest,
        SummaryResult, TextSoFar,
    },
    summarize::Availability,
};

/// Pauses after failed calls to the queue and the server.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Minimum time between two heartbeats that report progress. Only the latest progress is sent.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Minimum time between two heartbeats that report a text, because each is a write of the store. Only
/// the latest text is sent.
const TEXT_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts to claim a summary. Afterwards its hint is offered again, for other workers.
const MAX_CLAIM_ATTEMPTS: u32 = 2;

/// The longest `Retry-After` that a claim waits for. If it is longer, the hint is offered again
/// immediately, because another worker may be able to claim the summary.
const MAX_CLAIM_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The delay of a hint that is offered again after a failed claim. If only this summary fails, its
/// hint must not always be the first one.
const FAILED_HINT_PAUSE: Duration = Duration::from_secs(1);

/// The timeout of offering a hint again. After a failure, the dispatcher does it.
const OFFER_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the worker requests overdue summaries while its language model is suspended.
const OVERDUE_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of overdue summaries in one request.
const MAX_OVERDUE: usize = 100;

/// How long submitting an outcome is retried while the server is unavailable. Heartbeats continue.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(120);

/// How long releasing leases may take at shutdown, after the drain timeout. A lease that is not
/// released by then expires.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Lease durations are clamped to this range. The lower bound limits the rate of heartbeats. The
/// upper bound, which is the longest lease that a server can be configured with, keeps deadlines
/// within the range of the clock.
const MIN_LEASE: Duration = Duration::from_millis(100);
const MAX_LEASE: Duration = Duration::from_secs(60 * 60);

/// The settings of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Name of the worker in the store and in logs; at most 128 characters. Default `worker-` and
    /// the process id.
    pub worker_id: String,
    /// Maximum number of summaries in progress. Default 16; limited to [`Semaphore::MAX_PERMITS`].
    /// With 0, the worker takes none.
    pub concurrency: usize,
    /// How long running jobs may take to finish at shutdown. Afterwards their leases are released,
    /// which takes up to another 5 s. Default 10 s.
    pub drain_timeout: Duration,
    /// How long after its request a summary waits for the language model. Default `None`: the
    /// server's setting.
    pub patience: Option<Patience>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            worker_id: format!("worker-{}", std::process::id()),
            concurrency: 16,
            drain_timeout: Duration::from_secs(10),
            patience: None,
        }
    }
}

/// The worker stopped with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The server rejected the service token.
    #[error("the server rejected the service token; check SHIORI_INTERNAL_TOKEN")]
    TokenRefused,
}

/// Takes hints from a queue, claims their summaries, runs the pipeline, and submits the outcomes.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    queue: Arc<dyn JobQueue>,
    runner: Runner,
}

impl Worker {
    /// A worker with this queue, server and pipeline.
    pub fn new(
        config: WorkerConfig,
        queue: Arc<dyn JobQueue>,
        api: impl ServerCalls + 'static,
        mut pipeline: Pipeline,
    ) -> Self {
        let metrics = WorkerMetrics::new(queue.clone(), &pipeline, config.concurrency);
        let observed = ObservedEmotionModel { model: pipeline.emotion, metrics: metrics.clone() };
        pipeline.emotion = Arc::new(observed);
        let runner = Runner {
            worker_id: config.worker_id.as_str().into(),
            patience_ms: config.patience.map(|patience| millis(patience.get())),
            queue: queue.clone(),
            api: Arc::new(api),
            pipeline,
            jitter: rand::random,
            health: Arc::new(Health::new(metrics.clone())),
            metrics,
            release: CancellationToken::new(),
            heartbeats: TaskTracker::new(),
        };
        Self { config, queue, runner }
    }

    /// The metrics of this worker, which remain valid while it runs.
    pub fn metrics(&self) -> WorkerMetrics {
        self.runner.metrics.clone()
    }

    /// Replaces the random numbers from 0 to 1 in pauses, so that a simulation can be repeated.
    #[doc(hidden)]
    pub fn with_jitter(mut self, jitter: fn() -> f64) -> Self {
        self.runner.jitter = jitter;
        self
    }

    /// Runs until `shutdown` is cancelled. Then the worker takes no more hints, waits up to
    /// [`WorkerConfig::drain_timeout`] for running jobs, and releases the leases of jobs that have
    /// not finished, so that other workers can claim them immediately. All tasks of the worker have
    /// ended when this returns.
    ///
    /// The worker takes hints only while its server responds. While its language model is
    /// suspended, it takes only overdue summaries and one hint at a time as a probe.
    ///
    /// # Errors
    ///
    /// [`WorkerError::TokenRefused`] if the server rejects the service token; the worker has then
    /// stopped as on shutdown.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let mut jobs = JoinSet::new();
        let outcome = self.take_hints(&shutdown, &mut jobs).await;
        tracing::info!(in_progress = jobs.len(), "worker draining");
        if timeout(self.config.drain_timeout, join_all(&mut jobs)).await.is_err() {
            self.runner.release.cancel();
            if timeout(RELEASE_TIMEOUT, join_all(&mut jobs)).await.is_err() {
                jobs.shutdown().await;
            }
        }
        // Aborted jobs signalled their heartbeat tasks to stop but did not join them.
        self.runner.heartbeats.close();
        self.runner.heartbeats.wait().await;
        outcome
    }

    /// Takes hints and starts their jobs until `shutdown` is cancelled.
    async fn take_hints(
        &self,
        shutdown: &CancellationToken,
        jobs: &mut JoinSet<()>,
    ) -> Result<(), WorkerError> {
        let concurrency = self.config.concurrency.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(concurrency));
        let probes = Arc::new(Semaphore::new(1));
        let health = self.runner.health.clone();
        let mut failures = 0;
        let mut supports_overdue = true;
        loop {
            while let Some(result) = jobs.try_join_next() {
                log_panic(result);
            }
            // Biased, so that no hint is taken after `shutdown`.
            let permit = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = health.token_refused.cancelled() => return Err(WorkerError::TokenRefused),
                permit = permits.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return Ok(()) };
            // A worker that cannot claim leaves the hints to other workers.
            if !health.is_healthy() {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = self.runner.recover() => continue,
                }
            }
            let availability = self.runner.pipeline.summarizer.availability();
            let probe = match availability {
                Availability::Ready => None,
                // The server does not support the request. It counts every attempt, so every
                // summary ends.
                _ if !supports_overdue => None,
                Availability::Probe => probes.clone().try_acquire_owned().ok(),
                Availability::Suspended(_) => None,
            };
            if supports_overdue && availability != Availability::Ready && probe.is_none() {
                let round = self.run_overdue(&permits, permit, jobs);
                let supported = tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    supported = round => supported,
                };
                supports_overdue = supported;
                let pause = match availability {
                    Availability::Suspended(left) => left.clamp(MIN_PAUSE, OVERDUE_INTERVAL),
                    _ => OVERDUE_INTERVAL,
                };
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = sleep(pause) => continue,
                }
            }
            let hint = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = health.token_refused.cancelled() => return Err(WorkerError::TokenRefused),
                hint = self.queue.take() => hint,
            };
            let id = match hint {
                Ok(id) => id,
                Err(error) => {
                    self.runner.metrics.queue_failed(QueueOperation::Take);
                    tracing::warn!(%error, "could not take a hint from the queue");
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return Ok(()),
                        () = sleep(next_pause(&mut failures, self.runner.jitter)) => continue,
                    }
                }
            };
            failures = 0;
            self.runner.metrics.hint_taken();
            // Checked again, because the wait for the hint may have been long.
            let is_suspended = supports_overdue
                && probe.is_none()
                && self.runner.pipeline.summarizer.availability() != Availability::Ready;
            if is_suspended || !health.is_healthy() {
                self.runner.return_hint(id, Duration::ZERO).await;
                continue;
            }
            let runner = self.runner.clone();
            jobs.spawn(async move {
                runner.process(id).await;
                drop((permit, probe));
            });
        }
    }

    /// Starts the jobs of overdue summaries while permits are available. Returns whether the server
    /// supports the request.
    async fn run_overdue(
        &self,
        permits: &Arc<Semaphore>,
        permit: OwnedSemaphorePermit,
        jobs: &mut JoinSet<()>,
    ) -> bool {
        let free = (permits.available_permits() + 1).min(MAX_OVERDUE);
        let request = OverdueRequest {
            patience_ms: self.runner.patience_ms,
            limit: u32::try_from(free).unwrap_or(u32::MAX),
        };
        let ids = match self.runner.overdue(&request).await {
            Ok(Some(ids)) => ids,
            Ok(None) => return false,
            Err(error) => {
                self.runner.health.failed(&error);
                tracing::warn!(%error, "could not request overdue summaries");
                return true;
            }
        };
        let mut permit = Some(permit);
        for id in ids {
            let next = permit.take().or_else(|| permits.clone().try_acquire_owned().ok());
            let Some(permit) = next else { break };
            let runner = self.runner.clone();
            jobs.spawn(async move {
                runner.process(id).await;
                drop(permit);
            });
        }
        true
    }
}

/// Whether this worker can claim summaries.
#[derive(Debug)]
struct Health {
    /// Failed calls since the last successful claim.
    failures: AtomicU32,
    /// Whether the server has responded since the last failure; false at the start.
    is_checked: AtomicBool,
    /// Cancelled when the server rejects the service token.
    token_refused: CancellationToken,
    metrics: WorkerMetrics,
}

impl Health {
    fn new(metrics: WorkerMetrics) -> Self {
        Self {
            failures: AtomicU32::default(),
            is_checked: AtomicBool::default(),
            token_refused: CancellationToken::new(),
            metrics,
        }
    }

    fn checked(&self) {
        self.is_checked.store(true, Ordering::SeqCst);
        self.metrics.set_server_available(true);
    }

    fn is_healthy(&self) -> bool {
        self.is_checked.load(Ordering::SeqCst)
    }

    fn failed(&self, error: &ServerApiError) {
        if error.is_unauthorized() {
            self.token_refused.cancel();
        }
        self.is_checked.store(false, Ordering::SeqCst);
        self.metrics.set_server_available(false);
        // Only the pauses depend on the number.
        self.failures.fetch_add(1, Ordering::SeqCst);
    }

    fn succeeded(&self) {
        self.failures.store(0, Ordering::SeqCst);
    }
}

/// The shortest pause of a loop that waits for a condition.
const MIN_PAUSE: Duration = Duration::from_millis(50);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The pause after one more failure in a row.
fn next_pause(failures: &mut u32, jitter: fn() -> f64) -> Duration {
    *failures = failures.saturating_add(1);
    BACKOFF.pause(*failures, jitter())
}

async fn join_all(jobs: &mut JoinSet<()>) {
    while let Some(result) = jobs.join_next().await {
        log_panic(result);
    }
}

/// Jobs handle their errors; only a panic, which is a bug, is reported here.
fn log_panic(result: Result<(), JoinError>) {
    if result.is_err_and(|error| error.is_panic()) {
        tracing::error!("a job panicked");
    }
}

/// Runs one job. Clones share everything.
#[derive(Debug, Clone)]
struct Runner {
    worker_id: Arc<str>,
    patience_ms: Option<u64>,
    queue: Arc<dyn JobQueue>,
    api: Arc<dyn ServerCalls>,
    pipeline: Pipeline,
    /// Random numbers from 0 to 1, for pauses.
    jitter: fn() -> f64,
    health: Arc<Health>,
    metrics: WorkerMetrics,
    /// Cancelled after the drain timeout: running jobs release their leases.
    release: CancellationToken,
    /// The heartbeat tasks, so that shutdown can wait for all of them.
    heartbeats: TaskTracker,
}

impl Runner {
    async fn overdue(
        &self,
        request: &OverdueRequest,
    ) -> Result<Option<Vec<SummaryId>>, ServerApiError> {
        self.metrics.requested(ServerRequest::Overdue, self.api.overdue(request)).await
    }

    async fn process(&self, id: SummaryId) {
        let _in_progress = self.metrics.begin();
        let span = tracing::info_span!(
            "job",
            summary_id = %id,
            worker_id = &*self.worker_id,
            attempt = Empty,
            trace_id = Empty,
        );
        let entered = span.clone();
        async move {
            match self.claim(id).await {
                Ok((claim, lease_start)) => {
                    self.metrics.claimed(ClaimOutcome::Claimed);
                    self.health.succeeded();
                    span.record("attempt", claim.attempt);
                    // The server may be of a version that does not validate it.
                    let trace: Option<TraceParent> =
                        claim.trace.as_deref().and_then(|trace| trace.parse().ok());
                    span.record("trace_id", trace.as_ref().map(|trace| display(trace.trace_id())));
                    self.run(id, claim, trace, lease_start).await;
                }
                Err(ServerApiError::NotClaimable) => {
                    self.metrics.claimed(ClaimOutcome::NotClaimable);
                    self.health.succeeded();
                    tracing::debug!("the summary is not claimable");
                }
                Err(error) => {
                    self.metrics.claimed(ClaimOutcome::Error);
                    self.health.failed(&error);
                    tracing::warn!(%error, "could not claim the summary; offering the hint again");
                    self.return_hint(id, FAILED_HINT_PAUSE).await;
                }
            }
        }
        .instrument(entered)
        .await;
    }

    /// Pauses after failed calls, and checks the server.
    async fn recover(&self) {
        let failures = self.health.failures.load(Ordering::SeqCst);
        if failures > 0 {
            sleep(BACKOFF.pause(failures, (self.jitter)())).await;
        }
        match self.metrics.requested(ServerRequest::Check, self.api.check()).await {
            Ok(()) => self.health.checked(),
            Err(error) => {
                self.health.failed(&error);
                tracing::warn!(%error, "the server check failed; taking no hints");
            }
        }
    }

    /// Offers a hint again whose summary this worker could not claim.
    async fn return_hint(&self, id: SummaryId, pause: Duration) {
        let offered = timeout(OFFER_TIMEOUT, self.queue.offer(id, self.queue.now() + pause)).await;
        if !matches!(offered, Ok(Ok(()))) {
            self.metrics.queue_failed(QueueOperation::Offer);
            tracing::warn!(summary_id = %id, "could not offer the hint again; the dispatcher will");
        }
    }

    /// Claims the summary. Also returns the time of the request, which is a lower bound of the
    /// lease's start.
    async fn claim(&self, id: SummaryId) -> Result<(Claim, Instant), ServerApiError> {
        let mut failures = 0;
        // All attempts use one token, so that a claim whose response was lost can be repeated.
        let request = ClaimRequest {
            worker_id: self.worker_id.as_ref().to_owned(),
            lease_token: Some(LeaseToken::new()),
            patience_ms: self.patience_ms,
        };
        loop {
            let sent = Instant::now();
            let claim = self.api.claim(id, &request);
            match self.metrics.requested(ServerRequest::Claim, claim).await {
                Err(ServerApiError::Unavailable { retry_after })
                    if failures + 1 < MAX_CLAIM_ATTEMPTS
                        && retry_after.unwrap_or_default() <= MAX_CLAIM_RETRY_AFTER =>
                {
                    let pause =
                        next_pause(&mut failures, self.jitter).max(retry_after.unwrap_or_default());
                    tokio::select! {
                        biased;
                        () = self.release.cancelled() => {
                            return Err(ServerApiError::Unavailable { retry_after });
                        }
                        () = sleep(pause) => {}
                    }
                }
                result => return result.map(|claim| (claim, sent)),
            }
        }
    }

    /// Runs the pipeline under the lease and submits the outcome. A separate task sends heartbeats
    /// until the server has accepted the outcome, so that a model cannot delay them.
    async fn run(
        &self,
        id: SummaryId,
        claim: Claim,
        trace: Option<TraceParent>,
        lease_start: Instant,
    ) {
        tracing::info!(days = claim.days.len(), "claimed");
        let token = claim.lease_token;
        let (reported, latest) = watch::channel(Reported::default());
        let lease_lost = CancellationToken::new();
        let heartbeats = HeartbeatTask {
            api: self.api.clone(),
            metrics: self.metrics.clone(),
            id,
            token,
            jitter: self.jitter,
            lease: lease_duration(claim.lease_ms),
            lease_start,
            reported: latest,
            text: SentText::default(),
            lease_lost: lease_lost.clone(),
        };
        // The guard stops the heartbeats when this function returns or is cancelled.
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let heartbeats = stop.run_until_cancelled_owned(heartbeats.run());
        self.heartbeats.spawn(heartbeats.in_current_span());
        let report = |now, text: &str| reported.send_modify(|reported| reported.set(now, text));
        // Biased: a finished outcome is submitted even if the lease was lost at the same time.
        let attempt = Attempt { is_last: claim.is_last, is_overdue: claim.is_overdue };
        let outcome = tokio::select! {
            biased;
            outcome = self.pipeline.run(claim.days, trace, attempt, &report) => {
                Some(outcome)
            }
            () = self.release.cancelled() => None,
            () = lease_lost.cancelled() => {
                self.metrics.attempt_ended(AttemptOutcome::LeaseLost, lease_start.elapsed());
                tracing::warn!("lease lost; job aborted");
                return;
            }
        };
        // `lease_lost` is ignored from here: heartbeats may have failed while the server was
        // unreachable, and the server may still accept the outcome.
        let attempt = match self.submit(id, token, outcome).await {
            Ok(attempt) => {
                tracing::info!("outcome submitted");
                attempt
            }
            Err(error) => {
                tracing::warn!(%error, "could not submit the outcome");
                match error {
                    ServerApiError::LeaseLost => AttemptOutcome::LeaseLost,
                    _ => AttemptOutcome::NotSubmitted,
                }
            }
        };
        self.metrics.attempt_ended(attempt, lease_start.elapsed());
    }

    /// Submits the result or the failure; without an outcome, releases the lease. Returns what was
    /// submitted.
    async fn submit(
        &self,
        id: SummaryId,
        token: LeaseToken,
        outcome: Option<Result<Outcome, PipelineError>>,
    ) -> Result<AttemptOutcome, ServerApiError> {
        let (attempt, failure) = match outcome {
            Some(Ok(outcome)) => {
                let is_fallback = outcome.written.engine != self.pipeline.summarizer.engine();
                let attempt =
                    if is_fallback { AttemptOutcome::Fallback } else { AttemptOutcome::Completed };
                let result = SummaryResult {
                    summary_id: id,
                    lease_token: token,
                    reflection: outcome.written.reflection,
                    engine: outcome.written.engine,
                    emotion_engine: outcome.emotion_engine,
                    emotion_results: outcome.emotions,
                    truncated: outcome.written.truncated,
                    usage: outcome.written.usage,
                };
                let submit =
                    || self.metrics.requested(ServerRequest::Result, self.api.result(&result));
                match retry_unavailable(self.jitter, submit).await {
                    // Reported as a failure, so that the summary fails now rather than when the
                    // lease expires.
                    Err(ServerApiError::Refused { code }) => (
                        AttemptOutcome::Failed,
                        Failure {
                            lease_token: token,
                            kind: FailureKind::Internal,
                            message: format!("the server rejected the result: {code}"),
                            retryable: false,
                            retry_after_ms: None,
                            costs_attempt: true,
                        },
                    ),
                    submitted => return submitted.map(|()| attempt),
                }
            }
            Some(Err(error)) => {
                tracing::warn!(kind = error.kind.as_str(), %error, "pipeline failed");
                let attempt = if error.retryable {
                    AttemptOutcome::Retryable
                } else {
                    AttemptOutcome::Failed
                };
                (
                    attempt,
                    Failure {
                        lease_token: token,
                        kind: error.kind,
                        message: error.message.chars().take(500).collect(),
                        retryable: error.retryable,
                        retry_after_ms: error.retry_after.map(millis),
                        costs_attempt: error.costs_attempt,
                    },
                )
            }
            None => (
                AttemptOutcome::Released,
                Failure {
                    lease_token: token,
                    kind: FailureKind::WorkerLost,
                    message: "the worker was stopped".to_owned(),
                    retryable: true,
                    retry_after_ms: None,
                    costs_attempt: true,
                },
            ),
        };
        self.metrics.attempt_failed(failure.kind);
        let submit =
            || self.metrics.requested(ServerRequest::Failure, self.api.failure(id, &failure));
        retry_unavailable(self.jitter, submit).await.map(|()| attempt)
    }
}

/// The duration of a lease from the server, clamped to [`MIN_LEASE`] and [`MAX_LEASE`].
fn lease_duration(lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms).clamp(MIN_LEASE, MAX_LEASE)
}

/// Retries a request while the server is unavailable, for up to [`SUBMIT_TIMEOUT`]. Submitting an
/// outcome is idempotent.
async fn retry_unavailable<F>(
    jitter: fn() -> f64,
    mut request: impl FnMut() -> F,
) -> Result<(), ServerApiError>
where
    F: Future<Output = Result<(), ServerApiError>>,
{
    let start = Instant::now();
    let mut failures = 0;
    loop {
        match request().await {
            Err(ServerApiError::Unavailable { retry_after }) => {
                let pause = next_pause(&mut failures, jitter).max(retry_after.unwrap_or_default());
                // Fail now if the next attempt would start after the timeout.
                if pause >= SUBMIT_TIMEOUT.saturating_sub(start.elapsed()) {
                    return Err(ServerApiError::Unavailable { retry_after });
                }
                sleep(pause).await;
            }
            other => return other,
        }
    }
}

/// What the pipeline has reported last.
#[derive(Default)]
struct Reported {
    progress: Option<Progress>,
    /// The text so far; empty until there is one.
    text: String,
}

impl Reported {
    fn set(&mut self, progress: Progress, text: &str) {
        self.progress = Some(progress);
        if self.text != text {
            let limit = text.char_indices().nth(MAX_REFLECTION_CHARS);
            text[..limit.map_or(text.len(), |(at, _)| at)].clone_into(&mut self.text);
        }
    }
}

/// The text that was sent last.
#[derive(Default)]
struct SentText {
    text: String,
    /// The number of the last attempt to send one.
    number: u32,
    /// When that was; `None` before the first.
    at: Option<Instant>,
}

impl SentText {
    /// When a text may be sent that differs from the last one.
    fn due(&self, now: Instant) -> Instant {
        self.at.map_or(now, |at| at + TEXT_INTERVAL)
    }

    /// The text to send now; `None` if it is unchanged or the last one was sent too recently.
    fn next(&mut self, text: &str, now: Instant) -> Option<TextSoFar> {
        if text == self.text || now < self.due(now) {
            return None;
        }
        self.number = self.number.saturating_add(1);
        self.at = Some(now);
        Some(TextSoFar { number: self.number, text: text.to_owned() })
    }
}

/// Extends the lease of one job.
struct HeartbeatTask {
    api: Arc<dyn ServerCalls>,
    metrics: WorkerMetrics,
    id: SummaryId,
    token: LeaseToken,
    jitter: fn() -> f64,
    lease: Duration,
    /// When the lease started, or shortly before.
    lease_start: Instant,
    reported: watch::Receiver<Reported>,
    text: SentText,
    /// Cancelled when the lease is lost.
    lease_lost: CancellationToken,
}

impl HeartbeatTask {
    /// Sends a heartbeat every third of the lease, and earlier if there is progress or a text to
    /// report or the previous one failed. Ends when the server responds that the lease is lost, or
    /// when the lease has expired since the last successful heartbeat.
    async fn run(mut self) {
        let interval = self.lease / 3;
        let mut expires = self.lease_start + self.lease;
        let mut last = self.lease_start;
        let mut due = last + interval;
        let mut failures = 0;
        loop {
            // A text that was too recent for the last heartbeat is sent even if no other follows.
            let has_text = self.reported.borrow().text != self.text.text;
            let text_due = self.text.due(last).max(last + PROGRESS_INTERVAL);
            let next = if has_text { due.min(text_due) } else { due };
            // Biased, so that a simulation can be repeated.
            tokio::select! {
                biased;
                () = sleep_until(next) => {}
                changed = self.reported.changed() => {
                    // An error means that the job has ended and there will be no more progress.
                    let earliest = if changed.is_ok() { PROGRESS_INTERVAL } else { interval };
                    sleep_until((last + earliest).min(due)).await;
                }
            }
            let sent = Instant::now();
            let (progress, text) = {
                let reported = self.reported.borrow_and_update();
                (reported.progress, self.text.next(&reported.text, sent))
            };
            let heartbeat = Heartbeat { lease_token: self.token, progress, text };
            let beat = self.api.heartbeat(self.id, &heartbeat);
            let beat = self.metrics.requested(ServerRequest::Heartbeat, beat);
            let response = timeout(interval, beat).await;
            last = Instant::now();
            match response {
                Ok(Ok(())) => {
                    expires = sent + self.lease;
                    due = sent + interval;
                    failures = 0;
                    if let Some(TextSoFar { text, .. }) = heartbeat.text {
                        self.text.text = text;
                    }
                    continue;
                }
                Ok(Err(ServerApiError::LeaseLost | ServerApiError::Refused { .. })) => break,
                Ok(Err(error)) => tracing::warn!(%error, "heartbeat failed"),
                Err(_) => {
                    self.metrics.request_timed_out(ServerRequest::Heartbeat);
                    tracing::warn!("heartbeat timed out");
                }
            }
            if last >= expires {
                break;
            }
            // The last attempt is made when the lease expires by this estimate: on the server it
            // may have started later.
            due = (last + next_pause(&mut failures, self.jitter).min(interval / 2)).min(expires);
        }
        self.lease_lost.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn lease_durations_are_clamped() {
        assert_eq!(lease_duration(30_000), Duration::from_secs(30));
        assert_eq!(lease_duration(u64::MAX), MAX_LEASE);
        assert_eq!(lease_duration(0), MIN_LEASE);
    }

    /// The number of attempts and the elapsed time, if the server always responds with this
    /// `Retry-After`.
    async fn attempts(retry_after: Option<Duration>) -> (u32, Duration) {
        let attempts = Cell::new(0);
        let start = Instant::now();
        let result = retry_unavailable(rand::random, || {
            attempts.set(attempts.get() + 1);
            async { Err(ServerApiError::Unavailable { retry_after }) }
        });
        let error = result.await.expect_err("the server stays unavailable");
        assert!(matches!(error, ServerApiError::Unavailable { .. }), "{error:?}");
        (attempts.get(), start.elapsed())
    }

    #[test]
    fn a_text_is_sent_once_a_second_and_only_if_it_changed() {
        let start = Instant::now();
        let (mut sent, at) = (SentText::default(), |ms| start + Duration::from_millis(ms));
        let mut next = |text: &str, ms, succeeds| {
            let next = sent.next(text, at(ms))?;
            if succeeds {
                sent.text = next.text;
            }
            Some(next.number)
        };
        assert_eq!(next("", 0, true), None, "there is none yet");
        assert_eq!(next("한", 100, true), Some(1));
        assert_eq!(next("한 주", 1099, true), None);
        assert_eq!(next("한 주", 1100, false), Some(2));
        assert_eq!(next("한 주", 2099, true), None);
        assert_eq!(next("한 주", 2100, true), Some(3), "the heartbeat had failed");
        assert_eq!(next("한 주", 9000, true), None);
        assert_eq!(next("", 9000, true), Some(4), "the text is withdrawn");
    }

    #[test]
    fn a_reported_text_is_within_the_limit_of_the_server() {
        let mut reported = Reported::default();
        let progress = Progress { phase: shiori_sdk::ProgressPhase::Writing, characters: 1 };
        reported.set(progress, &"글".repeat(MAX_REFLECTION_CHARS + 1));
        assert_eq!(reported.text.chars().count(), MAX_REFLECTION_CHARS);
    }

    #[tokio::test(start_paused = true)]
    async fn submitting_is_retried_until_the_timeout() {
        let (count, elapsed) = attempts(Some(Duration::from_secs(30))).await;
        assert_eq!((count, elapsed.as_secs()), (4, 90));
        let (count, elapsed) = attempts(None).await;
        assert!(count > 20 && elapsed < SUBMIT_TIMEOUT, "{count} {elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_of_any_length_does_not_panic() {
        for wait in [SUBMIT_TIMEOUT, Duration::from_secs(u64::MAX), Duration::MAX] {
            assert_eq!(attempts(Some(wait)).await, (1, Duration::ZERO));
        }
    }
}
