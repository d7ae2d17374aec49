//! Authentication of requests.

use std::time::Duration;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use shiori_sdk::{ErrorCode, SessionId, UserId};

use super::error::ApiError;
use crate::app::App;

/// The authenticated user and session of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
}

/// The last use of a session is stored at most once per interval.
const TOUCH_INTERVAL: Duration = Duration::from_mins(1);

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
        if now.duration_since(session.last_seen_at) >= TOUCH_INTERVAL {
            // Not essential, so a failure does not fail the request.
            if let Err(error) = app.sessions.touch(session.user, session.id, now).await {
                tracing::warn!(%error, "cannot store the last use of a session");
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
