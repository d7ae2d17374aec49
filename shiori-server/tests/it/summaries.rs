//! Summaries, from the request to the reflection.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use serde_json::json;
use shiori_sdk::{
    DateRange, DiarySummaryStatus, Document, Draft, Emotion, FailureKind, Precondition, Requested,
    SummaryId, SummaryStatus, Week,
};

use crate::fixtures::{day, draft, new_client, week, write_week};
use crate::raw_client::RawClient;
use crate::test_server::TestServer;

#[tokio::test]
async fn a_week_is_summarised_with_seven_emotions() {
    let server = TestServer::start().await;
    let client = server.client().await;
    write_week(&client, "오늘은 정말 행복하고 즐거웠다. 친구와 웃으며 걸었다.").await;
    assert_eq!(client.reflections().get(week()).await.unwrap(), None);
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed, "{summary:?}");
    assert_eq!(summary.attempts, 1);
    assert_eq!(summary.emotions.len(), 7);
    assert!(summary.emotions.iter().all(|day| day.label == Emotion::Happiness));
    let text = summary.reflection.clone().unwrap();
    assert!((1..=500).contains(&text.chars().count()), "{text}");

    let reflection = client.reflections().get(week()).await.unwrap().unwrap();
    assert_eq!(reflection.reflection, text);
    assert_eq!((reflection.stale, reflection.engine.as_str()), (false, "extractive/1"));
    let entries = client.diaries().list(week().into()).await.unwrap();
    for entry in &entries {
        assert_eq!(entry.summary_status, Some(DiarySummaryStatus::Completed));
        assert_eq!(entry.emotion, Some(Emotion::Happiness));
    }

    // A later save makes the reflection stale, and the status of only that day.
    let diary = client.diaries().get(day(18)).await.unwrap().unwrap();
    let over = Precondition::IfVersion(diary.version);
    client.diaries().save(day(18), draft("고쳤다"), over).send().await.unwrap();
    assert!(client.reflections().get(week()).await.unwrap().unwrap().stale);
    for entry in client.diaries().list(week().into()).await.unwrap() {
        let expected = if entry.date == day(18) {
            DiarySummaryStatus::Stale
        } else {
            DiarySummaryStatus::Completed
        };
        assert_eq!(entry.summary_status, Some(expected), "{}", entry.date);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_finished_summary_is_reused_until_a_diary_changes() {
    let server = TestServer::start().await;
    let client = server.client().await;
    write_week(&client, "조용한 하루였다.").await;
    let summaries = client.summaries();
    let first = summaries.request(week()).await.unwrap().into_handle().unwrap();
    first.wait().await.unwrap();
    match summaries.request(week()).await.unwrap() {
        Requested::AlreadyDone(again) => assert_eq!(again.id(), first.id()),
        other => panic!("{other:?}"),
    }
    let forced = summaries.request_with(week(), true).await.unwrap().into_handle().unwrap();
    assert_ne!(forced.id(), first.id());
    forced.wait().await.unwrap();
    client.diaries().delete(day(16), shiori_sdk::Version::new(1)).await.unwrap();
    match summaries.request(week()).await.unwrap() {
        Requested::Incomplete { missing } => assert_eq!(missing, [day(16)]),
        other => panic!("{other:?}"),
    }
    client.diaries().save(day(16), draft("다시"), Precondition::IfAbsent).send().await.unwrap();
    assert!(matches!(summaries.request(week()).await.unwrap(), Requested::Accepted(_)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_identical_requests_create_one_summary() {
    let server = TestServer::start().await;
    let client = server.client().await;
    write_week(&client, "같은 요청").await;
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let summaries = client.summaries();
            tokio::spawn(
                async move { summaries.request(week()).await.unwrap().into_handle().unwrap() },
            )
        })
        .collect();
    let mut ids = BTreeSet::new();
    let mut handles = Vec::new();
    for request in requests {
        let handle = request.await.unwrap();
        ids.insert(handle.id());
        handles.push(handle);
    }
    assert_eq!(ids.len(), 1);
    let summary = handles[0].wait().await.unwrap();
    assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    server.stop().await;
}

#[tokio::test]
async fn an_incomplete_week_is_rejected_with_the_missing_dates() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for date in [16, 17, 19, 20, 22] {
        client.diaries().save(day(date), draft("글"), Precondition::IfAbsent).send().await.unwrap();
    }
    match client.summaries().request(week()).await.unwrap() {
        Requested::Incomplete { missing } => assert_eq!(missing, [day(18), day(21)]),
        other => panic!("{other:?}"),
    }
    server.stop().await;

    let server = TestServer::with_config(|config| config.summaries.required_days = 1).await;
    let client = server.client().await;
    client.diaries().save(day(20), draft("하루뿐"), Precondition::IfAbsent).send().await.unwrap();
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.emotions.len()), (SummaryStatus::Completed, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_week_without_text_fails_with_no_text() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for date in week().dates() {
        let empty = Draft::new("", Document::empty());
        client.diaries().save(date, empty, Precondition::IfAbsent).send().await.unwrap();
    }
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::NoText));
    assert_eq!(summary.attempts, 1, "it is not retried");
    let entries = client.diaries().list(week().into()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.summary_status == Some(DiarySummaryStatus::Failed)));
    server.stop().await;
}

