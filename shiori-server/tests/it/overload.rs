//! More requests than the server handles at a time.

use std::{sync::Arc, time::Duration};

use futures_util::future::select_all;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;
use shiori_server::{HashCost, WorkerMode};
use tokio::task::JoinHandle;

use crate::{
    fixtures::{wait_until, week, write_week},
    raw_client::{RawClient, RawResponse},
    test_server::TestServer,
};

async fn server_for(max_requests: usize) -> TestServer {
    TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.overload.max_requests = max_requests;
        config.overload.max_requests_per_address = 2 * max_requests;
        config.overload.queue_timeout = Duration::from_millis(20);
    })
    .await
}

fn assert_refused(response: &RawResponse) {
    assert_eq!((response.status, response.error().as_str()), (503, "unavailable"));
    assert!(response.headers.contains_key("retry-after"));
    assert!(response.headers.contains_key("x-request-id"));
}

/// The store is stalled by a lock on its file, so saves stay in progress.
#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_are_rejected_and_earlier_ones_are_not() {
    let server = server_for(2).await;
    let raw = RawClient::sign_up(&server.url()).await;
    // The first use of a session is written.
    assert_eq!(raw.get("/api/diary/20260218").await.status, 200);
    let lock = Connection::open(server.data_dir().join("shiori.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let saves = ["/api/diary/20260216", "/api/diary/20260217"].map(|path| {
        let body = json!({"title": "글", "content": {"type": "doc"}});
        let raw = RawClient::with_token(&server.url(), raw.token());
        tokio::spawn(async move { raw.post(path, &body).await })
    });
    wait_until("both are in progress", async || raw.get("/api/diary/20260218").await.status == 503)
        .await;
    assert_refused(&raw.get("/api/diary/20260218").await);
    assert_refused(&raw.send(Method::POST, "/api/user/login", Some("{}".to_owned())).await);
    // Operations and requests of workers are not affected.
    assert_eq!(raw.get("/healthz").await.status, 200);
    let metrics = raw.get("/metrics").await.text;
    assert!(metrics.contains("shiori_requests_refused_total{kind=\"requests\"}"), "{metrics}");
    assert!(saves.iter().all(|save| !save.is_finished()));

    lock.execute_batch("ROLLBACK").unwrap();
    for save in saves {
        assert_eq!(save.await.unwrap().status, 201, "what was admitted is completed");
    }
    assert_eq!(raw.get("/api/diary/20260216").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_polls_and_event_streams_occupy_no_place() {
    let server = server_for(1).await;
    let (client, email) = server.sign_up().await;
    write_week(&client, "기다리는 주").await;
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let raw = RawClient::log_in(&server.url(), &email).await;
    let path = format!("/api/diary/summary/{}/events", summary.id());
    let stream = raw.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    let path = format!("/api/diary/summary/{}?after=1&wait=30", summary.id());
    let poll = RawClient::with_token(&server.url(), raw.token());
    let poll = tokio::spawn(async move { poll.get(&path).await });
    assert_eq!(raw.get("/api/diary/20260216").await.status, 200);
    summary.cancel().await.unwrap();
    assert_eq!(poll.await.unwrap().status, 200);
    drop(stream);
    server.stop().await;
}

/// The client with too many requests is at 127.0.0.2.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_block_the_others() {
    let server = TestServer::with_config(|config| {
        config.worker = WorkerMode::None;
        config.overload.max_requests = 4;
        config.overload.max_requests_per_address = 2;
    })
    .await;
    let raw = RawClient::sign_up(&server.url()).await;
    // The first use of a session is written.
    assert_eq!(raw.get("/api/diary/20260218").await.status, 200);
    let (url, token) = (server.url(), raw.token().to_owned());
    let from = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        let http = reqwest::Client::builder().local_address(address).build().unwrap();
        let (url, token) = (url.clone(), token.clone());
        move |method: Method, path: &str| {
            http.request(method, format!("{url}{path}")).bearer_auth(&token)
        }
    };
    let (hostile, other) = (from("127.0.0.2"), from("127.0.0.3"));
    let lock = Connection::open(server.data_dir().join("shiori.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let saves = ["/api/diary/20260216", "/api/diary/20260217"].map(|path| {
        let body = json!({"title": "글", "content": {"type": "doc"}});
        tokio::spawn(RawResponse::send(hostile(Method::POST, path).json(&body)))
    });
    wait_until("both are in progress", async || {
        RawResponse::send(hostile(Method::GET, "/api/diary/20260218")).await.status == 503
    })
    .await;
    let response = RawResponse::send(other(Method::GET, "/api/diary/20260218")).await;
    assert_eq!(response.status, 200, "{}", response.text);
    lock.execute_batch("ROLLBACK").unwrap();
    for save in saves {
        assert_eq!(save.await.unwrap().status, 201);
    }
    drop((hostile, other));
    server.stop().await;
}

/// The writer of the diaries is stalled; a sign-in that fails does not need it.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_sign_in_are_counted_without_the_writer() {
    let server = server_for(512).await;
    let raw = RawClient::anonymous(&server.url());
    let lock = Connection::open(server.data_dir().join("shiori.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let guess = json!({"email": "nobody@example.com", "password": "guess-77"});
    for _ in 0..10 {
        let response = raw.post("/api/user/login", &guess).await;
        assert_eq!((response.status, response.error().as_str()), (401, "bad_credentials"));
    }
    let response = raw.post("/api/user/login", &guess).await;
    assert_eq!((response.status, response.error().as_str()), (429, "too_many_attempts"));
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    server.stop().await;
}

/// So many slow hashes that the queue is full.
#[tokio::test(flavor = "multi_thread")]
async fn logins_and_signups_are_rejected_when_too_many_wait_for_a_hash() {
    let server = TestServer::with_config(|config| {
        config.overload.max_requests_per_address = 1024;
        // All of the requests below arrive while one or two hashes run, also on a busy machine.
        config.hash_cost = HashCost { memory_kib: 64 << 10, passes: 40, lanes: 1 };
    })
    .await;
    let raw = Arc::new(RawClient::anonymous(&server.url()));
    let post = |path: &'static str, body: serde_json::Value| {
        let raw = raw.clone();
        tokio::spawn(async move { raw.post(path, &body).await })
    };
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut waiting: Vec<_> = (0..cores + 300)
        .map(|number| {
            let email = format!("{number}@example.com");
            post("/api/user/login", json!({"email": email, "password": "guess-77"}))
        })
        .collect();
    let login = first_refused(&mut waiting).await;
    assert_refused(&login);
    // Each finished hash admits one of these.
    let mut sign_ups: Vec<_> = (0..100)
        .map(|number| {
            let email = format!("new-{number}@example.com");
            let account = json!({"email": email, "password": "sesame-77", "nickname": "새"});
            post("/api/user/signup", account)
        })
        .collect();
    assert_refused(&first_refused(&mut sign_ups).await);
    // Their callers are dropped, so nothing more is hashed for them.
    for request in waiting.iter().chain(&sign_ups) {
        request.abort();
    }
    drop((waiting, sign_ups));
    server.stop().await;
}

/// The first of these responses that is 503; the others continue.
async fn first_refused(requests: &mut Vec<JoinHandle<RawResponse>>) -> RawResponse {
    loop {
        let (response, _, others) = select_all(std::mem::take(requests)).await;
        *requests = others;
        let response = response.unwrap();
        if response.status == 503 {
            return response;
        }
    }
}
