//! The session of a client and its clones: authenticated requests, and the renewal of the tokens.

mod auth;
mod token_store;
mod tokens;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::header::{COOKIE, HeaderValue};
use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use crate::{
    transport::{
        Transport,
        error::{Error, ErrorKind, Result},
        options::CallOptions,
        request::{FailedRequest, Request, Response},
    },
    types::{ErrorCode, RefreshRequest},
};
pub use auth::Auth;
pub use token_store::{FileTokenStore, StoredSession, TokenStore};
#[cfg(any(test, fuzzing))]
pub(crate) use tokens::refresh_cookie;
use tokens::{REFRESH_COOKIE, Tokens};

/// The timeout of one attempt of a renewal. The server accepts a used refresh token for 10 s and
/// after that treats it as stolen, so the last attempt has to start within that time.
const RENEWAL_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// The session of a client and its clones.
pub(crate) struct Session {
    transport: Transport,
    /// The options of renewals.
    options: Arc<CallOptions>,
    state: Mutex<State>,
    store: Option<Arc<dyn TokenStore>>,
    /// Held during a write to the store, so that the last write has the latest tokens.
    store_lock: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    tokens: Option<Tokens>,
    /// The number of logins.
    logins: u64,
    /// The renewal in progress.
    renewal: Option<Renewal>,
}

/// A renewal in progress, which several callers can await.
struct Renewal {
    /// The access token that it replaces.
    replaces: Arc<str>,
    result: watch::Receiver<Option<Arc<Result<()>>>>,
}

impl Renewal {
    /// Whether a caller whose access token was rejected can await this renewal. If its task was
    /// dropped without a result, because its runtime was shut down, a new renewal is needed.
    fn replaces(&self, rejected: &Arc<str>) -> bool {
        self.replaces == *rejected && self.result.has_changed().is_ok()
    }
}

impl Session {
    pub(crate) fn new(
        transport: Transport,
        options: Arc<CallOptions>,
        store: Option<Arc<dyn TokenStore>>,
    ) -> Result<Self> {
        let stored = match &store {
            Some(store) => store
                .load()
                .map_err(|error| Error::new(ErrorKind::TokenStore).with_source(error))?,
            None => None,
        };
        let state = State { tokens: stored.map(Tokens::restore), ..State::default() };
        let (state, store_lock) = (Mutex::new(state), tokio::sync::Mutex::default());
        Ok(Self { transport, options, state, store, store_lock })
    }

    /// The URL of the server.
    pub(crate) fn base_url(&self) -> &str {
        self.transport.base_url.as_str()
    }

    /// Sends a request with the access token. If the server rejects the token, renews it and sends
    /// the request once more.
    pub(crate) async fn send(
        self: &Arc<Self>,
        options: &CallOptions,
        request: &Request,
    ) -> Result<Response, FailedRequest> {
        let tokens = self.fresh_tokens().await?;
        let mut result = self.transport.send(options, request, Some(&tokens.access)).await;
        let is_unauthorized =
            |failed: &FailedRequest| failed.error.code() == Some(&ErrorCode::Unauthorized);
        if result.as_ref().is_err_and(is_unauthorized) {
            // A request that returned 401 was not applied.
            self.renew(&tokens.access).await?;
            let renewed = self.fresh_tokens().await?;
            // If another user has signed in since, the request must not be sent with that user's
            // token.
            if renewed.login != tokens.login {
                return result;
            }
            result = self.transport.send(options, request, Some(&renewed.access)).await;
        }
        if let Err(FailedRequest { error, .. }) = &result
            && matches!(error.code(), Some(ErrorCode::SessionExpired | ErrorCode::RefreshReused))
        {
            self.end(&tokens).await;
        }
        result
    }

    /// Sends a request that ends the session, and removes the tokens when it has succeeded.
    pub(crate) async fn send_last(
        self: &Arc<Self>,
        options: &CallOptions,
        request: &Request,
    ) -> Result<Response, FailedRequest> {
        let tokens = self.tokens()?;
        let response = self.send(options, request).await?;
        self.end(&tokens).await;
        Ok(response)
    }

    /// Sends a request once, with the access token, and returns as soon as the response headers have
    /// arrived.
    pub(crate) async fn open(
        self: &Arc<Self>,
        options: &CallOptions,
        request: &Request,
    ) -> Result<reqwest::Response> {
        let tokens = self.fresh_tokens().await?;
        self.transport.open(options, request, Some(&tokens.access)).await
    }

    /// Sends a request without an access token.
    async fn send_anonymous(&self, options: &CallOptions, request: &Request) -> Result<Response> {
        Ok(self.transport.send(options, request, None).await?)
    }

    /// The tokens; renewed first if they are about to expire.
    async fn fresh_tokens(self: &Arc<Self>) -> Result<Tokens> {
        let tokens = self.tokens()?;
        if Instant::now() < tokens.renew_at {
            return Ok(tokens);
        }
        match self.renew(&tokens.access).await {
            Ok(()) => self.tokens(),
            Err(error) if error.kind() == ErrorKind::SignedOut => Err(error),
            // The token may still be valid; the server decides.
            Err(_) => Ok(tokens),
        }
    }

