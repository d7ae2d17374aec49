//! The server's metrics, for Prometheus. `docs/metrics.md` lists them.
//!
//! No label contains user data, and each label has few values. Families whose label values are known
//! have all of them from the start, so that the first event is an increase and not a new series.

mod backlog;
mod engines;
mod labels;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use shiori_sdk::{ErrorCode, SummaryStatus, Timestamp};

use self::{
    backlog::Backlog,
    labels::{ErrorLabels, KindLabels, OutcomeLabels, RequestLabels},
};
pub(crate) use self::{
    engines::Engines,
    labels::{AttemptOutcome, RefusedKind, SaveOutcomeLabel, WaitKind},
};

/// The server's metrics. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<RequestLabels, Histogram>,
    throttled: Family<ErrorLabels, Counter>,
    refused: Family<KindLabels, Counter>,
    waits: Family<KindLabels, Gauge>,
    saves: Family<OutcomeLabels, Counter>,
    requested: Counter,
    attempts: Family<OutcomeLabels, Counter>,
    finished: Family<OutcomeLabels, Counter>,
    leases_expired: Counter,
    set_aside: Counter,
    hints_repeated: Counter,
    backlog: Backlog,
    in_process_worker: OnceLock<Box<dyn Source>>,
}

/// Further metrics of this process, in the text format and without its end.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    fn write(&self, text: &mut String) -> fmt::Result;
}

/// The errors of limits that a client can exceed.
const THROTTLES: [ErrorCode; 4] = [
    ErrorCode::TooManyAttempts,
    ErrorCode::TooManySummaries,
    ErrorCode::TooManyExports,
    ErrorCode::TooManyWaits,
];

/// The final statuses of a summary.
const FINAL: [SummaryStatus; 3] =
    [SummaryStatus::Completed, SummaryStatus::Failed, SummaryStatus::Cancelled];

fn request_times() -> Histogram {
    // From 0.5 ms to 30 s, the longest long-poll.
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 35.0,
    ])
}

