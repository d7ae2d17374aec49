//! A server of one's own for each test.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use shiori_sdk::{Client, Date, Document, Draft, Precondition, Week};
use shiori_server::{Config, HashCost, Server, WorkerMode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "한글도 되는 pass-1";

/// A running server with a data directory of its own.
pub struct House {
    server: Server,
    shutdown: CancellationToken,
    dir: TempDir,
}

impl House {
    /// The embedded default, but for cheap password hashes.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server without a worker: the test plays it.
    pub async fn without_worker() -> Self {
        Self::with(|config| config.worker = WorkerMode::None).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::embedded(dir.path()).unwrap();
        config.hash_cost = HashCost::MINIMAL;
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await.unwrap();
        Self { server, shutdown, dir }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The token of the internal API.
    pub fn internal_token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("internal.secret")).unwrap()
    }

    /// A device of a new person, signed in.
    pub async fn person(&self) -> (Client, String) {
        let email = fresh_email();
        let client = device(&self.url());
        client.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
        client.auth().login(&email, PASSWORD).await.unwrap();
        (client, email)
    }

    /// A new person's only device.
    pub async fn client(&self) -> Client {
        self.person().await.0
    }

    /// Stops the server; nothing may have to be cut off.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.server.stopped().await.unwrap();
    }
}

/// A client that is not signed in.
pub fn device(url: &str) -> Client {
    Client::builder(url).build().unwrap()
}

pub fn fresh_email() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("person-{}-{count}@example.com", std::process::id())
}

pub fn day(day: u8) -> Date {
    Date::new(2026, 2, day).unwrap()
}

/// The week from Monday, 16 February 2026 on.
pub fn week() -> Week {
    Week::starting(day(16)).unwrap()
}

pub fn draft(text: &str) -> Draft {
    Draft::new("제목", Document::from_text(text))
}

/// A diary for every day of the week.
pub async fn write_week(client: &Client, text: &str) {
    for date in week().dates() {
        client
            .diaries()
            .save(date, draft(&format!("{date}: {text}")), Precondition::IfAbsent)
            .send()
            .await
            .unwrap();
    }
}

/// Waits until the condition holds, and fails if it does not within a generous time.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a raw request is answered with.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The envelope's error name; the envelope must agree with the HTTP status.
    pub fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json["code"], self.status, "{}", self.text);
        assert!(!json["message"].as_str().unwrap_or_default().is_empty(), "{}", self.text);
        json["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// One who speaks HTTP by hand, for what the SDK would never send.
pub struct Raw {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Raw {
    pub fn stranger(url: &str) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned(), token: None }
    }

    pub fn with_token(url: &str, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::stranger(url) }
    }

    /// Signs up and in by hand.
    pub async fn person(url: &str) -> Self {
        let raw = Self::stranger(url);
        let email = fresh_email();
        let account = serde_json::json!({"email": email, "password": PASSWORD, "nickname": "손"});
        assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
        let answer = raw.post("/api/user/login", &account).await;
        let token = answer.json()["data"]["token"].as_str().unwrap().to_owned();
        Self { token: Some(token), ..raw }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(reqwest::Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(reqwest::Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.send(reqwest::Method::POST, path, Some(body.to_string())).await
    }

    pub async fn send(&self, method: reqwest::Method, path: &str, body: Option<String>) -> Answer {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        Answer::to(request).await
    }

    /// A request of theirs, to be set up further.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}
