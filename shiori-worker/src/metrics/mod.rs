//! The worker's metrics, for Prometheus. `docs/metrics.md` lists them.
//!
//! No label contains user data, and each label has few values, which all exist from the start.

mod emotion;
mod labels;
#[cfg(feature = "cli")]
pub(crate) mod listener;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeMetric,
        text::{encode_eof, encode_registry},
    },
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge,
        histogram::Histogram, info::Info,
    },
    registry::{Metric, Registry, Unit},
};
use shiori_sdk::FailureKind;

pub(crate) use self::emotion::ObservedEmotionModel;
#[cfg(feature = "openai")]
pub(crate) use self::labels::label_values;
pub(crate) use self::labels::{
    AttemptOutcome, ClaimOutcome, LabelSet, QueueOperation, ServerRequest,
};
use self::labels::{RequestOutcome, ServerRequestLabels};
use crate::{JobQueue, Pipeline, ServerApiError};

/// The metrics of one worker. Clones share them.
#[derive(Clone)]
pub struct WorkerMetrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    hints: Counter,
    queue_errors: Family<LabelSet, Counter>,
    claims: Family<LabelSet, Counter>,
    in_progress: Gauge,
    attempts: Family<LabelSet, Counter>,
    failures: Family<LabelSet, Counter>,
    attempt_time: Histogram,
    emotion_time: Histogram,
    emotion_texts: Counter,
    emotion_errors: Counter,
    requests: Family<ServerRequestLabels, Counter>,
    is_server_available: Gauge,
}

/// Where a summariser registers its own metrics.
#[derive(Debug)]
pub struct MetricsRegistry<'a>(pub(crate) &'a mut Registry);

