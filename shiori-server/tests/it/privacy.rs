//! No log line contains diary text, a password or a token.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use shiori_sdk::{Document, Draft, Precondition};
use shiori_worker::{LogFormat, process::log_lines};
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt};

use crate::fixtures::{PASSWORD, day, fresh_email, new_client, week, write_week};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Captures the log of all crates at level TRACE and searches it. The subscriber is global to the
/// process, so the logs of concurrent tests are searched, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_contains_no_text_and_no_secret() {
    let captured = Captured::default();
    let filter: Targets = "trace,hyper=info,h2=info".parse().unwrap();
    let lines = log_lines(LogFormat::Text, false, captured.clone());
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = TestServer::start().await;
    let email = fresh_email();
    let client = new_client(&server.url());
    client.auth().signup(&email, PASSWORD, "별명비밀").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    client.auth().login(&email, "틀린비밀 pass-1").await.unwrap_err();
    client.auth().login(&email, PASSWORD).await.unwrap();
    client.auth().refresh().await.unwrap();
    write_week(&client, "본문비밀이다. 정말 행복했다.").await;
    let secret = Draft::new("제목비밀", Document::from_text("본문비밀 둘"));
    let conflict =
        client.diaries().save(day(16), secret, Precondition::IfAbsent).send().await.unwrap_err();
    let shown = format!("{conflict:?} {conflict} {:?} {client:?}", conflict.as_conflict());
    assert!(!shown.contains("비밀"), "{shown}");
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = summary.wait().await.unwrap();
    let reflection = summary.reflection.clone().unwrap();
    let shown = format!("{summary:?}");
    assert!(!shown.contains(&reflection), "{shown}");
    let raw = RawClient::sign_up(&server.url()).await;
    for body in [
        json!({"title": "제목비밀".repeat(50), "content": {"type": "doc"}}),
        json!({"title": "제목비밀", "content": {"type": "본문비밀"}}),
        json!({"title": "제목비밀", "content": "본문비밀", "version": "본문비밀"}),
    ] {
        assert!(raw.post("/api/diary/20260216", &body).await.status >= 400);
    }
    let internal = server.internal_token();
    server.stop().await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("request completed"), "requests are logged");
    for secret in
        ["비밀", "한글도 되는", "pass-1", &internal, &email, "Bearer ", "eyJ", "refresh_token="]
    {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
    assert!(!log.contains(&reflection), "the reflection is in the log");
}
