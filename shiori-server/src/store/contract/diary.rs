//! The contract of [`DiaryStore`].

use std::sync::Arc;

use shiori_sdk::{
    Date, DateRange, Document, Quota, QuotaExceeded, REMEMBERED_SAVES, SaveId, SessionId,
    Timestamp, UserId, Version, limits::QUOTA_STEP_BYTES,
};

use crate::store::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryPlace, DiaryQuota, DiaryRecord, DiaryStore,
    HistoryPolicy, NewVersion, PAGE_BYTES, PAGE_DIARIES, Page, SaveOutcome,
};

type Store = Arc<dyn DiaryStore>;

fn day(day: u8) -> Date {
    Date::new(2026, 2, day).expect("a real day")
}

fn save(user: UserId, expected: Option<Version>, text: &str) -> NewVersion {
    NewVersion {
        user,
        date: day(16),
        title: format!("제목 {text}"),
        content: Document::from_text(text),
        expected,
        save_id: None,
        quota: DiaryQuota::default(),
        session: SessionId::new(),
        history: HistoryPolicy::default(),
        keep_replaced: false,
        now: Timestamp::from_millis(1_771_200_000_000),
    }
}

async fn saved(store: &Store, save: NewVersion) -> AppliedSave {
    match store.save(&save).await.expect("the store is available") {
        SaveOutcome::Saved(stored) => stored,
        other => panic!("expected a success: {other:?}"),
    }
}

async fn read(store: &Store, user: UserId) -> Option<DiaryRecord> {
    store.get(user, day(16)).await.expect("the store is available")
}

/// Every number that a client can send as a version is compared without an error.
pub async fn versions_that_no_diary_has_are_conflicts(store: Store) {
    let user = UserId::new();
    let versions = [0, 2, (1 << 53) + 1, i64::MAX.unsigned_abs() - 1, i64::MAX.unsigned_abs()]
        .into_iter()
        .chain([i64::MAX.unsigned_abs() + 1, u64::MAX])
        .map(Version::new);
    for is_saved in [false, true] {
        let current = if is_saved {
            saved(&store, save(user, None, "글")).await;
            read(&store, user).await
        } else {
            None
        };
        for version in versions.clone() {
            let (date, now) = (day(16), Timestamp::from_millis(1_771_200_000_000));
            for save_id in [None, Some(SaveId::new())] {
                let save = NewVersion { save_id, ..save(user, Some(version), "다른 글") };
                let outcome = store.save(&save).await.expect("the store is available");
                assert_eq!(outcome, SaveOutcome::Conflict(current.clone()), "{version}");
            }
            let deleted = store
                .delete(user, date, version, HistoryPolicy::default(), now)
                .await
                .expect("the store is available");
            let archived = store.archive(user, date, version, true, now).await;
            let (delete, archive) = match current.clone() {
                None => (DeleteOutcome::NotFound, ArchiveOutcome::NotFound),
                Some(current) => {
                    (DeleteOutcome::Conflict(current.clone()), ArchiveOutcome::Conflict(current))
                }
            };
            assert_eq!(deleted, delete, "{version}");
            assert_eq!(archived.expect("the store is available"), archive, "{version}");
        }
        assert_eq!(read(&store, user).await, current);
    }
}

/// Content, title, version and time round-trip unchanged, for any content.
pub async fn content_round_trips_byte_for_byte(store: Store) {
    let user = UserId::new();
    assert_eq!(read(&store, user).await, None);
    let json = r#"{ "type":"doc", "zz":1.0, "content":[{"type":"x-unknown","attrs":{"n":1e2,"$key.with.dots":null,"big":123456789012345678901234567890}},{"type":"text","text":"한글 \u0000 😀 '\" \\ "}]}"#;
    let content = Document::from_json(json).expect("a document");
    let mut first = save(user, None, "");
    first.content = content;
    let stored = saved(&store, first.clone()).await;
    assert!(stored.created);
    let record = read(&store, user).await.expect("there");
    assert_eq!(record.content.as_json(), json);
    assert_eq!(record.head.title, first.title);
    assert_eq!((record.head.id, record.head.version), (stored.id, stored.version));
    assert_eq!(record.head.updated_at, first.now);
    assert!(!record.head.is_archived);
}

async fn race(store: &Store, saves: Vec<NewVersion>) -> Vec<SaveOutcome> {
    let tasks: Vec<_> = saves
        .into_iter()
        .map(|save| {
            let store = store.clone();
            tokio::spawn(async move { store.save(&save).await.expect("the store is available") })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("no panic"));
    }
    outcomes
}

