//! Waiting for a summary.

use std::{sync::mpsc, time::Duration};

use futures_util::StreamExt;
use serde_json::json;
use shiori_sdk::{
    ErrorKind, FailureKind, PollingPolicy, ProgressPhase, Requested, SummaryHandle, SummaryStatus,
    SummaryStep, Week,
};
use tokio::time::advance;
use wiremock::{Request, ResponseTemplate};

use crate::scripted_server::{SUMMARY_ID, ScriptedServer, day, error_response, ok, summary};

fn path() -> String {
    format!("/api/diary/summary/{SUMMARY_ID}")
}

async fn handle(server: &ScriptedServer, policy: PollingPolicy) -> SummaryHandle {
    let client = server.signed_in(server.builder().polling_policy(policy)).await;
    client.summaries().handle(SUMMARY_ID.parse().unwrap())
}

/// Pauses of milliseconds instead of seconds. Their growth has a unit test.
fn short_pauses() -> PollingPolicy {
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

/// The revisions of the summaries that a watch yields.
async fn revisions(handle: &SummaryHandle) -> Vec<u64> {
    let steps = handle.watch().map(|step| step.unwrap().into_summary().unwrap());
    steps.map(|summary| summary.revision.get()).collect().await
}

#[tokio::test]
async fn the_first_poll_does_not_wait() {
    let server = ScriptedServer::start(|_, _| ok(summary(3, "completed"))).await;
    let handle = handle(&server, PollingPolicy::default()).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    assert_eq!(server.requests().len(), 1);
    assert_eq!(server.requests()[0].query, "", "the first poll does not wait");
}

/// A summary of a newer server, with unknown values and fields.
fn newer_summary(revision: u64) -> serde_json::Value {
    let mut summary = summary(revision, "paused");
    summary["progress"] = json!({"phase": "reviewing", "characters": 7, "reviewer": {"id": 1}});
    summary["failure"] = json!({"kind": "quota_exceeded", "message": "실패", "quota": 9});
    summary["emotions"] = json!([
        {"date": "20260216", "label": "희망", "confidence": 0.9, "distribution": {"희망": 0.9}},
    ]);
    summary["pages"] = json!([1, 2]);
    summary
}

#[tokio::test]
async fn waiting_continues_after_an_unknown_status() {
    let server = ScriptedServer::start(|_, nth| {
        ok(if nth < 2 { newer_summary(2) } else { summary(3, "completed") })
    })
    .await;
    let handle = handle(&server, short_pauses()).await;
    let polled = handle.poll().await.unwrap();
    assert_eq!(polled.status, SummaryStatus::Unknown);
    assert_eq!(polled.failure.unwrap().kind, FailureKind::Unknown);
    assert_eq!(polled.progress.unwrap().phase, ProgressPhase::Unknown);
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn watching_continues_after_an_unknown_status() {
    let server = ScriptedServer::start(|request, _| {
        if is_events(request) {
            events(&[newer_summary(2), summary(3, "completed")])
        } else {
            ok(summary(1, "queued"))
        }
    })
    .await;
    let watch = handle(&server, short_pauses()).await.watch();
    let statuses: Vec<_> =
        watch.map(|step| step.unwrap().into_summary().unwrap().status).collect().await;
    let expected = [SummaryStatus::Queued, SummaryStatus::Unknown, SummaryStatus::Completed];
    assert_eq!(statuses, expected);
}

#[tokio::test]
async fn long_polls_without_a_change_are_not_failures() {
    // The server waits as long as requested, and twice returns no change.
    let server = ScriptedServer::start(|request, nth| {
        let waits = request.url.query().is_some_and(|query| query.contains("wait="));
        let answer = match nth {
            0..3 => ok(summary(1, "queued")),
            3 => ok(summary(2, "running")),
            _ => ok(summary(3, "completed")),
        };
        if waits { answer.set_delay(Duration::from_millis(60)) } else { answer }
    })
    .await;
    let policy = PollingPolicy::default().with_long_poll(Duration::from_millis(60));
    let handle = handle(&server, policy).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    let requests = server.requests();
    assert_eq!(requests.len(), 5, "the next poll follows at once");
    assert!(requests[1].query.contains("after=1") && requests[4].query.contains("after=2"));
}

#[tokio::test]
async fn without_long_polling_the_sdk_pauses_between_polls() {
    let server = ScriptedServer::start(|_, nth| {
        ok(if nth < 6 { summary(1, "queued") } else { summary(2, "completed") })
    })
    .await;
    let handle = handle(&server, short_pauses()).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    assert_eq!(server.requests().len(), 7);
}

/// Time that only `advance` changes: tokio does not advance paused time during a blocking task.
struct StoppedClock {
    _running: mpsc::Sender<()>,
}

impl StoppedClock {
    fn stop() -> Self {
        tokio::time::pause();
        let (running, ended) = mpsc::channel::<()>();
        // The timeout ends the task of a failed test.
        tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_secs(60)));
        Self { _running: running }
    }
}

