//! The commands of operators on accounts, while a server runs.

use shiori_sdk::{ErrorCode, ErrorKind, Precondition};

use crate::{
    fixtures::{PASSWORD, day, draft, fresh_email, new_client, wait_until},
    process::Process,
};

/// Runs `shiori-server user …` with success, and returns its lines.
async fn user(arguments: &[&str], settings: &[(&str, &str)]) -> Vec<String> {
    let output = Process::run(&[&["user"], arguments].concat(), settings).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_list_reset_and_delete_accounts() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("SHIORI_DATA_DIR", dir.path().to_str().unwrap()), ("SHIORI_WORKER", "none")];
    let server = Process::server(&settings).await;
    let (email, other) = (fresh_email(), fresh_email());
    let client = new_client(server.url());
    let id = client.auth().signup(&email, PASSWORD, "하루 이틀").await.unwrap();
    client.auth().signup(&other, PASSWORD, "다른 사람").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    client.diaries().save(day(1), draft("글"), Precondition::IfAbsent).send().await.unwrap();

    let listed = user(&["list"], &settings).await;
    assert_eq!(listed.len(), 2);
    let columns: Vec<_> = listed[0].split('\t').collect();
    assert_eq!((columns[0], columns[1], columns[3]), (&*id.to_string(), &*email, "하루 이틀"));

    let password = user(&["reset-password", &email.to_uppercase()], &settings).await.remove(0);
    let ended = client.diaries().get(day(1)).await.unwrap_err();
    assert_eq!(ended.code(), Some(&ErrorCode::SessionExpired));
    let old = client.auth().login(&email, PASSWORD).await.unwrap_err();
    assert_eq!(old.code(), Some(&ErrorCode::BadCredentials));
    client.auth().login(&email, &password).await.unwrap();
    assert!(client.diaries().get(day(1)).await.unwrap().is_some());

    let unconfirmed = Process::run(&["user", "delete", &email], &settings).await;
    assert!(!unconfirmed.status.success());
    user(&["delete", &email, "--yes"], &settings).await;
    let gone = client.diaries().get(day(1)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::SignedOut);
    wait_until("the data is erased", async || {
        let file = rusqlite::Connection::open(dir.path().join("shiori.db")).unwrap();
        let count = file.query_row("SELECT count(*) FROM diary", [], |row| row.get::<_, i64>(0));
        count.unwrap() == 0
    })
    .await;
    assert_eq!(user(&["list"], &settings).await.len(), 1);
    for arguments in [["reset-password", &email].as_slice(), &["delete", &email, "--yes"]] {
        let output = Process::run(&[&["user"], arguments].concat(), &settings).await;
        assert!(!output.status.success());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("no account has this e-mail address"), "{error}");
    }
    server.terminate().await;
}
