//! Retries, deadlines, and invalid responses.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::{Client, Draft, ErrorKind, Precondition, RetryPolicy, WasSent};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::ResponseTemplate;

use crate::scripted_server::{
    DIARY, ScriptedServer, conflict, day, diary, error_response, ok, receipt, tokens,
};

#[tokio::test]
async fn a_conflict_is_never_retried_by_the_transport() {
    let server = ScriptedServer::start(|_, _| conflict(7, "승자")).await;
    let client = server.client().await;
    let save = client.diaries().save(day(), Draft::default(), Precondition::IfAbsent);
    let error = save.await.unwrap_err();
    assert!(error.is_conflict() && !error.is_retryable());
    assert_eq!(server.count(DIARY), 1);
    let conflict = error.as_conflict().unwrap();
    assert_eq!(conflict.current.as_ref().unwrap().version.get(), 7);
}

#[tokio::test]
async fn a_save_is_retried_with_one_id_and_a_signup_is_not_retried() {
    let server = ScriptedServer::start(|request, nth| match (request.url.path(), nth) {
        (DIARY, 0) => error_response(503, "unavailable", json!(null)),
        (DIARY, 1) => ResponseTemplate::new(502).set_body_string("<html>bad gateway</html>"),
        (DIARY, _) => ok(receipt(1)),
        _ => error_response(503, "unavailable", json!(null)),
    })
    .await;
    let client = server.client().await;
    let save = client.diaries().save(day(), Draft::default(), Precondition::IfAbsent);
    assert_eq!(save.await.unwrap().version.get(), 1);
    let saves = server.requests();
    assert_eq!(saves.len(), 3);
    assert!(saves[0].body["save_id"].is_string());
    assert!(saves.iter().all(|save| save.body == saves[0].body), "one save has one id");
    assert_ne!(saves[0].id, saves[1].id, "each attempt has its own request id");

    let error = client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.count("/api/user/signup"), 1, "an account could be created twice");
}

#[tokio::test]
async fn attempts_are_bounded_and_reported() {
    let server =
        ScriptedServer::start(|_, _| error_response(503, "unavailable", json!(null))).await;
    let client = server.client().await;
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unavailable, 3));
    assert_eq!((error.status_code(), error.was_sent()), (Some(503), WasSent::Yes));
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(error.request_id(), Some(requests[2].id.as_str()));

    let client = server.signed_in(server.builder().retry_policy(RetryPolicy::never())).await;
    assert_eq!(client.diaries().get(day()).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn a_retry_after_the_deadline_fails_now_with_the_time_to_wait() {
    let server = ScriptedServer::start(|_, _| {
        error_response(503, "unavailable", json!(null)).insert_header("retry-after", "3600")
    })
    .await;
    let client = server.client().await;
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.attempts(), 1);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn clones_share_a_limited_retry_budget() {
    let server =
        ScriptedServer::start(|_, _| error_response(503, "unavailable", json!(null))).await;
    let hasty = RetryPolicy::default().with_attempts(1000);
    let client = server.signed_in(server.builder().retry_policy(hasty)).await;
    let clone = client.clone();
    // At most 100 retries for all clones together. Paused time skips the pauses.
    tokio::time::pause();
    client.diaries().get(day()).await.unwrap_err();
    let spent = server.count(DIARY);
    clone.diaries().get(day()).await.unwrap_err();
    assert!(server.count(DIARY) <= 102, "{spent} and {}", server.count(DIARY));
}

#[tokio::test]
async fn invalid_responses_are_errors() {
    for (answer, kind) in [
        (ResponseTemplate::new(200).set_body_string("garbage"), ErrorKind::InvalidResponse),
        (ResponseTemplate::new(200).set_body_string("<html></html>"), ErrorKind::InvalidResponse),
        (ok(json!(null)), ErrorKind::InvalidResponse),
        (ok(json!({"date": 3})), ErrorKind::InvalidResponse),
        (ok(json!("x".repeat(9 << 20))), ErrorKind::InvalidResponse),
        (ResponseTemplate::new(500).set_body_string("oops"), ErrorKind::InvalidResponse),
        (ResponseTemplate::new(404).set_body_string("nginx"), ErrorKind::NotFound),
        (error_response(400, "from_the_future", json!(null)), ErrorKind::Rejected),
    ] {
        let server = ScriptedServer::start(move |_, _| answer.clone()).await;
        let error = server.client().await.diaries().get(day()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(server.count(DIARY), 1, "it is not retried");
        assert!(!format!("{error:?} {error}").contains("garbage"));
    }
}

#[tokio::test]
async fn a_success_without_an_envelope_is_an_error() {
    let page = ResponseTemplate::new(200).set_body_string("<html>hotel login</html>");
    let server = ScriptedServer::start(move |_, _| page.clone()).await;
    let client = server.client().await;
    let deleted = client.diaries().delete(day(), shiori_sdk::Version::new(1)).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::InvalidResponse);
    assert_eq!(client.auth().verify().await.unwrap_err().kind(), ErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_forced_summary_is_requested_once() {
    let server =
        ScriptedServer::start(|_, _| error_response(503, "unavailable", json!(null))).await;
    let client = server.client().await;
    let week = shiori_sdk::Week::containing(day());
    client.summaries().request_with(week, true).await.unwrap_err();
    assert_eq!(server.requests().len(), 1);
    client.summaries().request(week).await.unwrap_err();
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let elsewhere = ScriptedServer::start(|_, _| ok(diary(1, "엉뚱한 곳"))).await;
    let target = elsewhere.url();
    let server = ScriptedServer::start(move |_, _| {
        ResponseTemplate::new(307).insert_header("location", &*target)
    })
    .await;
    server.client().await.diaries().get(day()).await.unwrap_err();
    assert!(elsewhere.requests().is_empty());
}

/// Truncates the responses to the first `cut` connections.
async fn truncated_responses(cut: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for nth in 0.. {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 8192]).await;
            let body = r#"{"code":201,"message":"","data":{"user_id":"0190a7c4-0000-7000-8000-000000000001"}}"#;
            let head = format!(
                "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let body = if nth < cut { &body[..20] } else { body };
            let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn a_request_with_a_truncated_response_may_have_been_applied() {
    let client = Client::builder(truncated_responses(1).await).build().unwrap();
    let error = client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Disconnected, WasSent::Maybe));
    assert_eq!(error.attempts(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_retried_because_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder(url).build().unwrap();
    let error = client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Connect, WasSent::No));
    assert_eq!(error.attempts(), 3, "nothing was sent, so even a signup is retried");
}

#[tokio::test]
async fn an_attempt_without_a_response_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap()))
        .attempt_timeout(Duration::from_millis(50))
        .call_timeout(Duration::from_millis(400))
        .build()
        .unwrap();
    let error = client.auth().login("a@example.com", "secret-pass-1").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Timeout, WasSent::Maybe));
}

