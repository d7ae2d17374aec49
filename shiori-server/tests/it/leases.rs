//! The internal API: leases, results and failures, with the test as the worker and time moved by
//! hand.

use std::time::Duration;

use serde_json::{Value, json};
use shiori_sdk::{Client, FailureKind, SummaryHandle, SummaryStatus, Timestamp};
use shiori_server::WorkerMode;
use shiori_worker::{ManualClock, protocol::LeaseToken};

use crate::house::{Answer, House, Raw, until, week, write_week};

/// A queued summary, and a worker's way to the server.
struct Scene {
    house: House,
    clock: ManualClock,
    client: Client,
    handle: SummaryHandle,
    worker: Raw,
}

impl Scene {
    async fn set() -> Self {
        let clock = ManualClock::at(Timestamp::now());
        let injected = clock.clone();
        let house = House::with(move |config| {
            config.worker = WorkerMode::None;
            config.clock = std::sync::Arc::new(injected);
            config.summaries.max_attempts = 2;
            // Tokens are not what this is about.
            config.sessions.access_ttl = Duration::from_secs(1_000_000);
        })
        .await;
        let client = house.client().await;
        write_week(&client, "목록을 썼다.").await;
        let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
        let worker = Raw::with_token(&house.url(), &house.internal_token());
        Self { house, clock, client, handle, worker }
    }

    async fn post(&self, step: &str, body: &Value) -> Answer {
        let path = format!("/api/internal/summaries/{}/{step}", self.handle.id());
        self.worker.post(&path, body).await
    }

    async fn claim(&self) -> Answer {
        self.post("claim", &json!({"worker_id": "시험"})).await
    }

    /// Claims, and returns the lease token.
    async fn lease(&self) -> Value {
        let answer = self.claim().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["data"]["lease_token"].clone()
    }

    async fn result(&self, token: &Value) -> Answer {
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

fn refused(answer: &Answer, error: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (409, error));
}

/// The answer to a claim was lost. The worker asks again under the same token, which costs no
/// attempt; another worker's token is another's.
#[tokio::test]
async fn a_claim_is_repeated_under_its_token() {
    let scene = Scene::set().await;
    let mine = json!({"worker_id": "나", "lease_token": LeaseToken::new()});
    let theirs = json!({"worker_id": "남", "lease_token": LeaseToken::new()});
    for _ in 0..3 {
        let claim = scene.post("claim", &mine).await.json();
        assert_eq!(claim["data"]["lease_token"], mine["lease_token"]);
        assert_eq!(claim["data"]["attempt"], 1);
        refused(&scene.post("claim", &theirs).await, "not_claimable");
    }
    scene.clock.advance(Duration::from_secs(31));
    assert_eq!(scene.post("claim", &theirs).await.json()["data"]["attempt"], 2);
    refused(&scene.post("claim", &mine).await, "not_claimable");
    refused(&scene.result(&mine["lease_token"]).await, "lease_lost");
    assert_eq!(scene.result(&theirs["lease_token"]).await.status, 200);
    scene.house.stop().await;
}

#[tokio::test]
async fn one_worker_at_a_time_and_the_same_result_twice() {
    let scene = Scene::set().await;
    let claim = scene.claim().await.json();
    assert_eq!(claim["data"]["attempt"], 1);
    assert_eq!(claim["data"]["lease_ms"], 30_000);
    assert_eq!(claim["data"]["days"].as_array().unwrap().len(), 7);
    assert_eq!(claim["data"]["days"][0]["texts"], json!(["20260216: 목록을 썼다."]));
    assert_eq!(claim["data"]["days"][0]["version"], 1);
    let token = &claim["data"]["lease_token"];
    refused(&scene.claim().await, "not_claimable");
    let beat = scene
        .post(
            "heartbeat",
            &json!({"lease_token": token, "progress": {"phase": "writing", "characters": 7}}),
        )
        .await;
    assert_eq!(beat.status, 200);
    assert_eq!(scene.handle.poll().await.unwrap().progress.unwrap().characters, 7);
    assert_eq!(scene.result(token).await.status, 200);
    assert_eq!(scene.result(token).await.status, 200, "the same result again");
    refused(&scene.post("heartbeat", &json!({"lease_token": token})).await, "lease_lost");
    let summary = scene.handle.poll().await.unwrap();
    assert_eq!((summary.status, summary.progress), (SummaryStatus::Completed, None));
    assert_eq!(summary.reflection.as_deref(), Some("좋은 한 주였어요."));
    scene.house.stop().await;
}

#[tokio::test]
async fn a_lease_that_ran_out_goes_to_another_and_the_late_result_is_refused() {
    let scene = Scene::set().await;
    let late = scene.lease().await;
    scene.clock.advance(Duration::from_secs(29));
    refused(&scene.claim().await, "not_claimable");
    scene.clock.advance(Duration::from_secs(1));
    let current = scene.lease().await;
    refused(&scene.result(&late).await, "lease_lost");
    refused(&scene.post("heartbeat", &json!({"lease_token": late})).await, "lease_lost");
    let failure =
        json!({"lease_token": late, "kind": "internal", "message": "늦음", "retryable": false});
    refused(&scene.post("failure", &failure).await, "lease_lost");
    assert_eq!(scene.result(&current).await.status, 200);
    assert_eq!(scene.handle.poll().await.unwrap().attempts, 2);
    scene.house.stop().await;
}

#[tokio::test]
async fn the_dispatcher_takes_leases_back_until_the_attempts_are_used_up() {
    let scene = Scene::set().await;
    scene.lease().await;
    scene.clock.advance(Duration::from_secs(31));
    until("the lease is taken back", async || scene.status().await == SummaryStatus::Queued).await;
    scene.lease().await;
    scene.clock.advance(Duration::from_secs(31));
    let summary = scene.handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::WorkerLost));
    scene.house.stop().await;
}

