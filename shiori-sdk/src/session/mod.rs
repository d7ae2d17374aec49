//! The session of a client and its clones: authenticated requests, and the renewal of the tokens.

mod auth;
mod shared_store;
mod token_store;
mod tokens;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::header::{COOKIE, HeaderValue};
use tokio::{sync::watch, time::Instant};

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
use shared_store::{Contents, LockedStore, SharedStore};
pub use token_store::{FileTokenStore, StoreLock, StoredSession, TokenStore};
#[cfg(any(test, fuzzing))]
pub(crate) use tokens::refresh_cookie;
use tokens::{DEVICE_COOKIE, REFRESH_COOKIE, Tokens, find_cookie};

/// The timeout of one attempt of a renewal, which several callers may await. The last attempt starts
/// within 10 s, the time in which servers of version 0.1.0 repeat a lost response.
const RENEWAL_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);

/// Renewals of one request: one that loads tokens from the store, and one that requests new ones.
const MAX_RENEWALS: u32 = 2;

/// The session of a client and its clones.
pub(crate) struct Session {
    transport: Transport,
    /// The options of renewals.
    options: Arc<CallOptions>,
    state: Mutex<State>,
    store: Option<SharedStore>,
}

#[derive(Default)]
struct State {
    tokens: Option<Tokens>,
    /// The token by which the server knows this device at a login.
    device_token: Option<Arc<str>>,
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
        let (store, tokens, device_token) = match store {
            Some(store) => {
                let base_url = transport.base_url.as_str();
                let (store, tokens, device_token) = SharedStore::open(store, base_url)?;
                (Some(store), tokens, device_token)
            }
            None => (None, None, None),
        };
        let state = Mutex::new(State { tokens, device_token, renewal: None });
        Ok(Self { transport, options, state, store })
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
        let mut tokens = self.fresh_tokens_for(options).await?;
        let mut result = self.transport.send(options, request, Some(&tokens.access)).await;
        let is_unauthorized =
            |failed: &FailedRequest| failed.error.code() == Some(&ErrorCode::Unauthorized);
        // Tokens from the store may have expired, too.
        for _ in 0..MAX_RENEWALS {
            if !result.as_ref().is_err_and(is_unauthorized) {
                break;
            }
            // A request that returned 401 was not applied.
            self.renew(&tokens.access).await?;
            let renewed = self.fresh_tokens().await?;
            // If another user has signed in since, the request must not be sent with that user's
            // token.
            if renewed.login != tokens.login {
                return result;
            }
            tokens = renewed;
            result = self.transport.send(options, request, Some(&tokens.access)).await;
            if tokens.is_received {
                break;
            }
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
        let tokens = self.fresh_tokens_for(options).await?;
        self.transport.open(options, request, Some(&tokens.access)).await
    }

    /// Sends a request without an access token.
    async fn send_anonymous(&self, options: &CallOptions, request: &Request) -> Result<Response> {
        Ok(self.transport.send(options, request, None).await?)
    }

