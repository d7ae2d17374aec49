//! Summaries, from the request to the reflection.

use std::{slice, time::Duration};

use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use shiori_sdk::{FailureKind, Progress, ProgressPhase, SummaryId, SummaryStatus, testing::Person};

use super::{Device, Target, assert_error, data, diaries::save};
use crate::fixtures::{day, new_client};
use crate::raw_client::{RawClient, RawResponse};

const WEEK: &str = "start=20260216&end=20260222";

const PROGRESS: Progress = Progress { phase: ProgressPhase::Writing, characters: 40 };

/// A new user with diaries on these days of February 2026.
async fn user_with_diaries(
    server: &impl Target,
    days: impl IntoIterator<Item = u8>,
) -> (RawClient, String) {
    let (Device { raw, .. }, email) = Device::sign_up(server).await;
    for date in days {
        let path = format!("/api/diary/{}", day(date));
        data(&raw.post(&path, &save("글", Value::Null)).await, 201);
    }
    (raw, email)
}

async fn request(raw: &RawClient, start: u8) -> RawResponse {
    let week = json!({"start": day(start), "end": day(start + 6)});
    raw.post("/api/diary/summary", &week).await
}

/// Requests the summary of the week; returns its id.
async fn request_accepted(raw: &RawClient) -> SummaryId {
    let response = request(raw, 16).await;
    data(&response, 202)["id"].as_str().unwrap().parse().unwrap()
}

async fn get_summary(raw: &RawClient, id: SummaryId) -> Value {
    data(&raw.get(&format!("/api/diary/summary/{id}")).await, 200)
}

/// The listed summary status of each day of the week.
async fn statuses(raw: &RawClient) -> Vec<String> {
    let entries = data(&raw.get(&format!("/api/diary?{WEEK}")).await, 200);
    let status = |entry: &Value| entry["summary_status"].as_str().unwrap().to_owned();
    entries.as_array().unwrap().iter().map(status).collect()
}

pub async fn an_incomplete_week_is_rejected_with_the_missing_dates(server: &impl Target) {
    let raw = user_with_diaries(server, [16, 17, 19, 20, 22, 23]).await.0;
    let response = request(&raw, 16).await;
    assert_error(&response, 422, "week_incomplete");
    assert_eq!(response.json()["data"], json!({"missing_dates": ["20260218", "20260221"]}));
}

pub async fn invalid_weeks_are_rejected(server: &impl Target) {
    let raw = user_with_diaries(server, []).await.0;
    for (start, end, status, error) in [
        ("20260216", "20260221", 400, "invalid_range"),
        ("20260216", "20260223", 400, "invalid_range"),
        ("20260222", "20260216", 400, "invalid_range"),
        ("20250230", "20250308", 422, "invalid_date"),
        ("x", "y", 422, "invalid_date"),
    ] {
        let body = json!({"start": start, "end": end});
        assert_error(&raw.post("/api/diary/summary", &body).await, status, error);
        let path = format!("/api/diary/reflections?start={start}&end={end}");
        assert_error(&raw.get(&path).await, status, error);
    }
    let half = raw.post("/api/diary/summary", &json!({"start": "20260216"})).await;
    assert_error(&half, 422, "invalid_request");
    assert_error(&raw.get("/api/diary/reflections").await, 422, "invalid_request");
    let path = format!("/api/diary/reflections?{WEEK}");
    assert_eq!(data(&raw.get(&path).await, 200), Value::Null);
}

pub async fn a_repeated_request_returns_the_same_summary(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let response = request(&raw, 16).await;
    let receipt = data(&response, 202);
    assert_eq!(receipt["status"], "queued");
    assert_eq!(receipt["poll_after_ms"], 1000);
    assert_eq!(response.headers["retry-after"], "1");
    let id = receipt["id"].as_str().unwrap();
    assert_eq!(response.headers["location"], format!("/api/diary/summary/{id}"));
    assert_eq!(statuses(&raw).await, ["pending"; 7]);

    assert_eq!(data(&request(&raw, 16).await, 202), receipt);
    assert!(server.claim(id.parse().unwrap()).await);
    let body = json!({"start": "20260216", "end": "20260222", "force": true});
    let running = data(&raw.post("/api/diary/summary", &body).await, 202);
    assert_eq!((&running["id"], &running["status"]), (&receipt["id"], &json!("running")));
}

