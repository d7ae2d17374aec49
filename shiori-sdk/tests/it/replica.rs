//! A replica with faults between it and the server.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::StreamExt;
use shiori_sdk::{
    Client, ConflictCause, Date, DateRange, DateStatus, Document, Draft, ErrorCode, ErrorKind,
    MemoryStore, RedbStore, Replica, ReplicaEntry, ReplicaEvent, ReplicaEvents, ReplicaStore,
    RetryPolicy, StoredDay, UnsentChanges,
    limits::SESSION_TTL,
    testing::{FakeShiori, Fault, Person, Route},
};
use tokio::time::timeout;

fn date(days: i64) -> Date {
    Date::new(2026, 1, 1).unwrap().plus_days(days).unwrap()
}

fn draft(text: &str) -> Draft {
    Draft::new("제목", Document::from_text(text))
}

/// A server, an account and the store of a device. Its clients do not retry.
struct Fixture {
    fake: Arc<FakeShiori>,
    person: Person,
    store: MemoryStore,
}

impl Fixture {
    fn new() -> Self {
        let fake = Arc::new(FakeShiori::start());
        let person = fake.person();
        Self { fake, person, store: MemoryStore::new() }
    }

    async fn client(&self) -> Client {
        let builder = self.fake.builder().retry_policy(RetryPolicy::never());
        self.person.sign_in(builder).await.unwrap()
    }

    /// The replica of this device.
    async fn replica(&self) -> Replica {
        Replica::open(self.client().await, self.store.clone()).await.unwrap()
    }

    /// The replica of another device.
    async fn other(&self) -> Replica {
        Replica::open(self.client().await, MemoryStore::new()).await.unwrap()
    }

    /// What the server has.
    async fn texts(&self, date: Date) -> Option<Vec<String>> {
        let client = self.person.device().await.unwrap();
        Some(client.diaries().get(date).await.unwrap()?.content.block_texts())
    }
}

async fn texts(replica: &Replica, date: Date) -> Option<Vec<String>> {
    Some(replica.get(date).await.unwrap()?.content.block_texts())
}

async fn list(replica: &Replica) -> Vec<ReplicaEntry> {
    replica.list(DateRange::new(date(0), date(400)).unwrap()).await.unwrap()
}

async fn status(replica: &Replica, date: Date) -> DateStatus {
    list(replica).await.into_iter().find(|entry| entry.date == date).unwrap().status
}

/// Waits for an event; a failure instead of a test that does not end.
async fn wait_for(events: &mut ReplicaEvents, expected: impl Fn(&ReplicaEvent) -> bool) {
    let found = async { while !expected(&events.next().await.expect("the replica exists")) {} };
    timeout(Duration::from_secs(60), found).await.expect("the event happens");
}

#[tokio::test]
async fn local_changes_need_no_network_and_are_sent_later() {
    let fixture = Fixture::new();
    let replica = fixture.replica().await;
    let requests = fixture.fake.requests().len();
    replica.save(date(1), draft("아침")).await.unwrap();
    replica.save(date(1), draft("아침\n점심")).await.unwrap();
    replica.save(date(2), draft("둘째 날")).await.unwrap();
    replica.archive(date(2), true).await.unwrap();
    replica.save(date(3), draft("지울 날")).await.unwrap();
    replica.delete(date(3)).await.unwrap();
    assert_eq!(texts(&replica, date(1)).await.unwrap(), ["아침", "점심"]);
    assert_eq!(texts(&replica, date(3)).await, None);
    let shown: Vec<_> = list(&replica).await.into_iter().map(|it| (it.date, it.status)).collect();
    assert_eq!(shown, [(date(1), DateStatus::Pending), (date(2), DateStatus::Pending)]);
    assert_eq!(fixture.fake.requests().len(), requests, "nothing was sent");

    fixture.fake.inject(Fault::lost_request());
    let error = replica.sync().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(replica.unsent(), [date(1), date(2)]);

    replica.sync().await.unwrap();
    assert_eq!(replica.unsent(), []);
    assert_eq!(fixture.fake.count(Route::Save), 2, "one save for each date");
    assert_eq!(status(&replica, date(1)).await, DateStatus::Synced);
    let other = fixture.other().await;
    other.sync().await.unwrap();
    assert_eq!(list(&other).await, list(&replica).await);
    assert!(other.get(date(2)).await.unwrap().unwrap().is_archived);
}

