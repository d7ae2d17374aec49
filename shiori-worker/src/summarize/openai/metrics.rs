//! The metrics of a language model.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge,
        histogram::Histogram,
    },
};
use tokio::time::Instant;

use super::{breaker::Breaker, failure::Reason};
use crate::{
    MetricsRegistry,
    metrics::{LabelSet, SLOW},
    protocol::TokenUsage,
    summarize::Availability,
};

/// The metrics of the requests to one provider.
#[derive(Debug)]
pub(super) struct LlmMetrics {
    duration: Histogram,
    in_progress: Gauge,
    tokens: Family<LabelSet, Counter>,
    errors: Family<LabelSet, Counter>,
}

const PROMPT: &str = "prompt";
const COMPLETION: &str = "completion";

fn tokens(kind: &'static str) -> LabelSet {
    LabelSet::new("kind", kind)
}

impl LlmMetrics {
    pub(super) fn new() -> Self {
        let (tokens_used, errors) = (Family::default(), Family::default());
        for kind in [PROMPT, COMPLETION] {
            drop(Family::<LabelSet, Counter>::get_or_create(&tokens_used, &tokens(kind)));
        }
        for reason in Reason::ALL {
            drop(Family::<LabelSet, Counter>::get_or_create(&errors, &reason.into()));
        }
        let duration = Histogram::new(SLOW);
        Self { duration, in_progress: Gauge::default(), tokens: tokens_used, errors }
    }

    /// Registers the metrics and the state of the circuit breaker.
    pub(super) fn register(&self, registry: &mut MetricsRegistry<'_>, breaker: &Arc<Breaker>) {
        let registry = &mut *registry.0;
        let seconds = prometheus_client::registry::Unit::Seconds;
        let help = "Time of requests to the language model, until the end of the response";
        registry.register_with_unit("llm_request_duration", help, seconds, self.duration.clone());
        let help = "Requests to the language model in progress";
        registry.register("llm_requests_in_progress", help, self.in_progress.clone());
        let help = "Tokens that the provider reported";
        registry.register("llm_tokens", help, self.tokens.clone());
        let help = "Failed requests to the language model, and those that were not sent";
        registry.register("llm_errors", help, self.errors.clone());
        registry.register_collector(Box::new(BreakerState(Arc::clone(breaker))));
    }

    /// Counts a request as in progress until the result is dropped.
    pub(super) fn begin(&self) -> Request {
        self.in_progress.inc();
        Request(self.in_progress.clone())
    }

    pub(super) fn ended(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn used(&self, usage: TokenUsage) {
        self.tokens.get_or_create(&tokens(PROMPT)).inc_by(usage.prompt_tokens);
        self.tokens.get_or_create(&tokens(COMPLETION)).inc_by(usage.completion_tokens);
    }

    pub(super) fn failed(&self, reason: Reason) {
        self.errors.get_or_create(&reason.into()).inc();
    }
}

/// A request in progress.
pub(super) struct Request(Gauge);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The state of a circuit breaker when the metrics are exported.
#[derive(Debug)]
struct BreakerState(Arc<Breaker>);

impl Collector for BreakerState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let current = match self.0.availability(Instant::now()) {
            Availability::Ready => "closed",
            Availability::Probe => "half_open",
            Availability::Suspended(_) => "open",
        };
        let help =
            "1 for the state of the circuit breaker of the language model, 0 for the others.";
        let mut states =
            encoder.encode_descriptor("llm_breaker_state", help, None, MetricType::Gauge)?;
        for state in ["closed", "half_open", "open"] {
            let value = ConstGauge::new(i64::from(state == current));
            value.encode(states.encode_family(&[("state", state)])?)?;
        }
        Ok(())
    }
}