/// Returns as soon as the server received this many requests.
async fn wait_for_requests(server: &ScriptedServer, times: usize) {
    let limit = std::time::Instant::now() + Duration::from_secs(30);
    while server.requests().len() < times {
        assert!(std::time::Instant::now() < limit, "{} requests", server.requests().len());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_without_a_response() {
    let server = ScriptedServer::start(|_, nth| {
        let answer = ok(summary(1, "queued"));
        if nth == 0 { answer } else { answer.set_delay(Duration::from_secs(3600)) }
    })
    .await;
    let handle = handle(&server, PollingPolicy::default()).await;
    let _clock = StoppedClock::stop();
    let waiting = tokio::spawn(async move { handle.wait_for(Duration::from_secs(30)).await });
    wait_for_requests(&server, 2).await;
    advance(Duration::from_secs(29)).await;
    assert!(!waiting.is_finished());
    // The timers of the runtime have a resolution of one millisecond.
    advance(Duration::from_millis(1001)).await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.summary_id()), (ErrorKind::Timeout, SUMMARY_ID.parse().ok()));
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_and_can_be_resumed() {
    let server = ScriptedServer::start(|_, _| ok(summary(1, "queued"))).await;
    let handle = handle(&server, short_pauses()).await;
    let error = handle.wait_for(Duration::from_millis(300)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    assert_eq!(error.summary_id(), Some(handle.id()));
    // Without pauses there would be hundreds of requests.
    assert!(server.requests().len() < 40, "{}", server.requests().len());
}

#[tokio::test]
async fn a_wait_continues_while_the_server_is_unavailable() {
    let server = ScriptedServer::start(|_, nth| match nth {
        0 => ok(summary(1, "queued")),
        1..8 => error_response(503, "unavailable", json!(null)),
        _ => ok(summary(2, "completed")),
    })
    .await;
    let handle = handle(&server, short_pauses()).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
}

#[tokio::test]
async fn a_wait_for_an_unknown_summary_fails() {
    let server = ScriptedServer::start(|_, _| error_response(404, "not_found", json!(null))).await;
    let handle = handle(&server, PollingPolicy::default()).await;
    assert_eq!(handle.wait().await.unwrap_err().kind(), ErrorKind::NotFound);
    let watched: Vec<_> = handle.watch().collect().await;
    assert_eq!(watched.len(), 1, "the error is the last item");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_broken_event_stream_is_resumed() {
    let server = ScriptedServer::start(|request, nth| match (is_events(request), nth) {
        (false, _) => ok(summary(1, "queued")),
        (true, 0) => events(&[summary(2, "running"), summary(2, "running")]),
        (true, _) => events(&[summary(3, "completed")]),
    })
    .await;
    let handle = handle(&server, PollingPolicy::default()).await;
    let revisions = revisions(&handle).await;
    assert_eq!(revisions, [1, 2, 3], "each once");
    assert_eq!(server.count(&format!("{}/events", path())), 2);
}

#[tokio::test]
async fn without_an_event_stream_the_watcher_polls() {
    let server = ScriptedServer::start(|request, nth| match (is_events(request), nth) {
        (true, 0) => ResponseTemplate::new(404),
        (true, _) => ResponseTemplate::new(200).set_body_string("<html></html>"),
        (false, 0) => ok(summary(1, "queued")),
        (false, 1) => ok(summary(2, "running")),
        (false, _) => ok(summary(3, "completed")),
    })
    .await;
    let handle = handle(&server, PollingPolicy::default()).await;
    let revisions = revisions(&handle).await;
    assert_eq!(revisions, [1, 2, 3]);
}

fn text(number: u32, text: &str) -> serde_json::Value {
    json!({"revision": 2, "number": number, "text": text})
}

fn texts(steps: Vec<shiori_sdk::Result<SummaryStep>>) -> Vec<String> {
    let shown = |step| match step {
        SummaryStep::Summary(summary) => summary.status.to_string(),
        SummaryStep::Text(text) => text.text,
        other => panic!("{other:?}"),
    };
    steps.into_iter().map(|step| shown(step.unwrap())).collect()
}

/// A resumed stream begins with the current text, which may be the last one that was yielded. Texts of
/// other runs are ignored, and events of newer servers, too.
#[tokio::test]
async fn each_text_of_an_event_stream_is_yielded_once() {
    let mut other_run = text(9, "다른 글");
    other_run["revision"] = json!(1);
    let later = json!({"revision": 2, "added_later": true});
    let server = ScriptedServer::start(move |request, nth| match (is_events(request), nth) {
        (false, _) => ok(summary(2, "running")),
        (true, 0) => events(&[text(1, "한"), other_run.clone(), text(2, "한 주가")]),
        (true, _) => {
            let resumed =
                [text(2, "한 주가"), later.clone(), text(3, "한 주가 갔다"), text(1, "한")];
            let end = [summary(3, "completed")];
            events(&[&resumed[..], &end].concat())
        }
    })
    .await;
    let handle = handle(&server, PollingPolicy::default()).await;
    let steps = texts(handle.watch().collect().await);
    assert_eq!(steps, ["running", "한", "한 주가", "한 주가 갔다", "completed"]);
}

#[tokio::test]
async fn without_an_event_stream_the_text_is_polled() {
    let with_text = |number, written| {
        let mut body = summary(2, "running");
        body["partial_text"] = text(number, written);
        ok(body)
    };
    let server = ScriptedServer::start(move |request, nth| match (is_events(request), nth) {
        (true, _) => ResponseTemplate::new(404),
        (false, 0) => ok(summary(1, "queued")),
        (false, 1 | 2) => with_text(1, "한"),
        (false, 3) => with_text(4, "한 주가"),
        (false, _) => ok(summary(3, "completed")),
    })
    .await;
    let handle = handle(&server, short_pauses()).await;
    let steps = texts(handle.watch().collect().await);
    assert_eq!(steps, ["queued", "running", "한", "한 주가", "completed"]);
    let polls: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.query)
        .filter(|query| !query.is_empty())
        .collect();
    for (poll, number) in polls.iter().zip([0, 1, 1, 4]) {
        assert!(poll.ends_with(&format!("text_after={number}")), "{polls:?}");
    }
    assert_eq!(polls.len(), 4, "{polls:?}");
}

/// The SDK polls once before it reopens a stream that ended without an event.
#[tokio::test]
async fn an_empty_event_stream_is_alternated_with_polls() {
    let server = ScriptedServer::start(|request, nth| match (is_events(request), nth) {
        (true, _) => events(&[]),
        (false, 0..5) => ok(summary(1, "queued")),
        (false, _) => ok(summary(2, "completed")),
    })
    .await;
    let handle = handle(&server, short_pauses()).await;
    let revisions = revisions(&handle).await;
    assert_eq!(revisions, [1, 2]);
    let opened = server.count(&format!("{}/events", path()));
    assert!(opened <= 6, "opened {opened} times");
}

#[tokio::test]
async fn a_request_returns_its_status() {
    let receipt = json!({"id": SUMMARY_ID, "status": "queued", "poll_after_ms": 1000});
    let week = Week::starting(day()).unwrap();
    for (answer, expected) in [
        (ok(receipt.clone()), "done"),
        (
            ResponseTemplate::new(202)
                .set_body_json(json!({"code": 202, "message": "", "data": receipt})),
            "accepted",
        ),
        (
            error_response(422, "week_incomplete", json!({"missing_dates": ["20260217"]})),
            "incomplete",
        ),
    ] {
        let server = ScriptedServer::start(move |_, _| answer.clone()).await;
        let requested = server.client().await.summaries().request(week).await.unwrap();
        let status = match &requested {
            Requested::AlreadyDone(_) => "done",
            Requested::Accepted(_) => "accepted",
            Requested::Incomplete { missing } if missing.len() == 1 => "incomplete",
            Requested::Incomplete { .. } => "wrong",
        };
        assert_eq!(status, expected);
        match requested.into_handle() {
            Ok(handle) => assert_eq!(handle.id().to_string(), SUMMARY_ID),
            Err(error) => assert_eq!(error.missing_dates().len(), 1),
        }
    }
}

#[tokio::test]
async fn the_longest_deadline_and_long_poll_do_not_panic() {
    let server = ScriptedServer::start(|request, nth| match (is_events(request), nth) {
        (true, _) => error_response(404, "not_found", json!(null)),
        (false, n) if n % 2 == 0 => ok(summary(1, "queued")),
        (false, _) => ok(summary(2, "completed")),
    })
    .await;
    let mut policy = short_pauses().with_deadline(Duration::MAX);
    policy.long_poll = Duration::MAX;
    let client = server.signed_in(
        server
            .builder()
            .polling_policy(policy)
            .attempt_timeout(Duration::MAX)
            .call_timeout(Duration::MAX),
    );
    let handle = client.await.summaries().handle(SUMMARY_ID.parse().unwrap());
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    let requests = server.requests();
    assert!(requests[1].query.contains("wait=30&"), "{}", requests[1].query);
    let revisions = revisions(&handle).await;
    assert_eq!(revisions, [1, 2]);
}
