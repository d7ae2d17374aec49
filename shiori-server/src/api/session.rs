//! Sessions: refresh and verify their tokens, list and end them.

use std::time::Duration;

use axum::extract::State;
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, COOKIE, SET_COOKIE},
};
use shiori_sdk::{
    AccessToken, ErrorCode, RefreshRequest, SessionId, SessionInfo, Timestamp, VerifyRequest,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, touch},
    error::ApiError,
    extract::{Body, IdInPath},
    openapi::{Done, List, Success, errors},
    reply::{Message, Reply},
};
use crate::{
    app::App,
    auth::{DeviceClaims, RefreshClaims},
    config::SessionPolicy,
    store::{Account, RepeatPolicy, RotateOutcome, Session, SessionKey},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(refresh))
        .routes(routes!(verify))
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
}

type TokenResponse = Success<AccessToken>;
type SessionsResponse = List<SessionInfo>;

errors!(RefreshErrors: ANY | BODY, TokenDecodeError, SessionExpired, RefreshReused);

/// Renew a session's tokens.
///
/// Access token and cookie must belong to the same session; the access token may have expired. A
/// refresh token can be used once. If the response is lost, the request can be repeated until one of
/// the new tokens is used, for at most 24 hours. Afterwards, using the old token revokes the
/// session; only within 10 seconds of its first use it does not, because a copy of the request may
/// be late.
#[utoipa::path(
    post, path = "/api/auth/refresh", tag = "session", security(("refresh_token" = [])),
    request_body(content = RefreshRequest, example = json!({
        "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
    })),
    responses(
        (status = 200, description = "New tokens. The refresh token is in the cookie.", body = TokenResponse,
         headers(
            ("Set-Cookie" = String, description = "`refresh_token`, for `POST /api/auth/refresh`."),
            ("Cache-Control" = String, description = "`no-store`"),
         ),
         example = json!({
            "code": 200, "message": "Refreshed.",
            "data": {"token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "expires_in": 900},
         })),
        RefreshErrors,
    )
)]
async fn refresh(
    State(app): State<App>,
    headers: HeaderMap,
    Body(body): Body<RefreshRequest>,
) -> Result<Reply<AccessToken>, ApiError> {
    let claims = app
        .tokens
        .verify_ignoring_expiry(&body.access_token)
        .map_err(|_| ApiError::new(ErrorCode::TokenDecodeError))?;
    let presented = refresh_cookie(&headers)
        .and_then(|token| app.tokens.verify_refresh(token).ok())
        .filter(|presented| presented.session == claims.session)
        .ok_or_else(|| ApiError::invalid_token(ErrorCode::SessionExpired))?;
    let (policy, now) = (&app.session_policy, app.clock.now());
    let rotation = app
        .sessions
        .rotate(
            SessionKey { user: presented.user, id: presented.session, now },
            presented.generation,
            RepeatPolicy { unused: policy.refresh_repeat, used: policy.refresh_grace },
            now + policy.refresh_ttl,
        )
        .await?;
    match rotation {
        RotateOutcome::Rotated(session) | RotateOutcome::Replayed(session) => issue_tokens(
            &app,
            &session,
            now,
            Message { ko: "토큰을 갱신했습니다.", en: "Refreshed." },
        ),
        RotateOutcome::Reused => {
            tracing::warn!(session = %presented.session, "refresh token reused; session revoked");
            Err(ApiError::invalid_token(ErrorCode::RefreshReused))
        }
        RotateOutcome::NotFound => Err(ApiError::invalid_token(ErrorCode::SessionExpired)),
    }
}

errors!(VerifyErrors: ANY | BODY, TokenDecodeError);

/// Check an access token.
#[utoipa::path(
    post, path = "/api/auth/verify", tag = "session",
    request_body(content = VerifyRequest, example = json!({
        "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
    })),
    responses(
        (status = 200, description = "The token is valid, and its session has not ended.", body = Done,
         example = json!({"code": 200, "message": "The token is valid.", "data": null})),
        VerifyErrors,
    )
)]
async fn verify(
    State(app): State<App>,
    Body(body): Body<VerifyRequest>,
) -> Result<Reply<()>, ApiError> {
    let refused = || ApiError::new(ErrorCode::TokenDecodeError);
    let now = app.clock.now();
    let claims = app.tokens.verify(&body.access_token, now).map_err(|_| refused())?;
    let key = SessionKey { user: claims.user, id: claims.session, now };
    let session = app.sessions.get(key.user, key.id, now).await?.ok_or_else(refused)?;
    touch(&app, &session, key, claims.generation).await;
    Ok(Reply::done(Message { ko: "유효한 토큰입니다.", en: "The token is valid." }))
}

errors!(ListSessionsErrors: ANY | AUTHENTICATED);

