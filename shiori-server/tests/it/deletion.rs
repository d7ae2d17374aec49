//! A deleted account leaves nothing, whatever ends meanwhile.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rusqlite::Connection;
use shiori_sdk::{Client, Precondition, UserId};
use shiori_worker::ManualClock;

use crate::{
    cluster_dump,
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, day, draft, fresh_email, new_client, wait_until, week, write_week},
    process::Process,
    test_cluster::TestCluster,
    test_server::TestServer,
};

/// A text that only the deleted user has written, and one of another user.
const MARKER: &str = "지워질 하루";
const OTHER: &str = "남아 있을 하루";

/// More than one batch of an erasure.
const DIARIES: i64 = 130;

/// Signs a user up who has diaries, a deleted diary, a completed summary and a running one.
async fn user_with_everything(url: &str, marker: &str) -> (Client, UserId) {
    let (email, client) = (fresh_email(), new_client(url));
    let user = client.auth().signup(&email, PASSWORD, marker).await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    write_week(&client, marker).await;
    let summary = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    summary.wait().await.unwrap();
    let gone = day(1);
    let diaries = client.diaries();
    let saved = diaries.save(gone, draft(marker), Precondition::IfAbsent).send().await.unwrap();
    diaries.delete(gone, saved.version).await.unwrap();
    (client, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_deleted_account_is_left_in_the_files() {
    let clock = Arc::new(ManualClock::at(shiori_sdk::Timestamp::now()));
    let its = clock.clone();
    let server = TestServer::with_config(|config| config.clock = its).await;
    let (client, user) = user_with_everything(&server.url(), MARKER).await;
    let (_other, other_user) = user_with_everything(&server.url(), OTHER).await;
    client.account().delete(PASSWORD).await.unwrap();
    assert!(!client.auth().is_signed_in());

    let file = server.data_dir().join("shiori.db");
    wait_until("the data is erased", async || rows(&file, user) == 1).await;
    // The task remains until no request can still be in progress.
    assert_eq!(tasks(&file), 1);
    clock.advance(Duration::from_secs(60));
    wait_until("the task is done", async || tasks(&file) == 0).await;
    assert_eq!(rows(&file, user), 0);

    let dir = server.stop_and_keep().await;
    let stored = bytes_of(dir.path());
    let contains = |needle: &[u8]| stored.windows(needle.len()).any(|found| found == needle);
    for secret in [MARKER.as_bytes(), user.as_bytes(), user.to_string().as_bytes()] {
        assert!(!contains(secret), "{secret:?} is left");
    }
    assert!(
        contains(OTHER.as_bytes()) && contains(other_user.as_bytes()),
        "others keep their data"
    );
}

/// The rows of a user in all tables.
fn rows(file: &Path, user: UserId) -> i64 {
    let statement = "SELECT (SELECT count(*) FROM accounts WHERE id = ?1)
        + (SELECT count(*) FROM sessions WHERE user_id = ?1)
        + (SELECT count(*) FROM diary WHERE user_id = ?1)
        + (SELECT count(*) FROM diary_revision WHERE user_id = ?1)
        + (SELECT count(*) FROM summary WHERE user_id = ?1)
        + (SELECT count(*) FROM reflection WHERE user_id = ?1)
        + (SELECT count(*) FROM emotion_tag WHERE user_id = ?1)
        + (SELECT count(*) FROM account_task WHERE user_id = ?1)";
    let connection = Connection::open(file).unwrap();
    connection.query_row(statement, [user.as_bytes()], |row| row.get(0)).unwrap()
}

fn tasks(file: &Path) -> i64 {
    let connection = Connection::open(file).unwrap();
    connection.query_row("SELECT count(*) FROM account_task", [], |row| row.get(0)).unwrap()
}

fn bytes_of(dir: &Path) -> Vec<u8> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|path| fs::read(path).unwrap()).collect()
}