#[tokio::test]
async fn a_change_whose_response_is_lost_is_applied_once() {
    for route in [Route::Save, Route::Archive, Route::Delete] {
        let fixture = Fixture::new();
        let replica = fixture.replica().await;
        replica.save(date(1), draft("아침")).await.unwrap();
        if route != Route::Save {
            replica.sync().await.unwrap();
        }
        match route {
            Route::Archive => replica.archive(date(1), true).await.unwrap(),
            Route::Delete => replica.delete(date(1)).await.unwrap(),
            _ => {}
        }
        fixture.fake.inject(Fault::lost_response().on(route));
        replica.sync().await.unwrap_err();
        assert_eq!(replica.unsent(), [date(1)]);
        // Changed again before the result is known, and by a process that starts again.
        replica.save(date(1), draft("아침\n점심")).await.unwrap();
        let replica = fixture.replica().await;
        replica.sync().await.unwrap();
        assert_eq!(replica.unsent(), []);
        assert_eq!(replica.conflicts(date(1)).await.unwrap(), []);
        assert_eq!(texts(&replica, date(1)).await.unwrap(), ["아침", "점심"]);
        assert_eq!(fixture.texts(date(1)).await.unwrap(), ["아침", "점심"]);
        let expected = if route == Route::Save { 2 } else { 3 };
        let version = replica.get(date(1)).await.unwrap().unwrap().version.unwrap();
        assert_eq!(version.get(), expected, "{route:?}");
    }
}

#[tokio::test]
async fn changes_of_two_devices_are_merged_and_overlaps_are_listed() {
    let fixture = Fixture::new();
    let (phone, laptop) = (fixture.replica().await, fixture.other().await);
    phone.save(date(1), draft("아침에 비가 왔다.\n점심은 국수.")).await.unwrap();
    phone.sync().await.unwrap();
    laptop.sync().await.unwrap();

    phone.save(date(1), draft("아침에 비가 왔다.\n점심은 국수.\n기차가 늦었다.")).await.unwrap();
    laptop.save(date(1), draft("아침부터 비가 왔다.\n점심은 국수.")).await.unwrap();
    laptop.sync().await.unwrap();
    phone.sync().await.unwrap();
    laptop.sync().await.unwrap();
    let merged = ["아침부터 비가 왔다.", "점심은 국수.", "기차가 늦었다."];
    for replica in [&phone, &laptop] {
        assert_eq!(texts(replica, date(1)).await.unwrap(), merged);
        assert_eq!(status(replica, date(1)).await, DateStatus::Synced);
    }

    // Both change the same word.
    let lunch =
        |lunch: &str| draft(&format!("아침부터 비가 왔다.\n점심은 {lunch}.\n기차가 늦었다."));
    phone.save(date(1), lunch("냉면")).await.unwrap();
    laptop.save(date(1), lunch("김밥")).await.unwrap();
    laptop.sync().await.unwrap();
    let mut events = phone.events();
    phone.sync().await.unwrap();
    let is_conflicted = |event: &ReplicaEvent| {
        *event == ReplicaEvent::Changed { date: date(1), status: DateStatus::Conflicted }
    };
    wait_for(&mut events, is_conflicted).await;
    let conflicts = phone.conflicts(date(1)).await.unwrap();
    let [conflict] = conflicts.as_slice() else { panic!("{conflicts:?}") };
    assert_eq!(conflict.cause, ConflictCause::Overlap);
    assert_eq!(conflict.ours, Some(lunch("냉면")));
    assert_eq!(conflict.theirs, Some(lunch("김밥")));
    let text = texts(&phone, date(1)).await.unwrap().concat();
    assert!(text.contains("냉면") && text.contains("김밥"), "{text}");
    assert_eq!(fixture.texts(date(1)).await, texts(&phone, date(1)).await);

    // Listed until someone acknowledges it, also after a restart.
    let phone = fixture.replica().await;
    assert_eq!(status(&phone, date(1)).await, DateStatus::Conflicted);
    phone.acknowledge(date(1), conflict.number).await.unwrap();
    assert_eq!(status(&phone, date(1)).await, DateStatus::Synced);
}

