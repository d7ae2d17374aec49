//! Processes that share one session in a file.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use shiori_sdk::{
    Client, Error, ErrorCode, ErrorKind, FileTokenStore, RetryPolicy, Timestamp, TokenStore,
};
use shiori_worker::ManualClock;
use tokio::process::Command;

use crate::{
    fixtures::{PASSWORD, fresh_email},
    proxy::Proxy,
    test_server::TestServer,
};

/// The renewals of the session by both processes together.
const RENEWALS: u64 = 1000;

const REFRESH: &str = "POST /api/auth/refresh";

/// The variables with which this test program starts itself.
const URL: &str = "SHIORI_TEST_SHARED_URL";
const FILE: &str = "SHIORI_TEST_SHARED_FILE";

/// Every third response to a refresh is lost, and 11 s pass before the request is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_lost_responses_stay_signed_in() {
    let clock = ManualClock::at(Timestamp::now());
    let shared = Arc::new(clock.clone());
    let server = TestServer::with_config(|config| config.clock = shared).await;
    let proxy = Proxy::start(&server.url()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("session.json");
    let email = fresh_email();
    let first = client(proxy.url(), &file);
    first.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
    first.auth().login(&email, PASSWORD).await.unwrap();
    let stolen = dir.path().join("stolen.json");
    fs::copy(&file, &stolen).unwrap();

    proxy.drop_one_response_in(3, REFRESH);
    let children = [(), ()].map(|()| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "shared_sessions::one_of_the_processes", "--nocapture"])
            .env(URL, proxy.url())
            .env(FILE, &file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    });
    let passing = async {
        let mut lost = 0;
        loop {
            let now_lost = proxy.dropped().len();
            if now_lost > lost {
                clock.advance(Duration::from_secs(11));
                lost = now_lost;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let finished = async {
        for mut child in children {
            assert!(child.wait().await.unwrap().success(), "a process was signed out");
        }
    };
    tokio::select! {
        () = passing => {}
        () = finished => {}
    }
    assert!(renewals(&file) >= RENEWALS);
    assert!(proxy.dropped().len() as u64 >= RENEWALS / 4);

    // The owner is still signed in, until somebody uses a token that was replaced long ago.
    first.auth().refresh().await.unwrap();
    let thief = client(&server.url(), &stolen_for(&server.url(), &stolen));
    let error = thief.auth().refresh().await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::RefreshReused));
    let error = first.auth().sessions().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::SignedOut, Some(&ErrorCode::SessionExpired))
    );
    // Only the token of the device remains.
    let stored = FileTokenStore::new(&file).load().unwrap();
    assert!(stored.is_none_or(|stored| !stored.is_signed_in()), "the ended session was removed");
    server.stop().await;
}

/// The part of the test above that runs in two more processes.
#[tokio::test]
async fn one_of_the_processes() {
    let (Some(url), Some(file)) = (env::var(URL).ok(), env::var(FILE).ok()) else { return };
    let file = PathBuf::from(file);
    let client = client(&url, &file);
    let stays = |error: Error| assert_ne!(error.kind(), ErrorKind::SignedOut, "{error}");
    while renewals(&file) < RENEWALS {
        client.auth().refresh().await.unwrap_or_else(stays);
        // So some generations are used only by the next refresh.
        if rand::random() {
            client.auth().sessions().await.map_or_else(stays, drop);
        }
    }
}

fn client(url: &str, file: &Path) -> Client {
    let mut retries = RetryPolicy::default();
    retries.first_backoff = Duration::from_millis(20);
    let builder = Client::builder(url).retry_policy(retries);
    builder.token_store(FileTokenStore::new(file)).build().unwrap()
}

/// How often the session in the file was renewed.
fn renewals(file: &Path) -> u64 {
    let session: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    session["renewals"].as_u64().unwrap()
}

/// The stolen session as if it had been stored for this URL.
fn stolen_for(url: &str, stolen: &Path) -> PathBuf {
    let mut session: serde_json::Value =
        serde_json::from_slice(&fs::read(stolen).unwrap()).unwrap();
    session["base_url"] = format!("{url}/").into();
    fs::write(stolen, session.to_string()).unwrap();
    stolen.to_owned()
}
