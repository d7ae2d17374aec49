//! A provider of language models in a bad mood: tried again within bounds, then a failure with a
//! reason that the person may see, and never a summary that is unfinished for ever.

use std::{sync::Arc, time::Duration};

use shiori_sdk::{FailureKind, SummaryStatus};
use shiori_worker::{
    Pipeline,
    summarize::{OpenAiConfig, OpenAiSummarizer},
};

use crate::{
    house::{House, week, write_week},
    llm::{Llm, Mood},
};

/// What becomes of a summary, and how often the provider was asked for it.
async fn ending(mood: Mood) -> (FailureKind, u32) {
    let llm = Llm::start(mood).await;
    let config = OpenAiConfig {
        base_url: llm.url().to_owned(),
        request_timeout: Duration::from_millis(500),
        ..OpenAiConfig::default()
    };
    let summarizer = OpenAiSummarizer::new(config).unwrap();
    let house = House::with(|config| {
        config.pipeline = Pipeline { summarizer: Arc::new(summarizer), ..Pipeline::builtin() };
        config.summaries.max_attempts = 3;
        config.summaries.first_backoff = Duration::from_millis(1);
    })
    .await;
    let client = house.client().await;
    write_week(&client, "조용한 하루였다").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed, "{mood:?}");
    let failure = summary.failure.expect("a reason");
    assert!(!failure.message.is_empty(), "{mood:?}");
    house.stop().await;
    (failure.kind, llm.calls())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_asked_a_bounded_number_of_times() {
    use FailureKind::{ModelAnswerInvalid, ModelUnavailable};
    for (mood, kind) in [
        (Mood::Refuses(500), ModelUnavailable),
        (Mood::Refuses(503), ModelUnavailable),
        (Mood::Gated, ModelUnavailable),
        (Mood::Drips, ModelUnavailable),
        (Mood::BreaksOff, ModelUnavailable),
        (Mood::Babbles, ModelAnswerInvalid),
        (Mood::Empty, ModelAnswerInvalid),
    ] {
        assert_eq!(ending(mood).await, (kind, 3), "{mood:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_too_busy_is_given_the_time_it_asks_for() {
    assert_eq!(ending(Mood::Refuses(429)).await, (FailureKind::ModelUnavailable, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_for_good_is_asked_once() {
    let moods = [400, 401, 404].map(Mood::Refuses);
    for mood in moods.into_iter().chain([Mood::Filters]) {
        assert_eq!(ending(mood).await, (FailureKind::ModelRejected, 1), "{mood:?}");
    }
}