#[tokio::test]
async fn a_transient_failure_is_retried_later_and_a_permanent_one_never() {
    let scene = Scene::set().await;
    let token = scene.lease().await;
    let failure = json!({"lease_token": token, "kind": "model_unavailable", "message": "응답 없음",
        "retryable": true, "retry_after_ms": 60_000});
    assert_eq!(scene.post("failure", &failure).await.status, 200);
    let summary = scene.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Queued);
    refused(&scene.claim().await, "not_claimable");
    scene.clock.advance(Duration::from_secs(61));
    let token = scene.lease().await;
    let failure = json!({"lease_token": token, "kind": "model_rejected", "message": "거절됨", "retryable": false});
    assert_eq!(scene.post("failure", &failure).await.status, 200);
    let summary = scene.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.unwrap().message, "거절됨");
    refused(&scene.claim().await, "not_claimable");
    scene.house.stop().await;
}

#[tokio::test]
async fn what_is_cancelled_is_lost_to_its_worker() {
    let scene = Scene::set().await;
    let token = scene.lease().await;
    scene.handle.cancel().await.unwrap();
    refused(&scene.result(&token).await, "lease_lost");
    assert_eq!(scene.status().await, SummaryStatus::Cancelled);
    assert_eq!(scene.client.reflections().get(week()).await.unwrap(), None);
    scene.house.stop().await;
}

#[tokio::test]
async fn a_diary_deleted_before_the_claim_fails_the_summary() {
    let scene = Scene::set().await;
    let version = shiori_sdk::Version::new(1);
    scene.client.diaries().delete(week().start(), version).await.unwrap();
    refused(&scene.claim().await, "not_claimable");
    let summary = scene.handle.poll().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::WeekIncomplete));
    scene.house.stop().await;
}

#[tokio::test]
async fn a_result_that_is_no_result_is_refused_and_changes_nothing() {
    let scene = Scene::set().await;
    let token = scene.lease().await;
    let id = scene.handle.id();
    let day = json!({"date": "20260216", "label": "행복", "confidence": 1.0, "distribution": {"행복": 1.0}});
    for (reflection, days) in [
        (String::new(), json!([])),
        ("긴 글".repeat(2000), json!([])),
        ("글".to_owned(), json!([day, day])),
        (
            "글".to_owned(),
            json!([{"date": "20260216", "label": "희망", "confidence": 1.0, "distribution": {}}]),
        ),
    ] {
        let body = json!({"summary_id": id, "lease_token": token, "reflection": reflection,
            "engine": "e", "emotion_engine": "e", "emotion_results": days});
        let answer = scene.worker.post("/api/internal/summarize/result", &body).await;
        assert_eq!((answer.status, answer.error().as_str()), (422, "invalid_request"));
    }
    assert_eq!(scene.status().await, SummaryStatus::Running);
    assert_eq!(scene.result(&token).await.status, 200);
    scene.house.stop().await;
}