pub async fn a_summary_goes_from_queued_to_completed(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let id = request_accepted(&raw).await;
    let queued = get_summary(&raw, id).await;
    let requested_at = queued["requested_at"].clone();
    let expected = json!({"id": id, "start": "20260216", "end": "20260222", "status": "queued",
        "revision": 1, "attempts": 0, "requested_at": requested_at, "started_at": null,
        "finished_at": null, "reflection": null, "engine": null, "emotions": [],
        "truncated": [], "failure": null, "progress": null});
    assert_eq!(queued, expected);

    server.advance(Duration::from_secs(1));
    assert!(server.claim(id).await);
    assert!(!server.claim(id).await, "a leased summary cannot be claimed");
    let running = get_summary(&raw, id).await;
    assert_eq!((&running["status"], &running["revision"]), (&json!("running"), &json!(2)));
    assert_eq!((&running["attempts"], &running["finished_at"]), (&json!(1), &Value::Null));
    assert!(running["started_at"].as_str() > requested_at.as_str());
    assert!(server.progress(id, PROGRESS).await);
    let progressed = get_summary(&raw, id).await;
    assert_eq!((&progressed["progress"], &progressed["revision"]), (&json!(PROGRESS), &json!(2)));

    server.advance(Duration::from_secs(1));
    assert!(server.complete(id, "좋은 한 주였어요.").await);
    let completed = get_summary(&raw, id).await;
    assert_eq!((&completed["status"], &completed["revision"]), (&json!("completed"), &json!(3)));
    assert_eq!((&completed["progress"], &completed["failure"]), (&Value::Null, &Value::Null));
    assert_eq!(completed["reflection"], "좋은 한 주였어요.");
    assert!(completed["finished_at"].as_str() > running["started_at"].as_str());
    assert_eq!(completed["emotions"].as_array().unwrap().len(), 7);
    assert_eq!(completed["emotions"][0]["label"], "중립");
    assert_eq!(completed["emotions"][0]["distribution"]["중립"], 1.0);
    assert_eq!(statuses(&raw).await, ["completed"; 7]);
    assert_eq!(data(&raw.get("/api/diary/20260216").await, 200)["emotion"], "중립");

    let path = format!("/api/diary/reflections?{WEEK}");
    let reflection = data(&raw.get(&path).await, 200);
    let expected = json!({"summary_id": id, "start": "20260216", "end": "20260222",
        "reflection": "좋은 한 주였어요.", "emotions": completed["emotions"],
        "truncated": [], "generated_at": completed["finished_at"], "stale": false, "engine": "fake/1"});
    assert_eq!(reflection, expected);

    // A later save makes the reflection stale, and the status of only that day.
    data(&raw.post("/api/diary/20260218", &save("고쳤다", 1)).await, 200);
    assert_eq!(data(&raw.get(&path).await, 200)["stale"], true);
    let mut expected = ["completed"; 7];
    expected[2] = "stale";
    assert_eq!(statuses(&raw).await, expected);
}

pub async fn a_finished_summary_is_reused_until_a_diary_changes(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let first = request_accepted(&raw).await;
    assert!(server.claim(first).await);
    // The worker has read the version before this save.
    data(&raw.post("/api/diary/20260216", &save("나중", 1)).await, 200);
    assert!(server.complete(first, "하나").await);
    let second = request_accepted(&raw).await;
    assert_ne!(second, first);
    assert!(server.claim(second).await);
    assert!(server.complete(second, "둘").await);

    let response = request(&raw, 16).await;
    let receipt = data(&response, 200);
    assert_eq!((&receipt["id"], &receipt["status"]), (&json!(second), &json!("completed")));
    assert_eq!(response.headers["location"], format!("/api/diary/summary/{second}"));
    assert!(!response.headers.contains_key("retry-after"));
    let body = json!({"start": "20260216", "end": "20260222", "force": true});
    let forced = data(&raw.post("/api/diary/summary", &body).await, 202);
    assert_ne!(forced["id"], json!(second));
    let path = format!("/api/diary/reflections?{WEEK}");
    assert_eq!(data(&raw.get(&path).await, 200)["reflection"], "둘");
}

