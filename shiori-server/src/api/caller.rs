//! Authentication of requests.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use shiori_sdk::{ErrorCode, SessionId, UserId};
use tokio::time::timeout;
use tracing::{Span, field::display};

use super::error::ApiError;
use crate::{
    app::App,
    store::{Session, SessionKey, StoreError},
};

/// The authenticated user and session of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
}

/// The last use of a session is stored at most once per interval.
const TOUCH_INTERVAL: Duration = Duration::from_mins(1);

/// How long a request waits until the use of its session is stored. The next request repeats it.
const TOUCH_TIMEOUT: Duration = Duration::from_millis(250);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let bearer = Bearer::from_request_parts(parts, app).await?;
        let SessionKey { user, id, now } = bearer.key;
        let session = app.sessions.get(user, id, now).await?;
        let session = session.ok_or_else(|| ApiError::invalid_token(ErrorCode::SessionExpired))?;
        touch(app, &session, bearer.key, bearer.generation).await;
        Ok(Self { user: session.user, session: session.id })
    }
}

impl Caller {
    /// Whether the session is still active, for a request that waits. If this cannot be read, the
    /// request continues.
    pub(crate) async fn is_signed_in(&self, app: &App) -> bool {
        let session = app.sessions.get(self.user, self.session, app.clock.now()).await;
        !matches!(session, Ok(None))
    }
}

/// The session of a valid access token. The session may have ended. A handler that takes this
/// instead of a [`Caller`] reads the session together with its data, with [`Bearer::read`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bearer {
    key: SessionKey,
    /// The generation that the token states.
    generation: Option<u64>,
}

impl FromRequestParts<App> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let now = app.clock.now();
        let token = bearer(&parts.headers);
        let token = token.ok_or_else(|| ApiError::new(ErrorCode::Unauthorized))?;
        let claims = app.tokens.verify(token, now);
        let claims = claims.map_err(|_| ApiError::invalid_token(ErrorCode::Unauthorized))?;
        let span = Span::current();
        if !span.is_disabled() {
            span.record("user", display(app.user_hash.of(claims.user)));
        }
        let key = SessionKey { user: claims.user, id: claims.session, now };
        Ok(Self { key, generation: claims.generation })
    }
}

impl Bearer {
    /// Returns what a step reads together with the session; an error if the session is not active.
    pub(crate) async fn read<T>(
        self,
        app: &App,
        step: impl AsyncFnOnce(SessionKey) -> Result<Option<(Session, T)>, StoreError>,
    ) -> Result<T, ApiError> {
        let read = step(self.key).await?;
        let (session, data) =
            read.ok_or_else(|| ApiError::invalid_token(ErrorCode::SessionExpired))?;
        touch(app, &session, self.key, self.generation).await;
        Ok(data)
    }
}

/// Stores the use of the session: the first one of each generation, and one per interval. Not
/// essential, so a failure does not fail the request, and a slow store delays it only briefly.
pub(super) async fn touch(app: &App, session: &Session, key: SessionKey, generation: Option<u64>) {
    let is_first = !session.is_used && generation == Some(session.generation);
    if !is_first && key.now.duration_since(session.last_seen_at) < TOUCH_INTERVAL {
        return;
    }
    match timeout(TOUCH_TIMEOUT, app.sessions.touch(key, generation)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not store the last use of a session"),
        Err(_) => tracing::warn!("storing the last use of a session timed out"),
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
