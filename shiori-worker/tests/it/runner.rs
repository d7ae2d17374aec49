//! The runner: leases kept and given up, outcomes handed over, and how it stops.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use shiori_sdk::{FailureKind, ProgressPhase, SummaryId, Timestamp};
use shiori_worker::{
    JobQueue, Pipeline, SystemClock, Worker, WorkerConfig,
    queue::{InProcessQueue, QueueError},
    summarize::{SummarizeError, Summarizer, WeekText, Written},
};
use tokio::{runtime::Handle, sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use wiremock::ResponseTemplate;

use crate::desk::{CLAIM, Desk, FAILURE, HEARTBEAT, RESULT, refusal};

const LONG: Duration = Duration::from_secs(30);
const FOREVER: u32 = u32::MAX;

/// Waits until it is so; only what is broken makes it wait to the end.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

type Verdict = Result<Written, SummarizeError>;

/// Writes as many reflections as it is let, each as the test says.
struct Model {
    gate: Semaphore,
    verdict: fn() -> Verdict,
    /// Requests that are neither answered nor given up.
    open: AtomicU32,
}

/// Whoever may write, writes.
const WRITES: fn() -> Verdict = || Ok(Written::new("강가의 한 주였어요.", "gate/1"));

impl Model {
    fn shut() -> Arc<Self> {
        Self::with(0, WRITES)
    }

    fn with(let_through: usize, verdict: fn() -> Verdict) -> Arc<Self> {
        Arc::new(Self { gate: Semaphore::new(let_through), verdict, open: AtomicU32::new(0) })
    }

    fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Model")
    }
}

struct Open<'a>(&'a Model);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Summarizer for Model {
    fn engine(&self) -> &'static str {
        "gate/1"
    }

    async fn summarize(&self, _: WeekText, progress: &(dyn Fn(u32) + Send + Sync)) -> Verdict {
        self.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(self);
        progress(7);
        self.gate.acquire().await.unwrap().forget();
        (self.verdict)()
    }
}

/// A worker at work.
struct Hand {
    queue: Arc<InProcessQueue>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    /// Tasks that were there before it.
    tasks: usize,
}

impl Hand {
    fn hire(desk: &Desk, model: &Arc<Model>, config: WorkerConfig) -> Self {
        let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
        Self::hire_at(queue.clone(), queue, desk, model.clone(), config)
    }

    /// A worker whose fallback is the built-in summariser.
    fn hire_with_fallback(desk: &Desk, model: &Arc<Model>) -> Self {
        let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
        let fallback = Some(Pipeline::builtin().summarizer);
        let pipeline = Pipeline { summarizer: model.clone(), fallback, ..Pipeline::builtin() };
        Self::hire_pipeline(queue.clone(), queue, desk, pipeline, WorkerConfig::default())
    }

    fn hire_at(
        taken_from: Arc<dyn JobQueue>,
        queue: Arc<InProcessQueue>,
        desk: &Desk,
        summarizer: Arc<dyn Summarizer>,
        config: WorkerConfig,
    ) -> Self {
        let pipeline = Pipeline { summarizer, ..Pipeline::builtin() };
        Self::hire_pipeline(taken_from, queue, desk, pipeline, config)
    }

    fn hire_pipeline(
        taken_from: Arc<dyn JobQueue>,
        queue: Arc<InProcessQueue>,
        desk: &Desk,
        pipeline: Pipeline,
        config: WorkerConfig,
    ) -> Self {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let shutdown = CancellationToken::new();
        let worker = Worker::new(config, taken_from, desk.api(), pipeline);
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Self { queue, shutdown, running, tasks }
    }

    async fn give(&self) -> SummaryId {
        let id = SummaryId::new();
        self.queue.offer(id, Timestamp::now()).await.unwrap();
        id
    }

    /// The worker must end, and leave no task behind.
    async fn dismiss(self) {
        self.shutdown.cancel();
        tokio::time::timeout(LONG, self.running).await.expect("it ends").unwrap();
        until("no task is left", || Handle::current().metrics().num_alive_tasks() <= self.tasks)
            .await;
    }
}

fn at_once() -> WorkerConfig {
    WorkerConfig { drain_timeout: Duration::ZERO, ..WorkerConfig::default() }
}