/// A round receives the text of another device while an editor is open.
#[tokio::test]
async fn an_edit_is_merged_with_what_was_received_meanwhile() {
    let fixture = Fixture::new();
    let builder = Replica::builder(fixture.client().await).max_content_bytes(0);
    let small = builder.open(MemoryStore::new()).await.unwrap();
    for phone in [fixture.replica().await, small] {
        let laptop = fixture.other().await;
        laptop.sync().await.unwrap();
        laptop.save(date(1), draft("아침\n점심")).await.unwrap();
        laptop.sync().await.unwrap();
        phone.sync().await.unwrap();

        let base = phone.get(date(1)).await.unwrap();
        laptop.save(date(1), draft("아침\n점심\n저녁")).await.unwrap();
        laptop.sync().await.unwrap();
        phone.sync().await.unwrap();
        phone.save_edited(date(1), base, draft("새벽\n아침\n점심")).await.unwrap();
        phone.sync().await.unwrap();
        assert_eq!(texts(&phone, date(1)).await.unwrap(), ["새벽", "아침", "점심", "저녁"]);
        assert_eq!(phone.conflicts(date(1)).await.unwrap(), []);

        // Overlaps are listed, and a deletion does not remove the edited text.
        let base = phone.get(date(1)).await.unwrap();
        phone.save(date(1), draft("새벽")).await.unwrap();
        phone
            .save_edited(date(1), base.clone(), draft("새벽\n아침부터\n점심\n저녁"))
            .await
            .unwrap();
        let conflicts = phone.conflicts(date(1)).await.unwrap();
        assert_eq!(
            conflicts.iter().map(|it| it.cause).collect::<Vec<_>>(),
            [ConflictCause::Overlap]
        );
        phone.sync().await.unwrap();
        laptop.sync().await.unwrap();
        laptop.delete(date(1)).await.unwrap();
        laptop.sync().await.unwrap();
        phone.sync().await.unwrap();
        phone.save_edited(date(1), base, draft("밤")).await.unwrap();
        assert_eq!(texts(&phone, date(1)).await.unwrap(), ["밤"]);
        assert_eq!(
            phone.conflicts(date(1)).await.unwrap()[1].cause,
            ConflictCause::DeletedElsewhere
        );
        phone.sync().await.unwrap();
        assert_eq!(fixture.texts(date(1)).await.unwrap(), ["밤"]);
    }
}

#[tokio::test]
async fn a_deletion_does_not_remove_the_change_of_another_device() {
    let fixture = Fixture::new();
    let (phone, laptop) = (fixture.replica().await, fixture.other().await);
    phone.save(date(1), draft("아침")).await.unwrap();
    phone.save(date(2), draft("둘째 날")).await.unwrap();
    phone.sync().await.unwrap();
    laptop.sync().await.unwrap();

    phone.delete(date(1)).await.unwrap();
    laptop.save(date(1), draft("아침\n점심")).await.unwrap();
    laptop.delete(date(2)).await.unwrap();
    laptop.sync().await.unwrap();
    phone.sync().await.unwrap();
    assert_eq!(texts(&phone, date(1)).await.unwrap(), ["아침", "점심"]);
    assert_eq!(phone.conflicts(date(1)).await.unwrap()[0].cause, ConflictCause::DeletedHere);
    assert_eq!(texts(&phone, date(2)).await, None);
    assert_eq!(list(&phone).await.len(), 1);
}

