//! The log of the real program: a line per request, and the trace of an application.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use shiori_sdk::CallOptions;
use shiori_worker::{
    Pipeline,
    summarize::{OpenAiConfig, OpenAiSummarizer},
};

use crate::{
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, day, fresh_email, new_client, week, write_week},
    process::Process,
    raw_client::RawClient,
    test_server::TestServer,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// A server that logs in this format.
async fn server(format: &str, data: &tempfile::TempDir) -> Process {
    let data_dir = data.path().to_str().unwrap();
    Process::server(&[("SHIORI_DATA_DIR", data_dir), ("SHIORI_LOG_FORMAT", format)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_line_with_its_route_and_the_hash_of_its_user() {
    let data = tempfile::tempdir().unwrap();
    let server = server("json", &data).await;
    let client = new_client(server.url());
    let email = fresh_email();
    client.auth().signup(&email, PASSWORD, "하루").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    let user = client.account().get().await.unwrap().user_id.to_string();
    let traced = client.options().clone().with_header("traceparent", TRACE).unwrap();
    for options in [CallOptions::default(), traced] {
        assert!(client.with_options(options).diaries().get(day(16)).await.unwrap().is_none());
    }
    let log = server.terminate().await;

    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<_> =
        lines.iter().filter(|line| line["message"] == "request completed").collect();
    let read: Vec<_> =
        requests.iter().filter(|line| line["span"]["route"] == "/api/diary/{date}").collect();
    assert_eq!(read.len(), 2, "{log:#?}");
    for line in &read {
        assert_eq!((&line["level"], &line["status"]), (&json!("INFO"), &json!(200)));
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
        assert_eq!(line["span"]["method"], "GET");
        assert!(!line["span"]["request_id"].as_str().unwrap().is_empty(), "{line}");
        let hash = line["span"]["user"].as_str().unwrap();
        assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        assert_eq!(line["span"]["user"], read[0]["span"]["user"]);
    }
    assert_eq!(
        (&read[0]["span"]["trace_id"], &read[1]["span"]["trace_id"]),
        (&Value::Null, &json!(TRACE_ID))
    );
    let log = log.join("\n");
    assert!(!log.contains("20260216") && !log.contains(&user), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_input_of_a_client_begins_a_line_of_text() {
    let data = tempfile::tempdir().unwrap();
    let server = server("text", &data).await;
    let raw = RawClient::sign_up(server.url()).await;
    let hostile = "a\n1970-01-01T00:00:00Z ERROR forged\r\u{1b}[31m";
    let body = json!({"title": hostile, "content": hostile, "version": hostile, hostile: hostile});
    assert!(raw.post("/api/diary/20260216", &body).await.status >= 400);
    let encoded = "a%0a1970-01-01T00:00:00Z%20ERROR%20forged%0d%1b%5b31m";
    for path in [
        format!("/api/diary/{encoded}"),
        format!("/{encoded}"),
        format!("/api/diary?{encoded}={encoded}"),
    ] {
        assert!(raw.post(&path, &body).await.status >= 400);
    }
    let log = server.terminate().await;
    assert!(log.iter().any(|line| line.contains("route=/api/diary/{date}")), "{log:#?}");
    for line in &log {
        let is_of_the_log = line.starts_with("20") && !line.contains("forged");
        assert!(is_of_the_log && !line.contains(char::is_control), "{line:?}");
    }
}

/// From the application over the server's row and the worker to the language model.
#[tokio::test(flavor = "multi_thread")]
async fn the_language_model_receives_the_trace_of_the_application() {
    let llm = FakeLlm::start(Behavior::Slow(Duration::ZERO)).await;
    let config = OpenAiConfig { base_url: llm.url().to_owned(), ..OpenAiConfig::default() };
    let summarizer = OpenAiSummarizer::new(config).unwrap();
    let server = TestServer::with_config(|config| {
        config.pipeline = Pipeline { summarizer: Arc::new(summarizer), ..Pipeline::builtin() };
    })
    .await;
    for (trace, expected) in [(TRACE, &[TRACE][..]), ("00-hostile", &[TRACE])] {
        let client = server.client().await;
        write_week(&client, "조용한 하루였다").await;
        let options = client.options().clone().with_header("traceparent", trace).unwrap();
        let handle = client.with_options(options).summaries().request(week()).await.unwrap();
        handle.into_handle().unwrap().wait().await.unwrap();
        assert_eq!(llm.traces(), expected, "invalid values are ignored");
    }
    assert_eq!(llm.calls(), 2);
    server.stop().await;
}
