//! Waiting requests of a session that ends.

use std::{path::Path, time::Duration};

use reqwest::{Method, Response};
use shiori_sdk::{SessionInfo, SummaryId};
use shiori_server::WorkerMode;
use tokio::time::{Instant, timeout};

use crate::{
    fixtures::{PASSWORD, fresh_email, new_client, wait_until, week, write_week},
    raw_client::{RawClient, RawResponse},
    test_server::{TestServer, share_database},
};

/// Waiting requests end within 5 s; the rest is for a busy machine.
const BOUND: Duration = Duration::from_secs(30);

async fn server(database: &Path, max_waits_per_user: usize) -> TestServer {
    TestServer::with_config(|config| {
        share_database(config, database);
        config.jwt_secret = "a secret that both servers share, of course".into();
        config.worker = WorkerMode::None;
        config.overload.max_waits_per_user = max_waits_per_user;
    })
    .await
}

/// An account with a queued summary.
async fn account_with_summary(url: &str) -> (String, SummaryId) {
    let (client, email) = (new_client(url), fresh_email());
    client.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    write_week(&client, "기다리는 주").await;
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    (email, summary.id())
}

async fn watch(device: &RawClient, id: SummaryId) -> Response {
    let path = format!("/api/diary/summary/{id}/events");
    device.request(Method::GET, &path).send().await.unwrap()
}

fn long_poll(id: SummaryId) -> String {
    format!("/api/diary/summary/{id}?after=1&wait=30")
}

/// The session is revoked on another server.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_end_with_their_session() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("shared.db");
    let (here, there) = (server(&database, 8).await, server(&database, 8).await);
    let (email, id) = account_with_summary(&here.url()).await;
    let device = RawClient::log_in(&here.url(), &email).await;
    let owner = RawClient::log_in(&there.url(), &email).await;
    let mut events = watch(&device, id).await;
    assert!(events.chunk().await.unwrap().is_some(), "the current state");
    let mut of_owner = watch(&owner, id).await;
    assert!(of_owner.chunk().await.unwrap().is_some());
    let device_token = device.token().to_owned();
    let polling = tokio::spawn({
        let url = here.url();
        async move { RawClient::with_token(&url, &device_token).get(&long_poll(id)).await }
    });

    // The session that this device's token belongs to.
    let sessions = device.get("/api/auth/sessions").await.json()["data"].clone();
    let sessions: Vec<SessionInfo> = serde_json::from_value(sessions).unwrap();
    let session = sessions.iter().find(|session| session.current).unwrap().id;
    let started = Instant::now();
    assert_eq!(owner.delete(&format!("/api/auth/sessions/{session}")).await.status, 200);
    // The next chunks are comments that keep the connection open.
    let ended = async { while events.chunk().await.unwrap().is_some() {} };
    timeout(BOUND, ended).await.expect("the stream ends");
    let polled: RawResponse = timeout(BOUND, polling).await.expect("the response").unwrap();
    assert_eq!((polled.status, polled.error().as_str()), (401, "session_expired"));
    assert!(started.elapsed() < Duration::from_secs(20), "not only after the longest wait");
    let next = timeout(Duration::from_millis(10), of_owner.chunk()).await;
    assert!(!matches!(next, Ok(Ok(None) | Err(_))), "the owner's stream is still open");
    drop(of_owner);
    for server in [here, there] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waiting_requests_of_a_user_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir.path().join("own.db"), 2).await;
    let (email, id) = account_with_summary(&server.url()).await;
    let device = RawClient::log_in(&server.url(), &email).await;
    let (first, second) = (watch(&device, id).await, watch(&device, id).await);
    assert!(first.status().is_success() && second.status().is_success());
    let rejected = device.get(&long_poll(id)).await;
    assert_eq!((rejected.status, rejected.error().as_str()), (429, "too_many_waits"));
    assert_eq!(rejected.headers["retry-after"], "5");
    assert_eq!(watch(&device, id).await.status(), 429);
    // Requests that do not wait, and other users, are not affected.
    assert_eq!(device.get(&format!("/api/diary/summary/{id}")).await.status, 200);
    let (other, theirs) = account_with_summary(&server.url()).await;
    let other = RawClient::log_in(&server.url(), &other).await;
    assert!(watch(&other, theirs).await.status().is_success());

    drop(first);
    wait_until("the slot is free", async || watch(&device, id).await.status().is_success()).await;
    drop(second);
    server.stop().await;
}
