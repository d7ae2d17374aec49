//! A summary's way from the request to the reflection.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use serde_json::json;
use shiori_sdk::{
    DateRange, DiarySummaryStatus, Document, Draft, Emotion, FailureKind, Precondition, Requested,
    SummaryId, SummaryStatus, Week,
};

use crate::house::{House, Raw, day, device, draft, week, write_week};

#[tokio::test]
async fn a_week_becomes_a_reflection_with_seven_emotions() {
    let house = House::start().await;
    let client = house.client().await;
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
        assert_eq!(entry.summary_status, DiarySummaryStatus::Completed);
        assert_eq!(entry.emotion, Some(Emotion::Happiness));
    }

    // A diary that is saved afterwards makes the reflection stale, and that day alone.
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
        assert_eq!(entry.summary_status, expected, "{}", entry.date);
    }
    house.stop().await;
}

#[tokio::test]
async fn a_finished_summary_is_returned_until_a_diary_changes() {
    let house = House::start().await;
    let client = house.client().await;
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
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_identical_requests_are_one_summary_and_one_run() {
    let house = House::start().await;
    let client = house.client().await;
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
    house.stop().await;
}

#[tokio::test]
async fn a_week_with_missing_days_is_refused_with_the_dates() {
    let house = House::start().await;
    let client = house.client().await;
    for date in [16, 17, 19, 20, 22] {
        client.diaries().save(day(date), draft("글"), Precondition::IfAbsent).send().await.unwrap();
    }
    match client.summaries().request(week()).await.unwrap() {
        Requested::Incomplete { missing } => assert_eq!(missing, [day(18), day(21)]),
        other => panic!("{other:?}"),
    }
    house.stop().await;

    let house = House::with(|config| config.summaries.required_days = 1).await;
    let client = house.client().await;
    client.diaries().save(day(20), draft("하루뿐"), Precondition::IfAbsent).send().await.unwrap();
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!((summary.status, summary.emotions.len()), (SummaryStatus::Completed, 1));
    house.stop().await;
}

#[tokio::test]
async fn a_week_of_empty_diaries_fails_clearly() {
    let house = House::start().await;
    let client = house.client().await;
    for date in week().dates() {
        let empty = Draft::new("", Document::empty());
        client.diaries().save(date, empty, Precondition::IfAbsent).send().await.unwrap();
    }
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Failed);
    assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::NoText));
    assert_eq!(summary.attempts, 1, "it is not tried again");
    let entries = client.diaries().list(week().into()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.summary_status == DiarySummaryStatus::Failed));
    house.stop().await;
}

#[tokio::test]
async fn a_foreign_summary_is_as_good_as_none() {
    let house = House::without_worker().await;
    let mine = house.client().await;
    write_week(&mine, "내 주").await;
    let handle = mine.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let theirs = house.client().await;
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
    house.stop().await;
}

#[tokio::test]
async fn an_unfinished_summary_can_be_called_off_and_asked_for_again() {
    let house = House::without_worker().await;
    let client = house.client().await;
    write_week(&client, "취소할 주").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let statuses = client.diaries().list(week().into()).await.unwrap();
    assert!(statuses.iter().all(|day| day.summary_status == DiarySummaryStatus::Pending));
    handle.cancel().await.unwrap();
    let summary = handle.wait().await.unwrap();
    assert_eq!(summary.status, SummaryStatus::Cancelled);
    assert_eq!(handle.cancel().await.unwrap_err().status_code(), Some(409));
    let statuses = client.diaries().list(week().into()).await.unwrap();
    assert!(statuses.iter().all(|day| day.summary_status == DiarySummaryStatus::None));
    let again = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_ne!(again.id(), handle.id());
    house.stop().await;
}

#[tokio::test]
async fn unfinished_summaries_are_bounded() {
    let house = House::with(|config| {
        config.worker = shiori_server::WorkerMode::None;
        config.summaries.max_unfinished = 2;
        config.summaries.required_days = 1;
    })
    .await;
    let client = house.client().await;
    let raw = Raw::person(&house.url()).await;
    let body = json!({"title": "글", "content": {"type": "doc"}});
    assert_eq!(raw.post("/api/diary/20260216", &body).await.status, 201);
    for (start, end, status) in [
        ("20260216", "20260222", 202),
        ("20260215", "20260221", 202),
        ("20260214", "20260220", 429),
    ] {
        let answer = raw.post("/api/diary/summary", &json!({"start": start, "end": end})).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.headers.contains_key("retry-after"));
        if status == 202 {
            let id = answer.json()["data"]["id"].as_str().unwrap().to_owned();
            assert_eq!(answer.headers["location"], format!("/api/diary/summary/{id}"));
        } else {
            assert_eq!(answer.error(), "too_many_summaries");
        }
    }
    drop(client);
    house.stop().await;
}

#[tokio::test]
async fn bad_weeks_and_waits_are_refused() {
    let house = House::without_worker().await;
    let raw = Raw::person(&house.url()).await;
    for (start, end, status, error) in [
        ("20260216", "20260221", 400, "invalid_range"),
        ("20260222", "20260216", 400, "invalid_range"),
        ("20250230", "20250308", 422, "invalid_date"),
        ("x", "y", 422, "invalid_date"),
    ] {
        let answer = raw.post("/api/diary/summary", &json!({"start": start, "end": end})).await;
        assert_eq!((answer.status, answer.error().as_str()), (status, error));
    }
    for wait in ["31", "-1", "NaN", "1e99", "soon"] {
        let path = format!("/api/diary/summary/{}?wait={wait}", SummaryId::new());
        let answer = raw.get(&path).await;
        assert_eq!((answer.status, answer.error().as_str()), (422, "invalid_request"), "{wait}");
    }
    house.stop().await;
}

/// One who watches sees every status, and whoever comes back with an id in another process sees
/// the end.
#[tokio::test]
async fn a_summary_is_watched_to_its_end_and_resumed_elsewhere() {
    let house = House::start().await;
    let (client, email) = house.person().await;
    write_week(&client, "지켜보는 주. 조금 슬펐지만 괜찮았다.").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let seen: Vec<_> = handle.watch().map(|summary| summary.unwrap().status).collect().await;
    assert_eq!(seen.last(), Some(&SummaryStatus::Completed), "{seen:?}");

    let saved = serde_json::to_string(&handle.id()).unwrap();
    let elsewhere = device(&house.url());
    elsewhere.auth().login(&email, crate::house::PASSWORD).await.unwrap();
    let resumed = elsewhere.summaries().handle(serde_json::from_str(&saved).unwrap());
    assert_eq!(resumed.wait().await.unwrap().status, SummaryStatus::Completed);
    house.stop().await;
}

/// The newest request that covers a day decides its status, whichever weeks overlap there.
#[tokio::test]
async fn overlapping_weeks_each_have_their_summary() {
    let house = House::start().await;
    let client = house.client().await;
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
    assert!(entries.iter().all(|day| day.summary_status == DiarySummaryStatus::Completed));
    house.stop().await;
}