/// One outcome is a success; all others are conflicts with the stored diary.
async fn assert_one_success(store: &Store, user: UserId, outcomes: &[SaveOutcome]) {
    let winners: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            SaveOutcome::Saved(stored) => Some(stored),
            _ => None,
        })
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let current = read(store, user).await.expect("there");
    assert_eq!(current.head.version, winners[0].version);
    let text = current.content.block_texts().remove(0);
    assert_eq!(current.head.title, format!("제목 {text}"), "title and content of the same save");
    for outcome in outcomes {
        match outcome {
            SaveOutcome::Saved(_) => {}
            SaveOutcome::Conflict(Some(record)) => assert_eq!(record, &current),
            other => panic!("expected a conflict with the stored diary: {other:?}"),
        }
    }
}

/// Of 32 concurrent first saves exactly one succeeds.
pub async fn of_concurrent_first_saves_one_succeeds(store: Store) {
    for _ in 0..8 {
        let user = UserId::new();
        let saves = (0..32).map(|n| save(user, None, &format!("첫 저장 {n}"))).collect();
        let outcomes = race(&store, saves).await;
        assert_one_success(&store, user, &outcomes).await;
    }
}

/// Of 32 concurrent saves over one version exactly one succeeds.
pub async fn of_concurrent_saves_over_one_version_one_succeeds(store: Store) {
    let user = UserId::new();
    let mut version = saved(&store, save(user, None, "처음")).await.version;
    for round in 0..8 {
        let saves =
            (0..32).map(|n| save(user, Some(version), &format!("{round} 회 {n} 번"))).collect();
        let outcomes = race(&store, saves).await;
        assert_one_success(&store, user, &outcomes).await;
        let current = read(&store, user).await.expect("there").head.version;
        assert_eq!(current, version.next());
        version = current;
    }
}

/// A repeated save id has the same outcome, even after later saves.
pub async fn a_repeated_save_is_replayed(store: Store) {
    let user = UserId::new();
    let mut first = save(user, None, "한 번");
    first.save_id = Some(SaveId::new());
    let stored = saved(&store, first.clone()).await;
    saved(&store, save(user, Some(stored.version), "그 뒤")).await;
    first.now = Timestamp::from_millis(1_771_300_000_000);
    match store.save(&first).await.expect("the store is available") {
        SaveOutcome::Replayed(again) => assert_eq!(again, stored),
        other => panic!("expected a replay: {other:?}"),
    }
    let current = read(&store, user).await.expect("there");
    assert_eq!(current.content.block_texts(), ["그 뒤"]);
}

/// Saves are recognised after a deletion: a repeated save has its first outcome and changes
/// nothing.
pub async fn a_repeated_save_is_replayed_after_deletions(store: Store) {
    let user = UserId::new();
    let now = Timestamp::from_millis(1_771_200_000_000);
    let mut applied = Vec::new();
    let mut expected = None;
    for round in 0..3 {
        for text in ["새로", "고쳐서"] {
            let mut next = save(user, expected, &format!("{round} {text}"));
            next.save_id = Some(SaveId::new());
            let stored = saved(&store, next.clone()).await;
            expected = Some(stored.version);
            applied.push((next, stored));
        }
        let version = expected.expect("saved");
        let archived = store.archive(user, day(16), version, true, now).await;
        assert!(matches!(archived, Ok(ArchiveOutcome::Archived(_))), "{archived:?}");
        assert_replayed(&store, &applied).await;
        let deleted =
            store.delete(user, day(16), version.next(), HistoryPolicy::default(), now).await;
        assert!(matches!(deleted, Ok(DeleteOutcome::Deleted)), "{deleted:?}");
        assert_replayed(&store, &applied).await;
        assert_eq!(read(&store, user).await, None, "nothing is restored");
        let again =
            store.delete(user, day(16), version.next(), HistoryPolicy::default(), now).await;
        assert!(matches!(again, Ok(DeleteOutcome::NotFound)), "{again:?}");
        expected = None;
    }
    let last = saved(&store, save(user, None, "마지막")).await;
    assert_replayed(&store, &applied).await;
    let current = read(&store, user).await.expect("a replay deletes nothing");
    assert_eq!(
        (current.head.version, current.content.block_texts()),
        (last.version, vec!["마지막".to_owned()])
    );
}

