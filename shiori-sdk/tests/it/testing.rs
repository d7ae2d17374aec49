//! `FakeShiori`: its faults, its clock and its summaries. The conformance tests with the real
//! server are in the server's crate.

use std::{net::TcpStream, time::Duration};

use futures_util::StreamExt;
use shiori_sdk::{
    Client, Date, DiarySummaryStatus, Document, Draft, Emotion, ErrorKind, FailureKind, Outcome,
    Precondition, Progress, ProgressPhase, Requested, Result, RetryPolicy, Saved, SummaryHandle,
    SummaryStatus, SummaryStep, WasSent, Week,
    testing::{CONFLICTING_LINE, FakeShiori, Fault, Person, Route},
};

use crate::scripted_server::day;

fn draft(text: &str) -> Draft {
    Draft::new("제목", Document::from_text(text))
}

async fn save(client: &Client, text: &str) -> Result<Saved> {
    client.diaries().save(day(), draft(text), Precondition::IfAbsent).await
}

async fn append(client: &Client, date: Date, line: &'static str) -> Result<Saved> {
    let change = |mut draft: Draft| async move {
        draft.content.push_paragraph(line);
        draft
    };
    client.diaries().update(date, change).await
}

async fn texts(client: &Client) -> Vec<String> {
    client.diaries().get(day()).await.unwrap().unwrap().content.block_texts()
}

/// A client that sends every request once.
async fn client_without_retries(fake: &FakeShiori) -> Client {
    fake.person().sign_in(fake.builder().retry_policy(RetryPolicy::never())).await.unwrap()
}

fn week() -> Week {
    Week::starting(day()).unwrap()
}

/// A queued summary of a complete week.
async fn requested(client: &Client) -> SummaryHandle {
    for date in week().dates() {
        append(client, date, "글").await.unwrap();
    }
    client.summaries().request(week()).await.unwrap().into_handle().unwrap()
}

#[tokio::test]
async fn an_injected_conflict_is_caused_by_a_real_save() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    fake.inject_conflicts(2);
    let error = save(&client, "우리").await.unwrap_err();
    let current = error.as_conflict().unwrap().current.clone().unwrap();
    assert_eq!(current.content.block_texts(), [CONFLICTING_LINE]);
    assert_eq!(client.diaries().get(day()).await.unwrap(), Some(current));

    let saved = append(&client, day(), "우리").await.unwrap();
    assert_eq!((saved.report.conflicts, saved.version.get()), (1, 3));
    assert_eq!(texts(&client).await, [CONFLICTING_LINE, CONFLICTING_LINE, "우리"]);
}

#[tokio::test]
async fn a_save_that_fails_anyway_does_not_use_up_an_injected_conflict() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    save(&client, "하나").await.unwrap();
    fake.inject_conflicts(1);
    assert!(save(&client, "둘").await.unwrap_err().is_conflict());
    assert_eq!(texts(&client).await, ["하나"]);
    append(&client, day(), "셋").await.unwrap();
    assert_eq!(texts(&client).await, ["하나", CONFLICTING_LINE, "셋"]);
}

#[tokio::test]
async fn a_request_with_a_lost_response_is_applied_and_a_lost_request_is_not() {
    let fake = FakeShiori::start();
    let client = client_without_retries(&fake).await;
    fake.inject(Fault::lost_request());
    let error = save(&client, "하나").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Disconnected, WasSent::Maybe));
    assert!(client.diaries().get(day()).await.unwrap().is_none());

    fake.drop_response_once();
    let error = save(&client, "둘").await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Disconnected, WasSent::Maybe));
    assert_eq!(texts(&client).await, ["둘"]);
}

#[tokio::test]
async fn a_save_repeated_after_a_lost_response_is_recognised() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    fake.drop_response_once();
    let saved = save(&client, "한 번").await.unwrap();
    assert_eq!((saved.outcome, saved.version.get()), (Outcome::Replayed, 1));
    assert_eq!(fake.count(Route::Save), 2);
}

