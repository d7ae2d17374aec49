//! The contract of [`RevisionStore`](crate::store::RevisionStore), and of what a
//! [`DiaryStore`] keeps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shiori_sdk::{
    Date, Document, SaveId, SessionId, Timestamp, UserId, Version, limits::REVISION_AGE,
};

use crate::store::{
    ArchiveOutcome, DeleteOutcome, DiaryQuota, DiaryStore, HistoryPolicy, NewVersion, RevisionHead,
    SaveOutcome,
};

type Store = Arc<dyn DiaryStore>;

const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const HISTORY: HistoryPolicy = HistoryPolicy { per_date: 50, max_age: MONTH };

const MILLISECOND: Duration = Duration::from_millis(1);

/// Before every revision.
const EVER: Timestamp = Timestamp::UNIX_EPOCH;

fn start() -> Timestamp {
    Timestamp::from_millis(1_771_200_000_000)
}

fn day(day: u8) -> Date {
    Date::new(2026, 2, day).expect("a real day")
}

/// A first save of a new user, under a policy that keeps replaced texts.
pub fn first_save() -> NewVersion {
    Writer::new().version(None, "처음", start())
}

/// A user's sessions and the texts that they save.
#[derive(Clone, Copy)]
struct Writer {
    user: UserId,
    session: SessionId,
    history: HistoryPolicy,
    date: Date,
}

impl Writer {
    fn new() -> Self {
        let (user, session) = (UserId::new(), SessionId::new());
        Self { user, session, history: HISTORY, date: day(16) }
    }

    /// Another session of the same user.
    fn other(self) -> Self {
        Self { session: SessionId::new(), ..self }
    }

    fn version(self, expected: Option<Version>, text: &str, now: Timestamp) -> NewVersion {
        NewVersion {
            user: self.user,
            date: self.date,
            title: format!("제목 {text}"),
            content: Document::from_text(text),
            expected,
            save_id: None,
            quota: DiaryQuota::default(),
            session: self.session,
            history: self.history,
            keep_replaced: false,
            now,
        }
    }

    async fn save(
        self,
        store: &Store,
        expected: Option<Version>,
        text: &str,
        now: Timestamp,
    ) -> Version {
        let save = self.version(expected, text, now);
        match store.save(&save).await.expect("the store is available") {
            SaveOutcome::Saved(saved) => saved.version,
            other => panic!("expected a success: {other:?}"),
        }
    }

    async fn delete(self, store: &Store, version: Version, now: Timestamp) -> DeleteOutcome {
        let deleted = store.delete(self.user, self.date, version, self.history, now).await;
        deleted.expect("the store is available")
    }

    async fn revisions(self, store: &Store) -> Vec<RevisionHead> {
        let found = store.revisions(self.user, self.date, EVER).await;
        found.expect("the store is available")
    }

    /// Versions and texts of the revisions, newest first.
    async fn kept(self, store: &Store) -> Vec<(u64, String)> {
        let mut kept = Vec::new();
        for head in self.revisions(store).await {
            let found = store.revision(self.user, self.date, head.version, EVER).await;
            let found = found.expect("the store is available").expect("it is listed");
            assert_eq!(found.head, head);
            assert_eq!(head.bytes, found.content.as_json().len() as u64);
            let text = found.content.block_texts().join("\n");
            assert_eq!(head.title, format!("제목 {text}"), "title and text of the same version");
            kept.push((head.version.get(), text));
        }
        kept
    }
}

fn kept(revisions: &[(u64, &str)]) -> Vec<(u64, String)> {
    revisions.iter().map(|(version, text)| (*version, (*text).to_owned())).collect()
}

/// Saves of one session in short intervals add no revisions, also over more time than the limit.
pub async fn autosaves_of_one_session_keep_nothing(store: Store) {
    let (writer, mut now) = (Writer::new(), start());
    let mut version = writer.save(&store, None, "처음", now).await;
    for step in 0..5 {
        now = now + REVISION_AGE;
        version = writer.save(&store, Some(version), &format!("{step} 번째"), now).await;
    }
    assert_eq!(writer.kept(&store).await, kept(&[]));
}