/// Repeats each save, once unchanged and once with another text and another expected version.
async fn assert_replayed(store: &Store, applied: &[(NewVersion, AppliedSave)]) {
    let before = read(store, applied[0].0.user).await;
    for (first, stored) in applied {
        let mut changed = first.clone();
        "다른 제목".clone_into(&mut changed.title);
        changed.content = Document::from_text("다른 글");
        changed.expected = before.as_ref().map(|record| record.head.version);
        changed.now = Timestamp::from_millis(1_771_300_000_000);
        for repeated in [first, &changed] {
            match store.save(repeated).await.expect("the store is available") {
                SaveOutcome::Replayed(again) => assert_eq!(again, *stored),
                other => panic!("expected a replay: {other:?}"),
            }
        }
    }
    assert_eq!(read(store, applied[0].0.user).await, before);
}

/// A deletion is not a save and is not counted among the stored ids.
pub async fn save_ids_are_recognised_across_deletions(store: Store) {
    let user = UserId::new();
    let mut applied = Vec::new();
    for n in 0..REMEMBERED_SAVES {
        let mut next = save(user, None, &format!("{n}"));
        next.save_id = Some(SaveId::new());
        let stored = saved(&store, next.clone()).await;
        assert!(stored.created);
        let deleted =
            store.delete(user, day(16), stored.version, HistoryPolicy::default(), next.now).await;
        assert!(matches!(deleted, Ok(DeleteOutcome::Deleted)), "{deleted:?}");
        applied.push((next, stored));
    }
    assert_replayed(&store, &applied).await;
    assert_eq!(read(&store, user).await, None);
    let mut next = save(user, None, "하나 더");
    next.save_id = Some(SaveId::new());
    let stored = saved(&store, next.clone()).await;
    let outcome = store.save(&applied[0].0).await.expect("the store is available");
    assert!(matches!(outcome, SaveOutcome::Conflict(Some(_))), "the oldest id is not recognised");
    applied.remove(0);
    applied.push((next, stored));
    assert_replayed(&store, &applied).await;
}

/// The latest save ids are recognised, and their number is bounded.
pub async fn save_ids_are_recognised_up_to_the_limit(store: Store) {
    let user = UserId::new();
    let mut expected = None;
    let mut saves = Vec::new();
    for n in 0..=REMEMBERED_SAVES {
        let mut next = save(user, expected, &format!("{n}"));
        next.save_id = Some(SaveId::new());
        expected = Some(saved(&store, next.clone()).await.version);
        saves.push(next);
    }
    let outcome = store.save(&saves[0]).await.expect("the store is available");
    assert!(matches!(outcome, SaveOutcome::Conflict(Some(_))), "the oldest id is not recognised");
    for save in &saves[1..] {
        let outcome = store.save(save).await.expect("the store is available");
        assert!(matches!(outcome, SaveOutcome::Replayed(_)), "{outcome:?}");
    }
}

/// Concurrent attempts of one save apply it once, and all have the same outcome.
pub async fn concurrent_attempts_of_one_save_apply_it_once(store: Store) {
    let user = UserId::new();
    let mut attempt = save(user, None, "여러 번 도착");
    attempt.save_id = Some(SaveId::new());
    let outcomes = race(&store, vec![attempt; 16]).await;
    let version = read(&store, user).await.expect("there").head.version;
    let fresh = outcomes.iter().filter(|o| matches!(o, SaveOutcome::Saved(_))).count();
    assert_eq!(fresh, 1, "{outcomes:?}");
    for outcome in outcomes {
        match outcome {
            SaveOutcome::Saved(stored) | SaveOutcome::Replayed(stored) => {
                assert_eq!(stored.version, version);
            }
            other => panic!("a save conflicted with itself: {other:?}"),
        }
    }
}