#[tokio::test]
async fn an_injected_status_has_the_error_kind_of_a_server_or_a_proxy() {
    let fake = FakeShiori::start();
    let client = client_without_retries(&fake).await;
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Rejected),
        (502, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (418, ErrorKind::InvalidResponse),
    ] {
        fake.inject(Fault::status(status).on(Route::List).times(2));
        client.diaries().get(day()).await.unwrap();
        for _ in 0..2 {
            let error = client.diaries().list(week().into()).await.unwrap_err();
            assert_eq!((error.status_code(), error.kind()), (Some(status), kind));
        }
        client.diaries().list(week().into()).await.unwrap();
    }
    fake.inject(Fault::status(503).with_retry_after(Duration::from_millis(6001)));
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    fake.fail_next(503);
    assert_eq!(client.diaries().get(day()).await.unwrap_err().retry_after(), None);
    fake.fail_next(401);
    client.diaries().get(day()).await.unwrap();
    assert_eq!(fake.count(Route::Refresh), 1, "a rejected token is renewed");
}

#[tokio::test]
async fn a_request_is_affected_by_the_first_matching_fault() {
    let fake = FakeShiori::start();
    let client = client_without_retries(&fake).await;
    fake.inject(Fault::status(500).on(Route::Delete));
    fake.inject(Fault::status(503).on(Route::Get));
    fake.inject(Fault::status(429));
    let get = async || client.diaries().get(day()).await;
    assert_eq!(get().await.unwrap_err().status_code(), Some(503));
    assert_eq!(get().await.unwrap_err().status_code(), Some(429));
    get().await.unwrap();
}

#[tokio::test]
async fn a_held_request_is_not_applied_until_it_is_released() {
    let fake = FakeShiori::start();
    let person = fake.person();
    let (phone, laptop) = (person.device().await.unwrap(), person.device().await.unwrap());
    let hold = fake.hold(Route::Save);
    let slow = tokio::spawn(async move { save(&phone, "휴대폰").await });
    hold.arrived().await;
    save(&laptop, "노트북").await.unwrap();
    hold.release();
    let error = slow.await.unwrap().unwrap_err();
    let current = error.as_conflict().unwrap().current.clone().unwrap();
    assert_eq!(current.content.block_texts(), ["노트북"]);
    // A hold that is dropped before a request arrives has no effect.
    drop(fake.hold(Route::Get));
    fake.inject(Fault::status(500).on(Route::Get));
    assert_eq!(laptop.diaries().get(day()).await.unwrap_err().status_code(), Some(500));
}

#[tokio::test]
async fn every_request_is_recorded_without_secrets() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    save(&client, "비밀").await.unwrap();
    let error = client.diaries().delete(day(), shiori_sdk::Version::new(9)).await.unwrap_err();
    let seen = fake.requests();
    let routes: Vec<_> = seen.iter().filter_map(|seen| seen.route).collect();
    assert_eq!(routes, [Route::LogIn, Route::Save, Route::Delete]);
    let delete = seen.last().unwrap();
    assert_eq!((delete.method.as_str(), delete.path.as_str()), ("DELETE", "/api/diary/20260216"));
    assert_eq!(Some(delete.request_id.as_str()), error.request_id());
    let shown = format!("{seen:?} {fake:?}");
    assert!(!shown.contains("비밀") && !shown.contains(Person::PASSWORD), "{shown}");
}

#[tokio::test]
async fn expired_tokens_are_renewed_and_unused_sessions_expire() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    fake.expire_access_tokens();
    client.diaries().get(day()).await.unwrap();
    assert_eq!((fake.count(Route::Refresh), fake.count(Route::Get)), (1, 2));
    let before = fake.now();
    fake.advance(Duration::from_secs(31 * 24 * 60 * 60));
    assert_eq!(fake.now().duration_since(before), Duration::from_secs(31 * 24 * 60 * 60));
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
}

