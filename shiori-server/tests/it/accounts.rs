//! Accounts and sessions in raw HTTP: cookies, headers and bodies.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT_LANGUAGE, COOKIE, HeaderValue, RETRY_AFTER, SET_COOKIE, USER_AGENT},
};
use serde_json::{Value, json};
use shiori_sdk::{SessionId, SessionInfo, Timestamp, UserId};
use shiori_server::{Config, WorkerMode};
use shiori_worker::ManualClock;

use crate::test_server::TestServer;

const PASSWORD: &str = "sesame-77";
const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn an_email_address_has_one_account() {
    let server = AccountServer::start().await;
    let response = server.sign_up("mina@example.com", PASSWORD, "미나").await;
    assert_eq!(response.status, StatusCode::CREATED);
    let id = response.body["data"]["user_id"].as_str().expect("an id");
    assert!(id.parse::<UserId>().is_ok(), "{id}");
    let response = server.sign_up("Mina@Example.com", "another-1", "mina").await;
    response.assert_error(StatusCode::CONFLICT, "email_taken");
    server.log_in("MINA@example.com", PASSWORD).await;
    server.stop().await;
}

#[tokio::test]
async fn a_rejected_signup_names_the_field_and_its_rule() {
    let server = AccountServer::start().await;
    let good = ("mina@example.com", PASSWORD, "미나");
    let too_long = "별".repeat(31);
    for ((email, password, nickname), field, rule) in [
        (("mina", good.1, good.2), "email", "email"),
        ((good.0, "short-1", good.2), "password", "at_least_8_characters"),
        ((good.0, &"long-1".repeat(22), good.2), "password", "at_most_128_characters"),
        ((good.0, "1234567-", good.2), "password", "a_letter"),
        ((good.0, "sesame-x", good.2), "password", "a_digit"),
        ((good.0, "sesame77", good.2), "password", "a_special_character"),
        ((good.0, good.1, ""), "nickname", "1_to_30_characters"),
        ((good.0, good.1, too_long.as_str()), "nickname", "1_to_30_characters"),
        ((good.0, good.1, " \u{3000}"), "nickname", "not_blank"),
        ((good.0, good.1, "mi\nna"), "nickname", "no_control_characters"),
    ] {
        let response = server.sign_up(email, password, nickname).await;
        response.assert_error(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request");
        assert_eq!(response.body["data"], json!({ "field": field, "rule": rule }));
    }
    let incomplete =
        server.request(Method::POST, "/api/user/signup").json(&json!({ "email": good.0 }));
    let response = Response::send(incomplete).await;
    response.assert_error(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request");
    // Rejected sign-ups store nothing. The length of a nickname is counted in characters.
    let response = server.sign_up(good.0, good.1, &"별".repeat(30)).await;
    assert_eq!(response.status, StatusCode::CREATED);
    server.stop().await;
}

#[tokio::test]
async fn a_login_returns_both_tokens() {
    let server = AccountServer::with_account().await;
    let response = server.try_log_in("mina@example.com", PASSWORD).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.body["data"]["expires_in"], 900);
    let cookie = response.cookie.as_deref().expect("a cookie");
    let (token, attributes) =
        cookie.strip_prefix("refresh_token=").and_then(|rest| rest.split_once("; ")).expect(cookie);
    assert_eq!(attributes, "Path=/api/auth; Max-Age=2592000; HttpOnly; SameSite=Strict");
    assert_eq!(token.len(), 96);
    server.stop().await;
}

#[tokio::test]
async fn cookies_are_secure_outside_development() {
    let server = AccountServer::with_config(|config| config.sessions.secure_cookies = true).await;
    server.sign_up("mina@example.com", PASSWORD, "미나").await;
    let response = server.try_log_in("mina@example.com", PASSWORD).await;
    assert!(response.cookie.expect("a cookie").ends_with("; Secure"));
    server.stop().await;
}

#[tokio::test]
async fn responses_do_not_reveal_whether_an_account_exists() {
    let server = AccountServer::with_account().await;
    let wrong = server.try_log_in("mina@example.com", "sesame-78").await;
    wrong.assert_error(StatusCode::UNAUTHORIZED, "bad_credentials");
    for email in ["nobody@example.com", "no address"] {
        let unknown = server.try_log_in(email, PASSWORD).await;
        assert_eq!(unknown.status, wrong.status);
        assert_eq!(unknown.body, wrong.body);
        assert_eq!(unknown.cookie, None);
    }
    server.stop().await;
}

#[tokio::test]
async fn logins_are_throttled_per_address() {
    let server = AccountServer::with_account().await;
    server.sign_up("jun@example.com", PASSWORD, "준").await;
    for _ in 0..10 {
        // Letter case makes no difference.
        let response = server.try_log_in("Mina@example.com", "sesame-78").await;
        response.assert_error(StatusCode::UNAUTHORIZED, "bad_credentials");
    }
    server.clock.advance(MINUTE);
    let response = server.try_log_in("mina@example.com", PASSWORD).await;
    response.assert_error(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts");
    assert_eq!(response.retry_after.as_deref(), Some("240"));
    server.log_in("jun@example.com", PASSWORD).await;
    server.clock.advance(4 * MINUTE);
    // Each success resets the count.
    for _ in 0..11 {
        server.log_in("mina@example.com", PASSWORD).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_logout_ends_only_this_session() {
    let server = AccountServer::with_account().await;
    let (phone, laptop) = (server.device().await, server.device().await);
    let response = server.call(Method::DELETE, "/api/user/logout", &phone).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(
        response.cookie.as_deref(),
        Some("refresh_token=; Path=/api/auth; Max-Age=0; HttpOnly; SameSite=Strict")
    );
    let response = server.call(Method::DELETE, "/api/user/logout", &phone).await;
    response.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    let response = server.refresh(&phone).await;
    response.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    assert_eq!(
        server.call(Method::GET, "/api/auth/sessions", &laptop).await.status,
        StatusCode::OK
    );
    server.stop().await;
}

#[tokio::test]
async fn requests_without_a_valid_token_are_unauthorized() {
    let server = AccountServer::with_account().await;
    let device = server.device().await;
    let list = || server.request(Method::GET, "/api/auth/sessions");
    for request in [
        list(),
        list().header("authorization", "Bearer"),
        list().header("authorization", format!("Basic {}", device.access)),
        list().bearer_auth(format!("{}x", device.access)),
        list().bearer_auth(&device.refresh),
    ] {
        Response::send(request).await.assert_error(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    let any_case = list().header("authorization", format!("bearer {}", device.access));
    assert_eq!(Response::send(any_case).await.status, StatusCode::OK);
    server.clock.advance(15 * MINUTE + Duration::from_secs(1));
    let response = server.call(Method::GET, "/api/auth/sessions", &device).await;
    response.assert_error(StatusCode::UNAUTHORIZED, "unauthorized");
    server.stop().await;
}

#[tokio::test]
async fn a_refresh_renews_both_tokens_even_of_an_expired_access_token() {
    let server = AccountServer::with_account().await;
    let first = server.device().await;
    server.clock.advance(60 * MINUTE);
    let second = server.refresh(&first).await.device();
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(
        server.call(Method::GET, "/api/auth/sessions", &second).await.status,
        StatusCode::OK
    );
    // Each refresh extends the session by 30 days.
    let mut device = second;
    for _ in 0..3 {
        server.clock.advance(29 * 24 * 60 * MINUTE);
        device = server.refresh(&device).await.device();
    }
    server.clock.advance(30 * 24 * 60 * MINUTE);
    server.refresh(&device).await.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    server.stop().await;
}

#[tokio::test]
async fn a_refresh_whose_response_was_lost_can_be_repeated() {
    let server = AccountServer::with_account().await;
    let old = server.device().await;
    let new = server.refresh(&old).await.device();
    for wait in [Duration::from_secs(11), 23 * 60 * MINUTE] {
        server.clock.advance(wait);
        // A request with the old access token is no use of the new ones.
        server.call(Method::GET, "/api/auth/sessions", &old).await;
        let again = server.refresh(&old).await.device();
        assert_eq!(again.refresh, new.refresh);
    }
    let newer = server.refresh(&new).await.device();
    assert_ne!(newer.refresh, new.refresh);
    server.clock.advance(24 * 60 * MINUTE);
    assert_eq!(server.refresh(&new).await.device().refresh, newer.refresh);
    server.clock.advance(Duration::from_millis(1));
    server.refresh(&new).await.assert_error(StatusCode::UNAUTHORIZED, "refresh_reused");
    server.stop().await;
}

/// Each of these requests proves that the response to the refresh has arrived.
#[tokio::test]
async fn a_refresh_cannot_be_repeated_after_its_tokens_were_used() {
    let server = AccountServer::with_account().await;
    for by in ["a request", "a verification", "a refresh"] {
        let old = server.device().await;
        let new = server.refresh(&old).await.device();
        let status = match by {
            "a request" => server.call(Method::GET, "/api/diary/20260216", &new).await.status,
            "a verification" => server.verify(&new.access).await.status,
            _ => server.refresh(&new).await.status,
        };
        assert_eq!(status, StatusCode::OK);
        server.clock.advance(Duration::from_secs(11));
        server.refresh(&old).await.assert_error(StatusCode::UNAUTHORIZED, "refresh_reused");
        let ended = server.refresh(&new).await;
        ended.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    }
    server.stop().await;
}

/// A copy of the refresh that was delayed in the network, for example.
#[tokio::test]
async fn a_late_copy_of_a_refresh_does_not_end_the_session() {
    let server = AccountServer::with_account().await;
    let old = server.device().await;
    let new = server.refresh(&old).await.device();
    server.call(Method::GET, "/api/auth/sessions", &new).await;
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(server.refresh(&old).await.device().refresh, new.refresh);
    server.refresh(&new).await.device();
    server.stop().await;
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session() {
    let server = AccountServer::with_account().await;
    let (stolen, bystander) = (server.device().await, server.device().await);
    let thief = server.refresh(&stolen).await.device();
    server.call(Method::GET, "/api/auth/sessions", &thief).await;
    server.clock.advance(Duration::from_secs(11));
    server.refresh(&stolen).await.assert_error(StatusCode::UNAUTHORIZED, "refresh_reused");
    server.refresh(&thief).await.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    let response = server.call(Method::GET, "/api/auth/sessions", &thief).await;
    response.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    server.refresh(&bystander).await.device();
    server.stop().await;
}

#[tokio::test]
async fn a_refresh_requires_both_tokens_of_one_session() {
    let server = AccountServer::with_account().await;
    let (phone, laptop) = (server.device().await, server.device().await);
    let forged = Device { access: format!("{}x", phone.access), ..phone.clone() };
    server.refresh(&forged).await.assert_error(StatusCode::BAD_REQUEST, "token_decode_error");
    for refresh in [&laptop.refresh, "", "c2VzYW1l"] {
        let mixed = Device { refresh: refresh.to_owned(), ..phone.clone() };
        server.refresh(&mixed).await.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    }
    let bare = server
        .request(Method::POST, "/api/auth/refresh")
        .json(&json!({ "access_token": phone.access }));
    Response::send(bare).await.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    // The rejected requests changed neither session.
    for device in [phone, laptop] {
        server.refresh(&device).await.device();
    }
    server.stop().await;
}

#[tokio::test]
async fn a_token_is_valid_until_its_session_ends() {
    let server = AccountServer::with_account().await;
    let (phone, laptop) = (server.device().await, server.device().await);
    for device in [&phone, &laptop] {
        assert_eq!(server.verify(&device.access).await.status, StatusCode::OK);
    }
    server.call(Method::DELETE, "/api/user/logout", &phone).await;
    server.verify(&phone.access).await.assert_error(StatusCode::BAD_REQUEST, "token_decode_error");
    server.verify("sesame").await.assert_error(StatusCode::BAD_REQUEST, "token_decode_error");
    server.clock.advance(16 * MINUTE);
    server.verify(&laptop.access).await.assert_error(StatusCode::BAD_REQUEST, "token_decode_error");
    server.stop().await;
}

#[tokio::test]
async fn only_the_owner_lists_and_revokes_sessions() {
    let server = AccountServer::with_account().await;
    server.sign_up("jun@example.com", PASSWORD, "준").await;
    let stranger = server.log_in("jun@example.com", PASSWORD).await;
    let phone = server.device().await;
    server.clock.advance(MINUTE);
    let laptop = server.device().await;
    // The phone's first request, 90 s after its login, updates `last_seen_at`; the second, 30 s
    // later, does not.
    for _ in 0..2 {
        server.clock.advance(Duration::from_secs(30));
        server.call(Method::GET, "/api/auth/sessions", &phone).await;
    }
    let devices = server.sessions(&laptop).await;
    let seen: Vec<_> = devices.iter().map(|device| (device.current, last_seen(device))).collect();
    assert_eq!(seen, [(true, 60), (false, 90)]);
    assert_eq!(devices[1].user_agent.as_deref(), Some("shiori-test/1"));

    let path = format!("/api/auth/sessions/{}", devices[1].id);
    let unknown = format!("/api/auth/sessions/{}", SessionId::new());
    for (path, device) in
        [(&path, &stranger), (&unknown, &laptop), (&"/api/auth/sessions/phone".to_owned(), &laptop)]
    {
        let response = server.call(Method::DELETE, path, device).await;
        response.assert_error(StatusCode::NOT_FOUND, "not_found");
    }
    assert_eq!(server.call(Method::DELETE, &path, &laptop).await.status, StatusCode::OK);
    let response = server.call(Method::GET, "/api/auth/sessions", &phone).await;
    response.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    assert_eq!(server.sessions(&laptop).await.len(), 1);
    assert_eq!(server.sessions(&stranger).await.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn exceeding_the_session_limit_revokes_the_least_recently_used() {
    let server = AccountServer::with_config(|config| config.sessions.sessions_per_user = 2).await;
    server.sign_up("mina@example.com", PASSWORD, "미나").await;
    let oldest = server.device().await;
    server.clock.advance(MINUTE);
    let (second, third) = (server.device().await, server.device().await);
    server.refresh(&oldest).await.assert_error(StatusCode::UNAUTHORIZED, "session_expired");
    for device in [second, third] {
        server.refresh(&device).await.device();
    }
    server.stop().await;
}

#[tokio::test]
async fn messages_are_korean_or_english() {
    let server = AccountServer::with_account().await;
    let body = json!({ "email": "mina@example.com", "password": PASSWORD });
    let log_in = || server.request(Method::POST, "/api/user/login").json(&body);
    assert_eq!(Response::send(log_in()).await.body["message"], "로그인되었습니다.");
    let english = log_in().header(ACCEPT_LANGUAGE, "en-GB, ko;q=0.5");
    assert_eq!(Response::send(english).await.body["message"], "Signed in.");
    server.stop().await;
}

#[tokio::test]
async fn the_api_document_has_every_route() {
    let server = AccountServer::start().await;
    let response = Response::send(server.request(Method::GET, "/api/openapi.json")).await;
    for (path, method) in [
        ("/api/user/signup", "post"),
        ("/api/user/login", "post"),
        ("/api/user/logout", "delete"),
        ("/api/auth/refresh", "post"),
        ("/api/auth/verify", "post"),
        ("/api/auth/sessions", "get"),
        ("/api/auth/sessions/{id}", "delete"),
    ] {
        assert!(response.body["paths"][path][method].is_object(), "{method} {path}");
    }
    server.stop().await;
}

/// Seconds from the login to the last use of the session.
fn last_seen(device: &SessionInfo) -> u64 {
    device.last_seen_at.duration_since(device.created_at).as_secs()
}

/// A server with a manual clock, and helpers for its requests.
struct AccountServer {
    clock: ManualClock,
    http: reqwest::Client,
    server: TestServer,
}

/// The tokens of one signed-in device.
#[derive(Clone)]
struct Device {
    access: String,
    refresh: String,
}

struct Response {
    status: StatusCode,
    body: Value,
    cookie: Option<String>,
    retry_after: Option<String>,
}

impl AccountServer {
    async fn start() -> Self {
        Self::with_config(|_| {}).await
    }

    async fn with_config(adjust: impl FnOnce(&mut Config)) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_771_200_000_000));
        let server = TestServer::with_config(|config| {
            config.clock = Arc::new(clock.clone());
            config.worker = WorkerMode::None;
            adjust(config);
        })
        .await;
        Self { clock, http: reqwest::Client::new(), server }
    }

    async fn with_account() -> Self {
        let server = Self::start().await;
        let response = server.sign_up("mina@example.com", PASSWORD, "미나").await;
        assert_eq!(response.status, StatusCode::CREATED);
        server
    }

    async fn stop(self) {
        self.server.stop().await;
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.server.url()))
            .header(USER_AGENT, "shiori-test/1")
    }

    async fn call(&self, method: Method, path: &str, device: &Device) -> Response {
        Response::send(self.request(method, path).bearer_auth(&device.access)).await
    }

    async fn sign_up(&self, email: &str, password: &str, nickname: &str) -> Response {
        let body = json!({ "email": email, "password": password, "nickname": nickname });
        Response::send(self.request(Method::POST, "/api/user/signup").json(&body)).await
    }

    async fn try_log_in(&self, email: &str, password: &str) -> Response {
        let body = json!({ "email": email, "password": password });
        Response::send(self.request(Method::POST, "/api/user/login").json(&body)).await
    }

    async fn log_in(&self, email: &str, password: &str) -> Device {
        self.try_log_in(email, password).await.device()
    }

    /// Signs in another device of the account.
    async fn device(&self) -> Device {
        self.log_in("mina@example.com", PASSWORD).await
    }

    async fn refresh(&self, device: &Device) -> Response {
        let request = self
            .request(Method::POST, "/api/auth/refresh")
            .header(COOKIE, format!("refresh_token={}", device.refresh))
            .json(&json!({ "access_token": device.access }));
        Response::send(request).await
    }

    async fn verify(&self, access: &str) -> Response {
        let body = json!({ "access_token": access });
        Response::send(self.request(Method::POST, "/api/auth/verify").json(&body)).await
    }

    async fn sessions(&self, device: &Device) -> Vec<SessionInfo> {
        let response = self.call(Method::GET, "/api/auth/sessions", device).await;
        serde_json::from_value(response.body["data"].clone()).expect("sessions")
    }
}

impl Response {
    async fn send(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("a response");
        let header = |name| {
            let value: Option<&HeaderValue> = response.headers().get(name);
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        let (cookie, retry_after) = (header(SET_COOKIE), header(RETRY_AFTER));
        let status = response.status();
        Self { status, body: response.json().await.expect("json"), cookie, retry_after }
    }

    fn assert_error(&self, status: StatusCode, name: &str) {
        assert_eq!((self.status, &self.body["error"]), (status, &json!(name)));
        assert_eq!(self.body["code"], status.as_u16());
        assert_eq!(self.cookie, None);
    }

    fn device(&self) -> Device {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let cookie = self.cookie.as_deref().expect("a cookie");
        let refresh = cookie.split(['=', ';']).nth(1).expect("a value");
        let access = self.body["data"]["token"].as_str().expect("a token");
        Device { access: access.to_owned(), refresh: refresh.to_owned() }
    }
}