/// A deletion is a compare-and-swap. The tombstone keeps the version, so that a device with a stale
/// version cannot overwrite a later diary.
pub async fn a_deletion_keeps_the_version_but_no_text(store: Store) {
    let user = UserId::new();
    let now = Timestamp::from_millis(1_771_200_000_000);
    let delete = |version| store.delete(user, day(16), version, HistoryPolicy::default(), now);
    assert!(matches!(delete(Version::new(1)).await, Ok(DeleteOutcome::NotFound)));
    let first = saved(&store, save(user, None, "지울 것")).await;
    let outcome = delete(first.version.next()).await.expect("the store is available");
    assert!(matches!(outcome, DeleteOutcome::Conflict(_)));
    assert!(matches!(delete(first.version).await, Ok(DeleteOutcome::Deleted)));
    assert_eq!(read(&store, user).await, None);
    assert!(matches!(delete(first.version).await, Ok(DeleteOutcome::NotFound)));
    let late = store.save(&save(user, Some(first.version), "늦은 저장")).await;
    assert!(matches!(late, Ok(SaveOutcome::Conflict(None))), "{late:?}");
    let again = saved(&store, save(user, None, "다시")).await;
    assert!(again.created);
    assert!(again.version > first.version);
    let late = store.save(&save(user, Some(first.version), "늦은 저장")).await;
    assert!(matches!(late, Ok(SaveOutcome::Conflict(Some(_)))), "{late:?}");
}

pub async fn an_erasure_leaves_nothing_of_its_user(store: Store) {
    let (user, other) = (UserId::new(), UserId::new());
    for n in 16..=20 {
        for user in [user, other] {
            saved(&store, NewVersion { date: day(n), ..save(user, None, "지울 것") }).await;
        }
    }
    let deleted = store
        .delete(user, day(16), Version::new(1), HistoryPolicy::default(), Timestamp::now())
        .await;
    assert!(matches!(deleted, Ok(DeleteOutcome::Deleted)));
    for expected in [2, 2, 1, 0] {
        assert_eq!(store.erase(user, 2).await.expect("erased"), expected);
    }
    let range = DateRange::new(day(1), day(28)).expect("a range");
    assert_eq!(store.list(user, range).await.expect("read"), []);
    assert_eq!(store.list(other, range).await.expect("read").len(), 5);
    // Nothing is left that versions would continue from.
    assert_eq!(saved(&store, save(user, None, "다시")).await.version, Version::new(1));
}

/// Archiving is a compare-and-swap that does not change the text.
pub async fn archiving_is_a_compare_and_swap(store: Store) {
    let user = UserId::new();
    let now = Timestamp::from_millis(1_771_200_000_000);
    let first = saved(&store, save(user, None, "보관")).await;
    let archive = |version, archived| store.archive(user, day(16), version, archived, now);
    let version = match archive(first.version, true).await.expect("the store is available") {
        ArchiveOutcome::Archived(version) => version,
        other => panic!("not archived: {other:?}"),
    };
    assert_eq!(version, first.version.next());
    let record = read(&store, user).await.expect("there");
    assert!(record.head.is_archived);
    assert_eq!(record.content.block_texts(), ["보관"]);
    let outcome = archive(first.version, false).await.expect("the store is available");
    assert!(matches!(outcome, ArchiveOutcome::Conflict(current) if current == record));
    let elsewhere = store.archive(user, day(17), version, true, now).await;
    assert!(matches!(elsewhere, Ok(ArchiveOutcome::NotFound)));
}

/// A listing contains exactly the diaries of the range, by date.
pub async fn a_listing_is_ordered_and_bounded_by_its_range(store: Store) {
    let user = UserId::new();
    for n in [20, 16, 18, 22, 15] {
        let mut one = save(user, None, &format!("{n}일"));
        one.date = day(n);
        saved(&store, one).await;
    }
    let range = DateRange::new(day(16), day(20)).expect("ordered");
    let heads = store.list(user, range).await.expect("the store is available");
    let dates: Vec<_> = heads.iter().map(|head| head.date).collect();
    assert_eq!(dates, [day(16), day(18), day(20)]);
    assert_eq!(heads[0].title, "제목 16일");
    let records = store.list_with_content(user, range).await.expect("the store is available");
    assert!(records.iter().map(|record| &record.head).eq(&heads));
    assert_eq!(records[1].content.block_texts(), ["18일"]);
}

/// Diaries are private to their user.
pub async fn diaries_are_private_to_their_user(store: Store) {
    let (mine, theirs) = (UserId::new(), UserId::new());
    let stored = saved(&store, save(mine, None, "내 것")).await;
    assert_eq!(read(&store, theirs).await, None);
    let range = DateRange::new(day(1), day(28)).expect("ordered");
    assert!(store.list(theirs, range).await.expect("the store is available").is_empty());
    let other = store.save(&save(theirs, Some(stored.version), "남의 것")).await;
    assert!(matches!(other, Ok(SaveOutcome::Conflict(None))), "{other:?}");
    saved(&store, save(theirs, None, "따로")).await;
    assert_eq!(read(&store, mine).await.expect("a diary").content.block_texts(), ["내 것"]);
}

