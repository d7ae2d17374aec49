//! The session that a client and its clones keep: tokens, and their renewal.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use reqwest::{
    Method,
    header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE},
};
use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use crate::{
    AccessToken, Error, ErrorCode, RefreshRequest, Result, StoredSession, Timestamp, TokenStore,
    client::Shared,
    error::ErrorKind,
    transport::{Answer, Call, Replay},
};

/// How long one attempt of a renewal may take. The server repeats the answer of a rotation for
/// 10 s; later, the same token counts as stolen, so the last attempt has to come before.
const REFRESH_ATTEMPT: Duration = Duration::from_secs(4);

/// How long before its end an access token is renewed, unless its life is short.
const MARGIN: Duration = Duration::from_secs(60);

/// No access token is taken to live longer.
const MAX_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// The name of the cookie that holds the refresh token.
const COOKIE_NAME: &str = "refresh_token";

/// The session of a client and its clones.
pub(crate) struct Session {
    state: Mutex<State>,
    /// The owner of this session, for the task that renews it.
    owner: Weak<Shared>,
    store: Option<Arc<dyn TokenStore>>,
    /// Held while the store is written, so that what it holds last is what stands last.
    keeping: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    tokens: Option<Tokens>,
    logins: u64,
    /// The renewal under way, and the access token it replaces.
    flight: Option<Flight>,
}

struct Flight {
    replaces: Arc<str>,
    outcome: watch::Receiver<Option<Arc<Result<()>>>>,
}

impl Flight {
    /// Whether this renewal is for that token, and still under way or just over. The task is gone
    /// without an outcome when its runtime was shut down.
    fn carries(&self, rejected: &Arc<str>) -> bool {
        self.replaces == *rejected && self.outcome.has_changed().is_ok()
    }
}

#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access: Arc<str>,
    refresh: Arc<str>,
    /// When the access token is to be renewed before it expires.
    renew_at: Instant,
    /// By the clock of this machine, for the store alone.
    expires_at: Timestamp,
    /// Which of this client's logins they come from.
    pub(crate) login: u64,
}

impl Tokens {
    pub(crate) fn from_answer(answer: &Answer) -> Result<Self> {
        let access: AccessToken = answer.data()?;
        let refresh =
            refresh_cookie(&answer.headers).ok_or_else(|| Error::new(ErrorKind::InvalidAnswer))?;
        // By the time the answer gave, never by the local reading of the token: clocks differ.
        let life = Duration::from_secs(access.expires_in).min(MAX_LIFE);
        let margin = MARGIN.min(life.mul_f64(0.2));
        Ok(Self {
            access: access.token.into(),
            refresh: refresh.into(),
            renew_at: Instant::now() + life.saturating_sub(margin),
            expires_at: Timestamp::from(SystemTime::now() + life),
            login: 0,
        })
    }

    fn restore(kept: StoredSession) -> Self {
        let left = kept.expires_at.duration_since(Timestamp::from(SystemTime::now()));
        Self {
            access: kept.access_token.into(),
            refresh: kept.refresh_token.into(),
            renew_at: Instant::now() + left.min(MAX_LIFE).saturating_sub(MARGIN),
            expires_at: kept.expires_at,
            login: 0,
        }
    }

    fn to_stored(&self) -> StoredSession {
        StoredSession {
            access_token: self.access.to_string(),
            refresh_token: self.refresh.to_string(),
            expires_at: self.expires_at,
        }
    }
}

impl Session {
    pub(crate) fn new(
        owner: Weak<Shared>,
        store: Option<Arc<dyn TokenStore>>,
        kept: Option<StoredSession>,
    ) -> Self {
        let state = State { tokens: kept.map(Tokens::restore), ..State::default() };
        Self { state: Mutex::new(state), owner, store, keeping: tokio::sync::Mutex::default() }
    }

    /// The tokens for a request, renewed if they are about to expire.
    pub(crate) async fn tokens(&self) -> Result<Tokens> {
        let tokens = self.current()?;
        if Instant::now() < tokens.renew_at {
            return Ok(tokens);
        }
        match self.renew(&tokens.access).await {
            Ok(()) => self.current(),
            Err(error) if error.kind() == ErrorKind::SignedOut => Err(error),
            // It is not over yet, and the server has the last word.
            Err(_) => Ok(tokens),
        }
    }

    /// Replaces the access token `rejected`, unless it has been replaced already. However many
    /// ask, one request is made, by a task of its own: whoever is dropped meanwhile loses
    /// nothing, for the new tokens are stored before anybody is told.
    pub(crate) async fn renew(&self, rejected: &Arc<str>) -> Result<()> {
        let mut outcome = {
            let mut state = self.lock();
            let tokens = state.tokens.as_ref().ok_or_else(signed_out)?.clone();
            if tokens.access != *rejected {
                return Ok(());
            }
            match &state.flight {
                Some(flight) if flight.carries(rejected) => flight.outcome.clone(),
                _ => {
                    let owner = self.owner.upgrade().ok_or_else(signed_out)?;
                    let (sender, outcome) = watch::channel(None);
                    let flight = Flight { replaces: rejected.clone(), outcome: outcome.clone() };
                    state.flight = Some(flight);
                    tokio::spawn(async move {
                        let renewed = owner.session.request_tokens(&owner, tokens).await;
                        sender.send_replace(Some(Arc::new(renewed)));
                    });
                    outcome
                }
            }
        };
        let told = outcome.wait_for(Option::is_some).await;
        match told.as_deref() {
            Ok(Some(renewed)) => renewed.as_ref().as_ref().copied().map_err(Error::share),
            _ => Err(Error::new(ErrorKind::Disconnected)),
        }
    }