/// A text of a server whose clock is far ahead is kept, although its time is not in the past.
pub async fn a_text_of_a_clock_that_is_far_ahead_is_kept(store: Store) {
    let (writer, now) = (Writer::new(), start());
    let ahead = now + REVISION_AGE + MILLISECOND;
    let first = writer.save(&store, None, "앞선 시계", ahead).await;
    let second = writer.save(&store, Some(first), "둘", now).await;
    writer.save(&store, Some(second), "셋", now + REVISION_AGE).await;
    assert_eq!(writer.kept(&store).await, kept(&[(1, "앞선 시계")]));
}

/// A save keeps a text of another session, however recent it is, with its times.
pub async fn a_save_of_another_session_keeps_what_it_replaces(store: Store) {
    let (phone, now) = (Writer::new(), start());
    let laptop = phone.other();
    let later = |seconds| now + Duration::from_secs(seconds);
    let first = phone.save(&store, None, "전화", now).await;
    let second = laptop.save(&store, Some(first), "노트북", later(1)).await;
    let third = laptop.save(&store, Some(second), "노트북에서 더", later(2)).await;
    phone.save(&store, Some(third), "다시 전화", later(3)).await;
    assert_eq!(phone.kept(&store).await, kept(&[(3, "노트북에서 더"), (1, "전화")]));
    let times: Vec<_> = phone.revisions(&store).await;
    let times: Vec<_> = times.iter().map(|head| (head.saved_at, head.replaced_at)).collect();
    assert_eq!(times, [(later(2), later(3)), (now, later(1))]);
    assert_eq!(laptop.kept(&store).await, phone.kept(&store).await, "one user, one history");
}

/// A text that is older than the limit is kept, also if the same session has saved it.
pub async fn a_text_older_than_the_limit_is_kept(store: Store) {
    let (writer, now) = (Writer::new(), start());
    let first = writer.save(&store, None, "어제", now).await;
    let at_limit = now + REVISION_AGE;
    let second = writer.save(&store, Some(first), "십 분 뒤", at_limit).await;
    assert_eq!(writer.kept(&store).await, kept(&[]));
    let after = at_limit + REVISION_AGE + MILLISECOND;
    writer.save(&store, Some(second), "그 뒤", after).await;
    assert_eq!(writer.kept(&store).await, kept(&[(2, "십 분 뒤")]));
}

/// Archiving changes the version, but the text keeps its session and its age.
pub async fn a_change_of_the_archive_state_does_not_renew_the_text(store: Store) {
    let (phone, now) = (Writer::new(), start());
    let archive = async |version, now| {
        let archived = store.archive(phone.user, phone.date, version, true, now).await;
        match archived.expect("the store is available") {
            ArchiveOutcome::Archived(version) => version,
            other => panic!("expected a success: {other:?}"),
        }
    };
    let first = phone.save(&store, None, "하나", now).await;
    let second = archive(first, now).await;
    let third = phone.save(&store, Some(second), "둘", now).await;
    assert_eq!(phone.kept(&store).await, kept(&[]), "the same session has saved it");
    let old = now + REVISION_AGE + MILLISECOND;
    let fourth = archive(third, old).await;
    phone.save(&store, Some(fourth), "셋", old).await;
    assert_eq!(phone.kept(&store).await, kept(&[(4, "둘")]));
    assert_eq!(phone.revisions(&store).await[0].saved_at, now, "archiving saves no text");
}

