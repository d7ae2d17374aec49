//! Who asks.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use shiori_sdk::{ErrorCode, SessionId, UserId};

use super::error::ApiError;
use crate::app::App;

/// The user and the live session that a request is made in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
}

/// Within this time of the last note, being used again is not noted.
const NOTE_PERIOD: Duration = Duration::from_mins(1);

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let now = app.clock.now();
        let claims = bearer(&parts.headers)
            .and_then(|token| app.tokens.verify(token, now).ok())
            .ok_or_else(|| ApiError::new(ErrorCode::Unauthorized))?;
        let session = app
            .sessions
            .get(claims.user, claims.session, now)
            .await?
            .ok_or_else(|| ApiError::new(ErrorCode::SessionExpired))?;
        if now.duration_since(session.last_seen_at) >= NOTE_PERIOD {
            // The request does not hang on it.
            if let Err(error) = app.sessions.touch(session.user, session.id, now).await {
                tracing::warn!(%error, "use of a session not noted");
            }
        }
        Ok(Self { user: session.user, session: session.id })
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