#[test]
fn base_urls_are_validated() {
    for url in ["", "not a url", "ftp://127.0.0.1", "file:///etc/passwd", "http://a:b@127.0.0.1"] {
        let error = Client::builder(url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    }
    let https = Client::builder("https://example.com/shiori/").build();
    assert_eq!(https.is_ok(), cfg!(any(feature = "rustls", feature = "native-tls")));
}

#[tokio::test]
async fn a_path_in_the_base_url_is_kept() {
    let server = ScriptedServer::start(|_, _| ok(json!([]))).await;
    let client = Client::builder(format!("{}/behind/a/proxy/", server.url()))
        .accept_language("en")
        .build()
        .unwrap();
    client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!(server.requests()[0].path, "/behind/a/proxy/api/user/signup");
}

#[tokio::test]
async fn the_longest_timeouts_do_not_panic() {
    let server = ScriptedServer::start(|request, nth| match (request.url.path(), nth) {
        (DIARY, 0) => error_response(503, "unavailable", json!(null)),
        ("/api/auth/refresh", _) => tokens("second", u64::MAX),
        _ => ok(diary(1, "글")),
    })
    .await;
    let builder = server.builder().attempt_timeout(Duration::MAX).call_timeout(Duration::MAX);
    let client = server.signed_in(builder).await;
    client.auth().refresh().await.unwrap();
    assert!(client.diaries().get(day()).await.unwrap().is_some());
    assert_eq!(server.count(DIARY), 2);
}

#[tokio::test]
async fn the_longest_backoff_does_not_panic() {
    let server =
        ScriptedServer::start(|_, _| error_response(503, "unavailable", json!(null))).await;
    let mut retry = RetryPolicy::default();
    retry.first_backoff = Duration::MAX;
    retry.max_backoff = Duration::MAX;
    let client = server.signed_in(server.builder().retry_policy(retry)).await;
    // The retry would start after the deadline.
    assert_eq!(client.diaries().get(day()).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn the_longest_retry_after_is_limited_to_a_day() {
    for value in ["18446744073709551615", "99999999999999999999999"] {
        let server = ScriptedServer::start(move |_, _| {
            error_response(503, "unavailable", json!(null)).insert_header("retry-after", value)
        })
        .await;
        let client = server.client().await;
        let error = client.diaries().get(day()).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unavailable, 1));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(24 * 60 * 60)));
    }
}
