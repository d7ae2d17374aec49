//! Sessions, their access tokens and the rotation of their refresh tokens.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use hyper::header::{AUTHORIZATION, CACHE_CONTROL, SET_COOKIE};
use uuid::Uuid;

use super::{
    request::ApiRequest,
    response::{ApiError, ApiResponse},
};
use crate::types::{
    AccessToken, ErrorCode, RefreshRequest, SessionId, SessionInfo, Timestamp, UserId,
    limits::{ACCESS_TOKEN_TTL, REFRESH_GRACE, REFRESH_REPEAT, SESSION_TTL},
};

/// The precision of `last_seen_at`.
const LAST_SEEN_PRECISION: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    access_tokens: HashMap<String, IssuedToken>,
}

struct Session {
    user: UserId,
    /// The number of the current refresh token.
    generation: u64,
    /// Whether a token of this generation has been used.
    is_used: bool,
    rotated_at: Timestamp,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    user_agent: Option<String>,
}

struct IssuedToken {
    session: SessionId,
    generation: u64,
    expires_at: Timestamp,
}

/// The user and session of a request.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) user: UserId,
    pub(super) session: SessionId,
}

impl Sessions {
    /// Opens a session and returns its tokens.
    pub(super) fn open(
        &mut self,
        user: UserId,
        user_agent: Option<String>,
        now: Timestamp,
    ) -> ApiResponse {
        let session = Session {
            user,
            generation: 1,
            is_used: false,
            rotated_at: now,
            created_at: now,
            last_seen_at: now,
            expires_at: now + SESSION_TTL,
            user_agent,
        };
        let id = SessionId::new();
        let response = issue_tokens(&mut self.access_tokens, id, &session, now);
        self.sessions.insert(id, session);
        response
    }

    /// Rotates the refresh token. The previous token is accepted within [`REFRESH_REPEAT`] until a
    /// token of the new generation is used, and always within [`REFRESH_GRACE`]; any other token
    /// ends the session.
    pub(super) fn refresh(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let body: RefreshRequest = request.body()?;
        let token = self.access_tokens.get(&body.access_token).ok_or_else(token_decode_error)?;
        let id = token.session;
        let session = self.sessions.get_mut(&id).filter(|session| now < session.expires_at);
        let (Some(presented), Some(session)) = (presented_generation(request, id), session) else {
            return Err(session_expired());
        };
        let repeatable = if session.is_used { REFRESH_GRACE } else { REFRESH_REPEAT };
        if presented == session.generation {
            session.generation += 1;
            session.is_used = false;
            session.rotated_at = now;
            session.last_seen_at = now;
            session.expires_at = now + SESSION_TTL;
        } else if presented.checked_add(1) != Some(session.generation)
            || now.duration_since(session.rotated_at) > repeatable
        {
            self.sessions.remove(&id);
            return Err(ApiError::invalid_token(ErrorCode::RefreshReused));
        }
        Ok(issue_tokens(&mut self.access_tokens, id, session, now))
    }

    /// Authenticates a request by its access token.
    pub(super) fn caller(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let token = request.header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| ApiError::new(401, ErrorCode::Unauthorized))?;
        self.authenticate(token, now)
    }

    fn authenticate(&mut self, token: &str, now: Timestamp) -> Result<Caller, ApiError> {
        let token = self.access_tokens.get(token).filter(|token| now < token.expires_at);
        let token = token.ok_or_else(|| ApiError::invalid_token(ErrorCode::Unauthorized))?;
        let session = self.sessions.get_mut(&token.session);
        let session = session.filter(|session| now < session.expires_at);
        let session = session.ok_or_else(session_expired)?;
        session.is_used |= token.generation == session.generation;
        if now.duration_since(session.last_seen_at) >= LAST_SEEN_PRECISION {
            session.last_seen_at = now;
        }
        Ok(Caller { user: session.user, session: token.session })
    }

    pub(super) fn verify(&mut self, access_token: &str, now: Timestamp) -> Result<(), ApiError> {
        self.authenticate(access_token, now).map(drop).map_err(|_| token_decode_error())
    }

    /// The active sessions of the caller's user, the last seen first.
    pub(super) fn list(&self, caller: Caller, now: Timestamp) -> Vec<SessionInfo> {
        let is_live = |session: &Session| session.user == caller.user && now < session.expires_at;
        let newest_first = self.sessions.iter().rev();
        let live = newest_first.filter(|(_, session)| is_live(session));
        let info = |(id, session): (&SessionId, &Session)| SessionInfo {
            id: *id,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            user_agent: session.user_agent.clone(),
            current: *id == caller.session,
        };
        let mut infos: Vec<_> = live.map(info).collect();
        // The sort is stable: sessions last seen at the same time stay in order, newest first.
        infos.sort_by_key(|info| Reverse(info.last_seen_at));
        infos
    }

    /// Ends a session of the user.
    pub(super) fn revoke(&mut self, user: UserId, id: SessionId) -> Result<(), ApiError> {
        let session = self.sessions.get(&id).filter(|session| session.user == user);
        session.ok_or_else(ApiError::not_found)?;
        self.sessions.remove(&id);
        Ok(())
    }

    /// Ends the other sessions of the caller's user.
    pub(super) fn end_others(&mut self, caller: Caller) {
        self.sessions.retain(|id, session| *id == caller.session || session.user != caller.user);
    }

    /// Ends all sessions of a user whose account was deleted.
    pub(super) fn end_all(&mut self, user: UserId) -> ApiResponse {
        self.sessions.retain(|_, session| session.user != user);
        ApiResponse::accepted().with_header(SET_COOKIE, &cookie("", 0))
    }

    /// Ends the caller's session.
    pub(super) fn log_out(&mut self, caller: Caller) -> ApiResponse {
        self.sessions.remove(&caller.session);
        ApiResponse::done().with_header(SET_COOKIE, &cookie("", 0))
    }
}

/// The generation of the refresh token in the request's cookies, if it belongs to the session.
fn presented_generation(request: &ApiRequest, session: SessionId) -> Option<u64> {
    let token = request.cookie("refresh_token")?;
    token.strip_prefix(&format!("{session}."))?.parse().ok()
}

fn issue_tokens(
    access_tokens: &mut HashMap<String, IssuedToken>,
    id: SessionId,
    session: &Session,
    now: Timestamp,
) -> ApiResponse {
    let token = Uuid::new_v4().to_string();
    let expires_at = now + ACCESS_TOKEN_TTL;
    let issued = IssuedToken { session: id, generation: session.generation, expires_at };
    access_tokens.insert(token.clone(), issued);
    let refresh_token = format!("{id}.{}", session.generation);
    let max_age = session.expires_at.duration_since(now).as_secs();
    ApiResponse::ok(&AccessToken { token, expires_in: ACCESS_TOKEN_TTL.as_secs() })
        .with_header(SET_COOKIE, &cookie(&refresh_token, max_age))
        .with_header(CACHE_CONTROL, "no-store")
}

fn cookie(token: &str, max_age: u64) -> String {
    format!("refresh_token={token}; Path=/api/auth; Max-Age={max_age}; HttpOnly; SameSite=Strict")
}

fn session_expired() -> ApiError {
    ApiError::invalid_token(ErrorCode::SessionExpired)
}

fn token_decode_error() -> ApiError {
    ApiError::new(400, ErrorCode::TokenDecodeError)
}
