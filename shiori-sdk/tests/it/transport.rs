//! Retries, deadlines, and answers that nobody should give.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::{Client, Draft, ErrorKind, Precondition, RetryPolicy, WasSent};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::ResponseTemplate;

use crate::script::{DIARY, Script, conflict, day, diary, ok, receipt, refuse};

#[tokio::test]
async fn trap_01_a_conflict_is_never_retried_by_the_transport() {
    let script = Script::of(|_, _| conflict(7, "승자")).await;
    let client = script.client().await;
    let save = client.diaries().save(day(), Draft::default(), Precondition::IfAbsent);
    let error = save.await.unwrap_err();
    assert!(error.is_conflict() && !error.is_retryable());
    assert_eq!(script.count(DIARY), 1);
    let conflict = error.as_conflict().unwrap();
    assert_eq!(conflict.current.as_ref().unwrap().version.get(), 7);
}

#[tokio::test]
async fn trap_02_a_save_is_repeated_under_one_id_and_a_signup_not_at_all() {
    let script = Script::of(|request, nth| match (request.url.path(), nth) {
        (DIARY, 0) => refuse(503, "unavailable", json!(null)),
        (DIARY, 1) => ResponseTemplate::new(502).set_body_string("<html>bad gateway</html>"),
        (DIARY, _) => ok(receipt(1)),
        _ => refuse(503, "unavailable", json!(null)),
    })
    .await;
    let client = script.client().await;
    let save = client.diaries().save(day(), Draft::default(), Precondition::IfAbsent);
    assert_eq!(save.await.unwrap().version.get(), 1);
    let saves = script.seen();
    assert_eq!(saves.len(), 3);
    assert!(saves[0].body["save_id"].is_string());
    assert!(saves.iter().all(|save| save.body == saves[0].body), "one save, one id");
    assert_ne!(saves[0].id, saves[1].id, "each attempt has a request id of its own");

    let error = client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.count("/api/user/signup"), 1, "an account could be made twice");
}

#[tokio::test]
async fn attempts_are_bounded_and_told() {
    let script = Script::of(|_, _| refuse(503, "unavailable", json!(null))).await;
    let client = script.client().await;
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unavailable, 3));
    assert_eq!((error.status_code(), error.was_sent()), (Some(503), WasSent::Yes));
    let seen = script.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(error.request_id(), Some(seen[2].id.as_str()));

    let client = script.signed_in(script.builder().retry_policy(RetryPolicy::never())).await;
    assert_eq!(client.diaries().get(day()).await.unwrap_err().attempts(), 1);
}

#[tokio::test]
async fn trap_05_a_wait_past_the_deadline_fails_now_and_says_so() {
    let script = Script::of(|_, _| {
        refuse(503, "unavailable", json!(null)).insert_header("retry-after", "3600")
    })
    .await;
    let client = script.client().await;
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.attempts(), 1);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn retries_share_a_budget_that_runs_dry() {
    let script = Script::of(|_, _| refuse(503, "unavailable", json!(null))).await;
    let hasty = RetryPolicy::default().with_attempts(1000);
    let client = script.signed_in(script.builder().retry_policy(hasty)).await;
    let clone = client.clone();
    // At most a hundred retries for all clones together; few of them may wait out their pauses.
    tokio::time::pause();
    client.diaries().get(day()).await.unwrap_err();
    let spent = script.count(DIARY);
    clone.diaries().get(day()).await.unwrap_err();
    assert!(script.count(DIARY) <= 102, "{spent} and {}", script.count(DIARY));
}

#[tokio::test]
async fn answers_that_are_none_are_told_as_such() {
    for (answer, kind) in [
        (ResponseTemplate::new(200).set_body_string("garbage"), ErrorKind::InvalidAnswer),
        (ResponseTemplate::new(200).set_body_string("<html></html>"), ErrorKind::InvalidAnswer),
        (ok(json!(null)), ErrorKind::InvalidAnswer),
        (ok(json!({"date": 3})), ErrorKind::InvalidAnswer),
        (ok(json!("x".repeat(9 << 20))), ErrorKind::InvalidAnswer),
        (ResponseTemplate::new(500).set_body_string("oops"), ErrorKind::InvalidAnswer),
        (ResponseTemplate::new(404).set_body_string("nginx"), ErrorKind::NotFound),
        (refuse(400, "from_the_future", json!(null)), ErrorKind::Refused),
    ] {
        let script = Script::of(move |_, _| answer.clone()).await;
        let error = script.client().await.diaries().get(day()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(script.count(DIARY), 1, "no use to ask again");
        assert!(!format!("{error:?} {error}").contains("garbage"));
    }
}

#[tokio::test]
async fn a_success_that_is_somebody_elses_is_none() {
    let page = ResponseTemplate::new(200).set_body_string("<html>hotel login</html>");
    let script = Script::of(move |_, _| page.clone()).await;
    let client = script.client().await;
    let deleted = client.diaries().delete(day(), shiori_sdk::Version::new(1)).await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::InvalidAnswer);
    assert_eq!(client.auth().verify().await.unwrap_err().kind(), ErrorKind::InvalidAnswer);
}

#[tokio::test]
async fn a_forced_summary_is_asked_for_once() {
    let script = Script::of(|_, _| refuse(503, "unavailable", json!(null))).await;
    let client = script.client().await;
    let week = shiori_sdk::Week::containing(day());
    client.summaries().request_with(week, true).await.unwrap_err();
    assert_eq!(script.seen().len(), 1);
    client.summaries().request(week).await.unwrap_err();
    assert_eq!(script.seen().len(), 4);
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let elsewhere = Script::of(|_, _| ok(diary(1, "엉뚱한 곳"))).await;
    let target = elsewhere.url();
    let script =
        Script::of(move |_, _| ResponseTemplate::new(307).insert_header("location", &*target))
            .await;
    script.client().await.diaries().get(day()).await.unwrap_err();
    assert!(elsewhere.seen().is_empty());
}

/// Answers the first `cut` connections with half an answer, and the others whole.
async fn half_answers(cut: usize) -> String {
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
async fn a_cut_answer_may_have_been_applied() {
    let client = Client::builder(half_answers(1).await).build().unwrap();
    let error = client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Disconnected, WasSent::Maybe));
    assert_eq!(error.attempts(), 1);
}

#[tokio::test]
async fn a_closed_port_was_not_sent_to_and_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder(url).build().unwrap();
    let error = client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Connect, WasSent::No));
    assert_eq!(error.attempts(), 3, "nothing can have happened, so even a signup is tried again");
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_the_attempt_timeout() {
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
fn base_urls_are_checked_and_may_have_a_path() {
    for url in ["", "not a url", "ftp://127.0.0.1", "file:///etc/passwd", "http://a:b@127.0.0.1"] {
        let error = Client::builder(url).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    }
    let https = Client::builder("https://example.com/shiori/").build();
    assert_eq!(https.is_ok(), cfg!(any(feature = "rustls", feature = "native-tls")));
}

#[tokio::test]
async fn a_path_in_the_base_url_is_kept() {
    let script = Script::of(|_, _| ok(json!([]))).await;
    let client = Client::builder(format!("{}/behind/a/proxy/", script.url()))
        .accept_language("en")
        .build()
        .unwrap();
    client.auth().signup("a@example.com", "secret-pass-1", "가").await.unwrap_err();
    assert_eq!(script.seen()[0].path, "/behind/a/proxy/api/user/signup");
}
