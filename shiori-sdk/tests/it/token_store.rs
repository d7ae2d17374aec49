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
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, path) = file();
    let server = ScriptedServer::start(accepts_second_token).await;
    server.signed_in(server.builder().token_store(FileTokenStore::new(&path))).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
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
