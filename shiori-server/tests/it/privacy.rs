//! No log line contains diary text, a password or a token.

use serde_json::json;
use shiori_sdk::{Document, Draft, Precondition};

use crate::{
    fixtures::{PASSWORD, day, fresh_email, new_client, week, write_week},
    raw_client::RawClient,
    test_log::test_log,
    test_server::TestServer,
};

/// The log has the lines of concurrent tests, too. `scripts/search_logs.py` searches those of all tests.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_contains_no_text_and_no_secret() {
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

    let log = test_log().text();
    assert!(log.contains("request completed"), "requests are logged");
    for secret in
        ["비밀", "한글도 되는", "pass-1", &internal, &email, "Bearer ", "eyJ", "refresh_token="]
    {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
    assert!(!log.contains(&reflection), "the reflection is in the log");
}
