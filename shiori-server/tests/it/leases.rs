//! The internal API: leases, results and failures. The test acts as the worker and advances the
//! clock.

use std::time::Duration;

use serde_json::{Value, json};
use shiori_sdk::{
    Client, Emotion, FailureKind, ProgressPhase, SummaryHandle, SummaryStatus, Timestamp,
};
use shiori_server::WorkerMode;
use shiori_worker::{ManualClock, protocol::LeaseToken};

use crate::fixtures::{wait_until, week, write_week};
use crate::raw_client::{RawClient, RawResponse};
use crate::test_server::TestServer;

/// A server with a queued summary, and a client of the internal API.
struct LeaseTest {
    server: TestServer,
    clock: ManualClock,
    client: Client,
    handle: SummaryHandle,
    worker: RawClient,
}

impl LeaseTest {
    async fn start() -> Self {
        let clock = ManualClock::at(Timestamp::now());
        let injected = clock.clone();
        let server = TestServer::with_config(move |config| {
            config.worker = WorkerMode::None;
            config.clock = std::sync::Arc::new(injected);
            config.summaries.max_attempts = 2;
            // Access tokens must not expire when the clock is advanced.
            config.sessions.access_ttl = Duration::from_secs(1_000_000);
        })
        .await;
        let client = server.client().await;
        write_week(&client, "목록을 썼다.").await;
        let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
        let worker = RawClient::with_token(&server.url(), &server.internal_token());
        Self { server, clock, client, handle, worker }
    }

    async fn post(&self, step: &str, body: &Value) -> RawResponse {
        let path = format!("/api/internal/summaries/{}/{step}", self.handle.id());
        self.worker.post(&path, body).await
    }

    async fn claim(&self) -> RawResponse {
        self.post("claim", &json!({"worker_id": "시험"})).await
    }

    /// Claims, and returns the lease token.
    async fn lease(&self) -> Value {
        let response = self.claim().await;
        assert_eq!(response.status, 200, "{}", response.text);
        response.json()["data"]["lease_token"].clone()
    }

    async fn result(&self, token: &Value) -> RawResponse {
        let distribution = json!({"행복": 1.0});
        let days: Vec<_> = week()
            .dates()
            .map(|date| json!({"date": date, "label": "행복", "confidence": 1.0, "distribution": distribution}))
            .collect();
        let body = json!({
            "summary_id": self.handle.id(), "lease_token": token, "reflection": "좋은 한 주였어요.",
            "engine": "test/1", "emotion_engine": "test/1", "emotion_results": days,
        });
        self.worker.post("/api/internal/summarize/result", &body).await
    }

    async fn status(&self) -> SummaryStatus {
        self.handle.poll().await.unwrap().status
    }
}

fn assert_conflict(response: &RawResponse, error: &str) {
    assert_eq!((response.status, response.error().as_str()), (409, error));
}

/// A worker whose claim's response was lost can repeat it with the same token without using up an
/// attempt. A claim with another token is rejected.
#[tokio::test]
async fn a_repeated_claim_is_idempotent() {
    let test = LeaseTest::start().await;
    let mine = json!({"worker_id": "나", "lease_token": LeaseToken::new()});
    let theirs = json!({"worker_id": "남", "lease_token": LeaseToken::new()});
    for _ in 0..3 {
        let claim = test.post("claim", &mine).await.json();
        assert_eq!(claim["data"]["lease_token"], mine["lease_token"]);
        assert_eq!(claim["data"]["attempt"], 1);
        assert_conflict(&test.post("claim", &theirs).await, "not_claimable");
    }
    test.clock.advance(Duration::from_secs(31));
    assert_eq!(test.post("claim", &theirs).await.json()["data"]["attempt"], 2);
    assert_conflict(&test.post("claim", &mine).await, "not_claimable");
    assert_conflict(&test.result(&mine["lease_token"]).await, "lease_lost");
    assert_eq!(test.result(&theirs["lease_token"]).await.status, 200);
    test.server.stop().await;
}