/// The response of a refresh is lost, and the client repeats it within the grace period.
#[tokio::test]
async fn a_refresh_with_a_lost_response_does_not_end_the_session() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    fake.inject(Fault::lost_response().on(Route::Refresh));
    client.auth().refresh().await.unwrap();
    client.auth().refresh().await.unwrap();
    assert_eq!(fake.count(Route::Refresh), 3);
    client.auth().verify().await.unwrap();
}

#[tokio::test]
async fn the_test_steps_a_summary_through_its_statuses() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    let handle = requested(&client).await;
    let (clock, id) = (fake.summaries(), handle.id());
    assert_eq!(clock.unfinished(), [id]);
    assert_eq!(handle.poll().await.unwrap().status, SummaryStatus::Queued);
    let progress = Progress { phase: ProgressPhase::Writing, characters: 12 };
    assert!(!clock.progress(id, progress) && !clock.requeue(id, FailureKind::Internal));

    assert!(clock.start(id) && !clock.start(id));
    assert!(clock.progress(id, progress));
    let summary = handle.poll().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Running, 1));
    assert_eq!((summary.progress, summary.revision.get()), (Some(progress), 2));

    assert!(clock.requeue(id, FailureKind::ModelUnavailable));
    let summary = handle.poll().await.unwrap();
    assert_eq!((summary.status, summary.progress), (SummaryStatus::Queued, None));
    assert_eq!(summary.failure.unwrap().kind, FailureKind::ModelUnavailable);

    let emotion = |date| if date == day() { Emotion::Happiness } else { Emotion::Sadness };
    assert!(clock.complete_with(id, "한 주", emotion));
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.attempts, summary.revision.get()), (2, 5));
    assert!(summary.emotions.iter().all(|day| day.label == emotion(day.date)));
    assert!(!clock.complete(id, "늦음") && !clock.fail(id, FailureKind::Internal));
    assert!(clock.unfinished().is_empty());

    let reflection = client.reflections().get(week()).await.unwrap().unwrap();
    assert_eq!((reflection.reflection.as_str(), reflection.stale), ("한 주", false));
    append(&client, day(), "덧붙임").await.unwrap();
    assert!(client.reflections().get(week()).await.unwrap().unwrap().stale);
    let diary = client.diaries().get(day()).await.unwrap().unwrap();
    assert_eq!(diary.summary_status, Some(DiarySummaryStatus::Stale));
    assert_eq!(diary.emotion, Some(Emotion::Happiness));
}

#[tokio::test]
async fn diaries_are_read_while_summaries_are_unavailable() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    append(&client, day(), "아침").await.unwrap();
    let known = client.diaries().get(day()).await.unwrap().unwrap();
    assert!(client.diaries().get_if_changed(&known).await.unwrap().is_unchanged());

    fake.summaries().set_unavailable(true);
    let diary = client.diaries().get(day()).await.unwrap().unwrap();
    assert_eq!((diary.summary_status, diary.emotion, &diary.etag), (None, None, &None));
    assert!(!client.diaries().get_if_changed(&known).await.unwrap().is_unchanged());
    assert!(!client.diaries().get_if_changed(&diary).await.unwrap().is_unchanged());
    let entries = client.diaries().list(week().into()).await.unwrap();
    assert_eq!(entries[0].summary_status, None);
    append(&client, day(), "저녁").await.unwrap();
    let error = client.reflections().get(week()).await.unwrap_err();
    assert_eq!(error.status_code(), Some(503));

    fake.summaries().set_unavailable(false);
    let diary = client.diaries().get(day()).await.unwrap().unwrap();
    assert_eq!(diary.summary_status, Some(DiarySummaryStatus::None));
    assert!(!client.diaries().get_if_changed(&known).await.unwrap().is_unchanged());
    assert!(client.diaries().get_if_changed(&diary).await.unwrap().is_unchanged());
}

