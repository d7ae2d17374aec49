//! A session outlives its process.

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

use crate::script::{Script, day, diary, ok, refuse, tokens};

const REFRESH: &str = "/api/auth/refresh";

/// Keeps every session that it is given, and fails when it is told to.
#[derive(Debug, Clone, Default)]
struct Memory {
    kept: Arc<Mutex<Vec<Option<StoredSession>>>>,
    is_broken: Arc<AtomicBool>,
}

impl Memory {
    fn last(&self) -> Option<StoredSession> {
        self.kept.lock().unwrap().last().cloned().flatten()
    }

    /// The access token that was kept last.
    fn token(&self) -> Option<String> {
        let session = serde_json::to_value(self.last()?).unwrap();
        Some(session["access_token"].as_str().unwrap().to_owned())
    }
}

impl TokenStore for Memory {
    fn load(&self) -> Result<Option<StoredSession>, Box<dyn Error + Send + Sync>> {
        if self.is_broken.load(Ordering::SeqCst) { Err("broken".into()) } else { Ok(self.last()) }
    }

    fn keep(&self, session: Option<&StoredSession>) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err("broken".into());
        }
        self.kept.lock().unwrap().push(session.cloned());
        Ok(())
    }
}

/// Takes the token `second` alone; a refresh gives it.
fn wants_second(request: &Request, _: usize) -> ResponseTemplate {
    match request.url.path() {
        REFRESH => tokens("second", 3600),
        _ if request.headers["authorization"] == "Bearer second" => ok(diary(1, "글")),
        _ => refuse(401, "unauthorized", json!(null)),
    }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("session.json");
    (dir, path)
}

#[tokio::test]
async fn a_session_in_a_file_outlives_its_client() {
    let (dir, path) = file();
    let script = Script::of(wants_second).await;
    let builder = || script.builder().token_store(FileTokenStore::new(&path));
    {
        let client = script.signed_in(builder()).await;
        client.diaries().get(day()).await.unwrap();
    }
    let client = builder().build().unwrap();
    assert!(client.auth().is_signed_in());
    client.diaries().get(day()).await.unwrap();
    assert_eq!(script.count(REFRESH), 1, "the renewed token was kept, not the first");
    assert_eq!(script.count("/api/user/login"), 0);

    client.auth().logout().await.unwrap();
    assert!(!builder().build().unwrap().auth().is_signed_in());
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, path) = file();
    let script = Script::of(wants_second).await;
    script.signed_in(script.builder().token_store(FileTokenStore::new(&path))).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
}

#[tokio::test]
async fn a_file_that_holds_no_session_is_named_and_not_shown() {
    let (_dir, path) = file();
    fs::write(&path, r#"{"access_token":"secret-token"}"#).unwrap();
    let script = Script::of(wants_second).await;
    let error = script.builder().token_store(FileTokenStore::new(&path)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
    let shown = format!("{error:?} {}", error.source().unwrap());
    assert!(shown.contains("no session") && !shown.contains("secret-token"), "{shown}");
}

#[tokio::test]
async fn trap_04_a_renewed_session_is_kept_before_anybody_goes_on() {
    let memory = Memory::default();
    let kept = memory.clone();
    // Whoever comes with the second token comes after it was kept.
    let script = Script::of(move |request, nth| {
        if request.headers.get("authorization").is_some_and(|token| token == "Bearer second") {
            assert_eq!(kept.token().as_deref(), Some("second"));
        }
        wants_second(request, nth)
    })
    .await;
    let client = script.signed_in(script.builder().token_store(memory.clone())).await;
    assert_eq!(memory.token().as_deref(), Some("first"));
    client.diaries().get(day()).await.unwrap();
    client.auth().logout().await.unwrap();
    assert_eq!(memory.last(), None);
    assert_eq!(memory.kept.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_store_that_fails_ends_no_session() {
    let memory = Memory::default();
    let script = Script::of(wants_second).await;
    let client = script.builder().token_store(memory.clone()).build().unwrap();
    memory.is_broken.store(true, Ordering::SeqCst);
    let error = client.auth().login("haru@example.com", "secret-pass-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
    assert!(client.auth().is_signed_in(), "it holds until the client is gone");
    client.diaries().get(day()).await.unwrap();
    let error = script.builder().token_store(memory).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
}

#[tokio::test]
async fn a_kept_session_that_has_ended_is_forgotten() {
    let memory = Memory::default();
    let script = Script::of(|request, _| match request.url.path() {
        REFRESH => refuse(401, "session_expired", json!(null)),
        _ => refuse(401, "unauthorized", json!(null)),
    })
    .await;
    script.signed_in(script.builder().token_store(memory.clone())).await;
    let client = script.builder().token_store(memory.clone()).build().unwrap();
    assert_eq!(client.diaries().get(day()).await.unwrap_err().kind(), ErrorKind::SignedOut);
    assert_eq!(memory.last(), None);
    assert!(!format!("{memory:?}").contains("first"), "a kept session shows no token");
}