    /// The tokens, if these options permit their login.
    async fn fresh_tokens_for(self: &Arc<Self>, options: &CallOptions) -> Result<Tokens> {
        let tokens = self.fresh_tokens().await?;
        match options.only_login {
            Some(login) if login != tokens.login => Err(signed_out()),
            _ => Ok(tokens),
        }
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

    /// Replaces the access token `rejected`, unless it was already replaced, by this client or by
    /// another one that shares its store. Concurrent calls share one request. It runs in its own
    /// task, so that cancelling a caller does not cancel it. The new tokens are stored before the
    /// callers resume.
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
                        let renewed = session.renew_locked(tokens).await;
                        session.lock().renewal = None;
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

    /// Renews the session while the store is locked, so that no other client uses the same refresh
    /// token.
    async fn renew_locked(&self, mut tokens: Tokens) -> Result<()> {
        let store = self.lock_store().await?;
        let mut is_stored = store.is_some();
        if let Some(store) = &store {
            match self.compare(store, &tokens).await {
                Contents::Ours => {}
                Contents::Renewed(renewed) => {
                    let is_fresh = Instant::now() < renewed.renew_at;
                    if !self.replace_if_current(&tokens, Some(renewed.clone())) || is_fresh {
                        return Ok(());
                    }
                    tokens = renewed;
                }
                Contents::Removed => {
                    self.replace_if_current(&tokens, None);
                    return Err(signed_out());
                }
                Contents::Replaced => is_stored = false,
            }
        }
        let result = self.request_renewal(&tokens).await;
        if let Some(store) = store.filter(|_| is_stored) {
            // Stored before any caller resumes, so that a crash cannot leave a used refresh token in
            // the store. If the store fails, the session in memory stays valid.
            let has_changed = result.is_ok() || self.tokens().is_err();
            if has_changed && let Err(error) = self.save_to(&store).await {
                tracing::warn!(%error, "could not store the renewed session");
            }
        }
        result
    }

    async fn request_renewal(&self, tokens: &Tokens) -> Result<()> {
        let body = RefreshRequest { access_token: tokens.access.to_string() };
        let cookie = HeaderValue::from_str(&format!("{REFRESH_COOKIE}={}", tokens.refresh));
        let mut cookie = cookie.map_err(|_| signed_out())?;
        cookie.set_sensitive(true);
        // Idempotent: the server repeats its response to the same refresh token until a token of the
        // response is used.
        let request = Request::post("/api/auth/refresh")
            .idempotent()
            .json(&body)?
            .header(COOKIE, cookie)
            .max_attempt_timeout(RENEWAL_ATTEMPT_TIMEOUT);
        let renewed = match self.send_anonymous(&self.options, &request).await {
            Ok(response) => Tokens::from_response(&response),
            Err(error) => Err(error),
        };
        match renewed {
            Ok(renewed) => {
                self.replace_if_current(tokens, Some(renewed.renewing(tokens)));
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
                if has_ended {
                    self.replace_if_current(tokens, None);
                }
                Err(error)
            }
        }
    }

    /// Replaces these tokens, unless a login or logout has replaced them. Returns whether it did.
    fn replace_if_current(&self, tokens: &Tokens, new: Option<Tokens>) -> bool {
        let mut state = self.lock();
        let is_current = state.tokens.as_ref().is_some_and(|current| {
            current.login == tokens.login && current.access == tokens.access
        });
        if is_current {
            state.tokens = new;
        }
        is_current
    }

    /// The cookie by which the server knows this device at a login.
    fn device(&self) -> Option<HeaderValue> {
        let token = self.lock().device_token.clone()?;
        let mut cookie = HeaderValue::from_str(&format!("{DEVICE_COOKIE}={token}")).ok()?;
        cookie.set_sensitive(true);
        Some(cookie)
    }

    /// Starts a session with these tokens. Without a new device token, the old one is kept.
    async fn begin(&self, tokens: Tokens, device_token: Option<String>) -> Result<()> {
        {
            let mut state = self.lock();
            state.tokens = Some(tokens);
            state.device_token = device_token.map(Arc::from).or(state.device_token.take());
        }
        match self.lock_store().await? {
            Some(store) => self.save_to(&store).await,
            None => Ok(()),
        }
    }

    /// Removes the session of these tokens, unless another login has replaced it.
    async fn end(&self, tokens: &Tokens) {
        let removed = self.lock().tokens.take_if(|current| current.login == tokens.login);
        if removed.is_some()
            && let Err(error) = self.remove_from_store(tokens).await
        {
            tracing::warn!(%error, "could not remove the ended session from its store");
        }
    }

    /// Removes the session of these tokens from the store, unless another login has replaced it.
    async fn remove_from_store(&self, tokens: &Tokens) -> Result<()> {
        let Some(store) = self.lock_store().await? else { return Ok(()) };
        if matches!(self.compare(&store, tokens).await, Contents::Replaced) {
            return Ok(());
        }
        self.save_to(&store).await
    }

    /// Compares the stored session with these tokens, and takes the device token from the store, in
    /// which another client may have replaced it.
    async fn compare(&self, store: &LockedStore<'_>, tokens: &Tokens) -> Contents {
        let (contents, device_token) = store.compare(tokens).await;
        if let Some(device_token) = device_token
            && !matches!(contents, Contents::Replaced)
        {
            self.lock().device_token = Some(device_token);
        }
        contents
    }

    /// Keeps the device token of a response, if it has one.
    pub(crate) async fn keep_device(&self, response: &Response) {
        let Some(device_token) = find_cookie(&response.headers, DEVICE_COOKIE) else { return };
        if let Err(error) = self.store_device(device_token.into()).await {
            tracing::warn!(%error, "could not store the device token");
        }
    }

    async fn store_device(&self, device_token: Arc<str>) -> Result<()> {
        let store = self.lock_store().await?;
        let (Some(store), Ok(tokens)) = (store, self.tokens()) else {
            self.lock().device_token = Some(device_token);
            return Ok(());
        };
        let contents = self.compare(&store, &tokens).await;
        self.lock().device_token = Some(device_token);
        match contents {
            Contents::Ours => {}
            Contents::Renewed(renewed) => {
                self.replace_if_current(&tokens, Some(renewed));
            }
            Contents::Removed | Contents::Replaced => return Ok(()),
        }
        self.save_to(&store).await
    }

    /// Replaces the stored session by the current one.
    async fn save_to(&self, store: &LockedStore<'_>) -> Result<()> {
        let (tokens, device_token) = {
            let state = self.lock();
            (state.tokens.clone(), state.device_token.clone())
        };
        store.save(tokens.as_ref(), device_token.as_deref()).await
    }

    /// Locks the store, if the client has one.
    async fn lock_store(&self) -> Result<Option<LockedStore<'_>>> {
        match &self.store {
            Some(store) => store.lock(self.options.call_timeout).await.map(Some),
            None => Ok(None),
        }
    }

    /// The login that began the session.
    pub(crate) fn login(&self) -> Result<uuid::Uuid> {
        Ok(self.tokens()?.login)
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