/// A save of a document with this many bytes.
fn sized(user: UserId, start: Date, expected: Option<Version>, bytes: usize) -> NewVersion {
    let frame = Document::from_text("x").as_json().len() - 1;
    let content = Document::from_text(&"x".repeat(bytes - frame));
    assert_eq!(content.as_json().len(), bytes);
    NewVersion { date: start, content, ..save(user, expected, "") }
}

fn exceeded(quota: Quota, limit: u64) -> SaveOutcome {
    SaveOutcome::QuotaExceeded(QuotaExceeded { quota, limit })
}

/// A user has at most as many diaries as the quota permits. Saves of existing diaries do not count,
/// and replays and conflicts are recognised at the limit.
pub async fn the_number_of_diaries_is_bounded(store: Store) {
    let user = UserId::new();
    let quota = DiaryQuota { diaries: Some(2), bytes: None };
    let new = |user, date| NewVersion { date: day(date), quota, ..save(user, None, "글") };
    let first = saved(&store, new(user, 1)).await;
    let second = NewVersion { save_id: Some(SaveId::new()), ..new(user, 2) };
    let second_saved = saved(&store, second.clone()).await;

    let third = NewVersion { save_id: Some(SaveId::new()), ..new(user, 3) };
    for save in [new(user, 3), third.clone()] {
        let outcome = store.save(&save).await.expect("the store is available");
        assert_eq!(outcome, exceeded(Quota::Diaries, 2));
    }
    assert_eq!(store.get(user, day(3)).await.expect("the store is available"), None);

    let replayed = store.save(&second).await.expect("the store is available");
    assert_eq!(replayed, SaveOutcome::Replayed(second_saved));
    let conflict = store.save(&new(user, 1)).await.expect("the store is available");
    assert!(matches!(conflict, SaveOutcome::Conflict(Some(_))), "{conflict:?}");
    let stale = NewVersion { expected: Some(Version::new(7)), ..new(user, 3) };
    let conflict = store.save(&stale).await.expect("the store is available");
    assert_eq!(conflict, SaveOutcome::Conflict(None));
    let again = NewVersion { expected: Some(first.version), ..new(user, 1) };
    saved(&store, again).await;
    saved(&store, new(UserId::new(), 3)).await;

    // A deleted diary does not count, whether the date is new or had a diary.
    let deleted = store
        .delete(user, day(2), second_saved.version, HistoryPolicy::default(), second.now)
        .await;
    assert_eq!(deleted.expect("the store is available"), DeleteOutcome::Deleted);
    saved(&store, third).await;
    let outcome = store.save(&new(user, 2)).await.expect("the store is available");
    assert_eq!(outcome, exceeded(Quota::Diaries, 2));
    let more = DiaryQuota { diaries: Some(3), bytes: None };
    saved(&store, NewVersion { quota: more, ..new(user, 2) }).await;
}

/// The bytes of all documents are compared with the quota when a date gets a diary, and when a
/// document grows across a multiple of the step.
pub async fn the_bytes_of_diaries_are_bounded(store: Store) {
    let step = usize::try_from(QUOTA_STEP_BYTES).expect("a small number");
    let user = UserId::new();
    let limit = QUOTA_STEP_BYTES * 4;
    let quota = DiaryQuota { diaries: None, bytes: Some(limit) };
    let sized =
        |date, expected, bytes| NewVersion { quota, ..sized(user, day(date), expected, bytes) };
    let first = saved(&store, sized(1, None, step)).await;
    let second = saved(&store, sized(2, None, 2 * step)).await;

    let outcome = store.save(&sized(3, None, step + 1)).await.expect("the store is available");
    assert_eq!(outcome, exceeded(Quota::DiaryBytes, limit));
    let grown = sized(1, Some(first.version), 2 * step + 1);
    let outcome = store.save(&grown).await.expect("the store is available");
    assert_eq!(outcome, exceeded(Quota::DiaryBytes, limit));
    let current = store.get(user, day(1)).await.expect("the store is available").expect("there");
    assert_eq!(current.head.version, first.version, "nothing was changed");

    // At the limit: 2 + 2 steps.
    let first = saved(&store, sized(1, Some(first.version), 2 * step)).await;
    let outcome = store.save(&sized(3, None, 100)).await.expect("the store is available");
    assert_eq!(outcome, exceeded(Quota::DiaryBytes, limit));
    // Growth by less than a step is not counted, and neither is a smaller document.
    let first = saved(&store, sized(1, Some(first.version), 3 * step - 1)).await;
    let outcome = store.save(&sized(1, Some(first.version), 3 * step)).await;
    assert_eq!(outcome.expect("the store is available"), exceeded(Quota::DiaryBytes, limit));
    let second = saved(&store, sized(2, Some(second.version), step)).await;
    let first = saved(&store, sized(1, Some(first.version), 3 * step)).await;
    let stale = sized(1, Some(second.version), 8 * step);
    let conflict = store.save(&stale).await.expect("the store is available");
    assert!(matches!(conflict, SaveOutcome::Conflict(Some(_))), "{conflict:?}");

    // A deleted diary has no bytes.
    let deleted =
        store.delete(user, day(1), first.version, HistoryPolicy::default(), stale.now).await;
    assert_eq!(deleted.expect("the store is available"), DeleteOutcome::Deleted);
    saved(&store, sized(3, None, 3 * step)).await;
}