fn fails(retryable: bool) -> Verdict {
    Err(SummarizeError {
        kind: FailureKind::ModelUnavailable,
        message: "no answer".to_owned(),
        retryable,
        retry_after: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fallback_writes_where_the_model_fails_for_good_and_only_there() {
    let desk = Desk::open(LONG).await;
    let retryable = Model::with(usize::MAX >> 4, || fails(true));
    let hand = Hand::hire_with_fallback(&desk, &retryable);
    hand.give().await;
    until("another attempt is asked for", || desk.failures().len() == 1).await;
    assert!(desk.failures()[0].retryable && desk.results().is_empty());

    desk.make_last();
    hand.give().await;
    until("there is none, and the fallback writes", || desk.results().len() == 1).await;
    hand.dismiss().await;

    let desk = Desk::open(LONG).await;
    let hopeless = Model::with(1, || fails(false));
    let hand = Hand::hire_with_fallback(&desk, &hopeless);
    hand.give().await;
    until("it would be pointless, and the fallback writes", || desk.results().len() == 1).await;
    hand.dismiss().await;
    let result = desk.results().remove(0);
    assert_eq!(result.engine, Pipeline::builtin().summarizer.engine());
    assert!(result.reflection.contains("강가"), "of the week's own text");
    assert!(desk.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_that_fail_are_repeated_while_the_lease_lasts() {
    let desk = Desk::open(Duration::from_secs(3)).await;
    let model = Model::shut();
    let hand = Hand::hire(&desk, &model, WorkerConfig::default());
    // At a third of a lease apart, no four of them would fit into it.
    desk.fault(HEARTBEAT, 4, refusal(503, "unavailable"));
    let id = hand.give().await;
    until("the fifth is answered, and another", || desk.beats() >= 6).await;
    assert_eq!(model.open(), 1);
    model.gate.add_permits(1);
    until("the result is there", || !desk.results().is_empty()).await;
    hand.dismiss().await;
    assert_eq!((desk.claimed(), desk.results()[0].summary_id), (1, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_extended_is_given_up_without_a_word() {
    let desk = Desk::open(Duration::from_millis(600)).await;
    let model = Model::shut();
    let hand = Hand::hire(&desk, &model, WorkerConfig { concurrency: 1, ..at_once() });
    desk.fault(HEARTBEAT, FOREVER, refusal(503, "unavailable"));
    hand.give().await;
    until("it is run", || model.open() == 1).await;
    until("it is given up", || model.open() == 0).await;
    assert!(desk.beats() >= 2);
    desk.mend(HEARTBEAT);
    model.gate.add_permits(1);
    let next = hand.give().await;
    until("the next is brought to its end", || desk.results().len() == 1).await;
    hand.dismiss().await;
    assert_eq!(desk.results()[0].summary_id, next);
    assert!(desk.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_yield_does_not_stop_the_heart() {
    #[derive(Debug)]
    struct Busy(Arc<AtomicUsize>);

    #[async_trait]
    impl Summarizer for Busy {
        fn engine(&self) -> &'static str {
            "busy/1"
        }

        async fn summarize(&self, _: WeekText, _: &(dyn Fn(u32) + Send + Sync)) -> Verdict {
            let deadline = std::time::Instant::now() + LONG;
            tokio::task::block_in_place(|| {
                while self.0.load(Ordering::SeqCst) < 3 && std::time::Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            WRITES()
        }
    }

    let desk = Desk::open(Duration::from_millis(1500)).await;
    let beats = Arc::new(AtomicUsize::new(0));
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let busy = Arc::new(Busy(beats.clone()));
    let hand = Hand::hire_at(queue.clone(), queue, &desk, busy, WorkerConfig::default());
    hand.give().await;
    until("the heart beats", || {
        beats.store(desk.beats(), Ordering::SeqCst);
        desk.beats() >= 3
    })
    .await;
    until("the result is there", || desk.results().len() == 1).await;
    hand.dismiss().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_before_a_heartbeat_is_due() {
    let desk = Desk::open(LONG * 10).await;
    let model = Model::shut();
    let hand = Hand::hire(&desk, &model, at_once());
    hand.give().await;
    until("it is told", || {
        let told = desk.progress();
        told.last().is_some_and(|now| (now.phase, now.characters) == (ProgressPhase::Writing, 7))
    })
    .await;
    hand.dismiss().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_offered_until_it_is_taken_and_the_lease_is_kept_meanwhile() {
    let desk = Desk::open(Duration::from_millis(1500)).await;
    let model = Model::with(1, WRITES);
    let hand = Hand::hire(&desk, &model, WorkerConfig::default());
    desk.fault(RESULT, FOREVER, ResponseTemplate::new(502));
    hand.give().await;
    until("it is offered again", || desk.results().len() >= 2).await;
    let beats = desk.beats();
    until("the heart beats on", || desk.beats() >= beats + 3).await;
    desk.mend(RESULT);
    hand.dismiss().await;
    let results = desk.results();
    assert!(results.iter().all(|result| result.lease_token == results[0].lease_token));
    assert!(desk.failures().is_empty(), "it was taken in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_refused_becomes_a_failure() {
    let desk = Desk::open(LONG).await;
    let model = Model::with(1, WRITES);
    let hand = Hand::hire(&desk, &model, at_once());
    desk.fault(RESULT, FOREVER, refusal(422, "invalid_request"));
    hand.give().await;
    until("it is given back", || !desk.failures().is_empty()).await;
    hand.dismiss().await;
    let failure = &desk.failures()[0];
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Internal, false));
    assert_eq!((desk.results().len(), desk.failures().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_under_a_lost_lease_is_dropped() {
    let desk = Desk::open(LONG).await;
    let model = Model::with(2, WRITES);
    let hand = Hand::hire(&desk, &model, WorkerConfig { concurrency: 1, ..at_once() });
    desk.fault(RESULT, 1, refusal(409, "lease_lost"));
    hand.give().await;
    let next = hand.give().await;
    until("the next is there", || desk.results().len() == 2).await;
    hand.dismiss().await;
    assert_eq!(desk.results()[1].summary_id, next);
    assert!(desk.failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_summariser_says_of_its_failure_reaches_the_server() {
    let desk = Desk::open(LONG).await;
    let model = Model::with(1, || {
        Err(SummarizeError {
            kind: FailureKind::ModelUnavailable,
            message: "길".repeat(600),
            retryable: true,
            retry_after: Some(Duration::from_secs(9)),
        })
    });
    let hand = Hand::hire(&desk, &model, at_once());
    desk.fault(FAILURE, 2, refusal(503, "unavailable"));
    hand.give().await;
    until("it is said until it is heard", || desk.failures().len() == 3).await;
    hand.dismiss().await;
    let failure = &desk.failures()[2];
    assert_eq!((failure.kind, failure.retryable), (FailureKind::ModelUnavailable, true));
    assert_eq!((failure.message.chars().count(), failure.retry_after_ms), (500, Some(9000)));
}

/// Whoever asks for an hour's patience must not get an hour of a worker's hands.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_put_off_for_long_leaves_the_hands_free() {
    let desk = Desk::open(LONG).await;
    let model = Model::with(1, WRITES);
    let hand = Hand::hire(&desk, &model, WorkerConfig { concurrency: 1, ..at_once() });
    let busy = refusal(503, "unavailable").insert_header("retry-after", "3600");
    desk.fault(CLAIM, 1, busy);
    hand.give().await;
    let next = hand.give().await;
    until("the next is there", || desk.results().len() == 1).await;
    hand.dismiss().await;
    assert_eq!((desk.results()[0].summary_id, desk.claimed()), (next, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_fails_is_asked_again() {
    #[derive(Debug)]
    struct Moody(Arc<InProcessQueue>, AtomicU32);

    #[async_trait]
    impl JobQueue for Moody {
        async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError> {
            self.0.offer(id, due).await
        }

        async fn take(&self) -> Result<SummaryId, QueueError> {
            if self.1.fetch_add(1, Ordering::SeqCst) < 4 {
                return Err(QueueError::Unavailable("out for lunch".into()));
            }
            self.0.take().await
        }

        async fn depth(&self) -> Result<usize, QueueError> {
            self.0.depth().await
        }
    }

    let desk = Desk::open(LONG).await;
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let moody = Arc::new(Moody(queue.clone(), AtomicU32::new(0)));
    let hand = Hand::hire_at(moody, queue, &desk, Model::with(1, WRITES), at_once());
    hand.give().await;
    until("the result is there", || desk.results().len() == 1).await;
    hand.dismiss().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_finishes_what_runs_and_takes_no_more() {
    let desk = Desk::open(LONG).await;
    let model = Model::shut();
    let config = WorkerConfig { drain_timeout: LONG, ..WorkerConfig::default() };
    let hand = Hand::hire(&desk, &model, config);
    let id = hand.give().await;
    until("it is run", || model.open() == 1).await;
    hand.shutdown.cancel();
    hand.give().await;
    model.gate.add_permits(2);
    let queue = hand.queue.clone();
    hand.dismiss().await;
    assert_eq!((desk.results().len(), desk.results()[0].summary_id), (1, id));
    assert_eq!((desk.claimed(), desk.failures().len()), (1, 0));
    assert_eq!(queue.depth().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_time_to_drain_hands_back_what_runs() {
    let desk = Desk::open(LONG).await;
    let model = Model::shut();
    let hand = Hand::hire(&desk, &model, at_once());
    for _ in 0..3 {
        hand.give().await;
    }
    until("all run", || model.open() == 3).await;
    hand.dismiss().await;
    assert_eq!((model.open(), desk.failures().len(), desk.results().len()), (0, 3, 0));
    for failure in desk.failures() {
        assert_eq!((failure.kind, failure.retryable), (FailureKind::WorkerLost, true));
    }
}