pub async fn a_failed_summary_has_a_reason(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let id = request_accepted(&raw).await;
    assert!(server.claim(id).await);
    assert!(server.progress(id, PROGRESS).await);
    assert!(server.fail(id, FailureKind::ModelRejected).await);
    let failed = get_summary(&raw, id).await;
    assert_eq!((&failed["status"], &failed["revision"]), (&json!("failed"), &json!(3)));
    assert_eq!(failed["failure"]["kind"], "model_rejected");
    assert!(failed["finished_at"].is_string() && failed["progress"].is_null());
    assert_eq!(statuses(&raw).await, ["failed"; 7]);
    assert_error(&raw.delete(&format!("/api/diary/summary/{id}")).await, 409, "summary_final");
    assert!(!server.claim(id).await);
    assert_ne!(request_accepted(&raw).await, id);
}

pub async fn a_diary_deleted_before_the_claim_fails_the_summary(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let id = request_accepted(&raw).await;
    data(&raw.delete("/api/diary/20260219?version=1").await, 200);
    assert!(!server.claim(id).await);
    let failed = get_summary(&raw, id).await;
    assert_eq!(failed["failure"]["kind"], "week_incomplete");
    assert_eq!((&failed["revision"], &failed["attempts"]), (&json!(2), &json!(0)));
}

pub async fn an_unfinished_summary_can_be_cancelled(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let queued = request_accepted(&raw).await;
    let path = format!("/api/diary/summary/{queued}");
    assert_eq!(data(&raw.delete(&path).await, 200), Value::Null);
    let cancelled = get_summary(&raw, queued).await;
    assert_eq!((&cancelled["status"], &cancelled["revision"]), (&json!("cancelled"), &json!(2)));
    assert!(cancelled["finished_at"].is_string());
    assert_error(&raw.delete(&path).await, 409, "summary_final");
    assert_eq!(statuses(&raw).await, ["none"; 7]);
    assert!(!server.claim(queued).await);

    let running = request_accepted(&raw).await;
    assert_ne!(running, queued);
    assert!(server.claim(running).await);
    data(&raw.delete(&format!("/api/diary/summary/{running}")).await, 200);
    assert_eq!(get_summary(&raw, running).await["status"], "cancelled");
    assert!(!server.complete(running, "늦었다").await, "a late result is rejected");
}

pub async fn a_long_poll_returns_on_a_change_or_at_its_timeout(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let id = request_accepted(&raw).await;
    let revision = async |query: &str| {
        data(&raw.get(&format!("/api/diary/summary/{id}?{query}")).await, 200)["revision"].clone()
    };
    assert_eq!(revision("wait=30").await, 1, "without `after` it returns immediately");
    assert_eq!(revision("after=1").await, 1, "without `wait` it returns immediately");
    assert_eq!(revision("wait=0.05&after=1").await, 1, "unchanged at the timeout");
    let (seen, claimed) = tokio::join!(revision("wait=30&after=1"), server.claim(id));
    assert_eq!((seen, claimed), (json!(2), true));
    let (seen, taken) = tokio::join!(revision("wait=30&after=2"), server.complete(id, "끝"));
    assert_eq!((seen, taken), (json!(3), true));
    assert_eq!(revision("wait=30&after=3").await, 3, "with a final status it returns immediately");
}

pub async fn waits_are_bounded(server: &impl Target) {
    let raw = user_with_diaries(server, []).await.0;
    let id = SummaryId::new();
    for query in [
        "wait=31",
        "wait=-1",
        "wait=NaN",
        "wait=1e99",
        "wait=soon",
        "after=first",
        "after=-1",
        "after=9223372036854775808",
        "text_after=first",
        "text_after=-1",
        "text_after=4294967296",
    ] {
        let response = raw.get(&format!("/api/diary/summary/{id}?{query}")).await;
        assert_error(&response, 422, "invalid_request");
    }
}

