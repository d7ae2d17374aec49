//! A stand-in for a provider of language models: its HTTP is real, its mind is not.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{
    Stream, StreamExt,
    stream::{iter, repeat_with},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

/// What the provider does with each request.
#[derive(Debug, Clone, Copy)]
pub enum Mood {
    /// Answers after this time.
    Slow(Duration),
    /// Answers as soon as the gate gives a permit.
    Gated,
    /// Refuses with this status, and asks to wait for a second.
    Refuses(u16),
    /// Answers with something that is no completion.
    Babbles,
    /// Answers with a completion of nothing.
    Empty,
    /// Begins to answer, and its filter stops it.
    Filters,
    /// Begins to answer, and hangs up.
    BreaksOff,
    /// Answers a word at a time, and never comes to an end.
    Drips,
}

/// A provider at a port of its own.
pub struct Llm {
    url: String,
    minds: Arc<Minds>,
}

struct Minds {
    mood: Mood,
    gate: Semaphore,
    calls: AtomicU32,
    open: AtomicU32,
}

/// Counts a request as open until it is answered or given up.
struct Open(Arc<Minds>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Llm {
    pub async fn start(mood: Mood) -> Self {
        let minds = Arc::new(Minds {
            mood,
            gate: Semaphore::new(0),
            calls: AtomicU32::new(0),
            open: AtomicU32::new(0),
        });
        let router =
            Router::new().route("/v1/chat/completions", post(complete)).with_state(minds.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, minds }
    }

    /// The base URL of its API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Requests so far.
    pub fn calls(&self) -> u32 {
        self.minds.calls.load(Ordering::SeqCst)
    }

    /// Requests that are neither answered nor given up.
    pub fn open(&self) -> u32 {
        self.minds.open.load(Ordering::SeqCst)
    }

    /// Lets so many requests through the gate.
    pub fn answer(&self, count: usize) {
        self.minds.gate.add_permits(count);
    }
}

async fn complete(State(minds): State<Arc<Minds>>) -> impl IntoResponse {
    let call = minds.calls.fetch_add(1, Ordering::SeqCst) + 1;
    minds.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(minds.clone());
    match minds.mood {
        Mood::Slow(pause) => sleep(pause).await,
        Mood::Gated => minds.gate.acquire().await.unwrap().forget(),
        Mood::Refuses(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [("retry-after", "1")], Json(json!({}))).into_response();
        }
        Mood::Babbles => return "<html>garbage</html>".into_response(),
        Mood::Empty => return Json(json!({"choices": []})).into_response(),
        Mood::Filters => return stream(iter([Ok(word(Some("content_filter")))])),
        Mood::BreaksOff => {
            let broken = Err(io::ErrorKind::BrokenPipe.into());
            return stream(iter([Ok(word(None)), broken]));
        }
        Mood::Drips => {
            let drips = repeat_with(|| word(None)).then(|word| async {
                sleep(Duration::from_millis(50)).await;
                Ok(word)
            });
            return stream(drips);
        }
    }
    drop(open);
    let text = format!("{call}번째로 쓴 글이에요.");
    Json(json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))
        .into_response()
}

/// An answer that comes in pieces.
fn stream(words: impl Stream<Item = io::Result<String>> + Send + 'static) -> Response {
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(words)).into_response()
}

fn word(finish_reason: Option<&str>) -> String {
    let choice = json!({"delta": {"content": "하루가 "}, "finish_reason": finish_reason});
    format!("data: {}\n\n", json!({"choices": [choice]}))
}