#[tokio::test]
async fn other_users_summaries_return_404() {
    let server = TestServer::without_worker().await;
    let mine = server.client().await;
    write_week(&mine, "내 주").await;
    let handle = mine.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let theirs = server.client().await;
    let foreign = theirs.summaries().handle(handle.id());
    let unknown = theirs.summaries().handle(SummaryId::new());
    for handle in [foreign, unknown] {
        assert_eq!(handle.poll().await.unwrap_err().status_code(), Some(404));
        assert_eq!(handle.cancel().await.unwrap_err().status_code(), Some(404));
        assert_eq!(handle.wait().await.unwrap_err().status_code(), Some(404));
        let first = handle.watch().next().await.unwrap();
        assert_eq!(first.unwrap_err().status_code(), Some(404));
    }
    assert_eq!(handle.poll().await.unwrap().status, SummaryStatus::Queued);
    server.stop().await;
}

#[tokio::test]
async fn an_unfinished_summary_can_be_cancelled_and_requested_again() {
    let server = TestServer::without_worker().await;
    let client = server.client().await;
    write_week(&client, "취소할 주").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let statuses = client.diaries().list(week().into()).await.unwrap();
    assert!(statuses.iter().all(|day| day.summary_status == Some(DiarySummaryStatus::Pending)));
    handle.cancel().await.unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Cancelled);
    assert_eq!(handle.cancel().await.unwrap_err().status_code(), Some(409));
    let statuses = client.diaries().list(week().into()).await.unwrap();
    assert!(statuses.iter().all(|day| day.summary_status == Some(DiarySummaryStatus::None)));
    let again = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_ne!(again.id(), handle.id());
    server.stop().await;
}

#[tokio::test]
async fn unfinished_summaries_are_bounded() {
    let server = TestServer::with_config(|config| {
        config.worker = shiori_server::WorkerMode::None;
        config.summaries.max_unfinished = 2;
        config.summaries.required_days = 1;
    })
    .await;
    let client = server.client().await;
    let raw = RawClient::sign_up(&server.url()).await;
    let body = json!({"title": "글", "content": {"type": "doc"}});
    assert_eq!(raw.post("/api/diary/20260216", &body).await.status, 201);
    for (start, end, status) in [
        ("20260216", "20260222", 202),
        ("20260215", "20260221", 202),
        ("20260214", "20260220", 429),
    ] {
        let response = raw.post("/api/diary/summary", &json!({"start": start, "end": end})).await;
        assert_eq!(response.status, status, "{}", response.text);
        assert!(response.headers.contains_key("retry-after"));
        if status == 202 {
            let id = response.json()["data"]["id"].as_str().unwrap().to_owned();
            assert_eq!(response.headers["location"], format!("/api/diary/summary/{id}"));
        } else {
            assert_eq!(response.error(), "too_many_summaries");
        }
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn invalid_weeks_and_waits_are_rejected() {
    let server = TestServer::without_worker().await;
    let raw = RawClient::sign_up(&server.url()).await;
    for (start, end, status, error) in [
        ("20260216", "20260221", 400, "invalid_range"),
        ("20260222", "20260216", 400, "invalid_range"),
        ("20250230", "20250308", 422, "invalid_date"),
        ("x", "y", 422, "invalid_date"),
    ] {
        let response = raw.post("/api/diary/summary", &json!({"start": start, "end": end})).await;
        assert_eq!((response.status, response.error().as_str()), (status, error));
    }
    for wait in ["31", "-1", "NaN", "1e99", "soon"] {
        let path = format!("/api/diary/summary/{}?wait={wait}", SummaryId::new());
        let response = raw.get(&path).await;
        assert_eq!(
            (response.status, response.error().as_str()),
            (422, "invalid_request"),
            "{wait}"
        );
    }
    server.stop().await;
}

/// A watcher receives every status. Another process can resume waiting with the id.
#[tokio::test]
async fn a_summary_can_be_watched_and_awaited_by_id() {
    let server = TestServer::start().await;
    let (client, email) = server.sign_up().await;
    write_week(&client, "지켜보는 주. 조금 슬펐지만 괜찮았다.").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summaries = handle.watch().map(|step| step.unwrap().into_summary().unwrap());
    let seen: Vec<_> = summaries.map(|summary| summary.status).collect().await;
    assert_eq!(seen.last(), Some(&SummaryStatus::Completed), "{seen:?}");

    let saved = serde_json::to_string(&handle.id()).unwrap();
    let elsewhere = new_client(&server.url());
    elsewhere.auth().login(&email, crate::fixtures::PASSWORD).await.unwrap();
    let resumed = elsewhere.summaries().handle(serde_json::from_str(&saved).unwrap());
    assert_eq!(resumed.wait().await.unwrap().status, SummaryStatus::Completed);
    server.stop().await;
}

/// If several weeks contain a day, the newest request decides its status.
#[tokio::test]
async fn overlapping_weeks_each_have_their_summary() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let days = DateRange::new(day(16), day(24)).unwrap();
    for date in days.dates() {
        client
            .diaries()
            .save(date, draft("글을 썼다."), Precondition::IfAbsent)
            .send()
            .await
            .unwrap();
    }
    for start in [16, 18] {
        let week = Week::starting(day(start)).unwrap();
        let handle = client.summaries().request(week).await.unwrap().into_handle().unwrap();
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    }
    let entries = client.diaries().list(days).await.unwrap();
    assert_eq!(entries.len(), 9);
    assert!(entries.iter().all(|day| day.summary_status == Some(DiarySummaryStatus::Completed)));
    server.stop().await;
}