    async fn request_tokens(&self, owner: &Shared, tokens: Tokens) -> Result<()> {
        let body = RefreshRequest { access_token: tokens.access.to_string() };
        let cookie = HeaderValue::from_str(&format!("{COOKIE_NAME}={}", tokens.refresh));
        let mut cookie = cookie.map_err(|_| signed_out())?;
        cookie.set_sensitive(true);
        // The server repeats the answer of a rotation just made, so that a lost one loses nothing.
        let call = Call::new(Method::POST, "/api/auth/refresh", Replay::Safe)
            .json(&body)
            .header(COOKIE, cookie)
            .within(REFRESH_ATTEMPT);
        let renewed = match owner.transport.send(&owner.options, &call, None).await {
            Ok(answer) => Tokens::from_answer(&answer),
            Err(refusal) => Err(refusal.into()),
        };
        let renewed = self.replace(&tokens, renewed);
        // Before anybody is told, so that no crash forgets a token that was used already. Without
        // the store the session still holds.
        if let Err(error) = self.keep().await {
            tracing::warn!(%error, "the renewed session could not be kept");
        }
        self.lock().flight = None;
        renewed
    }

    /// Puts renewed tokens in the place of these, or nothing when the session is over.
    fn replace(&self, tokens: &Tokens, renewed: Result<Tokens>) -> Result<()> {
        let mut state = self.lock();
        // Somebody may have signed in or out meanwhile; then these tokens are nobody's.
        let same = |now: &Tokens| now.login == tokens.login && now.access == tokens.access;
        let still = state.tokens.as_ref().is_some_and(same);
        match renewed {
            Ok(renewed) => {
                if still {
                    state.tokens = Some(Tokens { login: tokens.login, ..renewed });
                }
                Ok(())
            }
            Err(error) => {
                let over = matches!(
                    error.code(),
                    Some(
                        ErrorCode::SessionExpired
                            | ErrorCode::RefreshReused
                            | ErrorCode::TokenDecodeError
                    )
                );
                if over && still {
                    state.tokens = None;
                }
                Err(error)
            }
        }
    }

    pub(crate) async fn begin(&self, tokens: Tokens) -> Result<()> {
        {
            let mut state = self.lock();
            state.logins += 1;
            state.tokens = Some(Tokens { login: state.logins, ..tokens });
        }
        self.keep().await
    }

    /// Forgets the session that these tokens belong to, if nobody has signed in since.
    pub(crate) async fn end(&self, tokens: &Tokens) {
        let ended = {
            let mut state = self.lock();
            let is_theirs = |now: &mut Tokens| now.login == tokens.login;
            state.tokens.take_if(is_theirs).is_some()
        };
        if ended && let Err(error) = self.keep().await {
            tracing::warn!(%error, "the ended session could not be removed from its store");
        }
    }

    /// Writes the session to the store as it stands, if there is a store.
    async fn keep(&self) -> Result<()> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let _turn = self.keeping.lock().await;
        let session = self.lock().tokens.as_ref().map(Tokens::to_stored);
        let kept = spawn_blocking(move || store.keep(session.as_ref())).await;
        let failed = |error| Error::new(ErrorKind::TokenStore).with_source(error);
        kept.unwrap_or_else(|_| Err("the store panicked".into())).map_err(failed)
    }

    pub(crate) fn current(&self) -> Result<Tokens> {
        self.lock().tokens.clone().ok_or_else(signed_out)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("signed_in", &self.current().is_ok()).finish()
    }
}

fn signed_out() -> Error {
    Error::new(ErrorKind::SignedOut)
}

/// The refresh token among the cookies that an answer sets.
fn refresh_cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = cookies.filter_map(|cookie| {
        let (name, value) = cookie.split(';').next()?.split_once('=')?;
        (name.trim() == COOKIE_NAME).then(|| value.trim().trim_matches('"').to_owned())
    });
    values.next().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refresh_token_is_found_among_cookies() {
        let cookie = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SET_COOKIE, value.parse().expect("a header"));
            }
            refresh_cookie(&headers)
        };
        let found = cookie(&["a=b; Path=/", "refresh_token=x=y; HttpOnly; Path=/api/auth"]);
        assert_eq!(found.as_deref(), Some("x=y"));
        assert_eq!(cookie(&["refresh_token=; Max-Age=0"]), None);
        assert_eq!(cookie(&["refresh_tokens=no", "garbage"]), None);
    }
}
