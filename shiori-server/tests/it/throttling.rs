//! Limits of sign-ins and sign-ups.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{Client, ErrorCode, FileTokenStore, Timestamp};
use shiori_server::{Config, SignUps};
use shiori_worker::ManualClock;

use crate::{
    fixtures::{PASSWORD, fresh_email, new_client},
    raw_client::{RawClient, RawResponse},
    test_server::TestServer,
};

const WINDOW: Duration = Duration::from_mins(5);

/// A server behind a trusted proxy on this machine: the test.
struct Throttled {
    server: TestServer,
    clock: ManualClock,
    raw: RawClient,
}

impl Throttled {
    async fn start() -> Self {
        Self::with_config(|_| {}).await
    }

    async fn with_config(change: impl FnOnce(&mut Config)) -> Self {
        let clock = ManualClock::at(Timestamp::now());
        let server = TestServer::with_config(|config| {
            config.clock = Arc::new(clock.clone());
            config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
            change(config);
        })
        .await;
        let raw = RawClient::anonymous(&server.url());
        Self { server, clock, raw }
    }

    /// A login from this address, with the cookies of the device.
    async fn log_in(&self, email: &str, password: &str, from: &str, cookie: &str) -> RawResponse {
        let body = json!({"email": email, "password": password});
        let request = self.raw.request(Method::POST, "/api/user/login").json(&body);
        let request = request.header("x-forwarded-for", format!("forged, {from}"));
        RawResponse::send(request.header("cookie", cookie)).await
    }

    async fn sign_up(&self, from: &str, code: Option<&str>) -> RawResponse {
        let (email, nickname) = (fresh_email(), "시오리");
        let mut body = json!({"email": email, "password": PASSWORD, "nickname": nickname});
        if let Some(code) = code {
            body["invitation_code"] = Value::from(code);
        }
        let request = self.raw.request(Method::POST, "/api/user/signup").json(&body);
        RawResponse::send(request.header("x-forwarded-for", from)).await
    }

    /// A signed-in client of a new account, and its address.
    async fn account(&self) -> (Client, String) {
        self.server.sign_up().await
    }

    /// Wrong passwords from this address until they are throttled.
    async fn flood(&self, email: &str, from: &str) {
        for nth in 0..20 {
            let expected = if nth < 10 { 401 } else { 429 };
            assert_eq!(self.log_in(email, "wrong-pass-1", from, "").await.status, expected);
        }
    }
}

fn assert_throttled(response: &RawResponse, seconds: u64) {
    assert_eq!((response.status, response.error().as_str()), (429, "too_many_attempts"));
    assert_eq!(response.headers["retry-after"], seconds.to_string());
}

/// The `device` cookie of a response.
fn device(response: &RawResponse) -> String {
    let cookies = response.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap());
    let cookie = cookies.into_iter().find(|cookie| cookie.starts_with("device=")).unwrap();
    let attributes: Vec<_> = cookie.split("; ").skip(1).collect();
    assert_eq!(
        attributes,
        ["Path=/api/user/login", "Max-Age=34560000", "HttpOnly", "SameSite=Strict"]
    );
    cookie.split(';').next().unwrap().to_owned()
}

/// The stranger and the owner have the same address.
#[tokio::test]
async fn a_flood_does_not_lock_out_a_known_device() {
    let server = Throttled::start().await;
    let (owner, email) = server.account().await;
    owner.auth().logout().await.unwrap();
    // Without the header, the address is that of the connection.
    server.flood(&email, "127.0.0.1").await;
    owner.auth().login(&email, PASSWORD).await.unwrap();
    owner.auth().logout().await.unwrap();
    server.flood(&email, "192.0.2.1").await;
    owner.auth().login(&email, PASSWORD).await.unwrap();

    // A new device waits until the window ends, or signs in from another address.
    let error = new_client(&server.server.url()).auth().login(&email, PASSWORD).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::TooManyAttempts));
    assert_eq!(error.retry_after(), Some(WINDOW));
    assert_eq!(server.log_in(&email, PASSWORD, "192.0.2.2", "").await.status, 200);
    server.clock.advance(WINDOW);
    new_client(&server.server.url()).auth().login(&email, PASSWORD).await.unwrap();
    server.server.stop().await;
}

