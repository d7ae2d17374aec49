//! The contract of [`SessionStore`].

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use shiori_sdk::{SessionId, Timestamp, UserId};

use crate::store::{Attempts, RepeatPolicy, RotateOutcome, Session, SessionKey, SessionStore};

const WINDOW: Duration = Duration::from_mins(5);
const REPEATS: RepeatPolicy =
    RepeatPolicy { unused: Duration::from_hours(12), used: Duration::from_secs(10) };
const LIFE: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MANY: usize = 50;

pub async fn an_open_session_is_live_until_it_expires(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    for user_agent in [Some("일기장/1.0 (test)".to_owned()), None] {
        let session = Session { user_agent, ..new_session(UserId::new(), now) };
        assert_eq!(store.get(session.user, session.id, now).await.expect("read"), None);
        store.create(&session, MANY).await.expect("opened");
        for moment in [now, session.expires_at - MILLISECOND] {
            let found = store.get(session.user, session.id, moment).await.expect("read");
            assert_eq!(found.as_ref(), Some(&session));
        }
        assert_eq!(
            store.get(session.user, session.id, session.expires_at).await.expect("read"),
            None
        );
        assert!(listed(&*store, session.user, session.expires_at).await.is_empty());
    }
}

pub async fn the_sessions_of_a_user_are_listed_by_last_use(store: Arc<dyn SessionStore>) {
    let (user, now) = (UserId::new(), Timestamp::now());
    let first = opened(&*store, user, now).await;
    let second = opened(&*store, user, now + SECOND).await;
    opened(&*store, UserId::new(), now).await;
    assert_eq!(listed(&*store, user, now).await, [second.id, first.id]);
    touch(&*store, &first, now + 2 * SECOND, None).await;
    assert_eq!(listed(&*store, user, now).await, [first.id, second.id]);
}

pub async fn a_revoked_session_is_gone(store: Arc<dyn SessionStore>) {
    let (user, now) = (UserId::new(), Timestamp::now());
    let (session, other) = (opened(&*store, user, now).await, opened(&*store, user, now).await);
    assert!(store.revoke(user, session.id).await.expect("ended"));
    assert_eq!(store.get(session.user, session.id, now).await.expect("read"), None);
    assert_eq!(rotate(&*store, &session, 1, now).await, RotateOutcome::NotFound);
    touch(&*store, &session, now + SECOND, Some(1)).await;
    assert_eq!(store.get(session.user, session.id, now).await.expect("read"), None);
    assert_eq!(listed(&*store, user, now).await, [other.id]);
    assert!(!store.revoke(user, session.id).await.expect("the store is available"));
}

pub async fn sessions_are_private_to_their_user(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    let stranger = Session { user: UserId::new(), ..session.clone() };
    assert!(!store.revoke(stranger.user, session.id).await.expect("the store is available"));
    assert_eq!(store.get(stranger.user, session.id, now).await.expect("read"), None);
    touch(&*store, &stranger, now + SECOND, Some(1)).await;
    assert_eq!(rotate(&*store, &stranger, 1, now).await, RotateOutcome::NotFound);
    assert_eq!(store.get(session.user, session.id, now).await.expect("read"), Some(session));
}

pub async fn the_least_recently_used_sessions_are_revoked(store: Arc<dyn SessionStore>) {
    let (user, now) = (UserId::new(), Timestamp::now());
    let stranger = opened(&*store, UserId::new(), now).await;
    let mut sessions = Vec::new();
    for second in 0..3 {
        let session = opened(&*store, user, now + second * SECOND).await;
        if second == 0 {
            // The oldest session becomes the most recently used.
            touch(&*store, &session, now + 3 * SECOND, None).await;
        }
        sessions.push(session.id);
    }
    let newest = new_session(user, now + 4 * SECOND);
    store.create(&newest, 2).await.expect("opened");
    assert_eq!(listed(&*store, user, newest.created_at).await, [newest.id, sessions[0]]);
    for gone in &sessions[1..] {
        assert_eq!(store.get(user, *gone, newest.created_at).await.expect("read"), None);
    }
    let alone = new_session(user, now + 5 * SECOND);
    store.create(&alone, 1).await.expect("opened");
    assert_eq!(listed(&*store, user, alone.created_at).await, [alone.id]);
    assert!(store.get(stranger.user, stranger.id, now).await.expect("read").is_some());
}