#[tokio::test]
async fn a_lease_is_exclusive_and_its_result_is_idempotent() {
    let test = LeaseTest::start().await;
    let claim = test.claim().await.json();
    assert_eq!(claim["data"]["attempt"], 1);
    assert_eq!(claim["data"]["lease_ms"], 30_000);
    assert_eq!(claim["data"]["days"].as_array().unwrap().len(), 7);
    assert_eq!(claim["data"]["days"][0]["texts"], json!(["20260216: 목록을 썼다."]));
    assert_eq!(claim["data"]["days"][0]["version"], 1);
    let token = &claim["data"]["lease_token"];
    assert_conflict(&test.claim().await, "not_claimable");
    let beat = test
        .post(
            "heartbeat",
            &json!({"lease_token": token, "progress": {"phase": "writing", "characters": 7}}),
        )
        .await;
    assert_eq!(beat.status, 200);
    assert_eq!(test.handle.poll().await.unwrap().progress.unwrap().characters, 7);
    assert_eq!(test.result(token).await.status, 200);
    assert_eq!(test.result(token).await.status, 200, "a repeated result is accepted");
    assert_conflict(&test.post("heartbeat", &json!({"lease_token": token})).await, "lease_lost");
    let summary = test.handle.poll().await.unwrap();
    assert_eq!((summary.status, summary.progress), (SummaryStatus::Completed, None));
    assert_eq!(summary.reflection.as_deref(), Some("좋은 한 주였어요."));
    test.server.stop().await;
}

#[tokio::test]
async fn an_expired_lease_can_be_claimed_again_and_its_late_result_is_rejected() {
    let test = LeaseTest::start().await;
    let late = test.lease().await;
    test.clock.advance(Duration::from_secs(29));
    assert_conflict(&test.claim().await, "not_claimable");
    test.clock.advance(Duration::from_secs(1));
    let current = test.lease().await;
    assert_conflict(&test.result(&late).await, "lease_lost");
    assert_conflict(&test.post("heartbeat", &json!({"lease_token": late})).await, "lease_lost");
    let failure =
        json!({"lease_token": late, "kind": "internal", "message": "늦음", "retryable": false});
    assert_conflict(&test.post("failure", &failure).await, "lease_lost");
    assert_eq!(test.result(&current).await.status, 200);
    assert_eq!(test.handle.poll().await.unwrap().attempts, 2);
    test.server.stop().await;
}

#[tokio::test]
async fn the_dispatcher_requeues_expired_leases_until_attempts_run_out() {
    let test = LeaseTest::start().await;
    test.lease().await;
    test.clock.advance(Duration::from_secs(31));
    wait_until("the lease has expired", async || test.status().await == SummaryStatus::Queued)
        .await;
    test.lease().await;
    test.clock.advance(Duration::from_secs(31));
    let summary = test.handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::WorkerLost));
    test.server.stop().await;
}

#[tokio::test]
async fn a_transient_failure_is_retried_later_and_a_permanent_one_never() {
    let test = LeaseTest::start().await;
    let token = test.lease().await;
    let failure = json!({"lease_token": token, "kind": "model_unavailable", "message": "응답 없음",
        "retryable": true, "retry_after_ms": 60_000});
    assert_eq!(test.post("failure", &failure).await.status, 200);
    let summary = test.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Queued);
    assert_conflict(&test.claim().await, "not_claimable");
    // The pause is up to a quarter longer than `Retry-After`.
    test.clock.advance(Duration::from_secs(75));
    let token = test.lease().await;
    let failure = json!({"lease_token": token, "kind": "model_rejected", "message": "거절됨", "retryable": false});
    assert_eq!(test.post("failure", &failure).await.status, 200);
    let summary = test.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.unwrap().message, "거절됨");
    assert_conflict(&test.claim().await, "not_claimable");
    test.server.stop().await;
}

/// A worker can neither postpone a summary beyond the patience of 15 minutes nor overflow the
/// clock.
#[tokio::test]
async fn the_retry_after_of_a_failure_is_bounded_by_the_patience() {
    let test = LeaseTest::start().await;
    let token = test.lease().await;
    let failure = json!({"lease_token": token, "kind": "model_unavailable", "message": "응답 없음",
        "retryable": true, "retry_after_ms": u64::MAX});
    assert_eq!(test.post("failure", &failure).await.status, 200);
    assert_eq!(test.status().await, SummaryStatus::Queued);
    test.clock.advance(Duration::from_secs(15 * 60 - 1));
    assert_conflict(&test.claim().await, "not_claimable");
    test.clock.advance(Duration::from_secs(1));
    let token = test.lease().await;
    assert_eq!(test.result(&token).await.status, 200);
    test.server.stop().await;
}