/// The server ends between every two steps of an erasure in turn. The next server completes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_is_completed_after_a_kill_at_every_step() {
    // Claim, sessions, failed logins, two batches of diaries, revisions, summaries.
    let steps = [
        ("account_change", 1),
        ("account_task", 1),
        ("account_task", 2),
        ("account_task", 3),
        ("account_task", 4),
        ("account_task", 5),
        ("account_task", 6),
        ("account_task", 7),
    ];
    join_all(steps.map(|(name, count)| erased_after_a_kill(name, count))).await;
}

async fn erased_after_a_kill(name: &str, count: u32) {
    let dir = tempfile::tempdir().unwrap();
    let failpoint = format!("{name}={count}");
    let settings = [
        ("SHIORI_DATA_DIR", dir.path().to_str().unwrap()),
        ("SHIORI_WORKER", "none"),
        ("SHIORI_FAILPOINT", &failpoint),
    ];
    let server = Process::server(&settings).await;
    let (email, client) = (fresh_email(), new_client(server.url()));
    let user = client.auth().signup(&email, PASSWORD, "손").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    let saves = (0..DIARIES).map(async |nth| {
        let date = day(1).plus_days(nth).unwrap();
        let save = client.diaries().save(date, draft(MARKER), Precondition::IfAbsent);
        save.send().await.unwrap();
    });
    join_all(saves).await;
    // The response may be lost.
    let _ = client.account().delete(PASSWORD).await;
    assert_eq!(server.exit_code().await, None, "{failpoint} was not reached");

    let server = Process::server(&settings[..2]).await;
    let file = dir.path().join("shiori.db");
    wait_until("the data is erased", async || rows(&file, user) == 1).await;
    let refused = new_client(server.url()).auth().login(&email, PASSWORD).await.unwrap_err();
    assert_eq!(refused.code(), Some(&shiori_sdk::ErrorCode::BadCredentials));
    server.terminate().await;
}

/// The password is changed, and the server ends before it has ended the other sessions.
#[tokio::test(flavor = "multi_thread")]
async fn other_sessions_end_after_a_kill_during_a_change_of_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("SHIORI_DATA_DIR", dir.path().to_str().unwrap()),
        ("SHIORI_FAILPOINT", "account_change=1"),
    ];
    let server = Process::server(&settings).await;
    let (email, client) = (fresh_email(), new_client(server.url()));
    client.auth().signup(&email, PASSWORD, "손").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    let other = new_client(server.url());
    other.auth().login(&email, PASSWORD).await.unwrap();
    client.account().change_password(PASSWORD, "another-88").await.unwrap_err();
    assert_eq!(server.exit_code().await, None);

    let server = Process::server(&settings[..1]).await;
    let file = dir.path().join("shiori.db");
    wait_until("the task is done", async || tasks(&file) == 0).await;
    let connection = Connection::open(&file).unwrap();
    let sessions: i64 =
        connection.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(sessions, 1, "that of the change");
    new_client(server.url()).auth().login(&email, PASSWORD).await.unwrap_err();
    new_client(server.url()).auth().login(&email, "another-88").await.unwrap();
    server.terminate().await;
}

/// All tables, collections and keys are searched for the user's text and id.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis"]
async fn no_engine_contains_anything_of_a_deleted_account() {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::ZERO)).await;
    // The round after which nothing can follow comes 30 s after this.
    let short = |config: &mut shiori_server::Config| {
        config.limits.request_timeout = Duration::from_secs(1);
    };
    let server = cluster.server(short).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    let (client, user) = user_with_everything(&server.url(), MARKER).await;
    let (_other, other_user) = user_with_everything(&server.url(), OTHER).await;
    assert!(
        cluster_dump::contains(&cluster, MARKER.as_bytes()).await,
        "the search finds what is stored"
    );
    client.account().delete(PASSWORD).await.unwrap();
    wait_until("the erasure is done", async || {
        cluster.count("SELECT COUNT(*) FROM account_task").await == 0
    })
    .await;
    for secret in [MARKER.as_bytes(), user.as_bytes(), user.to_string().as_bytes()] {
        assert!(!cluster_dump::contains(&cluster, secret).await, "{secret:?} is left");
    }
    assert!(
        cluster_dump::contains(&cluster, other_user.as_bytes()).await,
        "others keep their data"
    );
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}