    /// Replaces the access token `rejected`, unless it was already replaced. Concurrent calls share
    /// one request. It runs in its own task, so that cancelling a caller does not cancel it. The
    /// new tokens are stored before the callers resume.
    async fn renew(self: &Arc<Self>, rejected: &Arc<str>) -> Result<()> {
        let mut result = {
            let mut state = self.lock();
            let tokens = state.tokens.as_ref().ok_or_else(signed_out)?.clone();
            if tokens.access != *rejected {
                return Ok(());
            }
            match &state.renewal {
                Some(renewal) if renewal.replaces(rejected) => renewal.result.clone(),
                _ => {
                    let (sender, result) = watch::channel(None);
                    let replaces = rejected.clone();
                    state.renewal = Some(Renewal { replaces, result: result.clone() });
                    let session = self.clone();
                    tokio::spawn(async move {
                        let renewed = session.request_renewal(tokens).await;
                        sender.send_replace(Some(Arc::new(renewed)));
                    });
                    result
                }
            }
        };
        let result = result.wait_for(Option::is_some).await;
        match result.as_deref() {
            Ok(Some(renewed)) => renewed.as_ref().as_ref().copied().map_err(Error::to_shared),
            _ => Err(Error::new(ErrorKind::Disconnected)),
        }
    }

    async fn request_renewal(&self, tokens: Tokens) -> Result<()> {
        let body = RefreshRequest { access_token: tokens.access.to_string() };
        let cookie = HeaderValue::from_str(&format!("{REFRESH_COOKIE}={}", tokens.refresh));
        let mut cookie = cookie.map_err(|_| signed_out())?;
        cookie.set_sensitive(true);
        // Idempotent: for 10 s, the server repeats its response to the same refresh token.
        let request = Request::post("/api/auth/refresh")
            .idempotent()
            .json(&body)?
            .header(COOKIE, cookie)
            .max_attempt_timeout(RENEWAL_ATTEMPT_TIMEOUT);
        let renewed = match self.send_anonymous(&self.options, &request).await {
            Ok(response) => Tokens::from_response(&response),
            Err(error) => Err(error),
        };
        let result = self.replace(&tokens, renewed);
        // Stored before any caller resumes, so that a crash cannot leave a used refresh token in
        // the store. If the store fails, the session in memory stays valid.
        if let Err(error) = self.write_to_store().await {
            tracing::warn!(%error, "could not store the renewed session");
        }
        self.lock().renewal = None;
        result
    }

    /// Replaces these tokens by the renewed ones, or removes them if the session has ended.
    fn replace(&self, tokens: &Tokens, renewed: Result<Tokens>) -> Result<()> {
        let mut state = self.lock();
        // A login or logout during the renewal takes precedence.
        let is_current = state.tokens.as_ref().is_some_and(|current| {
            current.login == tokens.login && current.access == tokens.access
        });
        match renewed {
            Ok(renewed) => {
                if is_current {
                    state.tokens = Some(renewed.with_login(tokens.login));
                }
                Ok(())
            }
            Err(error) => {
                let has_ended = matches!(
                    error.code(),
                    Some(
                        ErrorCode::SessionExpired
                            | ErrorCode::RefreshReused
                            | ErrorCode::TokenDecodeError
                    )
                );
                if has_ended && is_current {
                    state.tokens = None;
                }
                Err(error)
            }
        }
    }

    /// Starts a session with these tokens.
    async fn begin(&self, tokens: Tokens) -> Result<()> {
        {
            let mut state = self.lock();
            state.logins += 1;
            state.tokens = Some(tokens.with_login(state.logins));
        }
        self.write_to_store().await
    }

    /// Removes the session of these tokens, unless another login has replaced it.
    async fn end(&self, tokens: &Tokens) {
        let removed = self.lock().tokens.take_if(|current| current.login == tokens.login);
        if removed.is_some()
            && let Err(error) = self.write_to_store().await
        {
            tracing::warn!(%error, "could not remove the ended session from its store");
        }
    }

    /// Writes the current session to the store, if the client has a store.
    async fn write_to_store(&self) -> Result<()> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let _guard = self.store_lock.lock().await;
        let session = self.lock().tokens.as_ref().map(Tokens::to_stored);
        let saved = spawn_blocking(move || store.save(session.as_ref())).await;
        saved
            .unwrap_or_else(|_| Err("the store panicked".into()))
            .map_err(|error| Error::new(ErrorKind::TokenStore).with_source(error))
    }

    /// The tokens, without renewal.
    fn tokens(&self) -> Result<Tokens> {
        self.lock().tokens.clone().ok_or_else(signed_out)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("base_url", &self.base_url())
            .field("signed_in", &self.tokens().is_ok())
            .finish_non_exhaustive()
    }
}

fn signed_out() -> Error {
    Error::new(ErrorKind::SignedOut)
}
