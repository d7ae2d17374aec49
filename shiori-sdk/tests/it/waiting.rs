//! Waiting for a summary: every trap that pollers fell into.

use std::{sync::mpsc, time::Duration};

use futures_util::StreamExt;
use serde_json::json;
use shiori_sdk::{ErrorKind, PollingPolicy, Requested, SummaryHandle, SummaryStatus, Week};
use tokio::time::advance;
use wiremock::{Request, ResponseTemplate};

use crate::script::{SUMMARY_ID, Script, day, ok, refuse, summary};

fn path() -> String {
    format!("/api/diary/summary/{SUMMARY_ID}")
}

async fn handle(script: &Script, policy: PollingPolicy) -> SummaryHandle {
    let client = script.signed_in(script.builder().polling_policy(policy)).await;
    client.summaries().handle(SUMMARY_ID.parse().unwrap())
}

/// Pauses of milliseconds where the default has seconds. Their growth is tested where it is
/// computed.
fn brisk() -> PollingPolicy {
    let mut policy = PollingPolicy::default();
    policy.first_interval = Duration::from_millis(10);
    policy.max_interval = Duration::from_millis(30);
    policy
}

fn is_events(request: &Request) -> bool {
    request.url.path().ends_with("/events")
}

fn events(summaries: &[serde_json::Value]) -> ResponseTemplate {
    let text: String = summaries
        .iter()
        .map(|summary| {
            format!(":ping\n\nevent: status\nid: {}\ndata: {summary}\n\n", summary["revision"])
        })
        .collect();
    ResponseTemplate::new(200).set_body_raw(text, "text/event-stream")
}

#[tokio::test]
async fn trap_06_the_first_question_does_not_wait() {
    let script = Script::of(|_, _| ok(summary(3, "completed"))).await;
    let handle = handle(&script, PollingPolicy::default()).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    assert_eq!(script.seen().len(), 1);
    assert_eq!(script.seen()[0].query, "", "asked without a wait");
}

#[tokio::test]
async fn trap_06_long_polls_that_come_back_empty_are_no_failure() {
    // The server holds each question as long as it was asked to, and twice has no news.
    let script = Script::of(|request, nth| {
        let holds = request.url.query().is_some_and(|query| query.contains("wait="));
        let answer = match nth {
            0..3 => ok(summary(1, "queued")),
            3 => ok(summary(2, "running")),
            _ => ok(summary(3, "completed")),
        };
        if holds { answer.set_delay(Duration::from_millis(60)) } else { answer }
    })
    .await;
    let policy = PollingPolicy::default().with_long_poll(Duration::from_millis(60));
    let handle = handle(&script, policy).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    let seen = script.seen();
    assert_eq!(seen.len(), 5, "asked again at once each time");
    assert!(seen[1].query.contains("after=1") && seen[4].query.contains("after=2"));
}

#[tokio::test]
async fn a_server_that_does_not_hold_is_asked_now_and_then() {
    let script = Script::of(|_, nth| {
        ok(if nth < 6 { summary(1, "queued") } else { summary(2, "completed") })
    })
    .await;
    let handle = handle(&script, brisk()).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    assert_eq!(script.seen().len(), 7);
}

/// Time that moves by hand alone: paused time stands still while a blocking task runs.
struct StoppedClock {
    _running: mpsc::Sender<()>,
}

impl StoppedClock {
    fn stop() -> Self {
        tokio::time::pause();
        let (running, ended) = mpsc::channel::<()>();
        // A test that fails leaves it behind, and ends all the same.
        tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_secs(60)));
        Self { _running: running }
    }
}

