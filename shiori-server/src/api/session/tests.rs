//! Accounts and sessions against a real server, in raw HTTP: cookies, headers and bodies are the
//! matter here.

use std::{sync::Arc, time::Duration};

use http::header::{ACCEPT_LANGUAGE, RETRY_AFTER, USER_AGENT};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shiori_sdk::UserId;
use shiori_worker::ManualClock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Config, HashCost, Server, WorkerMode};

const PASSWORD: &str = "sesame-77";
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn the_refresh_token_is_found_among_other_cookies() {
    for (cookies, expected) in [
        (&["refresh_token=abc"][..], Some("abc")),
        (&["theme=dark; refresh_token=abc; lang=ko"], Some("abc")),
        (&["theme=dark", "refresh_token=abc"], Some("abc")),
        (&["refresh_tokens=abc; xrefresh_token=abc; refresh_token"], None),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().expect("a header"));
        }
        assert_eq!(refresh_cookie(&headers), expected, "{cookies:?}");
    }
}

#[tokio::test]
async fn an_email_address_has_one_account() {
    let house = House::open().await;
    let answer = house.sign_up("mina@example.com", PASSWORD, "미나").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let id = answer.body["data"]["user_id"].as_str().expect("an id");
    assert!(id.parse::<UserId>().is_ok(), "{id}");
    let answer = house.sign_up("Mina@Example.com", "another-1", "mina").await;
    answer.is_refused(StatusCode::CONFLICT, "email_taken");
    house.log_in("MINA@example.com", PASSWORD).await;
    house.close().await;
}

#[tokio::test]
async fn a_signup_names_the_field_and_its_rule() {
    let house = House::open().await;
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
        let answer = house.sign_up(email, password, nickname).await;
        answer.is_refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request");
        assert_eq!(answer.body["data"], json!({ "field": field, "rule": rule }));
    }
    let incomplete =
        house.request(Method::POST, "/api/user/signup").json(&json!({ "email": good.0 }));
    let answer = Answer::of(incomplete).await;
    answer.is_refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request");
    // None of it left anything behind; the longest nickname is taken, counted in characters.
    let answer = house.sign_up(good.0, good.1, &"별".repeat(30)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    house.close().await;
}

#[tokio::test]
async fn a_login_hands_over_both_tokens() {
    let house = House::with_account().await;
    let answer = house.try_log_in("mina@example.com", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["data"]["expires_in"], 900);
    let cookie = answer.cookie.as_deref().expect("a cookie");
    let (token, attributes) =
        cookie.strip_prefix("refresh_token=").and_then(|rest| rest.split_once("; ")).expect(cookie);
    assert_eq!(attributes, "Path=/api/auth; Max-Age=2592000; HttpOnly; SameSite=Strict");
    assert_eq!(token.len(), 96);
    house.close().await;
}

#[tokio::test]
async fn cookies_are_secure_outside_development() {
    let house = House::open_with(|config| config.sessions.secure_cookies = true).await;
    house.sign_up("mina@example.com", PASSWORD, "미나").await;
    let answer = house.try_log_in("mina@example.com", PASSWORD).await;
    assert!(answer.cookie.expect("a cookie").ends_with("; Secure"));
    house.close().await;
}

#[tokio::test]
async fn no_answer_tells_whether_an_address_has_an_account() {
    let house = House::with_account().await;
    let wrong = house.try_log_in("mina@example.com", "sesame-78").await;
    wrong.is_refused(StatusCode::UNAUTHORIZED, "bad_credentials");
    for email in ["nobody@example.com", "no address"] {
        let unknown = house.try_log_in(email, PASSWORD).await;
        assert_eq!(unknown.status, wrong.status);
        assert_eq!(unknown.body, wrong.body);
        assert_eq!(unknown.cookie, None);
    }
    house.close().await;
}