pub async fn expired_sessions_do_not_count(store: Arc<dyn SessionStore>) {
    let (user, now) = (UserId::new(), Timestamp::now());
    let live = opened(&*store, user, now).await;
    let expired = Session { expires_at: now + 2 * SECOND, ..new_session(user, now + SECOND) };
    store.create(&expired, MANY).await.expect("opened");
    let newest = new_session(user, now + 2 * SECOND);
    store.create(&newest, 2).await.expect("opened");
    assert_eq!(listed(&*store, user, newest.created_at).await, [newest.id, live.id]);
}

pub async fn concurrent_logins_keep_to_the_limit(store: Arc<dyn SessionStore>) {
    let (user, now) = (UserId::new(), Timestamp::now());
    at_once(&store, 32, move |store| async move {
        store.create(&new_session(user, now), 5).await.expect("opened");
    })
    .await;
    assert_eq!(listed(&*store, user, now).await.len(), 5);
}

pub async fn last_seen_never_moves_back(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    for moment in [now + 2 * SECOND, now + SECOND] {
        touch(&*store, &session, moment, None).await;
    }
    let expected = Session { last_seen_at: now + 2 * SECOND, ..session.clone() };
    assert_eq!(store.get(session.user, session.id, now).await.expect("read"), Some(expected));
}

pub async fn a_rotation_moves_generation_and_expiry(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    let mut expected = session.clone();
    // Each rotation is within the grace period of the previous one, and the current token can still
    // be rotated.
    for presented in 1..4 {
        let moment = expected.rotated_at + SECOND;
        expected = Session {
            generation: presented + 1,
            rotated_at: moment,
            last_seen_at: moment,
            expires_at: moment + LIFE,
            ..expected
        };
        let rotation = rotate(&*store, &session, presented, moment).await;
        assert_eq!(rotation, RotateOutcome::Rotated(expected.clone()));
        assert_eq!(
            store.get(session.user, session.id, moment).await.expect("read").as_ref(),
            Some(&expected)
        );
    }
    let moment = session.expires_at;
    assert_eq!(store.get(session.user, session.id, moment).await.expect("read"), Some(expected));
}

pub async fn a_rotation_is_replayed_while_the_new_generation_is_unused(
    store: Arc<dyn SessionStore>,
) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    let rotated_at = now + SECOND;
    let RotateOutcome::Rotated(rotated) = rotate(&*store, &session, 1, rotated_at).await else {
        panic!("the current token rotates")
    };
    // A token of the previous generation, or one that states none, is no use of the new one.
    touch(&*store, &session, rotated_at, Some(1)).await;
    touch(&*store, &session, rotated_at, None).await;
    for moment in [rotated_at, rotated_at + REPEATS.used + SECOND, rotated_at + REPEATS.unused] {
        let rotation = rotate(&*store, &session, 1, moment).await;
        assert_eq!(rotation, RotateOutcome::Replayed(rotated.clone()), "a replay changes nothing");
    }
    let too_late = rotated_at + REPEATS.unused + MILLISECOND;
    assert_eq!(rotate(&*store, &session, 1, too_late).await, RotateOutcome::Reused);
    assert_eq!(store.get(session.user, session.id, too_late).await.expect("read"), None);
    assert_eq!(rotate(&*store, &session, 2, too_late).await, RotateOutcome::NotFound);
}

/// After the use, only a late copy of the request is accepted.
pub async fn a_use_of_the_new_generation_ends_replays(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    rotate(&*store, &session, 1, now).await;
    touch(&*store, &session, now, Some(2)).await;
    let found = store.get(session.user, session.id, now).await.expect("read").expect("live");
    assert!(found.is_used);
    let rotation = rotate(&*store, &session, 1, now + REPEATS.used).await;
    assert_eq!(rotation, RotateOutcome::Replayed(found));
    let too_late = now + REPEATS.used + MILLISECOND;
    assert_eq!(rotate(&*store, &session, 1, too_late).await, RotateOutcome::Reused);
    assert_eq!(store.get(session.user, session.id, too_late).await.expect("read"), None);
}

/// Each rotation begins anew, whatever the earlier generations were used for.
pub async fn each_generation_is_unused_at_first(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    touch(&*store, &session, now, Some(1)).await;
    for presented in 1..4 {
        let RotateOutcome::Rotated(rotated) = rotate(&*store, &session, presented, now).await
        else {
            panic!("the current token rotates")
        };
        assert!(!rotated.is_used);
        // The responses are lost for longer than a late copy may take.
        let later = now + REPEATS.used + SECOND;
        let rotation = rotate(&*store, &session, presented, later).await;
        assert_eq!(rotation, RotateOutcome::Replayed(rotated));
        touch(&*store, &session, now, Some(presented + 1)).await;
    }
}

