//! The runner: heartbeats and lost leases, submitting outcomes, and shutdown.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{FailureKind, ProgressPhase, SummaryId, Timestamp};
use shiori_worker::{
    JobQueue, Pipeline, SystemClock, Worker, WorkerConfig, WorkerError,
    queue::{CheckLease, InProcessQueue, QueueError},
    summarize::{
        Availability, SummarizeError, Summarizer, WeekText, Writing, WritingProgress, Written,
    },
};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wiremock::ResponseTemplate;

use crate::fake_server_api::{CLAIM, FAILURE, FakeServerApi, HEARTBEAT, RESULT, error_response};

const LONG: Duration = Duration::from_secs(120);
const FOREVER: u32 = u32::MAX;

/// Waits for the condition, for up to [`LONG`].
async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

type Outcome = Result<Written, SummarizeError>;

/// A summariser that waits for a permit of the test and then returns the outcome of the test.
struct GatedSummarizer {
    gate: Semaphore,
    outcome: fn() -> Outcome,
    /// Calls that have neither returned nor been cancelled.
    running: AtomicU32,
}

const SUCCEEDS: fn() -> Outcome = || Ok(Written::new("강가의 한 주였어요.", "gate/1"));

impl GatedSummarizer {
    fn closed() -> Arc<Self> {
        Self::with(0, SUCCEEDS)
    }

    fn with(permits: usize, outcome: fn() -> Outcome) -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(permits), outcome, running: AtomicU32::new(0) })
    }

    fn running(&self) -> u32 {
        self.running.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for GatedSummarizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatedSummarizer")
    }
}

struct RunningGuard<'a>(&'a GatedSummarizer);

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Summarizer for GatedSummarizer {
    fn engine(&self) -> &'static str {
        "gate/1"
    }

    async fn summarize(&self, _: WeekText, progress: WritingProgress<'_>) -> Outcome {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _guard = RunningGuard(self);
        progress(Writing { characters: 7, text: "강가의" });
        self.gate.acquire().await.unwrap().forget();
        (self.outcome)()
    }
}

/// A running worker.
struct RunningWorker {
    queue: Arc<InProcessQueue>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), WorkerError>>,
    /// Tasks of the runtime before the worker was started.
    tasks: usize,
}

impl RunningWorker {
    fn start(server: &FakeServerApi, model: &Arc<GatedSummarizer>, config: WorkerConfig) -> Self {
        let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
        Self::start_with_queue(queue.clone(), queue, server, model.clone(), config)
    }

    /// A worker whose fallback is the built-in summariser.
    fn start_with_fallback(server: &FakeServerApi, model: &Arc<GatedSummarizer>) -> Self {
        let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
        let fallback = Some(Pipeline::builtin().summarizer);
        let pipeline = Pipeline { summarizer: model.clone(), fallback, ..Pipeline::builtin() };
        Self::start_with_pipeline(queue.clone(), queue, server, pipeline, WorkerConfig::default())
    }

    fn start_with_queue(
        source: Arc<dyn JobQueue>,
        queue: Arc<InProcessQueue>,
        server: &FakeServerApi,
        summarizer: Arc<dyn Summarizer>,
        config: WorkerConfig,
    ) -> Self {
        let pipeline = Pipeline { summarizer, ..Pipeline::builtin() };
        Self::start_with_pipeline(source, queue, server, pipeline, config)
    }

    fn start_with_pipeline(
        source: Arc<dyn JobQueue>,
        queue: Arc<InProcessQueue>,
        server: &FakeServerApi,
        pipeline: Pipeline,
        config: WorkerConfig,
    ) -> Self {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let shutdown = CancellationToken::new();
        let worker = Worker::new(config, source, server.api(), pipeline);
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Self { queue, shutdown, running, tasks }
    }

    async fn offer(&self) -> SummaryId {
        let id = SummaryId::new();
        self.queue.offer(id, Timestamp::now()).await.unwrap();
        id
    }

    /// Shuts the worker down and checks that it leaves no task behind.
    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(LONG, self.running).await.expect("the worker ends");
        ended.unwrap().unwrap();
        wait_until("no task of the worker is left", || {
            Handle::current().metrics().num_alive_tasks() <= self.tasks
        })
        .await;
    }
}

