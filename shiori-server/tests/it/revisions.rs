//! Texts that a save or a deletion has replaced, as clients see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use rusqlite::Connection;
use shiori_sdk::{Client, Date, ErrorKind, Precondition, Timestamp, Version, limits};
use shiori_server::HistoryPolicy;
use shiori_worker::ManualClock;

use crate::{
    fixtures::{PASSWORD, day, draft, new_client, wait_until},
    test_cluster::TestCluster,
    test_server::TestServer,
};

/// Another signed-in device of this user.
async fn device(server: &TestServer, email: &str) -> Client {
    let client = new_client(&server.url());
    client.auth().login(email, PASSWORD).await.unwrap();
    client
}

async fn save(client: &Client, text: &str, precondition: Precondition) -> Version {
    client.diaries().save(day(16), draft(text), precondition).await.unwrap().version
}

async fn text(client: &Client) -> Option<String> {
    let diary = client.diaries().get(day(16)).await.unwrap()?;
    Some(diary.content.block_texts().join("\n"))
}

/// Versions and texts of the revisions, newest first.
async fn kept(client: &Client, date: Date) -> Vec<(u64, String)> {
    let mut kept = Vec::new();
    for entry in client.diaries().revisions(date).await.unwrap() {
        let revision = client.diaries().revision(date, entry.version).await.unwrap();
        assert_eq!((revision.date, &revision.title), (date, &entry.title));
        assert_eq!(revision.content.as_json().len() as u64, entry.bytes);
        assert_eq!(revision.saved_at, entry.saved_at);
        assert_eq!(revision.replaced_at, entry.replaced_at);
        kept.push((entry.version.get(), revision.content.block_texts().join("\n")));
    }
    kept
}

fn texts(texts: &[(u64, &str)]) -> Vec<(u64, String)> {
    texts.iter().map(|(version, text)| (*version, (*text).to_owned())).collect()
}