pub async fn an_old_refresh_token_revokes_the_session(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    for presented in [1, 2] {
        let rotation = rotate(&*store, &session, presented, now).await;
        assert!(matches!(rotation, RotateOutcome::Rotated(_)), "{rotation:?}");
    }
    // A token from two rotations ago is a reuse: the second rotation has used the first.
    assert_eq!(rotate(&*store, &session, 1, now).await, RotateOutcome::Reused);
    assert_eq!(store.get(session.user, session.id, now).await.expect("read"), None);
    assert!(listed(&*store, session.user, now).await.is_empty());

    // A generation that the store has not reached, for example after a restore from a backup.
    let session = opened(&*store, UserId::new(), now).await;
    assert_eq!(rotate(&*store, &session, 5, now).await, RotateOutcome::Reused);
    assert_eq!(store.get(session.user, session.id, now).await.expect("read"), None);
}

pub async fn an_expired_session_is_not_rotated(store: Arc<dyn SessionStore>) {
    let session = opened(&*store, UserId::new(), Timestamp::now()).await;
    assert_eq!(rotate(&*store, &session, 1, session.expires_at).await, RotateOutcome::NotFound);
    let missing = new_session(UserId::new(), session.created_at);
    assert_eq!(rotate(&*store, &missing, 1, session.created_at).await, RotateOutcome::NotFound);
}

pub async fn of_concurrent_rotations_one_succeeds(store: Arc<dyn SessionStore>) {
    let now = Timestamp::now();
    let session = opened(&*store, UserId::new(), now).await;
    let rotations = at_once(&store, 32, {
        let session = session.clone();
        move |store| {
            let session = session.clone();
            async move { rotate(&*store, &session, 1, now).await }
        }
    })
    .await;
    let winner = store.get(session.user, session.id, now).await.expect("read").expect("live");
    assert_eq!(winner.generation, 2);
    let count = |expected: RotateOutcome| rotations.iter().filter(|r| **r == expected).count();
    assert_eq!(count(RotateOutcome::Rotated(winner.clone())), 1);
    assert_eq!(count(RotateOutcome::Replayed(winner)), 31);
}

pub async fn attempts_are_counted_until_their_window_ends(store: Arc<dyn SessionStore>) {
    let (key, now) = (random_key(), Timestamp::now());
    for count in 1..=3 {
        assert_eq!(record(&*store, &key, now).await, Attempts { count, remaining: WINDOW });
    }
    assert_eq!(record(&*store, &random_key(), now).await.count, 1);
    // An attempt does not extend the window.
    let last = now + WINDOW - MILLISECOND;
    let expected = Attempts { count: 4, remaining: MILLISECOND };
    assert_eq!(record(&*store, &key, last).await, expected);
    let next = now + WINDOW;
    assert_eq!(record(&*store, &key, next).await, Attempts { count: 1, remaining: WINDOW });
    let remaining = Duration::from_secs(299);
    assert_eq!(record(&*store, &key, next + SECOND).await, Attempts { count: 2, remaining });
}

pub async fn attempts_are_refunded_and_cleared(store: Arc<dyn SessionStore>) {
    let (key, other, now) = (random_key(), random_key(), Timestamp::now());
    for key in [&key, &other] {
        for _ in 0..3 {
            record(&*store, key, now).await;
        }
    }
    store.refund_attempt(&key).await.expect("refunded");
    assert_eq!(record(&*store, &key, now).await.count, 3);
    store.clear_attempts(&key).await.expect("cleared");
    store.clear_attempts(&random_key()).await.expect("the store is available");
    // Without a window, there is nothing to subtract from.
    for key in [key, random_key()] {
        store.refund_attempt(&key).await.expect("the store is available");
        assert_eq!(record(&*store, &key, now).await.count, 1);
    }
    assert_eq!(record(&*store, &other, now).await.count, 4);
}

pub async fn concurrent_attempts_are_all_counted(store: Arc<dyn SessionStore>) {
    let (key, now) = (random_key(), Timestamp::now());
    let attempts =
        at_once(&store, 32, move |store| async move { record(&*store, &key, now).await }).await;
    let mut counts: Vec<_> = attempts.into_iter().map(|attempts| attempts.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=32).collect::<Vec<_>>());
}

