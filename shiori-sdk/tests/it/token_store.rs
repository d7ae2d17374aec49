//! Stored sessions.

use std::{
    error::Error,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;
use shiori_sdk::{ErrorKind, FileTokenStore, StoredSession, TokenStore};
use wiremock::{Request, ResponseTemplate};

use crate::scripted_server::{ScriptedServer, day, diary, error_response, ok, tokens};

const REFRESH: &str = "/api/auth/refresh";

/// Records every saved session, and fails if `is_broken` is set.
#[derive(Debug, Clone, Default)]
struct MemoryStore {
    saved: Arc<Mutex<Vec<Option<StoredSession>>>>,
    is_broken: Arc<AtomicBool>,
}

impl MemoryStore {
    fn last(&self) -> Option<StoredSession> {
        self.saved.lock().unwrap().last().cloned().flatten()
    }

    /// The last saved access token.
    fn token(&self) -> Option<String> {
        let session = serde_json::to_value(self.last()?).unwrap();
        Some(session["access_token"].as_str().unwrap().to_owned())
    }
}

impl TokenStore for MemoryStore {
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn Error + Send + Sync>> {
        if self.is_broken.load(Ordering::SeqCst) { Err("broken".into()) } else { Ok(self.last()) }
    }

    fn save(&self, session: Option<&StoredSession>) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err("broken".into());
        }
        self.saved.lock().unwrap().push(session.cloned());
        Ok(())
    }
}

/// Accepts only the token `second`. A refresh returns it.
fn accepts_second_token(request: &Request, _: usize) -> ResponseTemplate {
    match request.url.path() {
        REFRESH => tokens("second", 3600),
        _ if request.headers["authorization"] == "Bearer second" => ok(diary(1, "글")),
        _ => error_response(401, "unauthorized", json!(null)),
    }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("session.json");
    (dir, path)
}