pub async fn events_are_streamed_in_order_and_resumed(server: &impl Target) {
    let (raw, email) = user_with_diaries(server, 16..=22).await;
    let id = request_accepted(&raw).await;
    let client = new_client(&server.url());
    client.auth().login(&email, Person::PASSWORD).await.unwrap();
    let mut watch = client.summaries().handle(id).watch();
    let mut next =
        async || watch.next().await.map(|step| step.unwrap().into_summary().expect("no text"));
    assert_eq!(next().await.unwrap().status, SummaryStatus::Queued);
    assert!(server.claim(id).await);
    assert_eq!(next().await.unwrap().status, SummaryStatus::Running);
    assert!(server.progress(id, PROGRESS).await);
    assert_eq!(next().await.unwrap().progress, Some(PROGRESS));

    // The raw stream: the current progress, then the final status.
    let events = |last: Option<&'static str>| {
        let request = raw.request(Method::GET, &format!("/api/diary/summary/{id}/events"));
        RawResponse::send(match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        })
    };
    let running = get_summary(&raw, id).await;
    let request = raw.request(Method::GET, &format!("/api/diary/summary/{id}/events"));
    let mut response = request.header("last-event-id", "2").send().await.unwrap();
    let mut bytes = response.chunk().await.unwrap().unwrap().to_vec();
    let progress = ("progress".to_owned(), "2".to_owned(), running);
    assert_eq!(parse_events(&bytes), slice::from_ref(&progress));
    assert!(server.complete(id, "끝").await);
    while let Some(chunk) = response.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(next().await.unwrap().status, SummaryStatus::Completed);
    assert!(next().await.is_none());
    let completed = get_summary(&raw, id).await;
    let end = ("status".to_owned(), "3".to_owned(), completed);
    assert_eq!(parse_events(&bytes), [progress, end.clone()]);

    let all = events(None).await;
    assert_eq!(
        (all.status, all.headers["content-type"].as_bytes()),
        (200, &b"text/event-stream"[..])
    );
    assert_eq!(all.headers["cache-control"], "no-store");
    assert_eq!(all.headers["x-accel-buffering"], "no");
    assert_eq!(parse_events(all.text.as_bytes()), slice::from_ref(&end));
    assert_eq!(parse_events(events(Some("2")).await.text.as_bytes()), [end]);
    assert_eq!(parse_events(events(Some("3")).await.text.as_bytes()), []);
}

pub async fn the_text_so_far_is_streamed_and_polled(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=22).await.0;
    let id = request_accepted(&raw).await;
    let path = format!("/api/diary/summary/{id}");
    let poll = async |query: &str| data(&raw.get(&format!("{path}?{query}")).await, 200);
    assert!(!server.write(id, 1, "아직").await);
    assert!(server.claim(id).await);
    assert_eq!(poll("text_after=0").await.get("partial_text"), None);
    let text = |number: u32, text: &str| json!({"revision": 2, "number": number, "text": text});

    // A poll that waits for a text returns with it, and others do not.
    let (seen, written) =
        tokio::join!(poll("wait=30&after=2&text_after=0"), server.write(id, 1, "조용한"));
    assert!(written);
    assert_eq!((&seen["revision"], &seen["partial_text"]), (&json!(2), &text(1, "조용한")));
    assert_eq!(poll("wait=0.05&after=2").await.get("partial_text"), None);
    assert_eq!(poll("wait=0.05&after=2&text_after=1").await["partial_text"], text(1, "조용한"));
    assert_eq!(poll("after=1&text_after=7").await["partial_text"], text(1, "조용한"));

    let request = raw.request(Method::GET, &format!("{path}/events"));
    let mut response = request.header("last-event-id", "2").send().await.unwrap();
    let mut bytes = response.chunk().await.unwrap().unwrap().to_vec();
    let event = |number, written| ("text".to_owned(), "2".to_owned(), text(number, written));
    assert_eq!(parse_events(&bytes), [event(1, "조용한")]);
    assert!(server.write(id, 2, "조용한 한 주").await);
    let chunk = response.chunk().await.unwrap().unwrap();
    assert_eq!(parse_events(&chunk), [event(2, "조용한 한 주")]);
    assert!(server.complete(id, "조용한 한 주였어요.").await);
    bytes.clear();
    while let Some(chunk) = response.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    let completed = get_summary(&raw, id).await;
    assert_eq!(parse_events(&bytes), [("status".to_owned(), "3".to_owned(), completed.clone())]);
    assert_eq!(poll("text_after=0").await, completed);
    assert!(!server.write(id, 3, "늦은 글").await);
}

