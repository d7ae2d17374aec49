//! What the SDK tells its caller's log. In a program of its own: beside other tests, a span that one
//! of them meets first, without a subscriber, may stay off for this one.
#![cfg(feature = "client")]
#![allow(missing_docs, unreachable_pub, clippy::needless_pass_by_value, clippy::unwrap_used)]

#[allow(dead_code)] // shared with the other tests
#[path = "../it/script.rs"]
mod script;

use std::{
    io,
    sync::{Arc, Mutex},
};

use shiori_sdk::{Document, Draft, Precondition};
use tracing_subscriber::fmt::format::FmtSpan;

use script::{Script, conflict, day, receipt, refuse};

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
async fn trap_09_the_log_has_a_span_for_each_request_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let script = Script::of(|request, nth| match (request.method.as_str(), nth) {
        ("POST", 0) => refuse(503, "unavailable", serde_json::json!(null)),
        ("POST", 1) => conflict(1, "비밀 그들"),
        _ => script::ok(receipt(2)),
    })
    .await;
    let client = script.client().await;
    let named = client.options().clone().with_request_id("diary-import-7");
    let diaries = client.with_options(named).diaries();
    let secret = Draft::new("비밀 제목", Document::from_text("비밀 우리"));
    diaries.save(day(), secret, Precondition::IfAbsent).send().await.unwrap_err();
    assert!(script.seen().iter().all(|seen| seen.id == "diary-import-7"));

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