/// Returns once the script was asked so often.
async fn asked(script: &Script, times: usize) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while script.seen().len() < times {
        assert!(std::time::Instant::now() < limit, "asked {} times", script.seen().len());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn trap_06_a_server_that_is_silent_holds_nobody_past_the_deadline() {
    let script = Script::of(|_, nth| {
        let answer = ok(summary(1, "queued"));
        if nth == 0 { answer } else { answer.set_delay(Duration::from_secs(3600)) }
    })
    .await;
    let handle = handle(&script, PollingPolicy::default()).await;
    let _clock = StoppedClock::stop();
    let waiting = tokio::spawn(async move { handle.wait_for(Duration::from_secs(30)).await });
    asked(&script, 2).await;
    advance(Duration::from_secs(29)).await;
    assert!(!waiting.is_finished());
    // The runtime's timers tick in milliseconds.
    advance(Duration::from_millis(1001)).await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.summary_id()), (ErrorKind::Timeout, SUMMARY_ID.parse().ok()));
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_and_can_be_resumed() {
    let script = Script::of(|_, _| ok(summary(1, "queued"))).await;
    let handle = handle(&script, brisk()).await;
    let error = handle.wait_for(Duration::from_millis(300)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    assert_eq!(error.summary_id(), Some(handle.id()));
    // Had it not paused, it would have asked hundreds of times.
    assert!(script.seen().len() < 40, "{}", script.seen().len());
}

#[tokio::test]
async fn a_server_that_is_away_for_a_while_is_waited_for() {
    let script = Script::of(|_, nth| match nth {
        0 => ok(summary(1, "queued")),
        1..8 => refuse(503, "unavailable", json!(null)),
        _ => ok(summary(2, "completed")),
    })
    .await;
    let handle = handle(&script, brisk()).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
}

#[tokio::test]
async fn a_summary_that_is_none_is_not_waited_for() {
    let script = Script::of(|_, _| refuse(404, "not_found", json!(null))).await;
    let handle = handle(&script, PollingPolicy::default()).await;
    assert_eq!(handle.wait().await.unwrap_err().kind(), ErrorKind::NotFound);
    let watched: Vec<_> = handle.watch().collect().await;
    assert_eq!(watched.len(), 1, "the error is the last that is told");
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test]
async fn a_broken_event_stream_is_taken_up_where_it_broke() {
    let script = Script::of(|request, nth| match (is_events(request), nth) {
        (false, _) => ok(summary(1, "queued")),
        (true, 0) => events(&[summary(2, "running"), summary(2, "running")]),
        (true, _) => events(&[summary(3, "completed")]),
    })
    .await;
    let handle = handle(&script, PollingPolicy::default()).await;
    let seen: Vec<_> = handle.watch().map(|one| one.unwrap().revision.get()).collect().await;
    assert_eq!(seen, [1, 2, 3], "each once");
    assert_eq!(script.count(&format!("{}/events", path())), 2);
}

#[tokio::test]
async fn without_an_event_stream_the_watcher_polls() {
    let script = Script::of(|request, nth| match (is_events(request), nth) {
        (true, 0) => ResponseTemplate::new(404),
        (true, _) => ResponseTemplate::new(200).set_body_string("<html></html>"),
        (false, 0) => ok(summary(1, "queued")),
        (false, 1) => ok(summary(2, "running")),
        (false, _) => ok(summary(3, "completed")),
    })
    .await;
    let handle = handle(&script, PollingPolicy::default()).await;
    let seen: Vec<_> = handle.watch().map(|one| one.unwrap().revision.get()).collect().await;
    assert_eq!(seen, [1, 2, 3]);
}

/// A stream that ends without a word each time is not opened again and again without a pause.
#[tokio::test]
async fn a_stream_that_says_nothing_is_alternated_with_polls() {
    let script = Script::of(|request, nth| match (is_events(request), nth) {
        (true, _) => events(&[]),
        (false, 0..5) => ok(summary(1, "queued")),
        (false, _) => ok(summary(2, "completed")),
    })
    .await;
    let handle = handle(&script, brisk()).await;
    let seen: Vec<_> = handle.watch().map(|one| one.unwrap().revision.get()).collect().await;
    assert_eq!(seen, [1, 2]);
    let opened = script.count(&format!("{}/events", path()));
    assert!(opened <= 6, "opened {opened} times");
}

#[tokio::test]
async fn a_request_tells_what_became_of_it() {
    let receipt = json!({"id": SUMMARY_ID, "status": "queued", "poll_after_ms": 1000});
    let week = Week::starting(day()).unwrap();
    for (answer, expected) in [
        (ok(receipt.clone()), "done"),
        (
            ResponseTemplate::new(202)
                .set_body_json(json!({"code": 202, "message": "", "data": receipt})),
            "accepted",
        ),
        (refuse(422, "week_incomplete", json!({"missing_dates": ["20260217"]})), "incomplete"),
    ] {
        let script = Script::of(move |_, _| answer.clone()).await;
        let requested = script.client().await.summaries().request(week).await.unwrap();
        let told = match &requested {
            Requested::AlreadyDone(_) => "done",
            Requested::Accepted(_) => "accepted",
            Requested::Incomplete { missing } if missing.len() == 1 => "incomplete",
            Requested::Incomplete { .. } => "wrong",
        };
        assert_eq!(told, expected);
        match requested.into_handle() {
            Ok(handle) => assert_eq!(handle.id().to_string(), SUMMARY_ID),
            Err(error) => assert_eq!(error.missing_dates().len(), 1),
        }
    }
}
