//! The client without async.

use std::{thread, time::Duration};

use serde_json::json;
use shiori_sdk::{
    Outcome, Overwrite, Precondition, RetryPolicy, SummaryStatus, Version, Week, blocking::Client,
};
use tokio::runtime::Runtime;
use wiremock::{Request, ResponseTemplate};

use crate::script::{
    DIARY, SUMMARY_ID, Script, conflict, day, diary, ok, receipt, refuse, summary, tokens,
};

/// The scripted server runs on the runtime, and the blocking client beside it.
fn signed_in(
    answer: impl Fn(&Request, usize) -> ResponseTemplate + Send + Sync + 'static,
) -> (Runtime, Script, Client) {
    let runtime = Runtime::new().unwrap();
    let script = runtime.block_on(Script::of(answer));
    let client = script.builder().build_blocking().unwrap();
    client.auth().login("haru@example.com", "secret-pass-1").unwrap();
    (runtime, script, client)
}

#[test]
fn a_day_is_read_changed_and_saved() {
    let (_runtime, _script, client) = signed_in(|request, nth| match request.method.as_str() {
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
fn a_summary_is_asked_for_watched_and_waited_for() {
    let (_runtime, _script, client) = signed_in(|request, nth| {
        match (request.method.as_str(), request.url.path(), nth) {
            ("POST", ..) => ResponseTemplate::new(202).set_body_json(json!({"code": 202,
                "message": "", "data": {"id": SUMMARY_ID, "status": "queued", "poll_after_ms": 1000}})),
            (_, path, _) if path.ends_with("/events") => refuse(404, "not_found", json!(null)),
            (.., 0) => ok(summary(1, "queued")),
            _ => ok(summary(2, "completed")),
        }
    });
    let handle = client.summaries().request(Week::containing(day())).unwrap().into_handle();
    let id = handle.unwrap().id();
    let seen: Vec<_> =
        client.summaries().watch(id).map(|summary| summary.unwrap().status).collect();
    assert_eq!(seen, [SummaryStatus::Queued, SummaryStatus::Completed]);
    assert_eq!(client.summaries().wait(id).unwrap().status, SummaryStatus::Completed);
}

#[test]
fn clones_on_many_threads_renew_the_session_once() {
    let (_runtime, script, client) = signed_in(|request, _| match request.url.path() {
        "/api/auth/refresh" => tokens("second", 3600).set_delay(Duration::from_millis(50)),
        _ if request.headers["authorization"] == "Bearer second" => ok(diary(1, "글")),
        _ => refuse(401, "unauthorized", json!(null)),
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            let client = client.clone();
            scope.spawn(move || assert!(client.diaries().get(day()).unwrap().is_some()));
        }
    });
    assert_eq!(script.count("/api/auth/refresh"), 1);
}

#[test]
fn options_hold_for_the_calls_they_are_given_to() {
    let (_runtime, script, client) = signed_in(|_, _| refuse(503, "unavailable", json!(null)));
    let once = client.options().clone().with_retry_policy(RetryPolicy::never());
    client.with_options(once).diaries().get(day()).unwrap_err();
    assert_eq!(script.count(DIARY), 1);
    client.diaries().get(day()).unwrap_err();
    assert_eq!(script.count(DIARY), 1 + 3);
}