/// A save can require that the text which it replaces is kept.
pub async fn a_save_keeps_what_it_replaces_on_request(store: Store) {
    let (writer, now) = (Writer::new(), start());
    let first = writer.save(&store, None, "하나", now).await;
    let save = NewVersion {
        keep_replaced: true,
        save_id: Some(SaveId::new()),
        ..writer.version(Some(first), "둘", now)
    };
    let outcome = store.save(&save).await.expect("the store is available");
    let SaveOutcome::Saved(saved) = outcome else { panic!("expected a success: {outcome:?}") };
    assert_eq!(writer.kept(&store).await, kept(&[(1, "하나")]));
    let outcome = store.save(&save).await.expect("the store is available");
    assert_eq!(outcome, SaveOutcome::Replayed(saved));
    assert_eq!(writer.kept(&store).await, kept(&[(1, "하나")]));
    let off = NewVersion {
        keep_replaced: true,
        history: HistoryPolicy::default(),
        ..writer.version(Some(saved.version), "셋", now)
    };
    let outcome = store.save(&off).await.expect("the store is available");
    assert!(matches!(outcome, SaveOutcome::Saved(_)), "{outcome:?}");
    assert_eq!(writer.kept(&store).await, kept(&[(1, "하나")]), "the history is off");
}

/// A deletion keeps the text, however recent it is. It can be saved again.
pub async fn a_deletion_keeps_the_text(store: Store) {
    let (writer, now) = (Writer::new(), start());
    let first = writer.save(&store, None, "지운 글", now).await;
    assert_eq!(writer.delete(&store, first, now).await, DeleteOutcome::Deleted);
    assert_eq!(writer.kept(&store).await, kept(&[(1, "지운 글")]));
    assert_eq!(writer.delete(&store, first, now).await, DeleteOutcome::NotFound);
    let third = writer.save(&store, None, "새 글", now).await;
    assert_eq!(writer.kept(&store).await, kept(&[(1, "지운 글")]), "a deleted diary has no text");
    assert_eq!(writer.delete(&store, third, now).await, DeleteOutcome::Deleted);
    assert_eq!(writer.kept(&store).await, kept(&[(3, "새 글"), (1, "지운 글")]));
}

/// A change that is rejected leaves no revision, or that of a text which the date really had.
pub async fn a_rejected_change_adds_no_false_revision(store: Store) {
    let (phone, now) = (Writer::new(), start());
    let laptop = phone.other();
    let first = phone.save(&store, None, "있는 글", now).await;
    for stale in [Version::new(0), first.next(), Version::new(u64::MAX)] {
        let save = laptop.version(Some(stale), "진 글", now);
        let outcome = store.save(&save).await.expect("the store is available");
        assert!(matches!(outcome, SaveOutcome::Conflict(Some(_))), "{outcome:?}");
        let outcome = laptop.delete(&store, stale, now).await;
        assert!(matches!(outcome, DeleteOutcome::Conflict(_)), "{outcome:?}");
    }
    let quota = DiaryQuota { diaries: None, bytes: Some(1) };
    let large = "가".repeat(40_000);
    let save = NewVersion { quota, ..laptop.version(Some(first), &large, now) };
    let outcome = store.save(&save).await.expect("the store is available");
    assert!(matches!(outcome, SaveOutcome::QuotaExceeded(_)), "{outcome:?}");
    assert_eq!(phone.kept(&store).await, kept(&[]));
}

/// A repetition of a save is recognised as before, and keeps nothing.
pub async fn a_repeated_save_keeps_once(store: Store) {
    let (phone, now) = (Writer::new(), start());
    let laptop = phone.other();
    let first = phone.save(&store, None, "처음", now).await;
    let save = NewVersion {
        save_id: Some(SaveId::new()),
        ..laptop.version(Some(first), "다른 기기", now)
    };
    let outcome = store.save(&save).await.expect("the store is available");
    let SaveOutcome::Saved(saved) = outcome else { panic!("expected a success: {outcome:?}") };
    let late = now + REVISION_AGE * 2;
    for session in [save.session, SessionId::new()] {
        let again = NewVersion { session, now: late, ..save.clone() };
        let outcome = store.save(&again).await.expect("the store is available");
        assert_eq!(outcome, SaveOutcome::Replayed(saved));
    }
    assert_eq!(phone.kept(&store).await, kept(&[(1, "처음")]));
}

