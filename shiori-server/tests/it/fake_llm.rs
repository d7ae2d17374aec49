//! A fake provider of language models over HTTP.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{
    Stream, StreamExt,
    stream::{iter, once, repeat_with},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

/// The behaviour of the provider.
#[derive(Debug, Clone, Copy)]
pub enum Behavior {
    /// Responds after this time.
    Slow(Duration),
    /// Responds when the gate grants a permit.
    Gated,
    /// Responds with this status and a `Retry-After` of one second.
    Status(u16),
    /// Responds with a body that is not a completion.
    Garbage,
    /// Responds with a completion without choices.
    Empty,
    /// Streams a word and ends with `content_filter`.
    ContentFilter,
    /// Streams a word and closes the connection.
    Disconnect,
    /// Streams words indefinitely.
    NeverEnds,
    /// Streams this text word by word with this pause after each.
    Streams(&'static str, Duration),
    /// Streams this text, and ends when the gate grants a permit.
    StreamsGated(&'static str),
}

/// A provider on its own port.
pub struct FakeLlm {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    behavior: Behavior,
    gate: Semaphore,
    calls: AtomicU32,
    open: AtomicU32,
    traces: Mutex<Vec<String>>,
    bodies: Mutex<Vec<String>>,
}

/// Counts a request as open until it ends or is cancelled.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeLlm {
    pub async fn start(behavior: Behavior) -> Self {
        let shared = Arc::new(Shared {
            behavior,
            gate: Semaphore::new(0),
            calls: AtomicU32::new(0),
            open: AtomicU32::new(0),
            traces: Mutex::default(),
            bodies: Mutex::default(),
        });
        let router =
            Router::new().route("/v1/chat/completions", post(complete)).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// The base URL of its API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of all requests.
    pub fn calls(&self) -> u32 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// The number of requests in progress.
    pub fn open(&self) -> u32 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The `traceparent` headers of all requests.
    pub fn traces(&self) -> Vec<String> {
        self.shared.traces.lock().unwrap().clone()
    }

    /// The bodies of all requests.
    pub fn bodies(&self) -> Vec<String> {
        self.shared.bodies.lock().unwrap().clone()
    }

    /// Grants this many permits.
    pub fn release(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }
}

async fn complete(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> impl IntoResponse {
    shared.bodies.lock().unwrap().push(body);
    if let Some(trace) = headers.get("traceparent") {
        shared.traces.lock().unwrap().push(trace.to_str().unwrap().to_owned());
    }
    let call = shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
    shared.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(shared.clone());
    match shared.behavior {
        Behavior::Slow(pause) => sleep(pause).await,
        Behavior::Gated => shared.gate.acquire().await.unwrap().forget(),
        Behavior::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [("retry-after", "1")], Json(json!({}))).into_response();
        }
        Behavior::Garbage => return "<html>garbage</html>".into_response(),
        Behavior::Empty => return Json(json!({"choices": []})).into_response(),
        Behavior::ContentFilter => return stream(iter([Ok(word(Some("content_filter")))])),
        Behavior::Disconnect => {
            let broken = Err(io::ErrorKind::BrokenPipe.into());
            return stream(iter([Ok(word(None)), broken]));
        }
        Behavior::NeverEnds => {
            let drips = repeat_with(|| word(None)).then(|word| async {
                sleep(Duration::from_millis(50)).await;
                Ok(word)
            });
            return stream(drips);
        }
        Behavior::Streams(text, pause) => {
            let words = text.split_inclusive(' ').map(content).chain([finished()]);
            let words = iter(words).then(move |word| async move {
                sleep(pause).await;
                Ok(word)
            });
            return stream(words.map(move |word| {
                let _open = &open;
                word
            }));
        }
        Behavior::StreamsGated(text) => {
            let words = iter(text.split_inclusive(' ').map(content).map(Ok));
            let end = once(async move {
                open.0.gate.acquire().await.unwrap().forget();
                drop(open);
                Ok(finished())
            });
            return stream(words.chain(end));
        }
    }
    drop(open);
    let text = format!("{call}번째로 쓴 글이에요.");
    Json(json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))
        .into_response()
}

/// A streamed response.
fn stream(words: impl Stream<Item = io::Result<String>> + Send + 'static) -> Response {
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(words)).into_response()
}

fn word(finish_reason: Option<&str>) -> String {
    chunk("하루가 ", finish_reason)
}

fn content(text: &str) -> String {
    chunk(text, None)
}

fn finished() -> String {
    chunk("", Some("stop"))
}

fn chunk(content: &str, finish_reason: Option<&str>) -> String {
    let choice = json!({"delta": {"content": content}, "finish_reason": finish_reason});
    format!("data: {}\n\n", json!({"choices": [choice]}))
}