/// Name, id and data of each event.
fn parse_events(bytes: &[u8]) -> Vec<(String, String, Value)> {
    let text = str::from_utf8(bytes).unwrap();
    let event = |event: &str| {
        let field = |name: &str| {
            let line = event.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {event}")).trim().to_owned()
        };
        let data = serde_json::from_str(&field("data:")).unwrap();
        (field("event:"), field("id:"), data)
    };
    text.split("\n\n").filter(|text| text.contains("data:")).map(event).collect()
}

pub async fn other_users_summaries_return_404(server: &impl Target) {
    let mine = user_with_diaries(server, 16..=22).await.0;
    let id = request_accepted(&mine).await.to_string();
    let theirs = user_with_diaries(server, []).await.0;
    for id in [&id, "0190a7c4-0000-7000-8000-000000000000", "not-an-id"] {
        let path = format!("/api/diary/summary/{id}");
        assert_error(&theirs.get(&path).await, 404, "not_found");
        assert_error(&theirs.get(&format!("{path}?wait=30&after=1")).await, 404, "not_found");
        assert_error(&theirs.get(&format!("{path}/events")).await, 404, "not_found");
        assert_error(&theirs.delete(&path).await, 404, "not_found");
    }
    assert_eq!(get_summary(&mine, id.parse().unwrap()).await["status"], "queued");
}

pub async fn unfinished_summaries_are_bounded(server: &impl Target) {
    let raw = user_with_diaries(server, []).await.0;
    let dates: Vec<_> = (0..39).map(|days| day(1).plus_days(days).unwrap()).collect();
    for date in &dates {
        let path = format!("/api/diary/{date}");
        data(&raw.post(&path, &save("글", Value::Null)).await, 201);
    }
    let request = async |start: usize| {
        let body = json!({"start": dates[start], "end": dates[start + 6]});
        raw.post("/api/diary/summary", &body).await
    };
    for start in 0..32 {
        data(&request(start).await, 202);
    }
    let rejection = request(32).await;
    assert_error(&rejection, 429, "too_many_summaries");
    assert_eq!(rejection.headers["retry-after"], "10");
    let id = data(&request(5).await, 202)["id"].as_str().unwrap().to_owned();
    data(&raw.delete(&format!("/api/diary/summary/{id}")).await, 200);
    data(&request(32).await, 202);
}

pub async fn the_newest_request_decides_a_days_status(server: &impl Target) {
    let raw = user_with_diaries(server, 16..=24).await.0;
    let first = request_accepted(&raw).await;
    assert!(server.claim(first).await);
    assert!(server.complete(first, "하나").await);
    // The real server orders requests by their time.
    server.advance(Duration::from_secs(1));
    let second = data(&request(&raw, 18).await, 202)["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(statuses(&raw).await[..2], ["completed"; 2]);
    assert_eq!(statuses(&raw).await[2..], ["pending"; 5]);
    assert!(server.claim(second).await);
    assert!(server.fail(second, FailureKind::ModelRejected).await);
    assert_eq!(statuses(&raw).await[2..], ["failed"; 5]);
    assert_eq!(data(&raw.get("/api/diary/20260218").await, 200)["emotion"], "중립");
}
