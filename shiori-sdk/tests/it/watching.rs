//! Watching and reading many diaries, with faults.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use shiori_sdk::{
    Client, Date, DateRange, DateVersion, Document, Draft, ErrorKind, Precondition, Version,
    testing::{FakeShiori, Fault, Route},
};
use tokio::time::timeout;

fn date(days: i64) -> Date {
    Date::new(2026, 1, 1).unwrap().plus_days(days).unwrap()
}

async fn save(client: &Client, date: Date) {
    let draft = Draft::new("제목", Document::from_text("글"));
    client.diaries().save(date, draft, Precondition::IfAbsent).send().await.unwrap();
}

fn first(date: Date) -> DateVersion {
    DateVersion { date, version: Version::new(1), is_archived: false, is_deleted: false }
}

/// The next version; a failure instead of a test that does not end.
async fn next(watch: &mut shiori_sdk::DiaryWatch) -> DateVersion {
    let next = timeout(Duration::from_secs(60), watch.next()).await;
    next.expect("a version is yielded").expect("the stream is open").unwrap()
}

#[tokio::test]
async fn a_watch_survives_errors_and_lost_connections() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    save(&client, date(1)).await;
    for fault in [
        Fault::status(503).on(Route::Versions).times(6),
        Fault::lost_response().on(Route::Versions).times(4),
        Fault::status(429).on(Route::Changes).times(3),
        Fault::lost_request().on(Route::Changes).times(2),
        Fault::status(502).on(Route::Changes).times(1),
    ] {
        fake.inject(fault);
    }
    let mut watch = client.diaries().watch();
    assert_eq!(next(&mut watch).await, first(date(1)));
    save(&client, date(2)).await;
    assert_eq!(next(&mut watch).await, first(date(2)));
}

#[tokio::test]
async fn a_watch_does_not_continue_with_the_diaries_of_another_user() {
    let fake = FakeShiori::start();
    let (one, other) = (fake.person(), fake.person());
    let client = one.device().await.unwrap();
    save(&client, date(1)).await;
    save(&other.device().await.unwrap(), date(2)).await;
    let mut watch = client.diaries().watch();
    assert_eq!(next(&mut watch).await, first(date(1)));
    client.auth().login(other.email(), shiori_sdk::testing::Person::PASSWORD).await.unwrap();
    fake.inject(Fault::lost_response().on(Route::Changes).times(1));
    save(&one.device().await.unwrap(), date(3)).await;
    let ended = timeout(Duration::from_secs(60), watch.next()).await.unwrap();
    assert_eq!(ended.unwrap().unwrap_err().kind(), ErrorKind::SignedOut);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn without_events_the_versions_are_compared() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    fake.inject(Fault::status(404).on(Route::Changes).times(u32::MAX));
    let mut watch = client.diaries().watch();
    for days in 1..5 {
        save(&client, date(days)).await;
        assert_eq!(next(&mut watch).await, first(date(days)));
    }
}

/// A comparison without changes transfers no versions, and a hint is yielded without a request.
#[tokio::test]
async fn hints_need_no_requests() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    let mut watch = client.diaries().watch();
    save(&client, date(0)).await;
    assert_eq!(next(&mut watch).await, first(date(0)));
    let requests = fake.count(Route::Versions);
    for days in 1..20 {
        save(&client, date(days)).await;
        assert_eq!(next(&mut watch).await, first(date(days)));
    }
    assert_eq!(fake.count(Route::Versions), requests);
    assert_eq!(fake.count(Route::Changes), 1);
}

#[tokio::test]
async fn a_watch_renews_the_session_and_ends_with_it() {
    let fake = FakeShiori::start();
    let person = fake.person();
    let (client, other) = (person.device().await.unwrap(), person.device().await.unwrap());
    fake.expire_access_tokens();
    save(&client, date(1)).await;
    let mut watch = other.diaries().watch();
    assert_eq!(next(&mut watch).await, first(date(1)));

    let ended = person.device().await.unwrap();
    ended.auth().logout().await.unwrap();
    let mut watch = ended.diaries().watch();
    assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::SignedOut);
    assert!(watch.next().await.is_none());
}

/// Three pages are requested in advance, and further ones while the stream is polled.
#[tokio::test]
async fn pages_are_read_ahead_within_a_bound() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    for days in 0..520 {
        save(&client, date(days)).await;
    }
    let range = DateRange::new(date(0), date(600)).unwrap();
    let mut diaries = client.diaries().read(range);
    assert_eq!(fake.count(Route::Versions), 0, "nothing is sent before the first poll");
    assert_eq!(diaries.next().await.unwrap().unwrap().date, date(0));
    let rest: Vec<_> = (&mut diaries).take(99).try_collect().await.unwrap();
    assert_eq!(rest.len(), 99);
    assert!(fake.count(Route::ReadMany) <= 3, "{}", fake.count(Route::ReadMany));
    let rest: Vec<_> = diaries.try_collect().await.unwrap();
    let dates: Vec<_> = rest.iter().map(|diary| diary.date).collect();
    assert_eq!(dates, (100..520).map(date).collect::<Vec<_>>());
    assert_eq!((fake.count(Route::Versions), fake.count(Route::ReadMany)), (1, 6));
}

#[tokio::test]
async fn a_read_repeats_lost_requests_and_ends_after_an_error() {
    let fake = FakeShiori::start();
    let client = fake.client().await;
    for days in 0..150 {
        save(&client, date(days)).await;
    }
    fake.inject(Fault::lost_response().on(Route::ReadMany));
    fake.inject(Fault::status(503).on(Route::ReadMany));
    let range = DateRange::new(date(0), date(200)).unwrap();
    let read: Vec<_> = client.diaries().read(range).try_collect().await.unwrap();
    assert_eq!(read.len(), 150);
    fake.inject(Fault::status(500).on(Route::ReadMany).times(2));
    let mut diaries = client.diaries().read(range);
    assert_eq!(diaries.next().await.unwrap().unwrap_err().kind(), ErrorKind::Rejected);
    assert!(diaries.next().await.is_none());
}