#[tokio::test]
async fn guessing_is_throttled_per_address() {
    let house = House::with_account().await;
    house.sign_up("jun@example.com", PASSWORD, "준").await;
    for _ in 0..10 {
        // Letter case does not make another address of it.
        let answer = house.try_log_in("Mina@example.com", "sesame-78").await;
        answer.is_refused(StatusCode::UNAUTHORIZED, "bad_credentials");
    }
    house.clock.advance(MINUTE);
    let answer = house.try_log_in("mina@example.com", PASSWORD).await;
    answer.is_refused(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts");
    assert_eq!(answer.retry_after.as_deref(), Some("240"));
    house.log_in("jun@example.com", PASSWORD).await;
    house.clock.advance(4 * MINUTE);
    // Each success begins the count anew.
    for _ in 0..11 {
        house.log_in("mina@example.com", PASSWORD).await;
    }
    house.close().await;
}

#[tokio::test]
async fn a_logout_ends_this_session_at_once() {
    let house = House::with_account().await;
    let (phone, laptop) = (house.device().await, house.device().await);
    let answer = house.call(Method::DELETE, "/api/user/logout", &phone).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.cookie.as_deref(),
        Some("refresh_token=; Path=/api/auth; Max-Age=0; HttpOnly; SameSite=Strict")
    );
    let answer = house.call(Method::DELETE, "/api/user/logout", &phone).await;
    answer.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    let answer = house.refresh(&phone).await;
    answer.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    assert_eq!(house.call(Method::GET, "/api/auth/sessions", &laptop).await.status, StatusCode::OK);
    house.close().await;
}