#[tokio::test]
async fn cancelling_a_summary_ends_its_lease() {
    let test = LeaseTest::start().await;
    let token = test.lease().await;
    test.handle.cancel().await.unwrap();
    assert_conflict(&test.result(&token).await, "lease_lost");
    assert_eq!(test.status().await, SummaryStatus::Cancelled);
    assert_eq!(test.client.reflections().get(week()).await.unwrap(), None);
    test.server.stop().await;
}

#[tokio::test]
async fn a_diary_deleted_before_the_claim_fails_the_summary() {
    let test = LeaseTest::start().await;
    let version = shiori_sdk::Version::new(1);
    test.client.diaries().delete(week().start(), version).await.unwrap();
    assert_conflict(&test.claim().await, "not_claimable");
    let summary = test.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::WeekIncomplete));
    test.server.stop().await;
}

#[tokio::test]
async fn invalid_results_are_rejected_and_change_nothing() {
    let test = LeaseTest::start().await;
    let token = test.lease().await;
    let id = test.handle.id();
    let day = json!({"date": "20260216", "label": "행복", "confidence": 1.0, "distribution": {"행복": 1.0}});
    for (reflection, days) in [
        (String::new(), json!([])),
        ("긴 글".repeat(2000), json!([])),
        ("글".to_owned(), json!([day, day])),
        (
            "글".to_owned(),
            json!([{"date": "20260230", "label": "행복", "confidence": 1.0, "distribution": {}}]),
        ),
    ] {
        let body = json!({"summary_id": id, "lease_token": token, "reflection": reflection,
            "engine": "e", "emotion_engine": "e", "emotion_results": days});
        let response = test.worker.post("/api/internal/summarize/result", &body).await;
        assert_eq!((response.status, response.error().as_str()), (422, "invalid_request"));
    }
    assert_eq!(test.status().await, SummaryStatus::Running);
    assert_eq!(test.result(&token).await.status, 200);
    test.server.stop().await;
}

/// During an upgrade, workers may be newer than the server.
#[tokio::test]
async fn requests_of_a_newer_worker_are_accepted() {
    let test = LeaseTest::start().await;
    let claim = test.post("claim", &json!({"worker_id": "새 일꾼", "added_later": {"a": 1}})).await;
    let token = &claim.json()["data"]["lease_token"];
    let beat = json!({"lease_token": token, "added_later": 1,
        "progress": {"phase": "reviewing", "characters": 7, "percent": 50}});
    assert_eq!(test.post("heartbeat", &beat).await.status, 200);
    let progress = test.handle.poll().await.unwrap().progress.unwrap();
    assert_eq!((progress.phase, progress.characters), (ProgressPhase::Unknown, 7));

    let failure = json!({"lease_token": token, "kind": "quota_exceeded", "message": "한도 초과",
        "retryable": true, "quota": 9});
    assert_eq!(test.post("failure", &failure).await.status, 200);
    let summary = test.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Queued);
    assert_eq!(summary.failure.unwrap().kind, FailureKind::Unknown);

    test.clock.advance(Duration::from_secs(600));
    let token = test.lease().await;
    let day = |date: &str, label: &str| {
        json!({"date": date, "label": label, "confidence": 0.5,
            "distribution": {"행복": 0.5, "희망": 0.5}})
    };
    let result = json!({
        "summary_id": test.handle.id(), "lease_token": token, "reflection": "좋은 한 주였어요.",
        "engine": "later/9", "emotion_engine": "later/9", "added_later": [],
        "emotion_results": [day("20260216", "행복"), day("20260217", "희망")],
        "truncated": ["20260217"],
    });
    assert_eq!(test.worker.post("/api/internal/summarize/result", &result).await.status, 200);
    let summary = test.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed);
    let labels: Vec<_> = summary.emotions.iter().map(|day| (day.date.day(), day.label)).collect();
    assert_eq!(labels, [(16, Emotion::Happiness)]);
    test.server.stop().await;
}
