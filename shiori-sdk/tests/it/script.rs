//! A server that follows a script: what it is asked it writes down, what it answers is told by the
//! test. It is no Shiori server and pretends nothing; it is the wire.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shiori_sdk::{Client, ClientBuilder, Date};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

type Answer = Box<dyn Fn(&Request, usize) -> ResponseTemplate + Send + Sync>;

/// The scripted server.
pub struct Script {
    server: MockServer,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it arrived.
#[derive(Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub token: Option<String>,
    pub cookie: Option<String>,
    pub id: String,
    pub body: Value,
}

struct Director {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Answer,
}

impl Respond for Director {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let header =
            |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let path = request.url.path().to_owned();
        let mut seen = self.seen.lock().unwrap();
        let nth = seen.iter().filter(|one| one.path == path).count();
        seen.push(Seen {
            method: request.method.to_string(),
            path,
            query: request.url.query().unwrap_or_default().to_owned(),
            token: header("authorization"),
            cookie: header("cookie"),
            id: header("x-request-id").unwrap_or_default(),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        });
        drop(seen);
        (self.answer)(request, nth)
    }
}

impl Script {
    /// Logins are answered with the token `first`, valid for an hour; everything else by `answer`,
    /// which is told how many requests for the same path came before.
    pub async fn of(
        answer: impl Fn(&Request, usize) -> ResponseTemplate + Send + Sync + 'static,
    ) -> Self {
        let server = MockServer::start().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Answer = Box::new(move |request, nth| match request.url.path() {
            "/api/user/login" => tokens("first", 3600),
            _ => answer(request, nth),
        });
        let director = Director { seen: seen.clone(), answer };
        Mock::given(any()).respond_with(director).mount(&server).await;
        Self { server, seen }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.url())
    }

    /// A client that is signed in.
    pub async fn client(&self) -> Client {
        self.signed_in(self.builder()).await
    }

    pub async fn signed_in(&self, builder: ClientBuilder) -> Client {
        let client = builder.build().unwrap();
        client.auth().login("haru@example.com", "secret-pass-1").await.unwrap();
        self.seen.lock().unwrap().clear();
        client
    }

    /// What was asked since the login.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often this path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path == path).count()
    }
}

pub fn day() -> Date {
    Date::new(2026, 2, 16).unwrap()
}

pub const DIARY: &str = "/api/diary/20260216";

pub fn ok(data: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"code": 200, "message": "", "data": data}))
}

pub fn refuse(status: u16, error: &str, data: Value) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({"code": status, "message": "", "data": data, "error": error}))
}

pub fn tokens(token: &str, expires_in: u64) -> ResponseTemplate {
    ok(json!({"token": token, "expires_in": expires_in}))
        .insert_header("set-cookie", format!("refresh_token=cookie-{token}; Path=/api/auth"))
}

/// A diary of this version and text, as it stands on the wire.
pub fn diary(version: u64, text: &str) -> Value {
    json!({
        "id": "0190a7c4-0000-7000-8000-000000000001", "date": "20260216", "title": "제목",
        "content": {"type": "doc", "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": text}]}]},
        "version": version, "is_archived": false, "updated_at": "2026-02-16T00:00:00Z",
        "emotion": null, "summary_status": "none",
    })
}

pub fn conflict(version: u64, text: &str) -> ResponseTemplate {
    refuse(409, "diary_conflict", json!({"current": diary(version, text)}))
}

pub fn receipt(version: u64) -> Value {
    json!({"id": "0190a7c4-0000-7000-8000-000000000001", "version": version,
        "updated_at": "2026-02-16T00:00:00Z", "replayed": false})
}

pub const SUMMARY_ID: &str = "0190a7c4-0000-7000-8000-0000000000aa";

pub fn summary(revision: u64, status: &str) -> Value {
    json!({
        "id": SUMMARY_ID, "start": "20260216", "end": "20260222", "status": status,
        "revision": revision, "attempts": 1, "requested_at": "2026-02-23T00:00:00Z",
        "started_at": null, "finished_at": null, "reflection": null, "emotions": [],
        "failure": null,
    })
}