#[tokio::test]
async fn a_rejected_change_is_kept_until_it_is_corrected() {
    let fixture = Fixture::new();
    let replica = fixture.replica().await;
    let long = Draft::new("가".repeat(51), Document::from_text("아침"));
    replica.save(date(1), long.clone()).await.unwrap();
    replica.save(date(2), draft("둘째 날")).await.unwrap();
    replica.sync().await.unwrap();
    let diary = replica.get(date(1)).await.unwrap().unwrap();
    assert_eq!((diary.status, diary.to_draft()), (DateStatus::Rejected, long));
    assert_eq!(diary.rejection.unwrap().code, ErrorCode::TitleTooLong);
    assert_eq!(status(&replica, date(2)).await, DateStatus::Synced);

    let saves = fixture.fake.count(Route::Save);
    replica.sync().await.unwrap();
    assert_eq!(fixture.fake.count(Route::Save), saves, "it is not sent again");
    replica.save(date(1), draft("아침")).await.unwrap();
    replica.sync().await.unwrap();
    assert_eq!(status(&replica, date(1)).await, DateStatus::Synced);
}

#[tokio::test]
async fn one_date_that_fails_does_not_stop_the_others() {
    let fixture = Fixture::new();
    let replica = fixture.replica().await;
    replica.save(date(1), draft("아침")).await.unwrap();
    replica.save(date(2), draft("둘째 날")).await.unwrap();
    fixture.fake.inject(Fault::status(500).on(Route::Save));
    assert_eq!(replica.sync().await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(replica.unsent(), [date(1)]);
    replica.sync().await.unwrap();
    assert_eq!(replica.unsent(), []);
}

#[tokio::test]
async fn the_file_has_the_changes_after_a_restart() {
    let fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("diary.redb");
    let open = async || {
        let store = RedbStore::open(&path).unwrap();
        Replica::open(fixture.client().await, store).await.unwrap()
    };
    let replica = open().await;
    replica.save(date(1), draft("아침")).await.unwrap();
    drop(replica);
    // The request is stored, sent and applied, but the process ends before the response.
    let replica = open().await;
    assert_eq!(texts(&replica, date(1)).await.unwrap(), ["아침"]);
    fixture.fake.inject(Fault::lost_response().on(Route::Save));
    replica.sync().await.unwrap_err();
    drop(replica);
    let replica = open().await;
    replica.sync().await.unwrap();
    assert_eq!(replica.get(date(1)).await.unwrap().unwrap().version.unwrap().get(), 1);
    assert_eq!(fixture.fake.count(Route::Save), 2);
}

#[tokio::test]
async fn local_changes_do_not_wait_for_a_round_and_a_dropped_round_loses_nothing() {
    let fixture = Fixture::new();
    let replica = fixture.replica().await;
    replica.save(date(1), draft("아침")).await.unwrap();
    let hold = fixture.fake.hold(Route::Save);
    let round = tokio::spawn({
        let replica = replica.clone();
        async move { replica.sync().await }
    });
    hold.arrived().await;
    replica.save(date(1), draft("아침\n점심")).await.unwrap();
    assert_eq!(texts(&replica, date(1)).await.unwrap(), ["아침", "점심"]);
    round.abort();
    assert!(round.await.unwrap_err().is_cancelled());
    hold.release();
    replica.sync().await.unwrap();
    assert_eq!(replica.unsent(), []);
    assert_eq!(fixture.texts(date(1)).await.unwrap(), ["아침", "점심"]);
    assert_eq!(replica.conflicts(date(1)).await.unwrap(), []);
}

#[tokio::test]
async fn contents_beyond_the_bound_are_read_again() {
    let fixture = Fixture::new();
    let writer = fixture.other().await;
    for days in 0..20 {
        writer.save(date(days), draft(&"글자 ".repeat(200))).await.unwrap();
    }
    writer.sync().await.unwrap();
    let builder = Replica::builder(fixture.client().await).max_content_bytes(10_000);
    let replica = builder.open(fixture.store.clone()).await.unwrap();
    replica.sync().await.unwrap();
    let shown = list(&replica).await;
    assert_eq!(shown.len(), 20);
    assert!(shown.iter().all(|entry| entry.title.as_deref() == Some("제목")));
    let kept: Vec<_> = shown.iter().filter(|entry| entry.is_on_device).collect();
    assert!((1..20).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept[0].date, date(20 - i64::try_from(kept.len()).unwrap()), "the latest dates");

    assert_eq!(
        replica.get(date(0)).await.unwrap().unwrap().to_draft(),
        draft(&"글자 ".repeat(200))
    );
    fixture.fake.inject(Fault::lost_request());
    let error = replica.get(date(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotOnDevice);
    assert!(error.is_retryable());

    // A draft over a dropped text is merged with what the server has of it, and is not dropped.
    let long = draft(&"긴 글 ".repeat(5000));
    replica.save(date(2), long.clone()).await.unwrap();
    replica.save(date(3), draft("짧은 글")).await.unwrap();
    assert_eq!(replica.get(date(2)).await.unwrap().unwrap().to_draft(), long);
    replica.sync().await.unwrap();
    assert_eq!(replica.unsent(), []);
    assert_eq!(replica.get(date(2)).await.unwrap().unwrap().to_draft(), long);
}

#[tokio::test]
async fn a_replica_belongs_to_one_account_and_server() {
    let fixture = Fixture::new();
    let replica = fixture.replica().await;
    replica.save(date(1), draft("아침")).await.unwrap();
    let header = fixture.store.header().unwrap();

    let stranger = fixture.fake.client().await;
    let error = Replica::open(stranger, fixture.store.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReplicaMismatch);
    let elsewhere = FakeShiori::start().builder().build().unwrap();
    let error = Replica::open(elsewhere, fixture.store.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReplicaMismatch);
    assert_eq!(fixture.store.header().unwrap(), header);

    // A new store needs a session, a known one does not.
    let signed_out = fixture.fake.builder().build().unwrap();
    let error = Replica::open(signed_out.clone(), MemoryStore::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
    let replica = Replica::open(signed_out.clone(), fixture.store.clone()).await.unwrap();
    assert_eq!(texts(&replica, date(1)).await.unwrap(), ["아침"]);
    assert_eq!(replica.sync().await.unwrap_err().kind(), ErrorKind::SignedOut);

    // Nothing is sent to another account that signs in.
    let stranger = fixture.fake.person();
    signed_out.auth().login(stranger.email(), Person::PASSWORD).await.unwrap();
    assert_eq!(replica.sync().await.unwrap_err().kind(), ErrorKind::ReplicaMismatch);
    assert_eq!(fixture.fake.count(Route::Save), 0);
    signed_out.auth().login(fixture.person.email(), Person::PASSWORD).await.unwrap();
    replica.sync().await.unwrap();
    assert_eq!(fixture.texts(date(1)).await.unwrap(), ["아침"]);
}

#[tokio::test]
async fn damaged_and_later_data_are_errors() {
    let fixture = Fixture::new();
    drop(fixture.replica().await);
    let header = fixture.store.header().unwrap().unwrap();
    let later = String::from_utf8(header.clone()).unwrap().replace("\"format\":1", "\"format\":2");
    for (header, day) in [
        (b"not JSON".to_vec(), None),
        (later.into_bytes(), None),
        (header, Some(StoredDay::new(date(1), b"{}".to_vec(), b"{}".to_vec()))),
    ] {
        fixture.store.set_header(&header).unwrap();
        fixture.store.write(day.as_slice()).unwrap();
        let opened = Replica::open(fixture.client().await, fixture.store.clone()).await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::ReplicaDamaged);
        assert_eq!(fixture.store.header().unwrap().unwrap(), header);
    }
}

#[tokio::test]
async fn a_sign_out_keeps_unsent_changes_unless_they_may_be_discarded() {
    let fixture = Fixture::new();
    let client = fixture.client().await;
    let replica = Replica::open(client.clone(), fixture.store.clone()).await.unwrap();
    replica.save(date(1), draft("아침")).await.unwrap();
    let error = replica.sign_out(UnsentChanges::Keep).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsentChanges);
    assert!(client.auth().is_signed_in());
    assert_eq!(texts(&replica, date(1)).await.unwrap(), ["아침"]);

    replica.sync().await.unwrap();
    replica.save(date(2), draft("둘째 날")).await.unwrap();
    let clone = replica.clone();
    let run = tokio::spawn(async move { clone.run(pending()).await });
    replica.sign_out(UnsentChanges::Discard).await.unwrap();
    timeout(Duration::from_secs(60), run).await.expect("it ends").unwrap().unwrap();
    assert!(!client.auth().is_signed_in());
    assert_eq!(fixture.store.header().unwrap(), None);
    let error = replica.save(date(1), draft("아침")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
    assert_eq!(list(&replica).await, []);
    // The store can be used by another account.
    Replica::open(fixture.fake.client().await, fixture.store.clone()).await.unwrap();
}

#[tokio::test]
async fn in_the_background_changes_pass_in_both_directions() {
    let fixture = Fixture::new();
    let (phone, laptop) = (fixture.replica().await, fixture.other().await);
    let mut events = phone.events();
    let background = phone.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(async move { background.run(async { drop(stopped.await) }).await });
    wait_for(&mut events, |event| *event == ReplicaEvent::Synced).await;

    laptop.save(date(1), draft("노트북에서")).await.unwrap();
    laptop.sync().await.unwrap();
    let arrived = |event: &ReplicaEvent| {
        *event == ReplicaEvent::Changed { date: date(1), status: DateStatus::Synced }
    };
    wait_for(&mut events, arrived).await;
    assert_eq!(texts(&phone, date(1)).await.unwrap(), ["노트북에서"]);

    // Also after failures of the server.
    fixture.fake.inject(Fault::status(503).on(Route::Save).times(2));
    phone.save(date(2), draft("전화에서")).await.unwrap();
    wait_for(&mut events, |event| matches!(event, ReplicaEvent::Failed(_))).await;
    wait_for(&mut events, |event| *event == ReplicaEvent::Synced).await;
    assert_eq!(fixture.texts(date(2)).await.unwrap(), ["전화에서"]);
    stop.send(()).unwrap();
    timeout(Duration::from_secs(60), run).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn an_ended_session_pauses_until_the_next_login() {
    let fixture = Fixture::new();
    let client = fixture.client().await;
    let replica = Replica::open(client.clone(), fixture.store.clone()).await.unwrap();
    let mut events = replica.events();
    let background = replica.clone();
    let run = tokio::spawn(async move { background.run(pending()).await });
    wait_for(&mut events, |event| *event == ReplicaEvent::Synced).await;

    fixture.fake.advance(SESSION_TTL);
    replica.save(date(1), draft("아침")).await.unwrap();
    wait_for(&mut events, |event| *event == ReplicaEvent::Paused).await;
    replica.save(date(2), draft("둘째 날")).await.unwrap();
    assert_eq!(replica.unsent(), [date(1), date(2)]);
    let stranger = fixture.fake.person();
    client.auth().login(stranger.email(), Person::PASSWORD).await.unwrap();
    wait_for(&mut events, |event| *event == ReplicaEvent::Paused).await;
    assert_eq!(replica.unsent(), [date(1), date(2)]);
    client.auth().login(fixture.person.email(), Person::PASSWORD).await.unwrap();
    wait_for(&mut events, |event| *event == ReplicaEvent::Synced).await;
    assert_eq!(replica.unsent(), []);
    assert_eq!(fixture.texts(date(2)).await.unwrap(), ["둘째 날"]);
    run.abort();
}

#[cfg(feature = "blocking")]
#[test]
fn a_blocking_replica_has_the_same_methods() {
    let fake = FakeShiori::start();
    let person = fake.person();
    let client = fake.builder().build_blocking().unwrap();
    client.auth().login(person.email(), Person::PASSWORD).unwrap();
    let replica = client.replica(MemoryStore::new()).unwrap();
    replica.save(date(1), draft("아침")).unwrap();
    assert_eq!(replica.unsent(), [date(1)]);
    replica.sync().unwrap();
    assert_eq!(replica.unsent(), []);
    let base = replica.get(date(1)).unwrap();
    replica.save_edited(date(1), base, draft("아침\n점심")).unwrap();
    replica.sync().unwrap();
    assert_eq!(client.diaries().get(date(1)).unwrap().unwrap().version.get(), 2);
    replica.sign_out(UnsentChanges::Keep).unwrap();
    assert!(!client.auth().is_signed_in());
}
