use std::{sync::Arc, time::Duration};

use shiori_sdk::{FailureKind, Progress, SummaryId, backoff::Backoff};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, field::Empty};

use crate::{
    JobQueue, Pipeline, PipelineError, ServerApi, ServerApiError,
    pipeline::Outcome,
    protocol::{Claim, Failure, Heartbeat, LeaseToken, SummaryResult},
};

/// Pauses after failed calls to the queue and the server.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Minimum time between two heartbeats that report progress. Only the latest progress is sent.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Attempts to claim a summary. Afterwards the hint is dropped; the dispatcher offers it again.
const MAX_CLAIM_ATTEMPTS: u32 = 3;

/// The longest `Retry-After` of a claim that is waited for. After a longer one the hint is dropped
/// immediately, because waiting would block a slot that can serve other summaries.
const MAX_CLAIM_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long submitting an outcome is retried while the server is unavailable. Heartbeats continue.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(120);

/// How long releasing leases may take at shutdown, after the drain timeout. A lease that is not
/// released by then expires.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Lease durations outside this range are clamped to it. The lower bound limits the rate of
/// heartbeats; the upper bound, the longest lease that a server can be configured with, keeps
/// deadlines within the range of the clock.
const MIN_LEASE: Duration = Duration::from_millis(100);
const MAX_LEASE: Duration = Duration::from_secs(60 * 60);

/// The settings of a worker.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Name of the worker in the store and in logs; at most 128 characters. Default `worker-` and
    /// the process id.
    pub worker_id: String,
    /// Maximum number of summaries in progress. Default 16; values above
    /// [`Semaphore::MAX_PERMITS`] count as that, and with 0 the worker takes none.
    pub concurrency: usize,
    /// How long running jobs may take to finish at shutdown. Afterwards their leases are released,
    /// which takes up to 5 s more. Default 10 s.
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

/// Takes hints from a queue, claims their summaries, runs the pipeline, and submits the outcomes.
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
            release: CancellationToken::new(),
            heartbeats: TaskTracker::new(),
        };
        Self { config, queue, runner }
    }

    /// Runs until `shutdown` is cancelled. Then the worker takes no more hints, waits up to
    /// [`WorkerConfig::drain_timeout`] for running jobs, and releases the leases of the others, so
    /// that other workers can claim them immediately. No task of the worker is left afterwards.
    pub async fn run(self, shutdown: CancellationToken) {
        let concurrency = self.config.concurrency.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(concurrency));
        let mut jobs = JoinSet::new();
        let mut failures = 0;
        loop {
            while let Some(result) = jobs.try_join_next() {
                log_panic(result);
            }
            // Biased: after `shutdown` no hint is taken, however many are due.
            let permit = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                permit = permits.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let hint = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                hint = self.queue.take() => hint,
            };
            match hint {
                Ok(id) => {
                    failures = 0;
                    let runner = self.runner.clone();
                    jobs.spawn(async move {
                        runner.process(id).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a hint from the queue");
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = sleep(next_pause(&mut failures)) => {}
                    }
                }
            }
        }
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
    }
}

/// The pause after one more failure in a row.
fn next_pause(failures: &mut u32) -> Duration {
    *failures = failures.saturating_add(1);
    BACKOFF.pause(*failures, rand::random())
}

async fn join_all(jobs: &mut JoinSet<()>) {
    while let Some(result) = jobs.join_next().await {
        log_panic(result);
    }
}

/// Jobs report their errors themselves; only a panic, which is a bug, arrives here.
fn log_panic(result: Result<(), JoinError>) {
    if result.is_err_and(|error| error.is_panic()) {
        tracing::error!("a job panicked");
    }
}

/// Runs one job. Clones share everything.
#[derive(Debug, Clone)]
struct Runner {
    worker_id: Arc<str>,
    api: ServerApi,
    pipeline: Pipeline,
    /// Cancelled after the drain timeout: running jobs release their leases.
    release: CancellationToken,
    /// The heartbeat tasks, so that shutdown can wait for all of them.
    heartbeats: TaskTracker,
}

