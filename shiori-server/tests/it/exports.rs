//! Limits and interruptions of exports on the real server.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use reqwest::Method;
use shiori_sdk::{
    CallOptions, Client, Date, Document, Draft, ErrorKind, ExportRecord, Precondition, RetryPolicy,
};

use crate::fixtures::{PASSWORD, new_client, wait_until};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

/// More than the buffers of a connection hold.
const DIARIES: i64 = 24;

fn date(number: i64) -> Date {
    Date::new(2026, 1, 1).unwrap().plus_days(number).unwrap()
}

/// Diaries of almost 1 MiB each.
async fn write_large_diaries(client: &Client) {
    let content = Document::from_text(&"가".repeat(340_000));
    for number in 0..DIARIES {
        let draft = Draft::new("긴 글", content.clone());
        client.diaries().save(date(number), draft, Precondition::IfAbsent).await.unwrap();
    }
}

/// A response of which the client has received the head.
async fn begin(raw: &RawClient) -> reqwest::Response {
    raw.request(Method::GET, "/api/user/export").send().await.unwrap()
}

/// A user has at most two exports in progress. An export ends when its client disconnects.
#[tokio::test(flavor = "multi_thread")]
async fn exports_of_a_user_are_bounded() {
    let server = TestServer::start().await;
    let (client, email) = server.sign_up().await;
    write_large_diaries(&client).await;
    let raw = RawClient::log_in(&server.url(), &email).await;
    let (first, second) = (begin(&raw).await, begin(&raw).await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let refused = raw.get("/api/user/export").await;
    assert_eq!((refused.status, refused.error().as_str()), (429, "too_many_exports"));
    assert_eq!(refused.headers["retry-after"], "10");
    let no_retry = CallOptions::default().with_retry_policy(RetryPolicy::never());
    let mut export = client.with_options(no_retry).account().export();
    let error = export.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
    assert!(export.next().await.is_none(), "the stream has ended");

    // Other users, and other requests of this user, are not affected.
    let other: Vec<ExportRecord> =
        server.client().await.account().export().try_collect().await.unwrap();
    assert_eq!(other.len(), 3);
    assert_eq!(client.diaries().get(date(3)).await.unwrap().unwrap().title, "긴 글");
    drop(first);
    wait_until("the export has ended", async || begin(&raw).await.status().as_u16() == 200).await;
    drop(second);
    let records: Vec<ExportRecord> = client.account().export().try_collect().await.unwrap();
    assert_eq!(records.len(), usize::try_from(DIARIES).unwrap() + 3);
    server.stop().await;
}

/// An export longer than the time limit of requests is not cut off, and a slow client gets all of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_may_take_longer_than_a_request() {
    let server = TestServer::with_config(|config| {
        config.limits.request_timeout = Duration::from_secs(1);
    })
    .await;
    let client = server.client().await;
    write_large_diaries(&client).await;
    let mut export = client.account().export();
    let mut records = 0;
    while let Some(record) = export.next().await {
        record.unwrap();
        records += 1;
        // The server waits for the client.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(records, DIARIES + 3);
    server.stop().await;
}

/// An export stops when its session is revoked, and the client recognises that it is incomplete.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_its_session() {
    let server = TestServer::start().await;
    let (client, email) = server.sign_up().await;
    write_large_diaries(&client).await;
    let other = new_client(&server.url());
    other.auth().login(&email, PASSWORD).await.unwrap();
    let mut export = client.account().export();
    assert!(matches!(export.try_next().await.unwrap(), Some(ExportRecord::Header(_))));
    for session in other.auth().sessions().await.unwrap() {
        if !session.current {
            other.auth().revoke(session.id).await.unwrap();
        }
    }
    let error = export.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.is_retryable());
    server.stop().await;
}

/// A server that stops does not wait for a long export.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_cuts_an_export_off() {
    let server = TestServer::start().await;
    let client = server.client().await;
    write_large_diaries(&client).await;
    let mut export = client.account().export();
    assert!(matches!(export.try_next().await.unwrap(), Some(ExportRecord::Header(_))));
    let stopped = tokio::spawn(server.stop());
    let error = export.try_for_each(|_| async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    stopped.await.unwrap();
}