#[tokio::test]
async fn who_has_no_good_token_is_nobody() {
    let house = House::with_account().await;
    let device = house.device().await;
    let list = || house.request(Method::GET, "/api/auth/sessions");
    for request in [
        list(),
        list().header("authorization", "Bearer"),
        list().header("authorization", format!("Basic {}", device.access)),
        list().bearer_auth(format!("{}x", device.access)),
        list().bearer_auth(&device.refresh),
    ] {
        Answer::of(request).await.is_refused(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    let any_case = list().header("authorization", format!("bearer {}", device.access));
    assert_eq!(Answer::of(any_case).await.status, StatusCode::OK);
    house.clock.advance(15 * MINUTE + Duration::from_secs(1));
    let answer = house.call(Method::GET, "/api/auth/sessions", &device).await;
    answer.is_refused(StatusCode::UNAUTHORIZED, "unauthorized");
    house.close().await;
}

#[tokio::test]
async fn a_refresh_renews_both_tokens_even_of_an_expired_access_token() {
    let house = House::with_account().await;
    let first = house.device().await;
    house.clock.advance(60 * MINUTE);
    let second = house.refresh(&first).await.device();
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(house.call(Method::GET, "/api/auth/sessions", &second).await.status, StatusCode::OK);
    // A session that is used goes on for ever; each refresh gives it 30 days.
    let mut device = second;
    for _ in 0..3 {
        house.clock.advance(29 * 24 * 60 * MINUTE);
        device = house.refresh(&device).await.device();
    }
    house.clock.advance(30 * 24 * 60 * MINUTE);
    house.refresh(&device).await.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    house.close().await;
}

#[tokio::test]
async fn the_lost_answer_of_a_refresh_is_given_again() {
    let house = House::with_account().await;
    let old = house.device().await;
    let new = house.refresh(&old).await.device();
    house.clock.advance(Duration::from_secs(10));
    let again = house.refresh(&old).await.device();
    assert_eq!(again.refresh, new.refresh);
    let newer = house.refresh(&again).await.device();
    assert_ne!(newer.refresh, again.refresh);
    house.close().await;
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_session() {
    let house = House::with_account().await;
    let (stolen, bystander) = (house.device().await, house.device().await);
    let thief = house.refresh(&stolen).await.device();
    house.clock.advance(Duration::from_secs(11));
    house.refresh(&stolen).await.is_refused(StatusCode::UNAUTHORIZED, "refresh_reused");
    house.refresh(&thief).await.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    let answer = house.call(Method::GET, "/api/auth/sessions", &thief).await;
    answer.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    house.refresh(&bystander).await.device();
    house.close().await;
}

#[tokio::test]
async fn a_refresh_takes_both_tokens_of_one_session() {
    let house = House::with_account().await;
    let (phone, laptop) = (house.device().await, house.device().await);
    let forged = Device { access: format!("{}x", phone.access), ..phone.clone() };
    house.refresh(&forged).await.is_refused(StatusCode::BAD_REQUEST, "token_decode_error");
    for refresh in [&laptop.refresh, "", "c2VzYW1l"] {
        let mixed = Device { refresh: refresh.to_owned(), ..phone.clone() };
        house.refresh(&mixed).await.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    }
    let bare = house
        .request(Method::POST, "/api/auth/refresh")
        .json(&json!({ "access_token": phone.access }));
    Answer::of(bare).await.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    // None of it touched either session.
    for device in [phone, laptop] {
        house.refresh(&device).await.device();
    }
    house.close().await;
}

#[tokio::test]
async fn a_token_is_verified_while_its_session_lives() {
    let house = House::with_account().await;
    let (phone, laptop) = (house.device().await, house.device().await);
    for device in [&phone, &laptop] {
        assert_eq!(house.verify(&device.access).await.status, StatusCode::OK);
    }
    house.call(Method::DELETE, "/api/user/logout", &phone).await;
    house.verify(&phone.access).await.is_refused(StatusCode::BAD_REQUEST, "token_decode_error");
    house.verify("sesame").await.is_refused(StatusCode::BAD_REQUEST, "token_decode_error");
    house.clock.advance(16 * MINUTE);
    house.verify(&laptop.access).await.is_refused(StatusCode::BAD_REQUEST, "token_decode_error");
    house.close().await;
}

#[tokio::test]
async fn devices_are_listed_and_signed_out_by_their_owner_alone() {
    let house = House::with_account().await;
    house.sign_up("jun@example.com", PASSWORD, "준").await;
    let stranger = house.log_in("jun@example.com", PASSWORD).await;
    let phone = house.device().await;
    house.clock.advance(MINUTE);
    let laptop = house.device().await;
    // The phone shows itself a minute and a half after its login, and again within a minute.
    for _ in 0..2 {
        house.clock.advance(Duration::from_secs(30));
        house.call(Method::GET, "/api/auth/sessions", &phone).await;
    }
    let devices = house.sessions(&laptop).await;
    let seen: Vec<_> = devices.iter().map(|device| (device.current, last_seen(device))).collect();
    assert_eq!(seen, [(true, 60), (false, 90)]);
    assert_eq!(devices[1].user_agent.as_deref(), Some("shiori-test/1"));

    let path = format!("/api/auth/sessions/{}", devices[1].id);
    let unknown = format!("/api/auth/sessions/{}", SessionId::new());
    for (path, device) in
        [(&path, &stranger), (&unknown, &laptop), (&"/api/auth/sessions/phone".to_owned(), &laptop)]
    {
        let answer = house.call(Method::DELETE, path, device).await;
        answer.is_refused(StatusCode::NOT_FOUND, "not_found");
    }
    assert_eq!(house.call(Method::DELETE, &path, &laptop).await.status, StatusCode::OK);
    let answer = house.call(Method::GET, "/api/auth/sessions", &phone).await;
    answer.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    assert_eq!(house.sessions(&laptop).await.len(), 1);
    assert_eq!(house.sessions(&stranger).await.len(), 1);
    house.close().await;
}

#[tokio::test]
async fn a_device_too_many_signs_the_longest_unused_out() {
    let house = House::open_with(|config| config.sessions.sessions_per_user = 2).await;
    house.sign_up("mina@example.com", PASSWORD, "미나").await;
    let oldest = house.device().await;
    house.clock.advance(MINUTE);
    let (second, third) = (house.device().await, house.device().await);
    house.refresh(&oldest).await.is_refused(StatusCode::UNAUTHORIZED, "session_expired");
    for device in [second, third] {
        house.refresh(&device).await.device();
    }
    house.close().await;
}

#[tokio::test]
async fn messages_are_korean_or_english() {
    let house = House::with_account().await;
    let body = json!({ "email": "mina@example.com", "password": PASSWORD });
    let log_in = || house.request(Method::POST, "/api/user/login").json(&body);
    assert_eq!(Answer::of(log_in()).await.body["message"], "로그인되었습니다.");
    let english = log_in().header(ACCEPT_LANGUAGE, "en-GB, ko;q=0.5");
    assert_eq!(Answer::of(english).await.body["message"], "Signed in.");
    house.close().await;
}

#[tokio::test]
async fn the_api_document_has_every_route() {
    let house = House::open().await;
    let answer = Answer::of(house.request(Method::GET, "/api/openapi.json")).await;
    for (path, method) in [
        ("/api/user/signup", "post"),
        ("/api/user/login", "post"),
        ("/api/user/logout", "delete"),
        ("/api/auth/refresh", "post"),
        ("/api/auth/verify", "post"),
        ("/api/auth/sessions", "get"),
        ("/api/auth/sessions/{id}", "delete"),
    ] {
        assert!(answer.body["paths"][path][method].is_object(), "{method} {path}");
    }
    house.close().await;
}

/// Seconds from the login to when the device was last seen.
fn last_seen(device: &SessionInfo) -> u64 {
    device.last_seen_at.duration_since(device.created_at).as_secs()
}

/// A server in a directory of its own, whose clock stands still.
struct House {
    url: String,
    clock: ManualClock,
    http: reqwest::Client,
    server: Server,
    shutdown: CancellationToken,
    _dir: TempDir,
}

/// The tokens of one signed-in device.
#[derive(Clone)]
struct Device {
    access: String,
    refresh: String,
}

struct Answer {
    status: StatusCode,
    body: Value,
    cookie: Option<String>,
    retry_after: Option<String>,
}

impl House {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = ManualClock::at(Timestamp::from_millis(1_771_200_000_000));
        let mut config = Config::embedded(dir.path()).expect("a directory");
        config.clock = Arc::new(clock.clone());
        config.hash_cost = HashCost::MINIMAL;
        config.worker = WorkerMode::None;
        adjust(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await.expect("started");
        let http = reqwest::Client::new();
        Self { url: server.url(), clock, http, server, shutdown, _dir: dir }
    }

    async fn with_account() -> Self {
        let house = Self::open().await;
        let answer = house.sign_up("mina@example.com", PASSWORD, "미나").await;
        assert_eq!(answer.status, StatusCode::CREATED);
        house
    }

    async fn close(self) {
        self.shutdown.cancel();
        self.server.stopped().await.expect("stopped");
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header(USER_AGENT, "shiori-test/1")
    }

    async fn call(&self, method: Method, path: &str, device: &Device) -> Answer {
        Answer::of(self.request(method, path).bearer_auth(&device.access)).await
    }

    async fn sign_up(&self, email: &str, password: &str, nickname: &str) -> Answer {
        let body = json!({ "email": email, "password": password, "nickname": nickname });
        Answer::of(self.request(Method::POST, "/api/user/signup").json(&body)).await
    }

    async fn try_log_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        Answer::of(self.request(Method::POST, "/api/user/login").json(&body)).await
    }

    async fn log_in(&self, email: &str, password: &str) -> Device {
        self.try_log_in(email, password).await.device()
    }

    /// One more device of the account.
    async fn device(&self) -> Device {
        self.log_in("mina@example.com", PASSWORD).await
    }

    async fn refresh(&self, device: &Device) -> Answer {
        let request = self
            .request(Method::POST, "/api/auth/refresh")
            .header(COOKIE, format!("refresh_token={}", device.refresh))
            .json(&json!({ "access_token": device.access }));
        Answer::of(request).await
    }

    async fn verify(&self, access: &str) -> Answer {
        let body = json!({ "access_token": access });
        Answer::of(self.request(Method::POST, "/api/auth/verify").json(&body)).await
    }

    async fn sessions(&self, device: &Device) -> Vec<SessionInfo> {
        let answer = self.call(Method::GET, "/api/auth/sessions", device).await;
        serde_json::from_value(answer.body["data"].clone()).expect("sessions")
    }
}

impl Answer {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("answered");
        let header = |name| {
            let value: Option<&HeaderValue> = response.headers().get(name);
            value.map(|value| value.to_str().expect("text").to_owned())
        };
        let (cookie, retry_after) = (header(SET_COOKIE), header(RETRY_AFTER));
        let status = response.status();
        Self { status, body: response.json().await.expect("json"), cookie, retry_after }
    }

    fn is_refused(&self, status: StatusCode, name: &str) {
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