impl Runner {
    async fn process(&self, id: SummaryId) {
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
                Ok((claim, lease_start)) => {
                    span.record("attempt", claim.attempt);
                    span.record("trace", claim.trace.as_deref());
                    self.run(id, claim, lease_start).await;
                }
                Err(ServerApiError::NotClaimable) => tracing::debug!("not claimable"),
                Err(error) => tracing::warn!(%error, "claim failed"),
            }
        }
        .instrument(entered)
        .await;
    }

    /// Claims the summary. Also returns when the request was sent: the lease starts no earlier.
    async fn claim(&self, id: SummaryId) -> Result<(Claim, Instant), ServerApiError> {
        let mut failures = 0;
        // All attempts use one token, so that a claim whose response was lost can be repeated.
        let token = LeaseToken::new();
        loop {
            let sent = Instant::now();
            match self.api.claim(id, &self.worker_id, token).await {
                Err(ServerApiError::Unavailable { retry_after })
                    if failures + 1 < MAX_CLAIM_ATTEMPTS
                        && retry_after.unwrap_or_default() <= MAX_CLAIM_RETRY_AFTER =>
                {
                    let pause = next_pause(&mut failures).max(retry_after.unwrap_or_default());
                    tokio::select! {
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

    /// Runs the pipeline under the lease and submits the outcome. Heartbeats are sent by a separate
    /// task, so that no model can delay them, until the server has accepted the outcome.
    async fn run(&self, id: SummaryId, claim: Claim, lease_start: Instant) {
        tracing::info!(days = claim.days.len(), "claimed");
        let token = claim.lease_token;
        let (progress, latest_progress) = watch::channel(None);
        let lease_lost = CancellationToken::new();
        let heartbeats = HeartbeatTask {
            api: self.api.clone(),
            id,
            token,
            lease: lease_duration(claim.lease_ms),
            lease_start,
            progress: latest_progress,
            lease_lost: lease_lost.clone(),
        };
        // The guard stops the heartbeats however this function ends.
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let heartbeats = stop.run_until_cancelled_owned(heartbeats.run());
        self.heartbeats.spawn(heartbeats.in_current_span());
        let report_progress = |now| {
            progress.send_replace(Some(now));
        };
        // Biased: a finished outcome is submitted even if the lease was lost at the same time.
        let outcome = tokio::select! {
            biased;
            outcome = self.pipeline.run(claim.days, claim.is_last, &report_progress) => {
                Some(outcome)
            }
            () = self.release.cancelled() => None,
            () = lease_lost.cancelled() => {
                tracing::warn!("lease lost, job aborted");
                return;
            }
        };
        // From here on `lease_lost` is ignored: heartbeats may have failed while the server was
        // unreachable, and the server may still accept the outcome.
        match self.submit(id, token, outcome).await {
            Ok(()) => tracing::info!("outcome submitted"),
            Err(error) => tracing::warn!(%error, "outcome not submitted"),
        }
    }

    /// Submits the result or the failure; without an outcome, releases the lease.
    async fn submit(
        &self,
        id: SummaryId,
        token: LeaseToken,
        outcome: Option<Result<Outcome, PipelineError>>,
    ) -> Result<(), ServerApiError> {
        let failure = match outcome {
            Some(Ok(outcome)) => {
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
                match retry_unavailable(|| self.api.result(&result)).await {
                    // Reported as a failure, so that the summary fails now rather than when the
                    // lease expires.
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
        retry_unavailable(|| self.api.failure(id, &failure)).await
    }
}

/// The duration of a lease as the server states it, within [`MIN_LEASE`] and [`MAX_LEASE`].
fn lease_duration(lease_ms: u64) -> Duration {
    Duration::from_millis(lease_ms).clamp(MIN_LEASE, MAX_LEASE)
}

/// Retries a request while the server is unavailable, for up to [`SUBMIT_TIMEOUT`]. Submitting an
/// outcome is idempotent.
async fn retry_unavailable<F>(mut request: impl FnMut() -> F) -> Result<(), ServerApiError>
where
    F: Future<Output = Result<(), ServerApiError>>,
{
    let start = Instant::now();
    let mut failures = 0;
    loop {
        match request().await {
            Err(ServerApiError::Unavailable { retry_after }) => {
                let pause = next_pause(&mut failures).max(retry_after.unwrap_or_default());
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

/// Extends the lease of one job.
struct HeartbeatTask {
    api: ServerApi,
    id: SummaryId,
    token: LeaseToken,
    lease: Duration,
    /// When the lease started, or shortly before.
    lease_start: Instant,
    progress: watch::Receiver<Option<Progress>>,
    /// Cancelled when the lease is lost.
    lease_lost: CancellationToken,
}

impl HeartbeatTask {
    /// Sends a heartbeat every third of the lease, and earlier when there is progress to report or
    /// the previous one failed. Ends when the server says that the lease is lost, or when the lease
    /// has expired since the last successful heartbeat.
    async fn run(mut self) {
        let interval = self.lease / 3;
        let mut expires = self.lease_start + self.lease;
        let mut last = self.lease_start;
        let mut due = last + interval;
        let mut failures = 0;
        loop {
            tokio::select! {
                () = sleep_until(due) => {}
                changed = self.progress.changed() => {
                    // An error means that the job has ended and there will be no more progress.
                    let earliest = if changed.is_ok() { PROGRESS_INTERVAL } else { interval };
                    sleep_until((last + earliest).min(due)).await;
                }
            }
            let sent = Instant::now();
            let progress = *self.progress.borrow_and_update();
            let heartbeat = Heartbeat { lease_token: self.token, progress };
            let response = timeout(interval, self.api.heartbeat(self.id, &heartbeat)).await;
            last = Instant::now();
            match response {
                Ok(Ok(())) => {
                    expires = sent + self.lease;
                    due = sent + interval;
                    failures = 0;
                    continue;
                }
                Ok(Err(ServerApiError::LeaseLost | ServerApiError::Refused { .. })) => break,
                Ok(Err(error)) => tracing::warn!(%error, "heartbeat failed"),
                Err(_) => tracing::warn!("heartbeat timed out"),
            }
            if last >= expires {
                break;
            }
            // The last attempt is made when the lease seems to expire: on the server it may have
            // started later.
            due = (last + next_pause(&mut failures).min(interval / 2)).min(expires);
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

    /// The number of attempts until a server with this `Retry-After` is given up, and the time.
    async fn attempts(retry_after: Option<Duration>) -> (u32, Duration) {
        let attempts = Cell::new(0);
        let start = Instant::now();
        let result = retry_unavailable(|| {
            attempts.set(attempts.get() + 1);
            async { Err(ServerApiError::Unavailable { retry_after }) }
        });
        let error = result.await.expect_err("the server stays unavailable");
        assert!(matches!(error, ServerApiError::Unavailable { .. }), "{error:?}");
        (attempts.get(), start.elapsed())
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