/// The expired rows are in the past, so that no row of a concurrent test is purged.
pub async fn purging_deletes_only_expired_rows(store: Arc<dyn SessionStore>) {
    let (user, now) = (UserId::new(), Timestamp::now());
    let (counted, past) = (random_key(), now - 2 * LIFE);
    let expired = opened(&*store, user, past).await;
    let live = opened(&*store, user, now).await;
    for _ in 0..3 {
        record(&*store, &random_key(), past).await;
        record(&*store, &counted, now).await;
    }
    while store.purge_expired(now, 100).await.expect("purged") > 0 {}
    // The row is deleted, not only expired.
    assert_eq!(store.get(expired.user, expired.id, past).await.expect("read"), None);
    assert_eq!(store.get(live.user, live.id, now).await.expect("read"), Some(live));
    assert_eq!(record(&*store, &counted, now).await, Attempts { count: 4, remaining: WINDOW });
}

pub async fn the_sessions_until_a_moment_are_revoked(store: Arc<dyn SessionStore>) {
    let (now, user) = (Timestamp::now(), UserId::new());
    let earlier = Timestamp::from_millis(now.as_millis() - 60_000);
    let (kept, old) = (opened(&*store, user, earlier).await, opened(&*store, user, earlier).await);
    let at_the_moment = opened(&*store, user, now).await;
    let later = opened(&*store, user, now + Duration::from_millis(1)).await;
    let stranger = opened(&*store, UserId::new(), earlier).await;
    let revoked = store.revoke_all(user, now, Some(kept.id)).await;
    assert_eq!(revoked.expect("written"), 2);
    for gone in [&old, &at_the_moment] {
        assert_eq!(store.get(user, gone.id, now).await.expect("read"), None);
    }
    for live in [&kept, &later, &stranger] {
        let found = store.get(live.user, live.id, now).await.expect("read");
        assert_eq!(found.as_ref(), Some(live));
    }
    let all = store.revoke_all(user, Timestamp::from_millis(i64::MAX), None).await;
    assert_eq!(all.expect("written"), 2);
    assert_eq!(listed(&*store, user, now).await, []);
}

pub async fn the_store_answers(store: Arc<dyn SessionStore>) {
    store.ping().await.expect("a response");
}

/// A session that begins at this moment and expires after a day.
pub fn new_session(user: UserId, moment: Timestamp) -> Session {
    Session {
        id: SessionId::new(),
        user,
        generation: 1,
        is_used: false,
        rotated_at: moment,
        created_at: moment,
        last_seen_at: moment,
        expires_at: moment + LIFE,
        user_agent: None,
    }
}

/// A key that no other test uses.
pub fn random_key() -> [u8; 32] {
    rand::random()
}

async fn opened(store: &dyn SessionStore, user: UserId, moment: Timestamp) -> Session {
    let session = new_session(user, moment);
    store.create(&session, MANY).await.expect("opened");
    session
}

async fn listed(store: &dyn SessionStore, user: UserId, now: Timestamp) -> Vec<SessionId> {
    let sessions = store.list(user, now).await.expect("read");
    sessions.into_iter().map(|session| session.id).collect()
}

async fn rotate(
    store: &dyn SessionStore,
    session: &Session,
    presented: u64,
    now: Timestamp,
) -> RotateOutcome {
    let key = SessionKey { user: session.user, id: session.id, now };
    store.rotate(key, presented, REPEATS, now + LIFE).await.expect("a response")
}

async fn touch(
    store: &dyn SessionStore,
    session: &Session,
    now: Timestamp,
    generation: Option<u64>,
) {
    let key = SessionKey { user: session.user, id: session.id, now };
    store.touch(key, generation).await.expect("the store is available");
}

async fn record(store: &dyn SessionStore, key: &[u8; 32], now: Timestamp) -> Attempts {
    store.record_attempt(key, now, WINDOW).await.expect("a response")
}

/// Runs the step `times` times concurrently, each in its own task.
async fn at_once<T, F>(
    store: &Arc<dyn SessionStore>,
    times: usize,
    step: impl Fn(Arc<dyn SessionStore>) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks = (0..times).map(|_| tokio::spawn(step(Arc::clone(store))));
    let outcomes = join_all(tasks.collect::<Vec<_>>()).await;
    outcomes.into_iter().map(|outcome| outcome.expect("ran")).collect()
}
