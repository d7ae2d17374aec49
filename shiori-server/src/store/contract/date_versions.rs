//! The contract of [`DiaryStore`] for many dates: their versions, and reading chosen ones.

use std::sync::Arc;

use shiori_sdk::{
    Date, DateRange, DateVersion, Document, SessionId, Timestamp, UserId, Version,
    limits::MAX_READ_BYTES,
};

use crate::store::{
    ArchiveOutcome, DeleteOutcome, DiaryQuota, DiaryStore, HistoryPolicy, ManyDiaries, NewVersion,
    SaveOutcome,
};

type Store = Arc<dyn DiaryStore>;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn day(day: u8) -> Date {
    Date::new(2026, 2, day).expect("a real day")
}

fn february() -> DateRange {
    DateRange::new(day(1), day(28)).expect("ordered")
}

async fn save(
    store: &Store,
    user: UserId,
    date: Date,
    expected: Option<Version>,
    content: Document,
) -> Version {
    let title = "제목".to_owned();
    let quota = DiaryQuota::default();
    let save = NewVersion {
        user,
        date,
        title,
        content,
        expected,
        save_id: None,
        quota,
        session: SessionId::new(),
        history: HistoryPolicy::default(),
        keep_replaced: false,
        now: NOW,
    };
    match store.save(&save).await.expect("the store is available") {
        SaveOutcome::Saved(saved) => saved.version,
        other => panic!("expected a success: {other:?}"),
    }
}

async fn create(store: &Store, user: UserId, date: Date) -> Version {
    save(store, user, date, None, Document::from_text("글")).await
}

async fn delete(store: &Store, user: UserId, date: Date, version: Version) {
    let deleted = store.delete(user, date, version, HistoryPolicy::default(), NOW).await;
    assert_eq!(deleted.expect("the store is available"), DeleteOutcome::Deleted);
}

async fn versions(store: &Store, user: UserId, range: DateRange) -> Vec<DateVersion> {
    store.versions(user, range, 100).await.expect("the store is available")
}

fn version(date: Date, number: u64) -> DateVersion {
    DateVersion { date, version: Version::new(number), is_archived: false, is_deleted: false }
}

/// Every date that has or had a diary has a version, which grows with every change.
pub async fn every_date_that_had_a_diary_has_a_version(store: Store) {
    let user = UserId::new();
    assert_eq!(versions(&store, user, february()).await, []);
    for date in [day(20), day(3), day(28), day(10)] {
        create(&store, user, date).await;
    }
    create(&store, UserId::new(), day(5)).await;
    assert_eq!(
        versions(&store, user, february()).await,
        [version(day(3), 1), version(day(10), 1), version(day(20), 1), version(day(28), 1)]
    );

    save(&store, user, day(3), Some(Version::new(1)), Document::from_text("둘")).await;
    let archived = store.archive(user, day(10), Version::new(1), true, NOW).await;
    let archived = archived.expect("the store is available");
    assert_eq!(archived, ArchiveOutcome::Archived(Version::new(2)));
    delete(&store, user, day(20), Version::new(1)).await;
    let changed = [
        version(day(3), 2),
        DateVersion { is_archived: true, ..version(day(10), 2) },
        DateVersion { is_deleted: true, ..version(day(20), 2) },
    ];
    let until_20 = DateRange::new(day(3), day(20)).expect("ordered");
    assert_eq!(versions(&store, user, until_20).await, changed);

    // A deleted diary is not archived, and a new one of its date continues the versions.
    delete(&store, user, day(10), Version::new(2)).await;
    create(&store, user, day(20)).await;
    let next = [DateVersion { is_deleted: true, ..version(day(10), 3) }, version(day(20), 3)];
    let from_10 = DateRange::new(day(10), day(27)).expect("ordered");
    assert_eq!(versions(&store, user, from_10).await, next);
}

/// A limit returns the first dates of the range.
pub async fn the_number_of_versions_is_limited(store: Store) {
    let user = UserId::new();
    for n in 1..=5 {
        create(&store, user, day(n)).await;
    }
    let after_1 = DateRange::new(day(2), day(28)).expect("ordered");
    let first = store.versions(user, after_1, 3).await.expect("the store is available");
    assert_eq!(first, [version(day(2), 1), version(day(3), 1), version(day(4), 1)]);
    let widest = DateRange::new(
        Date::new(1, 1, 1).expect("a date"),
        Date::new(9999, 12, 31).expect("a date"),
    );
    assert_eq!(versions(&store, user, widest.expect("ordered")).await.len(), 5);
}

/// The diaries of chosen dates are those that single reads return.
pub async fn diaries_of_chosen_dates_are_read(store: Store) {
    let user = UserId::new();
    for n in [2, 4, 6, 8] {
        create(&store, user, day(n)).await;
    }
    delete(&store, user, day(4), Version::new(1)).await;
    create(&store, UserId::new(), day(3)).await;
    let dates = [day(2), day(3), day(4), day(8), day(9)];
    let many = store.read_many(user, &dates).await.expect("the store is available");
    let mut expected = ManyDiaries::default();
    for date in [day(2), day(8)] {
        let alone = store.get(user, date).await.expect("the store is available");
        expected.diaries.extend(alone);
    }
    assert_eq!(many, expected);
    let none = store.read_many(user, &[]).await.expect("the store is available");
    assert_eq!(none, ManyDiaries::default());
}

/// A read ends when its documents have the maximum of bytes, and names the dates that are left.
pub async fn the_bytes_of_a_read_are_bounded(store: Store) {
    let user = UserId::new();
    let large = Document::from_text(&"x".repeat(MAX_READ_BYTES * 2 / 5));
    for n in [1, 2, 3, 5] {
        save(&store, user, day(n), None, large.clone()).await;
    }
    let dates: Vec<_> = (1..=7).map(day).collect();
    let first = store.read_many(user, &dates).await.expect("the store is available");
    let read: Vec<_> = first.diaries.iter().map(|diary| diary.head.date).collect();
    assert_eq!(read, [day(1), day(2), day(3)]);
    assert_eq!(first.rest, [day(4), day(5), day(6), day(7)]);
    let second = store.read_many(user, &first.rest).await.expect("the store is available");
    let read: Vec<_> = second.diaries.iter().map(|diary| diary.head.date).collect();
    assert_eq!((read, second.rest), (vec![day(5)], Vec::new()));
}