/// Of each date, the newest revisions are kept, also after the limit was lowered.
pub async fn the_newest_revisions_of_a_date_are_kept(store: Store) {
    let (writer, now) = (Writer::new(), start());
    let yesterday = Writer { date: day(15), ..writer };
    let other_day = yesterday.save(&store, None, "어제", now).await;
    yesterday.delete(&store, other_day, now).await;
    let mut version = writer.save(&store, None, "1", now).await;
    for text in 2..=53 {
        let session = writer.other();
        version = session.save(&store, Some(version), &text.to_string(), now).await;
    }
    let versions = async || -> Vec<u64> {
        writer.revisions(&store).await.iter().map(|head| head.version.get()).collect()
    };
    assert_eq!(versions().await, (3..=52).rev().collect::<Vec<_>>());
    let lowered = HistoryPolicy { per_date: 2, ..HISTORY };
    let session = Writer { history: lowered, ..writer.other() };
    let version = session.save(&store, Some(version), "54", now).await;
    assert_eq!(versions().await, [53, 52]);
    assert_eq!(session.delete(&store, version, now).await, DeleteOutcome::Deleted);
    assert_eq!(versions().await, [54, 53]);
    assert_eq!(yesterday.kept(&store).await, kept(&[(1, "어제")]));
}

/// Expired revisions are not returned, and deleted in batches, the oldest first.
pub async fn expired_revisions_are_not_found_and_deleted(store: Store) {
    // Long ago, so that other tests in the same store have no older revisions.
    let (writer, now) = (Writer::new(), Timestamp::from_millis(1_000_000));
    let mut replaced = Vec::new();
    let mut version = writer.save(&store, None, "1", now).await;
    for nth in 1..=3_u32 {
        let at = now + MONTH * nth;
        version = writer.save(&store, Some(version), &(nth + 1).to_string(), at).await;
        replaced.push(at);
    }
    let after = async |time| -> Vec<u64> {
        let found = store.revisions(writer.user, writer.date, time).await;
        let found = found.expect("the store is available");
        found.iter().map(|head| head.version.get()).collect()
    };
    assert_eq!(after(replaced[0] - MILLISECOND).await, [3, 2, 1]);
    assert_eq!(after(replaced[0]).await, [3, 2]);
    let one = async |time| {
        let found = store.revision(writer.user, writer.date, Version::new(1), time).await;
        found.expect("the store is available").is_some()
    };
    assert!(one(replaced[0] - MILLISECOND).await && !one(replaced[0]).await);

    let expire = async |until, limit| {
        store.expire_revisions(until, limit).await.expect("the store is available")
    };
    assert_eq!(expire(replaced[0] - MILLISECOND, 10).await, 0);
    assert_eq!(expire(replaced[1], 1).await, 1);
    assert_eq!(after(EVER).await, [3, 2]);
    assert_eq!(expire(replaced[2], 2).await, 2);
    assert_eq!(after(EVER).await, Vec::<u64>::new());
}

/// With a limit of 0, neither a save nor a deletion keeps anything.
pub async fn without_a_history_nothing_is_kept(store: Store) {
    for history in [
        HistoryPolicy { per_date: 0, ..HISTORY },
        HistoryPolicy { max_age: Duration::ZERO, ..HISTORY },
    ] {
        let (writer, now) = (Writer { history, ..Writer::new() }, start());
        let first = writer.save(&store, None, "하나", now).await;
        let second = writer.other().save(&store, Some(first), "둘", now + MONTH).await;
        assert_eq!(writer.delete(&store, second, now + MONTH).await, DeleteOutcome::Deleted);
        assert_eq!(writer.kept(&store).await, kept(&[]));
    }
}