/// Concurrent saves may exceed the quota together, but every save that was applied is stored, and
/// afterwards none is.
pub async fn concurrent_saves_at_the_quota_lose_nothing(store: Store) {
    let user = UserId::new();
    let quota = DiaryQuota { diaries: Some(4), bytes: None };
    let new = |date| NewVersion {
        date: day(date),
        quota,
        save_id: Some(SaveId::new()),
        ..save(user, None, "글")
    };
    let outcomes = race(&store, (1..=16).map(new).collect()).await;
    let mut applied = 0;
    for outcome in outcomes {
        match outcome {
            SaveOutcome::Saved(_) => applied += 1,
            other => assert_eq!(other, exceeded(Quota::Diaries, 4)),
        }
    }
    assert!(applied >= 4, "{applied}");
    let range = DateRange::new(day(1), day(28)).expect("ordered");
    let listed = store.list(user, range).await.expect("the store is available");
    assert_eq!(listed.len(), applied);
    let outcome = store.save(&new(20)).await.expect("the store is available");
    assert_eq!(outcome, exceeded(Quota::Diaries, 4));
}

/// Pages contain every diary once, by date, and no page is much larger than its limit.
pub async fn pages_contain_every_diary_once(store: Store) {
    let user = UserId::new();
    let date = |number: usize| {
        let days = i64::try_from(number).expect("a small number");
        day(1).plus_days(days).expect("a date")
    };
    let (count, large) = (2 * PAGE_DIARIES + 3, PAGE_BYTES / 3);
    let mut expected = Vec::new();
    for number in 0..count {
        // The last ones fill their pages by their size.
        let bytes = if number < PAGE_DIARIES { 100 } else { large };
        let save = NewVersion { date: date(number), ..sized(user, day(1), None, bytes) };
        let stored = saved(&store, save.clone()).await;
        if number % 50 == 49 {
            let deleted = store
                .delete(user, save.date, stored.version, HistoryPolicy::default(), save.now)
                .await;
            assert_eq!(deleted.expect("the store is available"), DeleteOutcome::Deleted);
        } else {
            expected.push(save.date);
        }
    }
    saved(&store, NewVersion { date: date(count), ..save(UserId::new(), None, "남의 글") }).await;

    let (mut found, mut pages, mut next) = (Vec::new(), 0, Some(DiaryPlace::first()));
    while let Some(place) = next {
        let page = store.page(user, place).await.expect("the store is available");
        let bytes: usize = page.items.iter().map(|diary| diary.content.as_json().len()).sum();
        assert!(page.items.len() <= PAGE_DIARIES && bytes <= PAGE_BYTES + large, "{bytes}");
        assert_eq!(page.unreadable, 0);
        if let Some(first) = page.items.first() {
            let alone = store.get(user, first.head.date).await.expect("the store is available");
            assert_eq!(alone.as_ref(), Some(first));
        }
        found.extend(page.items.iter().map(|diary| diary.head.date));
        (pages, next) = (pages + 1, page.next);
    }
    assert_eq!(found, expected);
    assert!(pages > (count - PAGE_DIARIES) / 4, "{pages}");
    let none = store.page(UserId::new(), DiaryPlace::first()).await.expect("available");
    assert_eq!(none, Page { items: Vec::new(), unreadable: 0, next: None });
}
