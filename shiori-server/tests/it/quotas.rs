//! Quotas of a user, as a client sees them.

use serde_json::json;
use shiori_sdk::{ErrorKind, Precondition, Quota, QuotaExceeded};
use shiori_server::WorkerMode;

use crate::fixtures::{day, draft, week, write_week};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

/// The response has the quota and its limit, and the SDK sends the request once.
#[tokio::test]
async fn a_save_beyond_the_quota_is_rejected() {
    let server = TestServer::with_config(|config| {
        config.limits.diaries.diaries = Some(2);
        config.limits.diaries.bytes = Some(100_000);
    })
    .await;
    let (client, email) = server.sign_up().await;
    let diaries = client.diaries();
    let first = diaries.save(day(1), draft("하나"), Precondition::IfAbsent).await.unwrap();
    diaries.save(day(2), draft("둘"), Precondition::IfAbsent).await.unwrap();

    let error = diaries.save(day(3), draft("셋"), Precondition::IfAbsent).await.unwrap_err();
    assert_eq!((error.kind(), error.status_code()), (ErrorKind::QuotaExceeded, Some(403)));
    assert_eq!((error.attempts(), error.is_retryable()), (1, false));
    let exceeded = QuotaExceeded { quota: Quota::Diaries, limit: 2 };
    assert_eq!(error.exceeded_quota(), Some(&exceeded));
    assert_eq!(diaries.get(day(3)).await.unwrap(), None);

    let large = draft(&"가".repeat(40_000));
    let error =
        diaries.save(day(1), large, Precondition::IfVersion(first.version)).await.unwrap_err();
    let exceeded = QuotaExceeded { quota: Quota::DiaryBytes, limit: 100_000 };
    assert_eq!(error.exceeded_quota(), Some(&exceeded));
    let raw = RawClient::log_in(&server.url(), &email).await;
    let body = json!({"title": "글", "content": {"type": "doc"}});
    let response = raw.post("/api/diary/20260203", &body).await;
    assert_eq!((response.status, response.error().as_str()), (403, "quota_exceeded"));
    assert_eq!(response.json()["data"], json!({"quota": "diaries", "limit": 2}));
    let metrics = RawClient::anonymous(&server.url()).get("/metrics").await.text;
    assert!(metrics.contains("outcome=\"quota_exceeded\"} 3"), "{metrics}");
    server.stop().await;
}

/// Forced summaries count, and responses with an existing summary do not.
#[tokio::test]
async fn summaries_of_a_day_are_bounded() {
    let server = TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.summaries.max_per_day = Some(2);
    })
    .await;
    let client = server.client().await;
    write_week(&client, "한 주").await;
    for _ in 0..2 {
        let force = client.summaries().request_with(week(), true).await.unwrap();
        let handle = force.into_handle().unwrap();
        let again = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
        assert_eq!(again.id(), handle.id());
        handle.cancel().await.unwrap();
    }
    for force in [true, false] {
        let error = client.summaries().request_with(week(), force).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::QuotaExceeded, 1));
        let exceeded = QuotaExceeded { quota: Quota::SummariesPerDay, limit: 2 };
        assert_eq!(error.exceeded_quota(), Some(&exceeded));
    }
    server.stop().await;
}
