//! The server's metrics, for Prometheus.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use shiori_sdk::SummaryStatus;

/// The server's metrics. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Histogram>,
    saves: Family<OutcomeLabels, Counter>,
    requested: Counter,
    finished: Family<OutcomeLabels, Counter>,
    leases_expired: Counter,
    set_aside: Counter,
    hints_repeated: Counter,
    refused: Family<KindLabels, Counter>,
    queue_depth: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

fn request_times() -> Histogram {
    // From 0.5 ms to 30 s, the longest long-poll.
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 35.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("shiori");
        let requests = Family::new_with_constructor(request_times as fn() -> Histogram);
        let metrics = Self {
            requests: requests.clone(),
            saves: Family::default(),
            requested: Counter::default(),
            finished: Family::default(),
            leases_expired: Counter::default(),
            set_aside: Counter::default(),
            hints_repeated: Counter::default(),
            refused: Family::default(),
            queue_depth: Gauge::default(),
            registry: Arc::new(Registry::default()),
        };
        registry.register("http_request_duration_seconds", "Duration of requests", requests);
        registry.register("diary_saves", "Saves by outcome", metrics.saves.clone());
        registry.register("summaries_requested", "Summaries accepted", metrics.requested.clone());
        registry.register(
            "summaries_finished",
            "Summaries by final status",
            metrics.finished.clone(),
        );
        registry.register(
            "leases_taken_back",
            "Leases that expired",
            metrics.leases_expired.clone(),
        );
        registry.register(
            "summary_rows_set_aside",
            "Summary rows that the dispatcher could not read or advance, and postponed",
            metrics.set_aside.clone(),
        );
        registry.register(
            "hints_repeated",
            "Hints that the queue had lost, and that were offered again",
            metrics.hints_repeated.clone(),
        );
        registry.register(
            "requests_refused",
            "Requests rejected before any work because too many were in progress",
            metrics.refused.clone(),
        );
        registry.register("queue_depth", "Hints in the queue", metrics.queue_depth.clone());
        Self { registry: Arc::new(registry), ..metrics }
    }

    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method, route: route.to_owned(), status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn request_refused(&self, kind: &'static str) {
        self.refused.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn save(&self, outcome: &'static str) {
        self.saves.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn summary_requested(&self) {
        self.requested.inc();
    }

    pub(crate) fn summary_finished(&self, status: SummaryStatus) {
        self.finished.get_or_create(&OutcomeLabels { outcome: status.as_str() }).inc();
    }

    pub(crate) fn lease_expired(&self) {
        self.leases_expired.inc();
    }

    pub(crate) fn summary_set_aside(&self) {
        self.set_aside.inc();
    }

    pub(crate) fn hints_repeated(&self, count: usize) {
        self.hints_repeated.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(crate) fn queue_depth(&self, depth: usize) {
        self.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// The metrics in the `OpenMetrics` text format.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