/// Times of attempts and of requests to a language model: from 10 ms to 5 min.
pub(crate) const SLOW: [f64; 12] =
    [0.01, 0.05, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Times of the emotion model for one week: from 1 ms to 30 s.
const FAST: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// The kinds of failures that a worker reports.
const FAILURES: [FailureKind; 7] = [
    FailureKind::NoText,
    FailureKind::ModelUnavailable,
    FailureKind::ModelRejected,
    FailureKind::ModelAnswerInvalid,
    FailureKind::EmotionModel,
    FailureKind::WorkerLost,
    FailureKind::Internal,
];

impl WorkerMetrics {
    /// Metrics of a worker with this queue and pipeline, which may run this many summaries at a time.
    pub(crate) fn new(queue: Arc<dyn JobQueue>, pipeline: &Pipeline, concurrency: usize) -> Self {
        let mut registry = Registry::with_prefix("shiori_worker");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the worker", build);
        let limit: Gauge = metric(&mut registry, "concurrency", "Maximum summaries in progress");
        limit.set(i64::try_from(concurrency).unwrap_or(i64::MAX));
        let mut of_summarizer = MetricsRegistry(&mut registry);
        pipeline.summarizer.register_metrics(&mut of_summarizer);
        of_summarizer.0.register_collector(Box::new(QueueClock(queue)));
        Self(Arc::new(Inner {
            hints: metric(&mut registry, "hints_taken", "Hints taken from the queue"),
            queue_errors: family(
                &mut registry,
                "queue_errors",
                "Operations of the queue that failed",
                QueueOperation::ALL.map(LabelSet::from),
            ),
            claims: family(
                &mut registry,
                "claims",
                "Claims of summaries by outcome",
                ClaimOutcome::ALL.map(LabelSet::from),
            ),
            in_progress: metric(&mut registry, "summaries_in_progress", "Summaries in progress"),
            attempts: family(
                &mut registry,
                "attempts",
                "Ended attempts to write a summary by outcome",
                AttemptOutcome::ALL.map(LabelSet::from),
            ),
            failures: family(
                &mut registry,
                "failures",
                "Attempts that failed, by the kind of the failure",
                FAILURES.map(|kind| LabelSet::new("kind", kind.as_str())),
            ),
            attempt_time: times(
                &mut registry,
                "attempt_duration",
                "Time from the claim to the submitted outcome",
                &SLOW,
            ),
            emotion_time: times(
                &mut registry,
                "emotion_duration",
                "Time of the emotion model for one week",
                &FAST,
            ),
            emotion_texts: metric(&mut registry, "emotion_texts", "Texts that were classified"),
            emotion_errors: metric(
                &mut registry,
                "emotion_errors",
                "Weeks for which the emotion model failed",
            ),
            requests: family(
                &mut registry,
                "server_requests",
                "Requests to the internal API by outcome",
                ServerRequestLabels::all(),
            ),
            is_server_available: metric(
                &mut registry,
                "server_available",
                "1 if the server has responded since the last failure, 0 if the worker takes no hints",
            ),
            registry,
        }))
    }

    /// Writes the metrics in the `OpenMetrics` text format, without the line `# EOF` at its end.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, text: &mut impl fmt::Write) -> fmt::Result {
        encode_registry(text, &self.0.registry)
    }

    /// The metrics in the `OpenMetrics` text format.
    ///
    /// # Errors
    ///
    /// If a metric cannot be formatted.
    pub fn to_text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        self.write(&mut text)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    pub(crate) fn hint_taken(&self) {
        self.0.hints.inc();
    }

    pub(crate) fn queue_failed(&self, operation: QueueOperation) {
        self.0.queue_errors.get_or_create(&operation.into()).inc();
    }

    pub(crate) fn claimed(&self, outcome: ClaimOutcome) {
        self.0.claims.get_or_create(&outcome.into()).inc();
    }

    /// Counts a summary as in progress until the result is dropped.
    pub(crate) fn begin(&self) -> InProgress {
        self.0.in_progress.inc();
        InProgress(self.0.in_progress.clone())
    }

    pub(crate) fn attempt_ended(&self, outcome: AttemptOutcome, took: Duration) {
        self.0.attempts.get_or_create(&outcome.into()).inc();
        self.0.attempt_time.observe(took.as_secs_f64());
    }

    pub(crate) fn attempt_failed(&self, kind: FailureKind) {
        self.0.failures.get_or_create(&LabelSet::new("kind", kind.as_str())).inc();
    }

    pub(crate) fn classified(&self, texts: usize, took: Duration) {
        self.0.emotion_texts.inc_by(u64::try_from(texts).unwrap_or(u64::MAX));
        self.0.emotion_time.observe(took.as_secs_f64());
    }

    pub(crate) fn classification_failed(&self) {
        self.0.emotion_errors.inc();
    }

    /// Counts a request to the server by its outcome, which is returned.
    pub(crate) async fn requested<T>(
        &self,
        request: ServerRequest,
        response: impl Future<Output = Result<T, ServerApiError>>,
    ) -> Result<T, ServerApiError> {
        let response = response.await;
        self.count_request(request, RequestOutcome::of(&response));
        response
    }

    /// Counts a request whose response did not arrive in time.
    pub(crate) fn request_timed_out(&self, request: ServerRequest) {
        self.count_request(request, RequestOutcome::Unavailable);
    }

    fn count_request(&self, request: ServerRequest, outcome: RequestOutcome) {
        self.0.requests.get_or_create(&ServerRequestLabels::new(request, outcome)).inc();
    }

    pub(crate) fn set_server_available(&self, is_available: bool) {
        self.0.is_server_available.set(i64::from(is_available));
    }
}

impl fmt::Debug for WorkerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerMetrics")
    }
}

/// A summary in progress.
#[derive(Debug)]
pub(crate) struct InProgress(Gauge);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The clock of the queue's engine, if this process measures it.
#[derive(Debug)]
struct QueueClock(Arc<dyn JobQueue>);

impl Collector for QueueClock {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How far the clock of the engine is ahead of the clock of this machine.";
        let mut offsets = encoder.encode_descriptor(
            "clock_offset",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        match self.0.clock_offset_seconds() {
            Some(offset) => {
                ConstGauge::new(offset).encode(offsets.encode_family(&[("engine", "redis")])?)
            }
            None => Ok(()),
        }
    }
}

/// A registered metric without labels.
fn metric<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A registered histogram in seconds.
pub(crate) fn times(registry: &mut Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let times = Histogram::new(buckets.iter().copied());
    registry.register_with_unit(name, help, Unit::Seconds, times.clone());
    times
}

/// A registered family that has these labels from the start.
pub(crate) fn family<L, M>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    known: impl IntoIterator<Item = L>,
) -> Family<L, M>
where
    Family<L, M>: Metric,
    L: Clone + std::hash::Hash + Eq,
    M: Default,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    for labels in known {
        drop(family.get_or_create(&labels));
    }
    family
}