/// The signed-in devices, the most recently used first.
#[utoipa::path(
    get, path = "/api/auth/sessions", tag = "session", security(("access_token" = [])),
    responses(
        (status = 200, description = "The sessions.", body = SessionsResponse, example = json!({
            "code": 200, "message": "The signed-in devices.",
            "data": [{
                "id": "0197f3a0-6a10-7c21-8f00-1b2c3d4e5f60", "created_at": "2026-02-16T20:00:00.000Z",
                "last_seen_at": "2026-02-16T21:04:00.000Z", "user_agent": "shiori-app/1.0", "current": true,
            }],
        })),
        ListSessionsErrors,
    )
)]
async fn list_sessions(
    State(app): State<App>,
    caller: Caller,
) -> Result<Reply<Vec<SessionInfo>>, ApiError> {
    let sessions = app.sessions.list(caller.user, app.clock.now()).await?;
    let infos = sessions
        .into_iter()
        .map(|session| SessionInfo {
            id: session.id,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            user_agent: session.user_agent,
            current: session.id == caller.session,
        })
        .collect();
    Ok(Reply::ok(Message { ko: "로그인된 기기 목록입니다.", en: "The signed-in devices." }, infos))
}

errors!(EndSessionErrors: ANY | AUTHENTICATED, NotFound);

/// Sign a device out.
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", tag = "session", security(("access_token" = [])),
    params(("id" = SessionId, Path, description = "The id of one of the caller's sessions.")),
    responses(
        (status = 200, description = "The session was ended.", body = Done,
         example = json!({"code": 200, "message": "The device was signed out.", "data": null})),
        EndSessionErrors,
    )
)]
async fn end_session(
    State(app): State<App>,
    caller: Caller,
    IdInPath(id): IdInPath<SessionId>,
) -> Result<Reply<()>, ApiError> {
    if app.sessions.revoke(caller.user, id).await? {
        Ok(Reply::done(Message {
            ko: "기기를 로그아웃했습니다.",
            en: "The device was signed out.",
        }))
    } else {
        Err(ApiError::new(ErrorCode::NotFound))
    }
}

/// A reply with new tokens of the session.
pub(super) fn issue_tokens(
    app: &App,
    session: &Session,
    now: Timestamp,
    message: Message,
) -> Result<Reply<AccessToken>, ApiError> {
    let ttl = app.session_policy.access_ttl;
    let token = app.tokens.issue(session.user, session.id, session.generation, now, ttl)?;
    let claims =
        RefreshClaims { user: session.user, session: session.id, generation: session.generation };
    let refresh_token = app.tokens.refresh_token(claims);
    let max_age = session.expires_at.duration_since(now).as_secs();
    let cookie = cookie(&refresh_token, max_age, &app.session_policy)?;
    Ok(Reply::ok(message, AccessToken { token, expires_in: ttl.as_secs() })
        .with_header(SET_COOKIE, cookie)
        // RFC 6749, section 5.1.
        .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// The cookie that deletes the refresh token of a client.
pub(super) fn cleared_cookie(policy: &SessionPolicy) -> Result<HeaderValue, ApiError> {
    cookie("", 0, policy)
}

/// The cookie by which a device is known at its next login to the account. It remains after a
/// logout, and is invalid after a change of the password. `device` is the device if it is known.
pub(super) fn device_cookie(
    app: &App,
    account: &Account,
    device: Option<DeviceClaims>,
) -> Result<HeaderValue, ApiError> {
    let hash = account.password_hash.as_str();
    let claims = match device {
        Some(device) => device.with_password(hash),
        None => DeviceClaims::new(account.email.as_str(), hash),
    };
    let token = app.tokens.device_token(&claims);
    let (name, path) = (DEVICE_COOKIE, "/api/user/login");
    set_cookie(name, &token, path, DEVICE_TTL.as_secs(), &app.session_policy)
}

const COOKIE_NAME: &str = "refresh_token";

const DEVICE_COOKIE: &str = "device";

/// How long a device is known after its last login. Browsers keep no cookie for more than 400 days.
const DEVICE_TTL: Duration = Duration::from_hours(400 * 24);

/// The refresh token's cookie. The path is constant, so that a client never has two of them.
fn cookie(token: &str, max_age: u64, policy: &SessionPolicy) -> Result<HeaderValue, ApiError> {
    set_cookie(COOKIE_NAME, token, "/api/auth", max_age, policy)
}

fn set_cookie(
    name: &str,
    token: &str,
    path: &str,
    max_age: u64,
    policy: &SessionPolicy,
) -> Result<HeaderValue, ApiError> {
    let secure = if policy.secure_cookies { "; Secure" } else { "" };
    let text = format!(
        "{name}={token}; Path={path}; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}"
    );
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The refresh token among the request's cookies.
pub(crate) fn refresh_cookie(headers: &HeaderMap) -> Option<&str> {
    find_cookie(headers, COOKIE_NAME)
}

/// The device token among the request's cookies.
pub(super) fn device_token(headers: &HeaderMap) -> Option<&str> {
    find_cookie(headers, DEVICE_COOKIE)
}

/// A cookie of the request (RFC 6265, section 5.4).
fn find_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refresh_token_is_found_among_other_cookies() {
        for (cookies, expected) in [
            (&["refresh_token=abc"][..], Some("abc")),
            (&["theme=dark; refresh_token=abc; lang=ko"], Some("abc")),
            (&["theme=dark", "refresh_token=abc"], Some("abc")),
            (&["refresh_tokens=abc; xrefresh_token=abc; refresh_token"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(COOKIE, cookie.parse().expect("a header"));
            }
            assert_eq!(refresh_cookie(&headers), expected, "{cookies:?}");
        }
    }
}
