//! The client without async.

use std::{thread, time::Duration};

use serde_json::json;
use shiori_sdk::{
    Outcome, Overwrite, PollingPolicy, Precondition, RetryPolicy, SummaryStatus, Version, Week,
    blocking::Client,
};
use tokio::runtime::{self, Runtime};
use wiremock::{Request, ResponseTemplate};

use crate::scripted_server::{
    DIARY, SUMMARY_ID, ScriptedServer, conflict, day, diary, error_response, ok, receipt, summary,
    tokens,
};

/// The server runs on the runtime, the blocking client outside it.
fn signed_in(
    answer: impl Fn(&Request, usize) -> ResponseTemplate + Send + Sync + 'static,
) -> (Runtime, ScriptedServer, Client) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(ScriptedServer::start(answer));
    let client = server.builder().build_blocking().unwrap();
    client.auth().login("haru@example.com", "secret-pass-1").unwrap();
    (runtime, server, client)
}

#[test]
fn an_update_reads_changes_and_saves_a_day() {
    let (_runtime, _server, client) = signed_in(|request, nth| match request.method.as_str() {
        "GET" => ok(diary(4, "글")),
        _ if nth == 1 => conflict(5, "남의 글"),
        _ => ok(receipt(6)),
    });
    let saved = client.diaries().update(day(), |mut draft| {
        draft.content.push_paragraph("한 줄");
        draft
    });
    let saved = saved.unwrap();
    assert_eq!(saved.draft.content.block_texts(), ["남의 글", "한 줄"]);
    let read = Precondition::IfVersion(Version::new(4));
    let saved = client.diaries().save(day(), saved.draft, read).on_conflict(Overwrite).send();
    assert_eq!(saved.unwrap().outcome, Outcome::Updated);
}

#[test]
fn a_blocking_client_can_be_built_used_and_dropped_inside_a_runtime() {
    let (_runtime, server, _client) = signed_in(|_, _| ok(diary(4, "글")));
    for mut flavor in [runtime::Builder::new_current_thread(), runtime::Builder::new_multi_thread()]
    {
        flavor.enable_all().build().unwrap().block_on(async {
            let client = server.builder().build_blocking().unwrap();
            client.auth().login("haru@example.com", "secret-pass-1").unwrap();
            let diary = client.diaries().get(day()).unwrap().unwrap();
            assert_eq!(diary.version, Version::new(4));
        });
    }
}

#[test]
fn a_summary_is_requested_watched_and_awaited() {
    let (_runtime, _server, client) = signed_in(|request, nth| {
        match (request.method.as_str(), request.url.path(), nth) {
            ("POST", ..) => ResponseTemplate::new(202).set_body_json(json!({"code": 202,
                "message": "", "data": {"id": SUMMARY_ID, "status": "queued", "poll_after_ms": 1000}})),
            (_, path, _) if path.ends_with("/events") => error_response(404, "not_found", json!(null)),
            (.., 0) => ok(summary(1, "queued")),
            _ => ok(summary(2, "completed")),
        }
    });
    let handle = client.summaries().request(Week::containing(day())).unwrap().into_handle();
    let id = handle.unwrap().id();
    let statuses: Vec<_> = client
        .summaries()
        .watch(id)
        .map(|step| step.unwrap().into_summary().unwrap().status)
        .collect();
    assert_eq!(statuses, [SummaryStatus::Queued, SummaryStatus::Completed]);
    assert_eq!(client.summaries().wait(id).unwrap().status, SummaryStatus::Completed);
}

#[test]
fn clones_on_many_threads_renew_the_session_once() {
    let (_runtime, server, client) = signed_in(|request, _| match request.url.path() {
        "/api/auth/refresh" => tokens("second", 3600).set_delay(Duration::from_millis(50)),
        _ if request.headers["authorization"] == "Bearer second" => ok(diary(1, "글")),
        _ => error_response(401, "unauthorized", json!(null)),
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            let client = client.clone();
            scope.spawn(move || assert!(client.diaries().get(day()).unwrap().is_some()));
        }
    });
    assert_eq!(server.count("/api/auth/refresh"), 1);
}

#[test]
fn options_apply_to_the_calls_of_their_client() {
    let (_runtime, server, client) =
        signed_in(|_, _| error_response(503, "unavailable", json!(null)));
    let once = client.options().clone().with_retry_policy(RetryPolicy::never());
    client.with_options(once).diaries().get(day()).unwrap_err();
    assert_eq!(server.count(DIARY), 1);
    client.diaries().get(day()).unwrap_err();
    assert_eq!(server.count(DIARY), 1 + 3);
}

#[test]
fn the_longest_timeouts_do_not_panic() {
    let (_runtime, _server, client) = signed_in(|request, _| match request.url.path() {
        DIARY => ok(diary(1, "글")),
        _ => ok(summary(2, "completed")),
    });
    let polling = PollingPolicy::default().with_deadline(Duration::MAX);
    let options = client.options().clone().with_polling_policy(polling);
    let client = client
        .with_options(options.with_attempt_timeout(Duration::MAX).with_call_timeout(Duration::MAX));
    assert!(client.diaries().get(day()).unwrap().is_some());
    let summary = client.summaries().wait(SUMMARY_ID.parse().unwrap()).unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed);
}
