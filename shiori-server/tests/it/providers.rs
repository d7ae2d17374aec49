//! Failing providers of language models: retries are bounded, the summary fails, and the user
//! receives a reason.

use std::{sync::Arc, time::Duration};

use shiori_sdk::{FailureKind, SummaryStatus};
use shiori_worker::{
    Pipeline,
    summarize::{OpenAiConfig, OpenAiSummarizer},
};

use crate::{
    fake_llm::{Behavior, FakeLlm},
    fixtures::{week, write_week},
    test_server::TestServer,
};

/// The failure of a summary, and the number of calls to the provider.
async fn ending(behavior: Behavior) -> (FailureKind, u32) {
    let (failure, _, calls) = ending_within(behavior, "15m").await;
    (failure, calls)
}

/// The same with this patience. Also returns the number of counted attempts.
async fn ending_within(behavior: Behavior, patience: &str) -> (FailureKind, u32, u32) {
    let llm = FakeLlm::start(behavior).await;
    let config = OpenAiConfig {
        base_url: llm.url().to_owned(),
        request_timeout: Duration::from_millis(500),
        ..OpenAiConfig::default()
    };
    let summarizer = OpenAiSummarizer::new(config).unwrap();
    let server = TestServer::with_config(|config| {
        config.pipeline = Pipeline { summarizer: Arc::new(summarizer), ..Pipeline::builtin() };
        config.summaries.max_attempts = 3;
        config.summaries.llm_patience = patience.parse().unwrap();
        config.summaries.first_backoff = Duration::from_millis(1);
    })
    .await;
    let client = server.client().await;
    write_week(&client, "조용한 하루였다").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed, "{behavior:?}");
    let failure = summary.failure.expect("a reason");
    assert!(!failure.message.is_empty(), "{behavior:?}");
    server.stop().await;
    (failure.kind, summary.attempts, llm.calls())
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_provider_errors_are_retried_a_bounded_number_of_times() {
    use FailureKind::{ModelAnswerInvalid, ModelUnavailable};
    for (behavior, kind) in [
        (Behavior::Status(500), ModelUnavailable),
        (Behavior::Status(503), ModelUnavailable),
        (Behavior::Gated, ModelUnavailable),
        (Behavior::NeverEnds, ModelUnavailable),
        (Behavior::Disconnect, ModelUnavailable),
        (Behavior::Garbage, ModelAnswerInvalid),
        (Behavior::Empty, ModelAnswerInvalid),
    ] {
        assert_eq!(ending(behavior).await, (kind, 3), "{behavior:?}");
    }
}

/// A rate-limited attempt is not counted. Its `Retry-After` of one second is respected, and the
/// attempt after the patience is the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_attempt_is_not_counted_until_the_patience_ends() {
    let (kind, attempts, calls) = ending_within(Behavior::Status(429), "6s").await;
    assert_eq!((kind, attempts), (FailureKind::ModelUnavailable, 1));
    assert!((4..=7).contains(&calls), "more than the maximum of attempts: {calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_provider_error_is_not_retried() {
    let behaviors = [400, 401, 404].map(Behavior::Status);
    for behavior in behaviors.into_iter().chain([Behavior::ContentFilter]) {
        assert_eq!(ending(behavior).await, (FailureKind::ModelRejected, 1), "{behavior:?}");
    }
}
