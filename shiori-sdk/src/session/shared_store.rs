//! The token store of a client, which other clients and processes may share.

use std::{
    error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::MutexGuard,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    token_store::{StoreLock, StoredSession, TokenStore},
    tokens::Tokens,
};
use crate::transport::{
    deadline,
    error::{Error, ErrorKind, Result},
};

/// How often a client tries to lock the store.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// A token store and what this client has stored in it.
pub(super) struct SharedStore {
    store: Arc<dyn TokenStore>,
    /// The URL that stored sessions must have.
    base_url: String,
    /// Held while the store is locked, so that this client makes one call at a time.
    calls: tokio::sync::Mutex<()>,
    /// The login of the session that this client has loaded from the store, or stored in it.
    stored_login: Mutex<Option<uuid::Uuid>>,
}

/// The contents of the store, compared with the tokens of this client.
pub(super) enum Contents {
    /// The store has the tokens of this client or older ones, has none that this client stored, or
    /// cannot be read.
    Ours,
    /// Another client has renewed the session.
    Renewed(Tokens),
    /// Another client has removed the session: it was ended.
    Removed,
    /// Another client has signed in, or the session is one of another server.
    Replaced,
}

impl SharedStore {
    /// Loads the stored session: its tokens and its device token.
    pub(super) fn open(
        store: Arc<dyn TokenStore>,
        base_url: &str,
    ) -> Result<(Self, Option<Tokens>, Option<Arc<str>>)> {
        let shared = Self {
            store,
            base_url: base_url.to_owned(),
            calls: tokio::sync::Mutex::default(),
            stored_login: Mutex::default(),
        };
        let stored = shared.store.load().map_err(store_error)?;
        let is_ours = |stored: &StoredSession| shared.is_of_this_server(stored);
        if stored.as_ref().is_some_and(|stored| !is_ours(stored)) {
            tracing::warn!("the stored session belongs to another base URL and is not used");
        }
        let stored = stored.filter(is_ours);
        let device_token = stored.as_ref().and_then(|stored| stored.device_token.as_deref());
        let device_token = device_token.map(Arc::from);
        let tokens = stored.filter(StoredSession::is_signed_in).map(Tokens::restore);
        shared.set_stored(tokens.as_ref());
        Ok((shared, tokens, device_token))
    }

    /// Locks the store. If it cannot be locked, continues without a lock.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenStore`] if another client holds the lock for longer than `timeout`.
    pub(super) async fn lock(&self, timeout: Duration) -> Result<LockedStore<'_>> {
        let calls = self.calls.lock().await;
        let deadline = deadline::after(timeout);
        loop {
            let lock = match blocking(&self.store, |store| store.try_lock()).await {
                Ok(None) if Instant::now() >= deadline => {
                    return Err(store_error("another client holds the lock of the store".into()));
                }
                Ok(None) => {
                    sleep(LOCK_INTERVAL).await;
                    continue;
                }
                Ok(Some(lock)) => Some(lock),
                Err(error) => {
                    tracing::warn!(%error, "could not lock the token store");
                    None
                }
            };
            return Ok(LockedStore { shared: self, _lock: lock, _calls: calls });
        }
    }

    fn is_of_this_server(&self, stored: &StoredSession) -> bool {
        stored.base_url().is_none_or(|url| url == self.base_url)
    }

    fn has_stored(&self, tokens: &Tokens) -> bool {
        *self.stored_login.lock().unwrap_or_else(PoisonError::into_inner) == Some(tokens.login)
    }

    fn set_stored(&self, tokens: Option<&Tokens>) {
        *self.stored_login.lock().unwrap_or_else(PoisonError::into_inner) =
            tokens.map(|tokens| tokens.login);
    }
}

/// A locked store.
pub(super) struct LockedStore<'a> {
    shared: &'a SharedStore,
    _lock: Option<StoreLock>,
    _calls: MutexGuard<'a, ()>,
}

impl LockedStore<'_> {
    /// Compares the stored session with these tokens. Also returns the stored device token.
    pub(super) async fn compare(&self, tokens: &Tokens) -> (Contents, Option<Arc<str>>) {
        let Ok(stored) = blocking(&self.shared.store, |store| store.load()).await else {
            // Without the error, which may quote the session.
            tracing::warn!("could not load the stored session");
            return (Contents::Ours, None);
        };
        let stored_here = stored.as_ref().filter(|stored| self.shared.is_of_this_server(stored));
        let device_token = stored_here.and_then(|stored| stored.device_token.as_deref());
        let device_token = device_token.map(Arc::from);
        let contents = match stored.filter(StoredSession::is_signed_in) {
            None if self.shared.has_stored(tokens) => Contents::Removed,
            Some(stored)
                if stored.login != tokens.login || !self.shared.is_of_this_server(&stored) =>
            {
                Contents::Replaced
            }
            // Not if it has fewer renewals: then this client could not store the last one.
            Some(stored) if stored.renewals > tokens.renewals => {
                Contents::Renewed(Tokens::restore(stored))
            }
            Some(_) | None => Contents::Ours,
        };
        (contents, device_token)
    }

    /// Replaces the stored session; without tokens, only the device token remains.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenStore`] if the store fails.
    pub(super) async fn save(
        &self,
        tokens: Option<&Tokens>,
        device_token: Option<&str>,
    ) -> Result<()> {
        let base_url = &self.shared.base_url;
        let session = match tokens {
            Some(tokens) => Some(tokens.to_stored(base_url, device_token)),
            None => device_token.map(|device| StoredSession::signed_out(base_url, device)),
        };
        let saved = blocking(&self.shared.store, move |store| store.save(session.as_ref())).await;
        match saved {
            Ok(()) => {
                self.shared.set_stored(tokens);
                Ok(())
            }
            Err(error) => Err(store_error(error)),
        }
    }
}

type StoreResult<T> = Result<T, Box<dyn error::Error + Send + Sync>>;

/// Calls the store on a thread that may block.
async fn blocking<T: Send + 'static>(
    store: &Arc<dyn TokenStore>,
    call: impl FnOnce(&dyn TokenStore) -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    let store = store.clone();
    let called = spawn_blocking(move || call(&*store)).await;
    called.unwrap_or_else(|_| Err("the store panicked".into()))
}

fn store_error(error: Box<dyn error::Error + Send + Sync>) -> Error {
    Error::new(ErrorKind::TokenStore).with_source(error)
}
