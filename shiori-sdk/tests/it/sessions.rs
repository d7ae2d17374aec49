//! The session renews itself, once for all who ask.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::{Client, ErrorKind};
use wiremock::{Request, ResponseTemplate};

use crate::script::{DIARY, Script, day, diary, ok, refuse, tokens};

const REFRESH: &str = "/api/auth/refresh";

/// Takes the token `second` alone; a refresh, which takes a while, gives it.
fn wants_second(request: &Request, _: usize) -> ResponseTemplate {
    match request.url.path() {
        REFRESH => tokens("second", 3600).set_delay(Duration::from_millis(100)),
        _ if request.headers["authorization"] == "Bearer second" => ok(diary(1, "글")),
        _ => refuse(401, "unauthorized", json!(null)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_04_two_hundred_calls_on_a_rejected_token_make_one_refresh() {
    let script = Script::of(wants_second).await;
    let client = script.client().await;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let diaries = client.diaries();
            tokio::spawn(async move { diaries.get(day()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap().is_some());
    }
    assert_eq!(script.count(REFRESH), 1);
    let refresh = script.seen().into_iter().find(|seen| seen.path == REFRESH).unwrap();
    assert_eq!(refresh.cookie.as_deref(), Some("refresh_token=cookie-first"));
    assert_eq!(refresh.body["access_token"], "first");
    let elsewhere = script.seen().into_iter().filter(|seen| seen.path != REFRESH);
    assert!(elsewhere.into_iter().all(|seen| seen.cookie.is_none()));
}

/// Ends when a refresh has been asked for, which does not take long.
async fn refreshing(script: &Script) {
    let asked = async {
        while script.count(REFRESH) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.expect("a refresh is asked for");
}

#[tokio::test]
async fn trap_04_a_dropped_caller_loses_no_rotated_token() {
    let script = Script::of(wants_second).await;
    let client = script.client().await;
    {
        let diaries = client.diaries();
        let mut call = Box::pin(diaries.get(day()));
        // Until the refresh is on its way, and no further.
        tokio::select! {
            _ = &mut call => panic!("the refresh takes longer"),
            () = refreshing(&script) => {}
        }
    }
    assert!(client.diaries().get(day()).await.unwrap().is_some());
    assert_eq!(script.count(REFRESH), 1, "the renewal went on by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_ended_signs_everybody_out() {
    for code in ["session_expired", "refresh_reused"] {
        let script = Script::of(move |request, _| match request.url.path() {
            REFRESH => refuse(401, code, json!(null)),
            _ => refuse(401, "unauthorized", json!(null)),
        })
        .await;
        let client = script.client().await;
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
        assert!(script.count(REFRESH) <= 8);
    }
}

/// While a save waits for its renewal, another person signs in on the same client.
#[tokio::test]
async fn what_one_person_asked_for_is_never_asked_for_as_another() {
    let script = Script::of(|request, _| match request.url.path() {
        REFRESH => tokens("second", 3600).set_delay(Duration::from_millis(200)),
        _ => refuse(401, "unauthorized", json!(null)),
    })
    .await;
    let client = script.client().await;
    let diaries = client.diaries();
    let save = tokio::spawn(async move { diaries.get(day()).await });
    refreshing(&script).await;
    client.auth().login("other@example.com", "secret-pass-2").await.unwrap();
    assert_eq!(save.await.unwrap().unwrap_err().kind(), ErrorKind::SignedOut);
    assert_eq!(script.count(DIARY), 1);
}

#[tokio::test]
async fn a_token_rejected_twice_is_not_renewed_for_ever() {
    let script = Script::of(|request, nth| match request.url.path() {
        REFRESH => tokens(&format!("next-{nth}"), 3600),
        _ => refuse(401, "unauthorized", json!(null)),
    })
    .await;
    let error = script.client().await.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.status_code(), Some(401));
    assert_eq!((script.count(REFRESH), script.count(DIARY)), (1, 2));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let script = Script::of(|request, _| match request.url.path() {
        // A life of no length is always about to end.
        REFRESH => tokens("short", 0),
        _ => ok(diary(1, "글")),
    })
    .await;
    let client = script.client().await;
    client.auth().refresh().await.unwrap();
    client.diaries().get(day()).await.unwrap();
    let seen = script.seen();
    let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, [REFRESH, REFRESH, DIARY]);
    assert_eq!(seen[2].token.as_deref(), Some("Bearer short"));
}

#[tokio::test]
async fn a_refresh_that_fails_for_now_leaves_the_session_as_it_is() {
    let script = Script::of(|request, nth| match (request.url.path(), nth) {
        (REFRESH, 0..3) => refuse(503, "unavailable", json!(null)),
        (REFRESH, _) => tokens("second", 3600),
        _ => ok(diary(1, "글")),
    })
    .await;
    let client = script.client().await;
    let error = client.auth().refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(client.auth().is_signed_in());
    client.auth().refresh().await.unwrap();
}

#[tokio::test]
async fn without_a_session_nothing_is_sent() {
    let script = Script::of(|_, _| ok(json!([]))).await;
    let client = Client::builder(script.url()).build().unwrap();
    assert_eq!(client.diaries().get(day()).await.unwrap_err().kind(), ErrorKind::SignedOut);
    assert_eq!(client.auth().refresh().await.unwrap_err().kind(), ErrorKind::SignedOut);
    assert!(script.seen().is_empty());
}

#[tokio::test]
async fn a_logout_forgets_the_tokens_even_if_the_server_cannot_be_told() {
    let script = Script::of(|_, _| refuse(503, "unavailable", json!(null))).await;
    let client = script.client().await;
    client.auth().logout().await.unwrap_err();
    assert!(!client.auth().is_signed_in());
}