#[tokio::test]
async fn a_summary_fails_on_request_or_if_a_diary_was_deleted() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    let handle = requested(&client).await;
    assert!(fake.summaries().fail(handle.id(), FailureKind::ModelRejected));
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.failure.unwrap().kind, FailureKind::ModelRejected);

    let handle = requested(&client).await;
    let diary = client.diaries().get(day()).await.unwrap().unwrap();
    client.diaries().delete(day(), diary.version).await.unwrap();
    assert!(!fake.summaries().complete(handle.id(), "없는 날"));
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.failure.unwrap().kind, FailureKind::WeekIncomplete);
}

#[tokio::test]
async fn a_watcher_receives_every_step() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    let handle = requested(&client).await;
    let (clock, id) = (fake.summaries(), handle.id());
    let mut watch = handle.watch();
    let mut next = async || watch.next().await.map(|step| step.unwrap());
    let summary = |step: Option<SummaryStep>| step.unwrap().into_summary().expect("no text");
    assert_eq!(summary(next().await).status, SummaryStatus::Queued);
    assert!(!clock.write(id, "아직"), "no run has begun");
    clock.start(id);
    assert_eq!(summary(next().await).status, SummaryStatus::Running);
    clock.progress(id, Progress { phase: ProgressPhase::Emotions, characters: 0 });
    let progress = summary(next().await).progress.unwrap();
    assert_eq!(progress.phase, ProgressPhase::Emotions);
    let text = |step: Option<SummaryStep>| match step {
        Some(SummaryStep::Text(text)) => (text.revision.get(), text.number, text.text),
        other => panic!("{other:?}"),
    };
    for (number, written) in [(1, "조용한"), (2, "조용한 한 주")] {
        assert!(clock.write(id, written));
        assert_eq!(text(next().await), (2, number, written.to_owned()));
    }
    // Another run replaces the text of the first.
    assert!(clock.requeue(id, FailureKind::ModelUnavailable));
    assert_eq!(summary(next().await).status, SummaryStatus::Queued);
    clock.start(id);
    assert_eq!(summary(next().await).status, SummaryStatus::Running);
    assert!(clock.write(id, "다시"));
    assert_eq!(text(next().await), (4, 1, "다시".to_owned()));
    // A watcher that begins now receives the text of this run alone.
    let mut late = handle.watch();
    assert!(matches!(late.next().await, Some(Ok(SummaryStep::Summary(_)))));
    assert_eq!(text(late.next().await.map(|step| step.unwrap())), (4, 1, "다시".to_owned()));
    assert_eq!(clock.complete_all("끝"), 1);
    assert!(!clock.write(id, "늦은"), "the run has ended");
    assert_eq!(summary(next().await).status, SummaryStatus::Completed);
    assert!(next().await.is_none());
}

#[tokio::test]
async fn with_auto_complete_a_requested_summary_is_completed_at_once() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    fake.summaries().auto_complete("저절로 쓴 글");
    let summary = requested(&client).await.poll().await.unwrap();
    assert_eq!(summary.reflection.as_deref(), Some("저절로 쓴 글"));
    let again = client.summaries().request(week()).await.unwrap();
    assert!(matches!(again, Requested::AlreadyDone(_)));
}

/// The fake has its own thread, so a test needs no runtime to start, use and stop it.
#[test]
fn a_fake_started_without_a_runtime_serves_until_it_is_dropped() {
    let fake = FakeShiori::start();
    let url = fake.url();
    let address = url.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).is_ok());
    drop(fake);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn dropping_the_fake_closes_the_connections_of_waiting_requests() {
    let fake = FakeShiori::start();
    let client = client_without_retries(&fake).await;
    let hold = fake.hold(Route::Get);
    let get = tokio::spawn({
        let client = client.clone();
        async move { client.diaries().get(day()).await }
    });
    hold.arrived().await;
    drop(fake);
    assert_eq!(get.await.unwrap().unwrap_err().kind(), ErrorKind::Disconnected);
    let error = client.diaries().get(day()).await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (ErrorKind::Connect, WasSent::No));
}