fn without_drain() -> WorkerConfig {
    WorkerConfig { drain_timeout: Duration::ZERO, ..WorkerConfig::default() }
}

fn failure(retryable: bool) -> Outcome {
    Err(SummarizeError {
        kind: FailureKind::ModelUnavailable,
        message: "no response".to_owned(),
        retryable,
        retry_after: None,
        costs_attempt: true,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fallback_is_used_after_a_permanent_failure_or_the_last_attempt_only() {
    let server = FakeServerApi::start(LONG).await;
    let retryable = GatedSummarizer::with(usize::MAX >> 4, || failure(true));
    let worker = RunningWorker::start_with_fallback(&server, &retryable);
    worker.offer().await;
    wait_until("a retryable failure is reported", || server.failures().len() == 1).await;
    assert!(server.failures()[0].retryable && server.results().is_empty());

    server.set_last_attempt();
    worker.offer().await;
    wait_until("the fallback writes on the last attempt", || server.results().len() == 1).await;
    worker.stop().await;

    let server = FakeServerApi::start(LONG).await;
    let permanent = GatedSummarizer::with(1, || failure(false));
    let worker = RunningWorker::start_with_fallback(&server, &permanent);
    worker.offer().await;
    wait_until("the fallback writes after a permanent failure", || server.results().len() == 1)
        .await;
    worker.stop().await;
    let result = server.results().remove(0);
    assert_eq!(result.engine, Pipeline::builtin().summarizer.engine());
    assert!(result.reflection.contains("강가"), "the reflection quotes the week");
    assert!(server.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_heartbeats_are_retried_while_the_lease_lasts() {
    let server = FakeServerApi::start(Duration::from_secs(9)).await;
    let model = GatedSummarizer::closed();
    let worker = RunningWorker::start(&server, &model, WorkerConfig::default());
    // At the regular interval of a third of the lease, four failures would exceed the lease.
    server.fail(HEARTBEAT, 4, error_response(503, "unavailable"));
    let id = worker.offer().await;
    wait_until("the fifth heartbeat succeeds, and another follows", || server.heartbeats() >= 6)
        .await;
    assert_eq!(model.running(), 1);
    model.gate.add_permits(1);
    wait_until("the result is submitted", || !server.results().is_empty()).await;
    worker.stop().await;
    assert_eq!((server.claims(), server.results()[0].summary_id), (1, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_aborted_when_its_lease_cannot_be_extended() {
    let server = FakeServerApi::start(Duration::from_millis(600)).await;
    let model = GatedSummarizer::closed();
    let worker =
        RunningWorker::start(&server, &model, WorkerConfig { concurrency: 1, ..without_drain() });
    server.fail(HEARTBEAT, FOREVER, error_response(503, "unavailable"));
    worker.offer().await;
    wait_until("the job runs", || model.running() == 1).await;
    wait_until("the job is aborted", || model.running() == 0).await;
    assert!(server.heartbeats() >= 2);
    server.recover(HEARTBEAT);
    model.gate.add_permits(1);
    let next = worker.offer().await;
    wait_until("the next job completes", || server.results().len() == 1).await;
    worker.stop().await;
    assert_eq!(server.results()[0].summary_id, next);
    assert!(server.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_blocks_its_thread_does_not_stop_the_heartbeats() {
    #[derive(Debug)]
    struct BusySummarizer(Arc<AtomicUsize>);

    #[async_trait]
    impl Summarizer for BusySummarizer {
        fn engine(&self) -> &'static str {
            "busy/1"
        }

        async fn summarize(&self, _: WeekText, _: WritingProgress<'_>) -> Outcome {
            let deadline = std::time::Instant::now() + LONG;
            tokio::task::block_in_place(|| {
                while self.0.load(Ordering::SeqCst) < 3 && std::time::Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            SUCCEEDS()
        }
    }

    let server = FakeServerApi::start(Duration::from_secs(5)).await;
    let heartbeats = Arc::new(AtomicUsize::new(0));
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let busy = Arc::new(BusySummarizer(heartbeats.clone()));
    let worker = RunningWorker::start_with_queue(
        queue.clone(),
        queue,
        &server,
        busy,
        WorkerConfig::default(),
    );
    worker.offer().await;
    wait_until("heartbeats are sent", || {
        heartbeats.store(server.heartbeats(), Ordering::SeqCst);
        server.heartbeats() >= 3
    })
    .await;
    wait_until("the result is submitted", || server.results().len() == 1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_reported_before_the_next_regular_heartbeat() {
    let server = FakeServerApi::start(LONG * 10).await;
    let model = GatedSummarizer::closed();
    let worker = RunningWorker::start(&server, &model, without_drain());
    worker.offer().await;
    wait_until("progress is reported", || {
        let progress = server.progress();
        progress
            .last()
            .is_some_and(|now| (now.phase, now.characters) == (ProgressPhase::Writing, 7))
    })
    .await;
    worker.stop().await;
}

/// A summariser that reports two texts at once and then waits.
#[derive(Debug)]
struct WritingSummarizer;

#[async_trait]
impl Summarizer for WritingSummarizer {
    fn engine(&self) -> &'static str {
        "writing/1"
    }

    async fn summarize(&self, _: WeekText, progress: WritingProgress<'_>) -> Outcome {
        for (characters, text) in [(3, "강가의"), (5, "강가의 한")] {
            progress(Writing { characters, text });
            // Longer than the pause between two reports of progress.
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        std::future::pending().await
    }
}

/// The last text is sent although the model reports nothing more and the lease is long.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_sent_beside_the_regular_heartbeats_once_a_second() {
    let server = FakeServerApi::start(LONG * 10).await;
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let model = Arc::new(WritingSummarizer);
    let worker =
        RunningWorker::start_with_queue(queue.clone(), queue, &server, model, without_drain());
    worker.offer().await;
    let sent = |count: usize| server.texts().len() == count;
    wait_until("the first text is sent", || sent(1)).await;
    let first = Instant::now();
    wait_until("the second text is sent", || sent(2)).await;
    assert!(first.elapsed() > Duration::from_millis(900), "{:?}", first.elapsed());
    let texts: Vec<_> = server.texts().into_iter().map(|text| (text.number, text.text)).collect();
    assert_eq!(texts, [(1, "강가의".to_owned()), (2, "강가의 한".to_owned())]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_failed_model_is_withdrawn_when_the_fallback_writes() {
    /// Fails permanently after its text was sent.
    #[derive(Debug)]
    struct FailingSummarizer(Semaphore);

    #[async_trait]
    impl Summarizer for FailingSummarizer {
        fn engine(&self) -> &'static str {
            "failing/1"
        }

        async fn summarize(&self, _: WeekText, progress: WritingProgress<'_>) -> Outcome {
            progress(Writing { characters: 3, text: "강가의" });
            self.0.acquire().await.unwrap().forget();
            failure(false)
        }
    }

    let server = FakeServerApi::start(LONG * 10).await;
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let model = Arc::new(FailingSummarizer(Semaphore::new(0)));
    let fallback = GatedSummarizer::closed();
    let pipeline = Pipeline {
        summarizer: model.clone(),
        fallback: Some(Arc::new(Silent(fallback.clone()))),
        ..Pipeline::builtin()
    };
    let config = without_drain();
    let worker =
        RunningWorker::start_with_pipeline(queue.clone(), queue, &server, pipeline, config);
    worker.offer().await;
    wait_until("the text is sent", || server.texts().len() == 1).await;
    model.0.add_permits(1);
    wait_until("it is withdrawn", || server.texts().len() == 2).await;
    assert_eq!(server.texts()[1].text, "");
    fallback.gate.add_permits(1);
    wait_until("the fallback's result is submitted", || server.results().len() == 1).await;
    worker.stop().await;
}

/// A summariser that reports nothing.
#[derive(Debug)]
struct Silent(Arc<GatedSummarizer>);

#[async_trait]
impl Summarizer for Silent {
    fn engine(&self) -> &str {
        self.0.engine()
    }

    async fn summarize(&self, week: WeekText, _: WritingProgress<'_>) -> Outcome {
        self.0.summarize(week, &|_| {}).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submitting_a_result_is_retried_under_the_lease() {
    let server = FakeServerApi::start(Duration::from_secs(5)).await;
    let model = GatedSummarizer::with(1, SUCCEEDS);
    let worker = RunningWorker::start(&server, &model, WorkerConfig::default());
    server.fail(RESULT, FOREVER, ResponseTemplate::new(502));
    worker.offer().await;
    wait_until("submitting is retried", || server.results().len() >= 2).await;
    let heartbeats = server.heartbeats();
    wait_until("heartbeats continue", || server.heartbeats() >= heartbeats + 3).await;
    server.recover(RESULT);
    worker.stop().await;
    let results = server.results();
    assert!(results.iter().all(|result| result.lease_token == results[0].lease_token));
    assert!(server.failures().is_empty(), "the result was accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_result_is_reported_as_a_failure() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::with(1, SUCCEEDS);
    let worker = RunningWorker::start(&server, &model, without_drain());
    server.fail(RESULT, FOREVER, error_response(422, "invalid_request"));
    worker.offer().await;
    wait_until("the failure is reported", || !server.failures().is_empty()).await;
    worker.stop().await;
    let failure = &server.failures()[0];
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Internal, false));
    assert_eq!((server.results().len(), server.failures().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_under_a_lost_lease_is_dropped() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::with(2, SUCCEEDS);
    let worker =
        RunningWorker::start(&server, &model, WorkerConfig { concurrency: 1, ..without_drain() });
    server.fail(RESULT, 1, error_response(409, "lease_lost"));
    worker.offer().await;
    let next = worker.offer().await;
    wait_until("the next result is submitted", || server.results().len() == 2).await;
    worker.stop().await;
    assert_eq!(server.results()[1].summary_id, next);
    assert!(server.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summariser_failure_is_reported_with_its_details() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::with(1, || {
        Err(SummarizeError {
            kind: FailureKind::ModelUnavailable,
            message: "길".repeat(600),
            retryable: true,
            retry_after: Some(Duration::from_secs(9)),
            costs_attempt: false,
        })
    });
    let worker = RunningWorker::start(&server, &model, without_drain());
    server.fail(FAILURE, 2, error_response(503, "unavailable"));
    worker.offer().await;
    wait_until("reporting is retried", || server.failures().len() == 3).await;
    worker.stop().await;
    let failure = &server.failures()[2];
    assert_eq!((failure.kind, failure.retryable), (FailureKind::ModelUnavailable, true));
    assert_eq!((failure.message.chars().count(), failure.retry_after_ms), (500, Some(9000)));
    assert!(!failure.costs_attempt);
}

/// A failed claim must not lose the hint, and a long `Retry-After` must neither block a slot of the
/// worker nor overflow a deadline.
#[tokio::test(flavor = "multi_thread")]
async fn the_hint_of_a_failed_claim_is_offered_again() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::with(4, SUCCEEDS);
    let worker =
        RunningWorker::start(&server, &model, WorkerConfig { concurrency: 1, ..without_drain() });
    let busy =
        |retry_after| error_response(503, "unavailable").insert_header("retry-after", retry_after);
    server.fail(CLAIM, 1, busy("3600"));
    server.fail(CLAIM, 1, busy("18446744073709551615"));
    server.fail(CLAIM, 1, error_response(404, "not_found"));
    let mut offered = Vec::new();
    for _ in 0..4 {
        offered.push(worker.offer().await);
    }
    wait_until("all results are submitted", || server.results().len() == 4).await;
    worker.stop().await;
    let mut submitted: Vec<_> = server.results().iter().map(|result| result.summary_id).collect();
    submitted.sort();
    offered.sort();
    assert_eq!((submitted, server.claims()), (offered, 7));
}

/// A worker whose server does not respond leaves the hints to other workers.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_server_takes_no_hint() {
    let server = FakeServerApi::start(LONG).await;
    server.fail("check", FOREVER, ResponseTemplate::new(502));
    let model = GatedSummarizer::with(1, SUCCEEDS);
    let worker = RunningWorker::start(&server, &model, without_drain());
    worker.offer().await;
    wait_until("the server is checked repeatedly", || server.requests("check") >= 3).await;
    assert_eq!((worker.queue.depth().await.unwrap(), server.claims()), (1, 0));
    server.recover("check");
    wait_until("the result is submitted", || server.results().len() == 1).await;
    worker.stop().await;
}

/// A rejected token ends the worker with an error, both at the start and later.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_token_stops_the_worker() {
    for route in ["check", CLAIM] {
        for response in [error_response(401, "unauthorized"), ResponseTemplate::new(403)] {
            let server = FakeServerApi::start(LONG).await;
            server.fail(route, FOREVER, response);
            let model = GatedSummarizer::with(1, SUCCEEDS);
            let worker = RunningWorker::start(&server, &model, without_drain());
            worker.offer().await;
            let ended = tokio::time::timeout(LONG, worker.running).await.expect("the worker ends");
            let error = ended.unwrap().expect_err(route);
            assert!(error.to_string().contains("SHIORI_INTERNAL_TOKEN"), "{error}");
            assert_eq!(worker.queue.depth().await.unwrap(), 1, "the hint remains in the queue");
        }
    }
}

/// A summariser whose availability the test sets.
#[derive(Debug)]
struct SuspendedSummarizer {
    availability: Mutex<Availability>,
    calls: AtomicU32,
}

#[async_trait]
impl Summarizer for SuspendedSummarizer {
    fn engine(&self) -> &'static str {
        "suspended/1"
    }

    fn availability(&self) -> Availability {
        *self.availability.lock().unwrap()
    }

    async fn summarize(&self, _: WeekText, _: WritingProgress<'_>) -> Outcome {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut error = failure(true).unwrap_err();
        error.costs_attempt = false;
        match self.availability() {
            Availability::Ready => SUCCEEDS(),
            _ => Err(error),
        }
    }
}

/// While its model is suspended, a worker takes only overdue summaries and one probe at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_suspended_model_takes_overdue_summaries_and_a_probe() {
    let server = FakeServerApi::start(LONG).await;
    let model = Arc::new(SuspendedSummarizer {
        availability: Mutex::new(Availability::Suspended(LONG)),
        calls: AtomicU32::new(0),
    });
    let set = |availability| *model.availability.lock().unwrap() = availability;
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let fallback = Some(Pipeline::builtin().summarizer);
    let pipeline = Pipeline { summarizer: model.clone(), fallback, ..Pipeline::builtin() };
    let worker = RunningWorker::start_with_pipeline(
        queue.clone(),
        queue,
        &server,
        pipeline,
        without_drain(),
    );
    for _ in 0..5 {
        worker.offer().await;
    }
    let overdue = SummaryId::new();
    server.set_overdue(&[overdue]);
    wait_until("the overdue summary ends", || server.results().len() == 1).await;
    assert_eq!(server.results()[0].summary_id, overdue);
    assert_eq!(server.results()[0].engine, Pipeline::builtin().summarizer.engine());
    assert_eq!((worker.queue.depth().await.unwrap(), server.claims()), (5, 1));

    set(Availability::Probe);
    wait_until("probes are sent one by one", || server.failures().len() >= 2).await;
    assert!(server.failures().iter().all(|failure| !failure.costs_attempt));
    set(Availability::Ready);
    wait_until("all hints are taken", || server.results().len() + server.failures().len() == 6)
        .await;
    worker.stop().await;
}

/// A server that counts every attempt receives every attempt.
#[tokio::test(flavor = "multi_thread")]
async fn with_an_older_server_a_suspended_model_uses_up_the_attempts() {
    let server = FakeServerApi::start(LONG).await;
    server.fail("overdue", FOREVER, error_response(404, "not_found"));
    server.fail("check", FOREVER, error_response(404, "not_found"));
    server.set_older();
    server.set_last_attempt();
    let model = Arc::new(SuspendedSummarizer {
        availability: Mutex::new(Availability::Suspended(LONG)),
        calls: AtomicU32::new(0),
    });
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let fallback = Some(Pipeline::builtin().summarizer);
    let pipeline = Pipeline { summarizer: model, fallback, ..Pipeline::builtin() };
    let worker = RunningWorker::start_with_pipeline(
        queue.clone(),
        queue,
        &server,
        pipeline,
        without_drain(),
    );
    worker.offer().await;
    wait_until("the fallback writes on the last attempt", || server.results().len() == 1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_a_hint_is_retried() {
    #[derive(Debug)]
    struct FlakyQueue(Arc<InProcessQueue>, AtomicU32);

    #[async_trait]
    impl JobQueue for FlakyQueue {
        async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError> {
            self.0.offer(id, due).await
        }

        async fn offer_all(&self, hints: &[(SummaryId, Timestamp)]) -> Result<(), QueueError> {
            self.0.offer_all(hints).await
        }

        async fn missing(&self, ids: &[SummaryId]) -> Result<Vec<SummaryId>, QueueError> {
            self.0.missing(ids).await
        }

        async fn take(&self) -> Result<SummaryId, QueueError> {
            if self.1.fetch_add(1, Ordering::SeqCst) < 4 {
                return Err(QueueError::Unavailable("connection refused".into()));
            }
            self.0.take().await
        }

        async fn depth(&self) -> Result<usize, QueueError> {
            self.0.depth().await
        }

        async fn lease_check(
            &self,
            holder: Uuid,
            duration: Duration,
        ) -> Result<CheckLease, QueueError> {
            self.0.lease_check(holder, duration).await
        }

        async fn release_check(&self, holder: Uuid) -> Result<(), QueueError> {
            self.0.release_check(holder).await
        }
    }

    let server = FakeServerApi::start(LONG).await;
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let flaky = Arc::new(FlakyQueue(queue.clone(), AtomicU32::new(0)));
    let worker = RunningWorker::start_with_queue(
        flaky,
        queue,
        &server,
        GatedSummarizer::with(1, SUCCEEDS),
        without_drain(),
    );
    worker.offer().await;
    wait_until("the result is submitted", || server.results().len() == 1).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_worker_finishes_running_jobs_and_takes_no_hints() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::closed();
    let config = WorkerConfig { drain_timeout: LONG, ..WorkerConfig::default() };
    let worker = RunningWorker::start(&server, &model, config);
    let id = worker.offer().await;
    wait_until("the job runs", || model.running() == 1).await;
    worker.shutdown.cancel();
    worker.offer().await;
    model.gate.add_permits(2);
    let queue = worker.queue.clone();
    worker.stop().await;
    assert_eq!((server.results().len(), server.results()[0].summary_id), (1, id));
    assert_eq!((server.claims(), server.failures().len()), (1, 0));
    assert_eq!(queue.depth().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_drain_time_releases_running_jobs() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::closed();
    let worker = RunningWorker::start(&server, &model, without_drain());
    for _ in 0..3 {
        worker.offer().await;
    }
    wait_until("all jobs run", || model.running() == 3).await;
    worker.stop().await;
    assert_eq!((model.running(), server.failures().len(), server.results().len()), (0, 3, 0));
    for failure in server.failures() {
        assert_eq!((failure.kind, failure.retryable), (FailureKind::WorkerLost, true));
    }
}

/// `lease_ms` comes from the server and must not overflow a deadline.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_lease_is_accepted() {
    let server = FakeServerApi::start(Duration::from_millis(u64::MAX)).await;
    let model = GatedSummarizer::closed();
    let worker = RunningWorker::start(&server, &model, WorkerConfig::default());
    worker.offer().await;
    wait_until("a heartbeat is sent", || server.heartbeats() >= 1).await;
    model.gate.add_permits(1);
    wait_until("the result is submitted", || server.results().len() == 1).await;
    worker.stop().await;
    assert!(server.failures().is_empty());
}

/// An outcome is dropped if the server's `Retry-After` is too long, and the worker continues with
/// other jobs.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_retry_after_of_a_submission_drops_the_outcome() {
    let server = FakeServerApi::start(LONG).await;
    let model = GatedSummarizer::with(2, SUCCEEDS);
    let config = WorkerConfig { concurrency: 1, ..without_drain() };
    let worker = RunningWorker::start(&server, &model, config);
    let busy =
        error_response(503, "unavailable").insert_header("retry-after", "18446744073709551615");
    server.fail(RESULT, 1, busy);
    worker.offer().await;
    let next = worker.offer().await;
    wait_until("both results are sent", || server.results().len() == 2).await;
    worker.stop().await;
    assert_eq!(server.results()[1].summary_id, next);
    assert!(server.failures().is_empty());
}
