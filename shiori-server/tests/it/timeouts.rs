//! The timeouts of requests.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use shiori_server::WorkerMode;
use tokio::time::Instant;

use crate::{
    fixtures::{PASSWORD, fresh_email, new_client, week, write_week},
    raw_client::RawClient,
    test_server::TestServer,
};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// A parameter `wait` on any other route does not change its timeout. The store is blocked by a
/// lock on its file.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_long_poll_has_a_longer_timeout() {
    let server = TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.limits.request_timeout = REQUEST_TIMEOUT;
    })
    .await;
    let email = fresh_email();
    let client = new_client(&server.url());
    client.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    write_week(&client, "기다리는 주").await;
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let raw = RawClient::log_in(&server.url(), &email).await;

    let (started, wait) = (Instant::now(), REQUEST_TIMEOUT * 2);
    let path = format!("/api/diary/summary/{}?after=1&wait={}", summary.id(), wait.as_secs());
    let response = raw.get(&path).await;
    assert_eq!(response.status, 200, "{}", response.text);
    assert!(started.elapsed() >= wait);

    let lock = Connection::open(server.data_dir().join("shiori.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let diary = json!({"title": "글", "content": {"type": "doc"}});
    let response = raw.post("/api/diary/20260101?wait=30", &diary).await;
    assert_eq!((response.status, response.error().as_str()), (503, "unavailable"));
    assert!(response.headers.contains_key("retry-after"));
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    assert_eq!(raw.post("/api/diary/20260102?wait=30", &diary).await.status, 201);
    server.stop().await;
}