/// A laptop overwrites what the phone has written. The phone restores it, and the text of the laptop
/// is kept in turn.
#[tokio::test]
async fn an_overwritten_text_is_restored() {
    let server = TestServer::start().await;
    let (phone, email) = server.sign_up().await;
    let laptop = device(&server, &email).await;
    let first = save(&phone, "전화에서 쓴 글", Precondition::IfAbsent).await;
    let autosaved = save(&phone, "전화에서 더 쓴 글", Precondition::IfVersion(first)).await;
    let second = save(&laptop, "노트북의 글", Precondition::IfVersion(autosaved)).await;
    assert_eq!(kept(&phone, day(16)).await, texts(&[(2, "전화에서 더 쓴 글")]));

    let stale = Precondition::IfVersion(autosaved);
    let error = phone.diaries().restore(day(16), autosaved, stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let conflict = error.as_conflict().unwrap();
    assert_eq!(conflict.ours.content.block_texts(), ["전화에서 더 쓴 글"]);
    assert_eq!(conflict.current.as_ref().unwrap().version, second);

    let current = Precondition::IfVersion(second);
    let saved = phone.diaries().restore(day(16), autosaved, current).await.unwrap();
    assert_eq!((saved.version, text(&laptop).await), (second.next(), text(&phone).await));
    assert_eq!(text(&phone).await.as_deref(), Some("전화에서 더 쓴 글"));
    let expected = texts(&[(3, "노트북의 글"), (2, "전화에서 더 쓴 글")]);
    assert_eq!(kept(&laptop, day(16)).await, expected);

    // The same session has saved the replaced text just now, and it is kept nevertheless.
    let current = Precondition::IfVersion(saved.version);
    phone.diaries().restore(day(16), second, current).await.unwrap();
    assert_eq!(text(&phone).await.as_deref(), Some("노트북의 글"));
    assert_eq!(kept(&phone, day(16)).await[0], (4, "전화에서 더 쓴 글".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_diary_is_restored() {
    let server = TestServer::start().await;
    let (client, email) = server.sign_up().await;
    let version = save(&client, "지운 글", Precondition::IfAbsent).await;
    client.diaries().delete(day(16), version).await.unwrap();
    assert_eq!(text(&client).await, None);
    let other = device(&server, &email).await;
    assert_eq!(kept(&other, day(16)).await, texts(&[(1, "지운 글")]));

    let wrong = Precondition::IfVersion(version);
    let error = other.diaries().restore(day(16), version, wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let saved = other.diaries().restore(day(16), version, Precondition::IfAbsent).await.unwrap();
    assert_eq!((saved.version.get(), text(&client).await.as_deref()), (3, Some("지운 글")));
    let error = other.diaries().restore(day(16), version, Precondition::IfAbsent).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
    for (date, version) in [(day(16), Version::new(2)), (day(17), version)] {
        let error = other.diaries().restore(date, version, Precondition::IfAbsent).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    }
    server.stop().await;
}

/// A purge removes the text from the server's file; other dates keep theirs.
#[tokio::test]
async fn purged_texts_are_gone() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let diaries = client.diaries();
    for date in [day(16), day(17)] {
        let written = draft(&format!("{date} 지워질 하루"));
        let saved = diaries.save(date, written, Precondition::IfAbsent).await.unwrap();
        diaries.delete(date, saved.version).await.unwrap();
    }
    diaries.purge_revisions(Some(day(16))).await.unwrap();
    assert_eq!(kept(&client, day(16)).await, texts(&[]));
    assert_eq!(kept(&client, day(17)).await, texts(&[(1, "20260217 지워질 하루")]));
    let error = diaries.revision(day(16), Version::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    diaries.purge_revisions(None).await.unwrap();
    diaries.purge_revisions(None).await.unwrap();
    assert_eq!(kept(&client, day(17)).await, texts(&[]));
    let dir = server.stop_and_keep().await;
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let stored: Vec<u8> = files.flat_map(|path| std::fs::read(path).unwrap()).collect();
    let marker = "지워질 하루".as_bytes();
    assert!(!stored.windows(marker.len()).any(|found| found == marker));
}

/// Autosaves are not kept until the text is 10 minutes old, and a kept text is deleted after 30 days.
#[tokio::test]
async fn kept_texts_expire() {
    let clock = ManualClock::at(Timestamp::now());
    let injected = Arc::new(clock.clone());
    let server = TestServer::with_config(|config| config.clock = injected).await;
    let (client, email) = server.sign_up().await;
    let mut version = save(&client, "1", Precondition::IfAbsent).await;
    for text in ["2", "3"] {
        clock.advance(limits::REVISION_AGE);
        client.auth().refresh().await.unwrap();
        version = save(&client, text, Precondition::IfVersion(version)).await;
    }
    assert_eq!(kept(&client, day(16)).await, texts(&[]));
    clock.advance(limits::REVISION_AGE + Duration::from_millis(1));
    client.auth().refresh().await.unwrap();
    save(&client, "4", Precondition::IfVersion(version)).await;
    assert_eq!(kept(&client, day(16)).await, texts(&[(3, "3")]));

    clock.advance(limits::REVISION_TTL);
    let client = device(&server, &email).await;
    assert_eq!(kept(&client, day(16)).await, texts(&[]));
    let file = server.data_dir().join("shiori.db");
    wait_until("the revision is deleted", async || {
        let connection = Connection::open(&file).unwrap();
        let count = "SELECT count(*) FROM diary_revision";
        connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() == 0
    })
    .await;
    assert_eq!(text(&client).await.as_deref(), Some("4"));
    server.stop().await;
}

#[tokio::test]
async fn without_a_history_nothing_is_kept() {
    let server =
        TestServer::with_config(|config| config.limits.history = HistoryPolicy::default()).await;
    let (client, email) = server.sign_up().await;
    let first = save(&client, "하나", Precondition::IfAbsent).await;
    let other = device(&server, &email).await;
    let second = save(&other, "둘", Precondition::IfVersion(first)).await;
    let save = other.diaries().save(day(16), draft("셋"), Precondition::IfVersion(second));
    let third = save.keep_replaced().await.unwrap().version;
    other.diaries().delete(day(16), third).await.unwrap();
    assert_eq!(kept(&client, day(16)).await, texts(&[]));
    server.stop().await;
}

/// Devices race to save, to delete and to save again. Each acknowledged text that was replaced is a
/// revision with its version.
#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_text_is_current_or_kept() {
    let server = TestServer::with_config(|config| config.limits.history.per_date = 1000).await;
    let (client, email) = server.sign_up().await;
    let mut devices = vec![client];
    for _ in 0..3 {
        devices.push(device(&server, &email).await);
    }
    race(&devices).await;
    server.stop().await;
}

/// The same over two servers and all engines.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis"]
async fn every_acknowledged_text_is_current_or_kept_on_two_servers() {
    let cluster = TestCluster::create().await;
    let keep_all = |config: &mut shiori_server::Config| config.limits.history.per_date = 1000;
    let servers = [cluster.server(keep_all).await, cluster.server(keep_all).await];
    let email = crate::fixtures::fresh_email();
    let first = new_client(&servers[0].url());
    first.auth().signup(&email, PASSWORD, "손").await.unwrap();
    let mut devices = Vec::new();
    for nth in 0..4 {
        let client = new_client(&servers[nth % 2].url());
        client.auth().login(&email, PASSWORD).await.unwrap();
        devices.push(client);
    }
    race(&devices).await;
    for server in servers {
        server.stop().await;
    }
    cluster.drop_databases().await;
}

/// All devices replace each version at the same time; every fifth change is a deletion.
async fn race(devices: &[Client]) {
    const ROUNDS: u32 = 40;
    let (mut acknowledged, mut replaced) = (BTreeMap::new(), BTreeSet::new());
    let mut current: Option<(Version, usize)> = None;
    for round in 0..ROUNDS {
        let version = current.map(|(version, _)| version);
        if let Some(version) = version.filter(|_| round % 5 == 4) {
            let delete = |device: &Client| {
                let diaries = device.diaries();
                async move { diaries.delete(day(16), version).await }
            };
            let outcomes = join_all(devices.iter().map(delete)).await;
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            replaced.insert(version.get());
            current = None;
            continue;
        }
        // The session that has saved the text usually succeeds, because its save keeps nothing, so it
        // takes part in few rounds. Otherwise it is usually the first one.
        let writer = current.map(|(_, writer)| writer).filter(|_| round % 5 != 1);
        let order = (0..devices.len()).map(|nth| (nth + round as usize) % devices.len());
        let order = order.filter(|device| Some(*device) != writer);
        let save = |device: usize| {
            let client = &devices[device];
            let text = format!("{round} 회 {device} 번");
            let save = client.diaries().save(day(16), draft(&text), version.into());
            async move { (device, text, save.await) }
        };
        let mut winner = None;
        for (device, text, outcome) in join_all(order.map(save)).await {
            match outcome {
                Ok(saved) => {
                    assert_eq!(winner.replace((saved.version, device)), None);
                    acknowledged.insert(saved.version.get(), text);
                }
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
        }
        let (_, device) = winner.expect("one save succeeds");
        // The session that has saved a text just now may replace it.
        let overwritten = current.filter(|(_, writer)| *writer != device);
        replaced.extend(overwritten.map(|(version, _)| version.get()));
        current = winner;
    }
    let kept: BTreeMap<_, _> = kept(&devices[0], day(16)).await.into_iter().collect();
    for (version, text) in &kept {
        assert_eq!(acknowledged.get(version), Some(text), "{version}");
    }
    let lost: Vec<_> = replaced.iter().filter(|version| !kept.contains_key(version)).collect();
    assert_eq!(lost, [&0_u64; 0]);
    assert!(replaced.len() > 20, "{replaced:?}");
}