impl Metrics {
    /// Metrics of a server with these engines.
    pub(crate) fn new(engines: Engines) -> Self {
        let mut registry = Registry::with_prefix("shiori");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the server", build);
        registry.register_collector(Box::new(engines));
        let requests = Family::new_with_constructor(request_times as fn() -> Histogram);
        let (help, seconds) = ("Time until the head of the response", Unit::Seconds);
        registry.register_with_unit("http_request_duration", help, seconds, requests.clone());
        // Exported from the start, so that the first rejection of a worker is an increase.
        let route = "/api/internal/check".to_owned();
        let rejected = RequestLabels { method: "POST", route, status: 401 };
        drop(requests.get_or_create(&rejected));
        Self(Arc::new(Inner {
            requests,
            throttled: family(
                &mut registry,
                "requests_throttled",
                "Requests rejected with 429 because their user, address or account reached a limit",
                THROTTLES.iter().map(ErrorLabels::new),
            ),
            refused: family(
                &mut registry,
                "requests_refused",
                "Requests rejected before any work because too many were in progress",
                RefusedKind::ALL.map(KindLabels::of),
            ),
            waits: family(
                &mut registry,
                "waits_open",
                "Long-polls and event streams in progress",
                WaitKind::ALL.map(KindLabels::of),
            ),
            saves: family(
                &mut registry,
                "diary_saves",
                "Saves by outcome",
                SaveOutcomeLabel::ALL.map(OutcomeLabels::of),
            ),
            requested: metric(&mut registry, "summaries_requested", "Summaries accepted"),
            attempts: family(
                &mut registry,
                "summary_attempts",
                "Ended attempts of workers to write a summary",
                AttemptOutcome::ALL.map(OutcomeLabels::of),
            ),
            finished: family(
                &mut registry,
                "summaries_finished",
                "Summaries by final status",
                FINAL.map(|status| OutcomeLabels { outcome: status.as_str() }),
            ),
            leases_expired: metric(&mut registry, "leases_taken_back", "Leases that expired"),
            set_aside: metric(
                &mut registry,
                "summary_rows_set_aside",
                "Summary rows that the dispatcher could not read or advance, and postponed",
            ),
            hints_repeated: metric(
                &mut registry,
                "hints_repeated",
                "Hints that the queue had lost, and that were offered again",
            ),
            backlog: Backlog::register(&mut registry),
            in_process_worker: OnceLock::new(),
            registry,
        }))
    }

    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method, route: route.to_owned(), status };
        self.0.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a response with this error if it is one of [`THROTTLES`].
    pub(crate) fn request_throttled(&self, error: &ErrorCode) {
        if THROTTLES.contains(error) {
            self.0.throttled.get_or_create(&ErrorLabels::new(error)).inc();
        }
    }

    pub(crate) fn request_refused(&self, kind: RefusedKind) {
        self.0.refused.get_or_create(&KindLabels::of(kind)).inc();
    }

    /// Counts a long-poll or an event stream until the result is dropped.
    pub(crate) fn wait_opened(&self, kind: WaitKind) -> OpenWait {
        let open = self.0.waits.get_or_create_owned(&KindLabels::of(kind));
        open.inc();
        OpenWait(open)
    }

    pub(crate) fn save(&self, outcome: SaveOutcomeLabel) {
        self.0.saves.get_or_create(&OutcomeLabels::of(outcome)).inc();
    }

    pub(crate) fn summary_requested(&self) {
        self.0.requested.inc();
    }

    pub(crate) fn attempt_ended(&self, outcome: AttemptOutcome) {
        self.0.attempts.get_or_create(&OutcomeLabels::of(outcome)).inc();
    }

    pub(crate) fn summary_finished(&self, status: SummaryStatus) {
        self.0.finished.get_or_create(&OutcomeLabels { outcome: status.as_str() }).inc();
    }

    pub(crate) fn lease_expired(&self) {
        self.0.leases_expired.inc();
    }

    pub(crate) fn summary_set_aside(&self) {
        self.0.set_aside.inc();
    }

    pub(crate) fn hints_repeated(&self, count: usize) {
        self.0.hints_repeated.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// The backlog, which is read when the metrics are exported.
    pub(crate) fn backlog(&self) -> &Backlog {
        &self.0.backlog
    }

    /// Exports the metrics of the worker in this process, too.
    #[cfg(feature = "embedded")]
    pub(crate) fn include(&self, worker: Box<dyn Source>) {
        // A process has at most one worker.
        let _ = self.0.in_process_worker.set(worker);
    }

    /// The metrics in the `OpenMetrics` text format. `now` is the time of the summaries' clock.
    pub(crate) fn encode(&self, now: Timestamp) -> Result<String, fmt::Error> {
        self.0.backlog.set_age(now);
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry)?;
        if let Some(worker) = self.0.in_process_worker.get() {
            worker.write(&mut text)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// A long-poll or an event stream in progress.
#[derive(Debug)]
pub(crate) struct OpenWait(Gauge);

impl Drop for OpenWait {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A registered metric without labels.
fn metric<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Clone + Default,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A registered family that has these labels from the start.
fn family<L, M>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    known: impl IntoIterator<Item = L>,
) -> Family<L, M>
where
    Family<L, M>: prometheus_client::registry::Metric,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_series_exist_before_the_first_event() {
        let text = Metrics::new(Engines::default()).encode(Timestamp::now()).expect("encoded");
        for series in [
            "shiori_diary_saves_total{outcome=\"conflict\"} 0",
            "shiori_summary_attempts_total{outcome=\"lost\"} 0",
            "shiori_requests_throttled_total{error=\"too_many_attempts\"} 0",
            "shiori_waits_open{kind=\"change_stream\"} 0",
            "shiori_summaries_unfinished{status=\"queued\"} 0",
        ] {
            assert!(text.contains(series), "{series} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn an_open_wait_counts_until_it_is_dropped() {
        let metrics = Metrics::new(Engines::default());
        let open = || {
            let text = metrics.encode(Timestamp::now()).expect("encoded");
            text.contains("shiori_waits_open{kind=\"long_poll\"} 1")
        };
        let wait = metrics.wait_opened(WaitKind::LongPoll);
        assert!(open());
        drop(wait);
        assert!(!open());
    }
}
