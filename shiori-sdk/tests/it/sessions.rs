//! The renewal of the session.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::{Client, ErrorKind};
use wiremock::{Request, ResponseTemplate};

use crate::scripted_server::{DIARY, ScriptedServer, day, diary, error_response, ok, tokens};

const REFRESH: &str = "/api/auth/refresh";

/// Accepts only the token `second`. A slow refresh returns it.
fn accepts_second_token(request: &Request, _: usize) -> ResponseTemplate {
    match request.url.path() {
        REFRESH => tokens("second", 3600).set_delay(Duration::from_millis(100)),
        _ if request.headers["authorization"] == "Bearer second" => ok(diary(1, "글")),
        _ => error_response(401, "unauthorized", json!(null)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_with_a_rejected_token_make_one_refresh() {
    let server = ScriptedServer::start(accepts_second_token).await;
    let client = server.client().await;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let diaries = client.diaries();
            tokio::spawn(async move { diaries.get(day()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap().is_some());
    }
    assert_eq!(server.count(REFRESH), 1);
    let refresh = server.requests().into_iter().find(|request| request.path == REFRESH).unwrap();
    assert_eq!(refresh.cookie.as_deref(), Some("refresh_token=cookie-first"));
    assert_eq!(refresh.body["access_token"], "first");
    let elsewhere = server.requests().into_iter().filter(|request| request.path != REFRESH);
    assert!(elsewhere.into_iter().all(|request| request.cookie.is_none()));
}

/// Returns as soon as a refresh was requested.
async fn refresh_requested(server: &ScriptedServer) {
    let requested = async {
        while server.count(REFRESH) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), requested).await.expect("a refresh is requested");
}

#[tokio::test]
async fn cancelling_a_caller_does_not_cancel_the_shared_refresh() {
    let server = ScriptedServer::start(accepts_second_token).await;
    let client = server.client().await;
    {
        let diaries = client.diaries();
        let mut call = Box::pin(diaries.get(day()));
        // Cancel the call during the refresh.
        tokio::select! {
            _ = &mut call => panic!("the refresh takes longer"),
            () = refresh_requested(&server) => {}
        }
    }
    assert!(client.diaries().get(day()).await.unwrap().is_some());
    assert_eq!(server.count(REFRESH), 1, "the renewal continued");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_signs_out_all_clones() {
    for code in ["session_expired", "refresh_reused"] {
        let server = ScriptedServer::start(move |request, _| match request.url.path() {
            REFRESH => error_response(401, code, json!(null)),
            _ => error_response(401, "unauthorized", json!(null)),
        })
        .await;
        let client = server.client().await;
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let diaries = client.diaries();
                tokio::spawn(async move { diaries.get(day()).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::SignedOut);
        }
        assert!(!client.auth().is_signed_in());
        assert!(server.count(REFRESH) <= 8);
    }
}

/// While a request waits for a renewal, another user signs in on the same client.
#[tokio::test]
async fn a_request_is_never_repeated_on_behalf_of_another_user() {
    let server = ScriptedServer::start(|request, _| match request.url.path() {
        REFRESH => tokens("second", 3600).set_delay(Duration::from_millis(200)),
        _ => error_response(401, "unauthorized", json!(null)),
    })
    .await;
    let client = server.client().await;
    let diaries = client.diaries();
    let save = tokio::spawn(async move { diaries.get(day()).await });
    refresh_requested(&server).await;
    client.auth().login("other@example.com", "secret-pass-2").await.unwrap();
    assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::SignedOut);
    assert_eq!(server.count(DIARY), 1);
}

#[tokio::test]
async fn a_token_rejected_twice_is_renewed_once() {
    let server = ScriptedServer::start(|request, nth| match request.url.path() {
        REFRESH => tokens(&format!("next-{nth}"), 3600),
        _ => error_response(401, "unauthorized", json!(null)),
    })
    .await;
    let error = server.client().await.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.status_code(), Some(401));
    assert_eq!((server.count(REFRESH), server.count(DIARY)), (1, 2));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let server = ScriptedServer::start(|request, _| match request.url.path() {
        // A token without a lifetime is always about to expire.
        REFRESH => tokens("short", 0),
        _ => ok(diary(1, "글")),
    })
    .await;
    let client = server.client().await;
    client.auth().refresh().await.unwrap();
    client.diaries().get(day()).await.unwrap();
    let requests = server.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, [REFRESH, REFRESH, DIARY]);
    assert_eq!(requests[2].token.as_deref(), Some("Bearer short"));
}

#[tokio::test]
async fn a_temporary_failure_of_a_refresh_keeps_the_session() {
    let server = ScriptedServer::start(|request, nth| match (request.url.path(), nth) {
        (REFRESH, 0..3) => error_response(503, "unavailable", json!(null)),
        (REFRESH, _) => tokens("second", 3600),
        _ => ok(diary(1, "글")),
    })
    .await;
    let client = server.client().await;
    let error = client.auth().refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(client.auth().is_signed_in());
    client.auth().refresh().await.unwrap();
}

#[tokio::test]
async fn without_a_session_nothing_is_sent() {
    let server = ScriptedServer::start(|_, _| ok(json!([]))).await;
    let client = Client::builder(server.url()).build().unwrap();
    assert_eq!(client.diaries().get(day()).await.unwrap_err().kind(), ErrorKind::SignedOut);
    assert_eq!(client.auth().refresh().await.unwrap_err().kind(), ErrorKind::SignedOut);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_logout_removes_the_tokens_even_if_the_request_fails() {
    let server =
        ScriptedServer::start(|_, _| error_response(503, "unavailable", json!(null))).await;
    let client = server.client().await;
    client.auth().logout().await.unwrap_err();
    assert!(!client.auth().is_signed_in());
}