/// The names of the files in the directory.
fn files(dir: &tempfile::TempDir) -> Vec<String> {
    let name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name().into_string();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|file| name(file).unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_session_in_a_file_survives_its_client() {
    let (dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    let builder = || server.builder().token_store(FileTokenStore::new(&path));
    {
        let client = server.signed_in(builder()).await;
        client.diaries().get(day()).await.unwrap();
    }
    let client = builder().build().unwrap();
    assert!(client.auth().is_signed_in());
    client.diaries().get(day()).await.unwrap();
    assert_eq!(server.count(REFRESH), 1, "the renewed token was saved, not the first");
    assert_eq!(server.count("/api/user/login"), 0);

    client.auth().logout().await.unwrap();
    assert!(!builder().build().unwrap().auth().is_signed_in());
    assert_eq!(files(&dir), ["session.json.lock"]);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    server.signed_in(server.builder().token_store(FileTokenStore::new(&path))).await;
    // No temporary file is left.
    assert_eq!(files(&dir), ["session.json", "session.json.lock"]);
    for file in files(&dir) {
        let metadata = fs::metadata(dir.path().join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn an_invalid_file_is_an_error_that_does_not_show_it() {
    let (_dir, path) = file();
    fs::write(&path, r#"{"access_token":"secret-token"}"#).unwrap();
    let server = ScriptedServer::start(accepts_second_token).await;
    let error = server.builder().token_store(FileTokenStore::new(&path)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
    let shown = format!("{error:?} {}", error.source().unwrap());
    assert!(shown.contains("not a valid session") && !shown.contains("secret-token"), "{shown}");
}

#[tokio::test]
async fn a_renewed_session_is_stored_before_its_callers_resume() {
    let memory = MemoryStore::default();
    let store = memory.clone();
    // A request with the second token comes after the token was saved.
    let server = ScriptedServer::start(move |request, nth| {
        if request.headers.get("authorization").is_some_and(|token| token == "Bearer second") {
            assert_eq!(store.token().as_deref(), Some("second"));
        }
        accepts_second_token(request, nth)
    })
    .await;
    let client = server.signed_in(server.builder().token_store(memory.clone())).await;
    assert_eq!(memory.token().as_deref(), Some("first"));
    client.diaries().get(day()).await.unwrap();
    client.auth().logout().await.unwrap();
    assert_eq!(memory.last(), None);
    assert_eq!(memory.saved.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_failing_store_does_not_end_the_session() {
    let memory = MemoryStore::default();
    let server = ScriptedServer::start(accepts_second_token).await;
    let client = server.builder().token_store(memory.clone()).build().unwrap();
    memory.is_broken.store(true, Ordering::SeqCst);
    let error = client.auth().login("haru@example.com", "secret-pass-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
    assert!(client.auth().is_signed_in(), "it is valid until the client is dropped");
    client.diaries().get(day()).await.unwrap();
    let error = server.builder().token_store(memory).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
}

#[tokio::test]
async fn a_stored_session_that_has_ended_is_removed() {
    let memory = MemoryStore::default();
    let server = ScriptedServer::start(|request, _| match request.url.path() {
        REFRESH => error_response(401, "session_expired", json!(null)),
        _ => error_response(401, "unauthorized", json!(null)),
    })
    .await;
    server.signed_in(server.builder().token_store(memory.clone())).await;
    let client = server.builder().token_store(memory.clone()).build().unwrap();
    assert_eq!(client.diaries().get(day()).await.unwrap_err().kind(), ErrorKind::SignedOut);
    assert_eq!(memory.last(), None);
    assert!(!format!("{memory:?}").contains("first"), "a stored session shows no token");
}

#[tokio::test]
async fn a_session_is_not_sent_to_another_server() {
    let (_dir, path) = file();
    let (first, second) = (
        ScriptedServer::start(accepts_second_token).await,
        ScriptedServer::start(accepts_second_token).await,
    );
    let on = |server: &ScriptedServer| server.builder().token_store(FileTokenStore::new(&path));
    first.signed_in(on(&first)).await;
    let elsewhere = on(&second).build().unwrap();
    assert!(!elsewhere.auth().is_signed_in());
    let error = elsewhere.diaries().get(day()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
    assert!(second.requests().is_empty());
    assert!(on(&first).build().unwrap().auth().is_signed_in(), "the session is still stored");

    second.signed_in(on(&second)).await;
    let stored: StoredSession = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let url = stored.base_url().unwrap();
    assert_eq!(url.trim_end_matches('/'), second.url().trim_end_matches('/'));
    assert!(!on(&first).build().unwrap().auth().is_signed_in());
}

/// Version 0.1.0 stored neither the base URL nor the number of renewals.
#[tokio::test]
async fn a_session_that_version_0_1_0_stored_is_used_and_bound() {
    let (_dir, path) = file();
    let stored = json!({
        "access_token": "first", "refresh_token": "cookie-first",
        "expires_at": "2100-01-01T00:00:00.000Z",
    });
    fs::write(&path, stored.to_string()).unwrap();
    let server = ScriptedServer::start(accepts_second_token).await;
    let client = server.builder().token_store(FileTokenStore::new(&path)).build().unwrap();
    client.diaries().get(day()).await.unwrap();
    assert_eq!(server.count(REFRESH), 1);
    let stored: StoredSession = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(stored.base_url().is_some());
}

/// Two clients, as in two processes.
#[tokio::test]
async fn clients_that_share_a_file_renew_the_session_once() {
    let (_dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    let builder = || server.builder().token_store(FileTokenStore::new(&path));
    let first = server.signed_in(builder()).await;
    let second = builder().build().unwrap();
    let (a, b) = (first.diaries(), second.diaries());
    let (a, b) = tokio::join!(a.get(day()), b.get(day()));
    assert!(a.unwrap().is_some() && b.unwrap().is_some());
    assert_eq!(server.count(REFRESH), 1, "the other client loads the new tokens");
}

/// The server may have rejected the tokens that the other client stored, too.
#[tokio::test]
async fn stored_tokens_that_are_rejected_are_renewed() {
    let (_dir, path) = file();
    let server = ScriptedServer::start(|request, nth| match request.url.path() {
        REFRESH if nth == 0 => tokens("outdated", 3600),
        REFRESH => tokens("second", 3600),
        _ => accepts_second_token(request, nth),
    })
    .await;
    let builder = || server.builder().token_store(FileTokenStore::new(&path));
    let first = server.signed_in(builder()).await;
    let second = builder().build().unwrap();
    first.auth().refresh().await.unwrap();
    second.diaries().get(day()).await.unwrap();
    assert_eq!(server.count(REFRESH), 2);
}

#[tokio::test]
async fn a_sign_out_signs_out_all_clients_that_share_the_file() {
    let (_dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    let builder = || server.builder().token_store(FileTokenStore::new(&path));
    let first = server.signed_in(builder()).await;
    first.diaries().get(day()).await.unwrap();
    let second = builder().build().unwrap();
    first.auth().logout().await.unwrap();
    let error = second.auth().refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
    assert!(!second.auth().is_signed_in());
    assert_eq!(server.count(REFRESH), 1);
}

/// The client that signed in first continues with its session, and does not replace the other.
#[tokio::test]
async fn another_login_takes_over_the_file() {
    let (_dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    let builder = || server.builder().token_store(FileTokenStore::new(&path));
    let first = server.signed_in(builder()).await;
    server.signed_in(builder()).await;
    let stored = fs::read(&path).unwrap();
    first.diaries().get(day()).await.unwrap();
    first.auth().logout().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), stored);
}

#[tokio::test]
async fn a_lock_that_is_not_released_fails_the_renewal() {
    let (_dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    let store = FileTokenStore::new(&path);
    let timeout = std::time::Duration::from_secs(1);
    let builder = server.builder().token_store(store.clone()).call_timeout(timeout);
    let client = server.signed_in(builder).await;
    let lock = store.try_lock().unwrap().expect("unlocked");
    assert!(store.try_lock().unwrap().is_none());
    let error = client.auth().refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
    assert!(client.auth().is_signed_in());
    drop(lock);
    client.auth().refresh().await.unwrap();
}
