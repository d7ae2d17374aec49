//! Headers and hooks of the embedding program.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use shiori_sdk::{Attempt, AttemptOutcome, ErrorKind, ExtraHeaders, RequestHook};
use tokio::time::timeout;
use wiremock::ResponseTemplate;

use crate::scripted_server::{DIARY, ScriptedServer, day, diary, error_response, ok, tokens};

/// Records each attempt and its outcome, and adds the number of the attempt to the header.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl RequestHook for Recorder {
    fn before(&self, attempt: &Attempt<'_>, headers: &mut ExtraHeaders) {
        headers.insert("x-gateway-key", &format!("key {}", attempt.number())).unwrap();
        assert!(headers.insert("authorization", "Bearer other").is_err());
        let line = format!("{} {} {}", attempt.method(), attempt.route(), attempt.number());
        self.0.lock().unwrap().push(line);
    }

    fn after(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, _: Duration) {
        let how = match outcome {
            AttemptOutcome::Succeeded(_) => "succeeded".to_owned(),
            AttemptOutcome::Failed(error) => {
                // An event stream's error has no id, because the caller reads it.
                assert!(error.request_id().is_none_or(|id| id == attempt.request_id()));
                format!("{:?}", error.kind())
            }
            _ => "cancelled".to_owned(),
        };
        self.0.lock().unwrap().push(format!("{how} {:?}", outcome.status_code()));
    }
}

#[tokio::test]
async fn hooks_observe_each_attempt_and_add_headers_to_it() {
    let server = ScriptedServer::start(|request, nth| match (request.url.path(), nth) {
        ("/api/auth/refresh", _) => tokens("second", 3600),
        (DIARY, 0) => error_response(503, "unavailable", json!(null)),
        (DIARY, 1) => error_response(401, "unauthorized", json!(null)),
        _ => ok(diary(1, "비가 왔다")),
    })
    .await;
    let recorder = Recorder::default();
    let client = server.signed_in(server.builder().hook(recorder.clone())).await;
    assert_eq!(recorder.take(), ["POST /api/user/login 1", "succeeded Some(200)"]);
    client.diaries().get(day()).await.unwrap().unwrap();
    let expected = [
        "GET /api/diary/{date} 1",
        "Unavailable Some(503)",
        "GET /api/diary/{date} 2",
        "SignedOut Some(401)",
        "POST /api/auth/refresh 1",
        "succeeded Some(200)",
        "GET /api/diary/{date} 1",
        "succeeded Some(200)",
    ];
    assert_eq!(recorder.take(), expected);
    let keys: Vec<_> = server.requests().into_iter().map(|it| it.gateway_key.unwrap()).collect();
    assert_eq!(keys, ["key 1", "key 2", "key 1", "key 1"]);
    assert!(server.requests()[0].token.as_ref().unwrap().starts_with("Bearer first"));
}

#[tokio::test]
async fn a_cancelled_attempt_has_an_outcome() {
    let server =
        ScriptedServer::start(|_, _| ok(diary(1, "비가 왔다")).set_delay(Duration::from_secs(600)))
            .await;
    let recorder = Recorder::default();
    let client = server.client().await;
    let options = client.options().clone().with_hook(Arc::new(recorder.clone()));
    let observed = client.with_options(options);
    timeout(Duration::from_millis(50), observed.diaries().get(day())).await.unwrap_err();
    assert_eq!(recorder.take(), ["GET /api/diary/{date} 1", "cancelled None"]);
}

#[tokio::test]
async fn headers_are_sent_by_the_calls_that_have_them() {
    let server = ScriptedServer::start(|_, _| ok(diary(1, "비가 왔다"))).await;
    let mut headers = ExtraHeaders::default();
    headers.insert("x-gateway-key", "of the client").unwrap();
    let client = server.signed_in(server.builder().headers(headers)).await;
    client.diaries().get(day()).await.unwrap();
    let options = client.options().clone().with_header("X-Gateway-Key", "of the call").unwrap();
    assert!(!format!("{options:?}").contains("of the"));
    client.with_options(options).diaries().get(day()).await.unwrap();
    let keys: Vec<_> = server.requests().into_iter().filter_map(|it| it.gateway_key).collect();
    assert_eq!(keys, ["of the client", "of the call"]);
    let refused = client.options().clone().with_header("cookie", "a=b").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn an_event_stream_is_observed() {
    let server = ScriptedServer::start(|_, _| ResponseTemplate::new(500)).await;
    let recorder = Recorder::default();
    let client = server.signed_in(server.builder().hook(recorder.clone())).await;
    recorder.take();
    let export = client.account().export();
    assert!(futures_util::StreamExt::next(&mut Box::pin(export)).await.unwrap().is_err());
    let attempts = recorder.take();
    assert_eq!(attempts[..2], ["GET /api/user/export 1", "InvalidResponse Some(500)"]);
}
