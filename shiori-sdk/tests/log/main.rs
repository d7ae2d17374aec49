//! The log of the SDK. A separate test binary: in another one, a span that a test without a
//! subscriber enters first may stay disabled.
#![cfg(feature = "client")]
#![allow(missing_docs, unreachable_pub, clippy::needless_pass_by_value, clippy::unwrap_used)]

#[allow(dead_code)] // shared with the other tests
#[path = "../it/scripted_server.rs"]
mod scripted_server;

use std::{
    io,
    sync::{Arc, Mutex},
};

use shiori_sdk::{Document, Draft, Precondition};
use tracing_subscriber::fmt::format::FmtSpan;

use scripted_server::{ScriptedServer, conflict, day, error_response, receipt};

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_a_span_for_each_request_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let server = ScriptedServer::start(|request, nth| match (request.method.as_str(), nth) {
        ("POST", 0) => error_response(503, "unavailable", serde_json::json!(null)),
        ("POST", 1) => conflict(1, "비밀 그들"),
        _ => scripted_server::ok(receipt(2)),
    })
    .await;
    let client = server.client().await;
    let named = client.options().clone().with_request_id("diary-import-7");
    let diaries = client.with_options(named).diaries();
    let secret = Draft::new("비밀 제목", Document::from_text("비밀 우리"));
    diaries.save(day(), secret, Precondition::IfAbsent).send().await.unwrap_err();
    assert!(server.requests().iter().all(|request| request.id == "diary-import-7"));

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let span = log.lines().find(|line| line.contains("status_code=409") && line.contains("close"));
    let span = span.expect("the request has a span");
    for field in ["http.request.method=POST", "url.path=\"/api/diary/20260216\"", "attempts=2"] {
        assert!(span.contains(field), "{field} in {span}");
    }
    assert!(span.contains("request_id=\"diary-import-7\""), "{span}");
    for secret in ["비밀", "first", "cookie-", "secret-pass", "haru@"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
