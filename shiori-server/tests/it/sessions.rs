//! Accounts and sessions.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::Timestamp;
use shiori_worker::ManualClock;

use crate::fixtures::{PASSWORD, day, fresh_email, new_client};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

#[tokio::test]
async fn accounts_are_checked_field_by_field() {
    let server = TestServer::start().await;
    let raw = RawClient::anonymous(&server.url());
    let account = |email: &str, password: &str, nickname: &str| json!({"email": email, "password": password, "nickname": nickname});
    for (body, field) in [
        (account("no-at-sign", PASSWORD, "가"), "email"),
        (account("a@b@c.com", PASSWORD, "가"), "email"),
        (account("", PASSWORD, "가"), "email"),
        (account("a@example.com", "short-1", "가"), "password"),
        (account("a@example.com", "no-digit-here", "가"), "password"),
        (account("a@example.com", "12345678!", "가"), "password"),
        (account("a@example.com", "nospecial1", "가"), "password"),
        (account("a@example.com", PASSWORD, ""), "nickname"),
        (account("a@example.com", PASSWORD, &"가".repeat(31)), "nickname"),
    ] {
        let response = raw.post("/api/user/signup", &body).await;
        assert_eq!(
            (response.status, response.error().as_str()),
            (422, "invalid_request"),
            "{body}"
        );
        assert_eq!(response.json()["data"]["field"], field, "{}", response.text);
    }
    let email = fresh_email();
    assert_eq!(raw.post("/api/user/signup", &account(&email, PASSWORD, "가")).await.status, 201);
    let shouted = account(&email.to_uppercase(), PASSWORD, "나");
    let response = raw.post("/api/user/signup", &shouted).await;
    assert_eq!((response.status, response.error().as_str()), (409, "email_taken"));
    server.stop().await;
}

#[tokio::test]
async fn wrong_credentials_are_indistinguishable_and_throttled() {
    let server = TestServer::start().await;
    let raw = RawClient::anonymous(&server.url());
    let (_, email) = server.sign_up().await;
    let login = |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        let raw = &raw;
        async move { raw.post("/api/user/login", &body).await }
    };
    let wrong = login(&email, "wrong-pass-1").await;
    let unknown = login("nobody@example.com", "wrong-pass-1").await;
    assert_eq!((wrong.status, wrong.error().as_str()), (401, "bad_credentials"));
    assert_eq!(wrong.json(), unknown.json());
    let mut last = wrong;
    for _ in 0..10 {
        last = login(&email, "wrong-pass-1").await;
    }
    assert_eq!((last.status, last.error().as_str()), (429, "too_many_attempts"));
    let wait: u64 = last.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait));
    assert_eq!(login(&email, PASSWORD).await.status, 429, "the correct password is throttled, too");
    server.stop().await;
}

#[tokio::test]
async fn each_device_has_its_own_session() {
    let server = TestServer::start().await;
    let (phone, email) = server.sign_up().await;
    let laptop = new_client(&server.url());
    laptop.auth().login(&email, PASSWORD).await.unwrap();
    let sessions = phone.auth().sessions().await.unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions.iter().filter(|session| session.current).count(), 1);
    let stranger = server.client().await;
    let theirs = sessions.iter().find(|session| !session.current).unwrap().id;
    assert_eq!(stranger.auth().revoke(theirs).await.unwrap_err().status_code(), Some(404));
    laptop.diaries().get(day(16)).await.unwrap();
    phone.auth().revoke(theirs).await.unwrap();
    let error = laptop.diaries().get(day(16)).await.unwrap_err();
    assert_eq!(error.status_code(), Some(401), "{error:?}");
    phone.diaries().get(day(16)).await.unwrap();
    phone.auth().logout().await.unwrap();
    assert!(!phone.auth().is_signed_in());
    server.stop().await;
}

#[tokio::test]
async fn an_expired_access_token_is_renewed_automatically() {
    let clock = ManualClock::at(Timestamp::now());
    let injected = clock.clone();
    let server =
        TestServer::with_config(move |config| config.clock = std::sync::Arc::new(injected)).await;
    let client = server.client().await;
    client.auth().verify().await.unwrap();
    clock.advance(Duration::from_secs(16 * 60));
    client.diaries().get(day(16)).await.unwrap();
    clock.advance(Duration::from_secs(31 * 24 * 60 * 60));
    let error = client.diaries().get(day(16)).await.unwrap_err();
    assert_eq!(error.status_code(), Some(401), "{error:?}");
    assert!(!client.auth().is_signed_in());
    server.stop().await;
}

/// A rotation can be repeated within the grace period. Later, using the old token again revokes the
/// session.
#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session() {
    let clock = ManualClock::at(Timestamp::now());
    let injected = clock.clone();
    let server =
        TestServer::with_config(move |config| config.clock = std::sync::Arc::new(injected)).await;
    let (_, email) = server.sign_up().await;
    let http = reqwest::Client::new();
    let url = server.url();
    let login = http
        .post(format!("{url}/api/user/login"))
        .json(&json!({"email": email, "password": PASSWORD}))
        .send()
        .await
        .unwrap();
    let set = login.headers()["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api/auth"] {
        assert!(set.contains(attribute), "{set}");
    }
    let first = set.split(';').next().unwrap().to_owned();
    let login: serde_json::Value = login.json().await.unwrap();
    let access = login["data"]["token"].clone();
    let refresh = |cookie: String, access: serde_json::Value| {
        let request = http
            .post(format!("{url}/api/auth/refresh"))
            .header("cookie", cookie)
            .json(&json!({"access_token": access}));
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let cookie = response
                .headers()
                .get("set-cookie")
                .map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned());
            let json: serde_json::Value = response.json().await.unwrap();
            (status, json["error"].as_str().unwrap_or_default().to_owned(), cookie)
        }
    };
    let (status, error, _) = refresh(first.clone(), json!("garbage")).await;
    assert_eq!((status, error.as_str()), (400, "token_decode_error"));
    let (status, error, _) = refresh("refresh_token=garbage".to_owned(), access.clone()).await;
    assert_eq!((status, error.as_str()), (401, "session_expired"));
    let (status, _, second) = refresh(first.clone(), access.clone()).await;
    assert_eq!(status, 200);
    let (status, _, again) = refresh(first.clone(), access.clone()).await;
    assert_eq!((status, &again), (200, &second), "a repeated rotation returns the same token");
    // As long as nobody has used the second token, its response may have been lost.
    clock.advance(Duration::from_secs(11));
    let (status, _, again) = refresh(first.clone(), access.clone()).await;
    assert_eq!((status, &again), (200, &second));
    let (status, _, third) = refresh(second.unwrap(), access.clone()).await;
    assert_eq!(status, 200);
    let (status, error, _) = refresh(first, access.clone()).await;
    assert_eq!((status, error.as_str()), (401, "refresh_reused"));
    let (status, error, _) = refresh(third.unwrap(), access).await;
    assert_eq!((status, error.as_str()), (401, "session_expired"), "the session is revoked");
    server.stop().await;
}
