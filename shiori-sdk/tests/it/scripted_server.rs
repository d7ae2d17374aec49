//! An HTTP server whose responses are scripted by the test, and which records its requests.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shiori_sdk::{Client, ClientBuilder, Date};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

type ResponseFn = Box<dyn Fn(&Request, usize) -> ResponseTemplate + Send + Sync>;

/// The server.
pub struct ScriptedServer {
    server: MockServer,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
}

/// A request that the server received.
#[derive(Clone)]
pub struct RecordedRequest {
    pub method: String,
    pub path: String,
    pub query: String,
    pub token: Option<String>,
    pub cookie: Option<String>,
    pub id: String,
    pub gateway_key: Option<String>,
    pub body: Value,
}

struct Responder {
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
    respond: ResponseFn,
}

impl Respond for Responder {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let header =
            |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let path = request.url.path().to_owned();
        let mut requests = self.requests.lock().unwrap();
        let nth = requests.iter().filter(|earlier| earlier.path == path).count();
        requests.push(RecordedRequest {
            method: request.method.to_string(),
            path,
            query: request.url.query().unwrap_or_default().to_owned(),
            token: header("authorization"),
            cookie: header("cookie"),
            id: header("x-request-id").unwrap_or_default(),
            gateway_key: header("x-gateway-key"),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        });
        drop(requests);
        (self.respond)(request, nth)
    }
}

impl ScriptedServer {
    /// Starts a server. A login returns the token `first`, valid for an hour; `respond` returns all
    /// other responses. Its second argument is the number of earlier requests for the same path.
    pub async fn start(
        respond: impl Fn(&Request, usize) -> ResponseTemplate + Send + Sync + 'static,
    ) -> Self {
        let server = MockServer::start().await;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let respond: ResponseFn = Box::new(move |request, nth| match request.url.path() {
            "/api/user/login" => tokens("first", 3600),
            _ => respond(request, nth),
        });
        let responder = Responder { requests: requests.clone(), respond };
        Mock::given(any()).respond_with(responder).mount(&server).await;
        Self { server, requests }
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
        self.requests.lock().unwrap().clear();
        client
    }

    /// The requests since the login.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// The number of requests for this path.
    pub fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|request| request.path == path).count()
    }
}

pub fn day() -> Date {
    Date::new(2026, 2, 16).unwrap()
}

pub const DIARY: &str = "/api/diary/20260216";

pub fn ok(data: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"code": 200, "message": "", "data": data}))
}

pub fn error_response(status: u16, error: &str, data: Value) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({"code": status, "message": "", "data": data, "error": error}))
}

pub fn tokens(token: &str, expires_in: u64) -> ResponseTemplate {
    ok(json!({"token": token, "expires_in": expires_in}))
        .insert_header("set-cookie", format!("refresh_token=cookie-{token}; Path=/api/auth"))
}

/// A diary with this version and text, as JSON.
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
    error_response(409, "diary_conflict", json!({"current": diary(version, text)}))
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