/// The stranger has many addresses. The owner signs in from a new device at a new address at once.
#[tokio::test]
async fn a_flood_from_many_addresses_does_not_lock_out_a_new_one() {
    let server = Throttled::start().await;
    let (owner, email) = server.account().await;
    for address in 0..100 {
        let from = format!("198.51.100.{address}");
        assert_eq!(server.log_in(&email, "wrong-pass-1", &from, "").await.status, 401);
    }
    // Each address has one attempt now.
    assert_eq!(server.log_in(&email, PASSWORD, "203.0.113.1", "").await.status, 200);
    assert_eq!(server.log_in(&email, "wrong-pass-1", "203.0.113.2", "").await.status, 401);
    assert_throttled(&server.log_in(&email, PASSWORD, "203.0.113.2", "").await, 300);
    assert_throttled(&server.log_in(&email, PASSWORD, "198.51.100.7", "").await, 300);
    // Guesses are bounded nevertheless.
    let mut guesses = 0;
    for network in 0..1000 {
        let from = format!("[2001:db8:0:{network:x}::1]:4711");
        match server.log_in(&email, "wrong-pass-1", &from, "").await.status {
            401 => guesses += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert!((850..900).contains(&guesses), "{guesses}");
    owner.auth().login(&email, PASSWORD).await.unwrap();
    server.clock.advance(WINDOW);
    assert_eq!(server.log_in(&email, PASSWORD, "203.0.113.2", "").await.status, 200);
    server.server.stop().await;
}

/// Passwords of many accounts are not guessed from one address.
#[tokio::test]
async fn failed_logins_are_limited_per_address() {
    let server = Throttled::start().await;
    let (owner, email) = server.account().await;
    for nth in 0..100 {
        // A success does not reset the count.
        if nth % 10 == 0 {
            assert_eq!(server.log_in(&email, PASSWORD, "192.0.2.1", "").await.status, 200);
        }
        let other = format!("nobody-{nth}@example.com");
        assert_eq!(server.log_in(&other, PASSWORD, "192.0.2.1", "").await.status, 401);
    }
    assert_throttled(&server.log_in(&email, PASSWORD, "192.0.2.1", "").await, 300);
    assert_eq!(server.log_in(&email, PASSWORD, "192.0.2.2", "").await.status, 200);
    owner.auth().login(&email, PASSWORD).await.unwrap();
    server.server.stop().await;
}

/// Without a proxy, clients write the header.
#[tokio::test]
async fn a_forged_address_does_not_evade_the_limits() {
    let server = Throttled::with_config(|config| {
        config.trusted_proxies.clear();
        config.sign_ups.throttle.attempts = 3;
    })
    .await;
    let (_, email) = server.account().await;
    for nth in 0..12 {
        let from = format!("198.51.100.{nth}");
        let expected = if nth < 10 { 401 } else { 429 };
        assert_eq!(server.log_in(&email, "wrong-pass-1", &from, "").await.status, expected);
        // The account was the first.
        let expected = if nth < 2 { 201 } else { 429 };
        assert_eq!(server.sign_up(&from, None).await.status, expected);
    }
    server.server.stop().await;
}

#[tokio::test]
async fn a_known_device_has_its_own_limit() {
    let server = Throttled::start().await;
    let (_, email) = server.account().await;
    let (_, other) = server.account().await;
    let cookie = device(&server.log_in(&email, PASSWORD, "192.0.2.1", "theme=dark").await);
    for _ in 0..10 {
        assert_eq!(server.log_in(&email, "wrong-pass-1", "192.0.2.1", &cookie).await.status, 401);
    }
    assert_throttled(&server.log_in(&email, PASSWORD, "192.0.2.9", &cookie).await, 300);
    // Others are not affected.
    assert_eq!(server.log_in(&email, PASSWORD, "192.0.2.1", "").await.status, 200);
    // The device keeps its identity, so that a login does not begin a new count.
    server.clock.advance(WINDOW);
    let again = device(&server.log_in(&email, PASSWORD, "192.0.2.1", &cookie).await);
    assert_eq!(again, cookie);
    // It is not known for another account, and neither is a forged one.
    server.flood(&other, "192.0.2.3").await;
    for cookie in [&cookie, "device=", "device=c2VzYW1l"] {
        assert_eq!(server.log_in(&other, PASSWORD, "192.0.2.3", cookie).await.status, 429);
    }
    server.server.stop().await;
}

#[tokio::test]
async fn a_change_of_the_password_revokes_other_known_devices() {
    let server = Throttled::start().await;
    let (owner, email) = server.account().await;
    let cookie = device(&server.log_in(&email, PASSWORD, "192.0.2.1", "").await);
    owner.account().change_password(PASSWORD, "another-pass-2").await.unwrap();
    server.flood(&email, "192.0.2.1").await;
    let response = server.log_in(&email, "another-pass-2", "192.0.2.1", &cookie).await;
    assert_throttled(&response, 300);
    // The device that has changed the password is still known.
    server.flood(&email, "127.0.0.1").await;
    owner.auth().logout().await.unwrap();
    owner.auth().login(&email, "another-pass-2").await.unwrap();
    // With the new password, the other one becomes known again.
    server.clock.advance(WINDOW);
    let response = server.log_in(&email, "another-pass-2", "192.0.2.1", &cookie).await;
    let cookie = device(&response);
    server.flood(&email, "192.0.2.1").await;
    let response = server.log_in(&email, "another-pass-2", "192.0.2.1", &cookie).await;
    assert_eq!(response.status, 200);
    server.server.stop().await;
}

/// The SDK keeps the device in the file, also after a logout and a restart.
#[tokio::test]
async fn a_stored_device_is_known_after_a_logout() {
    let server = Throttled::start().await;
    let (_, email) = server.account().await;
    let dir = tempfile::tempdir().unwrap();
    let client = || {
        let store = FileTokenStore::new(dir.path().join("session.json"));
        Client::builder(server.server.url()).token_store(store).build().unwrap()
    };
    client().auth().login(&email, PASSWORD).await.unwrap();
    client().auth().logout().await.unwrap();
    assert!(!client().auth().is_signed_in());
    server.flood(&email, "127.0.0.1").await;
    client().auth().login(&email, PASSWORD).await.unwrap();
    assert!(client().auth().is_signed_in());
    server.server.stop().await;
}

#[tokio::test]
async fn sign_ups_are_limited_per_address() {
    let server = Throttled::with_config(|config| config.sign_ups.throttle.attempts = 3).await;
    for _ in 0..3 {
        assert_eq!(server.sign_up("192.0.2.1", None).await.status, 201);
    }
    assert_throttled(&server.sign_up("192.0.2.1", None).await, 3600);
    assert_eq!(server.sign_up("192.0.2.2", None).await.status, 201);
    server.clock.advance(Duration::from_hours(1));
    assert_eq!(server.sign_up("192.0.2.1", None).await.status, 201);
    server.server.stop().await;
}

#[tokio::test]
async fn a_closed_server_accepts_no_new_accounts() {
    let server = Throttled::with_config(|config| config.sign_ups.who = SignUps::Closed).await;
    let response = server.sign_up("192.0.2.1", Some("spring-2026")).await;
    assert_eq!((response.status, response.error().as_str()), (403, "signup_closed"));
    server.server.stop().await;
}

#[tokio::test]
async fn a_server_can_require_an_invitation_code() {
    let server = Throttled::with_config(|config| {
        config.sign_ups.who = SignUps::Invited(vec!["spring-2026".into(), "autumn-2026".into()]);
        config.sign_ups.throttle.attempts = 5;
    })
    .await;
    for wrong in [None, Some("spring-2025"), Some("")] {
        let response = server.sign_up("192.0.2.1", wrong).await;
        assert_eq!((response.status, response.error().as_str()), (403, "invalid_invitation"));
    }
    for code in ["spring-2026", "autumn-2026"] {
        assert_eq!(server.sign_up("192.0.2.1", Some(code)).await.status, 201);
    }
    // Codes cannot be guessed faster than accounts can be created.
    assert_throttled(&server.sign_up("192.0.2.1", Some("spring-2027")).await, 3600);

    let client = new_client(&server.server.url());
    let error = client.auth().signup(&fresh_email(), PASSWORD, "시오리").await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::InvalidInvitation));
    assert!(!error.is_retryable());
    let (email, code) = (fresh_email(), "spring-2026");
    client.auth().signup_with_invitation(&email, PASSWORD, "시오리", code).await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    server.server.stop().await;
}
