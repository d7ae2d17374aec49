//! Backups of the embedded database.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use shiori_sdk::{Client, Precondition};
use tokio_util::sync::CancellationToken;

use crate::{
    fixtures::{PASSWORD, day, draft, fresh_email, new_client, wait_until},
    process::Process,
    test_server::TestServer,
};

async fn back_up(data_dir: &Path, to: &Path) -> Result<(), String> {
    let settings = [("SHIORI_DATA_DIR", data_dir.to_str().unwrap())];
    let output = Process::run(&["backup", to.to_str().unwrap()], &settings).await;
    let error = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(()) } else { Err(error) }
}

async fn text(client: &Client) -> String {
    client.diaries().get(day(16)).await.unwrap().unwrap().content.block_texts().join("\n")
}

/// Saves continue during the backup. The restored server has every save that was acknowledged
/// before it, and the sessions.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_server_can_be_restored() {
    let (dir, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = [("SHIORI_DATA_DIR", dir.path().to_str().unwrap())];
    let server = Process::server(&settings).await;
    let email = fresh_email();
    let client = new_client(server.url());
    client.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    client.diaries().save(day(16), draft("남을 글"), Precondition::IfAbsent).await.unwrap();

    let stop = CancellationToken::new();
    let saved = Arc::new(AtomicU64::new(0));
    let saves = tokio::spawn({
        let (client, stop, saved) = (client.clone(), stop.clone(), saved.clone());
        async move {
            let mut over = Precondition::IfAbsent;
            while !stop.is_cancelled() {
                let done = client.diaries().save(day(17), draft("바쁜 글"), over).await.unwrap();
                over = Precondition::IfVersion(done.version);
                saved.store(done.version.get(), Ordering::SeqCst);
            }
        }
    });
    let version = || saved.load(Ordering::SeqCst);
    wait_until("saves are in progress", async || version() > 3).await;
    let before = version();
    back_up(dir.path(), &restored.path().join("shiori.db")).await.unwrap();
    stop.cancel();
    saves.await.unwrap();
    let after = version();
    server.terminate().await;

    fs::copy(dir.path().join("jwt.secret"), restored.path().join("jwt.secret")).unwrap();
    let settings = [("SHIORI_DATA_DIR", restored.path().to_str().unwrap())];
    let server = Process::server(&settings).await;
    let client = new_client(server.url());
    client.auth().login(&email, PASSWORD).await.unwrap();
    assert_eq!(text(&client).await, "남을 글");
    let stored = client.diaries().get(day(17)).await.unwrap().unwrap().version.get();
    assert!((before..=after + 1).contains(&stored), "{before} to {after}: {stored}");
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_overwrites_nothing() {
    let server = TestServer::start().await;
    let file = server.data_dir().join("copy.db");
    fs::write(&file, "other data").unwrap();
    let error = back_up(server.data_dir(), &file).await.unwrap_err();
    assert!(error.contains("could not write the backup"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "other data");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_with_a_backup_of_their_own_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("SHIORI_DATA_DIR", dir.path().to_str().unwrap()),
        ("SHIORI_MONGODB_URL", "mongodb://127.0.0.1:1/shiori"),
    ];
    let file = dir.path().join("copy.db");
    let output = Process::run(&["backup", file.to_str().unwrap()], &settings).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("SHIORI_MONGODB_URL"), "{error}");
    assert!(!file.exists());
}
