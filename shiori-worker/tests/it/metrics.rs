//! The metrics of a worker that does real work.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use shiori_sdk::{SummaryId, Timestamp};
use shiori_worker::{
    JobQueue, Pipeline, SystemClock, Worker, WorkerConfig, WorkerMetrics,
    queue::InProcessQueue,
    summarize::{OpenAiConfig, OpenAiSummarizer, openai::BreakerConfig},
};
use tokio_util::sync::CancellationToken;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::fake_server_api::{CLAIM, FakeServerApi, RESULT, error_response};

const TEXT: &str = "마음을 천천히 들여다본 한 주였어요.";

/// Waits until the metrics contain all these lines, and returns the metrics.
async fn wait_for(metrics: &WorkerMetrics, lines: &[&str]) -> String {
    let all = async {
        loop {
            let text = metrics.to_text().unwrap();
            if lines.iter().all(|line| text.lines().any(|other| other == *line)) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(120), all).await;
    found.unwrap_or_else(|_| panic!("not all of {lines:?} in {}", metrics.to_text().unwrap()))
}

/// A language model that sends this response once, and then fails.
async fn provider(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let completions = || Mock::given(method("POST")).and(path("/v1/chat/completions"));
    completions().respond_with(response).up_to_n_times(1).mount(&server).await;
    completions().respond_with(ResponseTemplate::new(500)).mount(&server).await;
    server
}

#[tokio::test]
async fn work_and_failures_are_counted() {
    let server = FakeServerApi::start(Duration::from_secs(30)).await;
    let choice = json!({"message": {"content": TEXT}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 812, "completion_tokens": 40, "total_tokens": 852});
    let response = json!({"choices": [choice], "usage": usage});
    let provider = provider(ResponseTemplate::new(200).set_body_json(response)).await;
    let summarizer = OpenAiSummarizer::new(OpenAiConfig {
        base_url: format!("{}/v1", provider.uri()),
        model: "test-model".to_owned(),
        breaker: BreakerConfig { failures: 1, open_for: Duration::from_secs(3600) },
        ..OpenAiConfig::default()
    });
    let summarizer = Arc::new(summarizer.unwrap());
    let pipeline = Pipeline { summarizer, ..Pipeline::builtin() };
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let worker = Worker::new(WorkerConfig::default(), queue.clone(), server.api(), pipeline);
    let metrics = worker.metrics();
    let idle = metrics.to_text().unwrap();
    for line in [
        "shiori_worker_concurrency 16",
        "shiori_worker_server_available 0",
        "shiori_worker_attempts_total{outcome=\"lease_lost\"} 0",
        "shiori_worker_llm_errors_total{kind=\"timeout\"} 0",
        "shiori_worker_llm_breaker_state{state=\"closed\"} 1",
    ] {
        assert!(idle.contains(line), "{line} in {idle}");
    }
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let offer = async || queue.offer(SummaryId::new(), Timestamp::now()).await.unwrap();

    offer().await;
    let text = wait_for(
        &metrics,
        &[
            "shiori_worker_hints_taken_total 1",
            "shiori_worker_claims_total{outcome=\"claimed\"} 1",
            "shiori_worker_attempts_total{outcome=\"completed\"} 1",
            "shiori_worker_attempt_duration_seconds_count 1",
            "shiori_worker_emotion_texts_total 2",
            "shiori_worker_emotion_duration_seconds_count 1",
            "shiori_worker_llm_request_duration_seconds_count 1",
            "shiori_worker_llm_tokens_total{kind=\"prompt\"} 812",
            "shiori_worker_llm_tokens_total{kind=\"completion\"} 40",
            "shiori_worker_server_requests_total{request=\"result\",outcome=\"ok\"} 1",
            "shiori_worker_server_available 1",
            "shiori_worker_summaries_in_progress 0",
        ],
    )
    .await;
    assert!(!text.contains("월요일") && !text.contains(TEXT) && !text.contains("test-model"));

    offer().await;
    wait_for(
        &metrics,
        &[
            "shiori_worker_attempts_total{outcome=\"retryable\"} 1",
            "shiori_worker_failures_total{kind=\"model_unavailable\"} 1",
            "shiori_worker_llm_errors_total{kind=\"provider\"} 1",
            "shiori_worker_llm_breaker_state{state=\"open\"} 1",
            "shiori_worker_llm_breaker_state{state=\"closed\"} 0",
        ],
    )
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_fails_is_visible() {
    let server = FakeServerApi::start(Duration::from_secs(30)).await;
    server.fail(CLAIM, 1, error_response(409, "not_claimable"));
    server.fail(CLAIM, 1, error_response(401, "unauthorized"));
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    let config = WorkerConfig { concurrency: 1, ..WorkerConfig::default() };
    let worker = Worker::new(config, queue.clone(), server.api(), Pipeline::builtin());
    let metrics = worker.metrics();
    for _ in 0..2 {
        queue.offer(SummaryId::new(), Timestamp::now()).await.unwrap();
    }
    worker.run(CancellationToken::new()).await.unwrap_err();
    let lines = [
        "shiori_worker_claims_total{outcome=\"not_claimable\"} 1",
        "shiori_worker_claims_total{outcome=\"error\"} 1",
        "shiori_worker_server_requests_total{request=\"claim\",outcome=\"unauthorized\"} 1",
        "shiori_worker_server_available 0",
    ];
    let text = wait_for(&metrics, &lines).await;
    assert!(!text.contains("llm"), "there is no language model");
}

#[tokio::test]
async fn an_attempt_whose_result_is_rejected_has_failed() {
    let server = FakeServerApi::start(Duration::from_secs(30)).await;
    server.fail(RESULT, 1, error_response(422, "invalid_request"));
    let queue = Arc::new(InProcessQueue::new(100, Arc::new(SystemClock)));
    queue.offer(SummaryId::new(), Timestamp::now()).await.unwrap();
    let worker = Worker::new(WorkerConfig::default(), queue, server.api(), Pipeline::builtin());
    let (metrics, shutdown) = (worker.metrics(), CancellationToken::new());
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let lines = [
        "shiori_worker_attempts_total{outcome=\"failed\"} 1",
        "shiori_worker_attempts_total{outcome=\"completed\"} 0",
        "shiori_worker_failures_total{kind=\"internal\"} 1",
        "shiori_worker_server_requests_total{request=\"result\",outcome=\"refused\"} 1",
        "shiori_worker_server_requests_total{request=\"failure\",outcome=\"ok\"} 1",
    ];
    wait_for(&metrics, &lines).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