/// A purge is bounded and repeatable. It changes no diary, and no other date or user.
pub async fn a_purge_deletes_the_revisions_of_a_date_or_all(store: Store) {
    let (writer, stranger, now) = (Writer::new(), Writer::new(), start());
    let writers = [writer, Writer { date: day(17), ..writer }, stranger];
    for writer in writers {
        let mut version = writer.save(&store, None, "1", now).await;
        for text in ["2", "3", "4"] {
            version = writer.other().save(&store, Some(version), text, now).await;
        }
    }
    let purge = async |date, limit| {
        let purged = store.purge_revisions(writer.user, date, limit).await;
        purged.expect("the store is available")
    };
    let counts = async || {
        let mut counts = Vec::new();
        for writer in writers {
            counts.push(writer.revisions(&store).await.len());
        }
        counts
    };
    assert_eq!(counts().await, [3, 3, 3]);
    assert_eq!(purge(Some(day(16)), 2).await, 2);
    assert_eq!(counts().await, [1, 3, 3]);
    assert_eq!(purge(Some(day(16)), 2).await, 1);
    assert_eq!(purge(Some(day(16)), 2).await, 0);
    assert_eq!(counts().await, [0, 3, 3]);
    assert_eq!(purge(None, 10).await, 3);
    assert_eq!(counts().await, [0, 0, 3]);
    let current = store.get(writer.user, day(16)).await.expect("available").expect("there");
    assert_eq!(current.content.block_texts(), ["4"]);
    let again = writer.other();
    again.save(&store, Some(current.head.version), "5", now).await;
    assert_eq!(again.kept(&store).await, kept(&[(4, "4")]));
}

/// Users see only their own revisions.
pub async fn revisions_are_private_to_their_user(store: Store) {
    let (writer, now) = (Writer::new(), start());
    let version = writer.save(&store, None, "비밀", now).await;
    writer.delete(&store, version, now).await;
    let stranger = Writer::new();
    assert_eq!(stranger.kept(&store).await, kept(&[]));
    let found = store.revision(stranger.user, writer.date, version, EVER).await;
    assert_eq!(found.expect("the store is available"), None);
}

/// Sessions race to replace each version. One succeeds, and every text that was replaced is a
/// revision, with the version and the text that were acknowledged.
pub async fn every_replaced_text_of_concurrent_saves_is_kept(store: Store) {
    let (first, now) = (Writer::new(), start());
    let mut version = first.save(&store, None, "0", now).await;
    let mut acknowledged = BTreeMap::from([(version.get(), "0".to_owned())]);
    for round in 0..12 {
        let racers = (0..8).map(|nth| {
            let (store, writer) = (store.clone(), first.other());
            let save = writer.version(Some(version), &format!("{round} 회 {nth} 번"), now);
            tokio::spawn(async move {
                let outcome = store.save(&save).await.expect("the store is available");
                (save.content.block_texts().join("\n"), outcome)
            })
        });
        let racers: Vec<_> = racers.collect();
        let mut winners = 0;
        for racer in racers {
            let (text, outcome) = racer.await.expect("no panic");
            match outcome {
                SaveOutcome::Saved(saved) => {
                    winners += 1;
                    version = saved.version;
                    acknowledged.insert(version.get(), text);
                }
                SaveOutcome::Conflict(Some(_)) => {}
                other => panic!("expected a conflict: {other:?}"),
            }
        }
        assert_eq!(winners, 1);
    }
    let current = acknowledged.remove(&version.get());
    let mut revisions: BTreeMap<_, _> = first.kept(&store).await.into_iter().collect();
    // A save that lost may have kept the text before the winner replaced it.
    if let Some(kept) = revisions.remove(&version.get()) {
        assert_eq!(Some(kept), current);
    }
    assert_eq!(revisions, acknowledged);
}
