//! Accounts, sessions and tokens of the fake.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use hyper::{
    StatusCode,
    header::{AUTHORIZATION, COOKIE, SET_COOKIE, USER_AGENT},
};
use uuid::Uuid;

use super::wire::{ApiError, ApiRequest, ApiResponse, not_found};
use crate::{
    AccessToken, Credentials, ErrorCode, InvalidNickname, NewAccount, Password, RefreshRequest,
    SessionId, SessionInfo, SignedUp, Timestamp, UserId, VerifyRequest, WeakPassword,
    check_nickname,
};

/// The lifetime of an access token.
pub(super) const ACCESS_TTL: Duration = Duration::from_secs(15 * 60);

/// The lifetime of a session that is not refreshed.
const REFRESH_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long the response of a rotation can be requested again.
const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// Failed logins that are accepted within a window, and the length of that window.
const LOGIN_WINDOW: (u32, Duration) = (10, Duration::from_secs(300));

/// `last_seen_at` of a session is updated at most this often.
const LAST_SEEN_PERIOD: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Accounts {
    /// By e-mail address in lower case.
    by_email: HashMap<String, Account>,
    sessions: BTreeMap<SessionId, Session>,
    tokens: HashMap<String, Token>,
    login_attempts: HashMap<String, LoginAttempts>,
}

struct Account {
    user: UserId,
    /// In plain text: nobody keeps a real password in a fake.
    password: Password,
}

struct Session {
    user: UserId,
    generation: u64,
    rotated_at: Timestamp,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    user_agent: Option<String>,
}

/// An access token that was issued.
struct Token {
    session: SessionId,
    expires_at: Timestamp,
}

struct LoginAttempts {
    count: u32,
    window_started_at: Timestamp,
}

/// The authenticated user and session of a request.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) user: UserId,
    session: SessionId,
}

impl Accounts {
    pub(super) fn sign_up(&mut self, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
        let user_id = self.create(request.body()?)?;
        Ok(ApiResponse::with_status(&SignedUp { user_id }, StatusCode::CREATED))
    }

    /// Creates an account.
    pub(super) fn create(&mut self, account: NewAccount) -> Result<UserId, ApiError> {
        let is_address = account.email.is_ascii()
            && !account.email.contains(char::is_whitespace)
            && account.email.split_once('@').is_some_and(|(local, domain)| {
                !local.is_empty() && domain.contains('.') && !domain.contains('@')
            });
        if !is_address {
            return Err(ApiError::field("email", "email"));
        }
        account.password.check()?;
        check_nickname(&account.nickname)?;
        let email = account.email.to_ascii_lowercase();
        if self.by_email.contains_key(&email) {
            return Err(ApiError::new(409, ErrorCode::EmailTaken));
        }
        let user = UserId::new();
        self.by_email.insert(email, Account { user, password: account.password });
        Ok(user)
    }

    pub(super) fn log_in(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let body: Credentials = request.body()?;
        let email = body.email.to_lowercase();
        let (limit, window) = LOGIN_WINDOW;
        let fresh = || LoginAttempts { count: 0, window_started_at: now };
        let attempts = self.login_attempts.entry(email.clone()).or_insert_with(fresh);
        if now.duration_since(attempts.window_started_at) >= window {
            *attempts = fresh();
        }
        if attempts.count >= limit {
            let wait = (attempts.window_started_at + window).duration_since(now);
            return Err(ApiError::new(429, ErrorCode::TooManyAttempts).with_retry_after(wait));
        }
        attempts.count += 1;
        let account = self.by_email.get(&email).filter(|found| found.password == body.password);
        let account = account.ok_or_else(|| ApiError::new(401, ErrorCode::BadCredentials))?;
        self.login_attempts.remove(&email);
        let session = Session {
            user: account.user,
            generation: 1,
            rotated_at: now,
            created_at: now,
            last_seen_at: now,
            expires_at: now + REFRESH_TTL,
            user_agent: request.header(USER_AGENT).map(str::to_owned),
        };
        let id = SessionId::new();
        self.sessions.insert(id, session);
        Ok(self.grant(id, 1, now))
    }

    pub(super) fn log_out(&mut self, caller: Caller) -> ApiResponse {
        self.sessions.remove(&caller.session);
        ApiResponse::done().with_header(SET_COOKIE, &cookie("", 0))
    }

    /// Rotates the refresh token. An older one ends the session, except the previous one within
    /// the grace period: the response of its rotation may have been lost.
    pub(super) fn refresh(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let body: RefreshRequest = request.body()?;
        let token = self.tokens.get(&body.access_token).ok_or_else(token_decode_error)?;
        let id = token.session;
        let cookies =
            request.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let presented = cookies
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|pair| pair.trim().strip_prefix("refresh_token="))
            .and_then(|token| token.strip_prefix(&format!("{id}.")))
            .and_then(|generation| generation.parse::<u64>().ok());
        let session = self.sessions.get_mut(&id).filter(|session| now < session.expires_at);
        let (Some(presented), Some(session)) = (presented, session) else {
            return Err(session_expired());
        };
        if presented == session.generation {
            session.generation += 1;
            session.rotated_at = now;
            session.last_seen_at = now;
            session.expires_at = now + REFRESH_TTL;
        } else if presented.checked_add(1) != Some(session.generation)
            || now.duration_since(session.rotated_at) > REFRESH_GRACE
        {
            self.sessions.remove(&id);
            return Err(ApiError::new(401, ErrorCode::RefreshReused));
        }
        let generation = session.generation;
        Ok(self.grant(id, generation, now))
    }

    pub(super) fn verify(
        &self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<ApiResponse, ApiError> {
        let body: VerifyRequest = request.body()?;
        let caller = self.authenticate(&body.access_token, now);
        caller.map(|_| ApiResponse::done()).map_err(|_| token_decode_error())
    }

    /// Issues the tokens of a session.
    fn grant(&mut self, session: SessionId, generation: u64, now: Timestamp) -> ApiResponse {
        let token = Uuid::new_v4().to_string();
        self.tokens.insert(token.clone(), Token { session, expires_at: now + ACCESS_TTL });
        let ends_at = self.sessions.get(&session).map_or(now, |session| session.expires_at);
        let max_age = ends_at.duration_since(now).as_secs();
        let cookie = cookie(&format!("{session}.{generation}"), max_age);
        ApiResponse::ok(&AccessToken { token, expires_in: ACCESS_TTL.as_secs() })
            .with_header(SET_COOKIE, &cookie)
    }

    /// The caller of a request, by its access token.
    pub(super) fn caller(
        &mut self,
        request: &ApiRequest,
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        let bearer = request.header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let caller = self.authenticate(bearer.unwrap_or_default(), now)?;
        if let Some(session) = self.sessions.get_mut(&caller.session)
            && now.duration_since(session.last_seen_at) >= LAST_SEEN_PERIOD
        {
            session.last_seen_at = now;
        }
        Ok(caller)
    }

    fn authenticate(&self, token: &str, now: Timestamp) -> Result<Caller, ApiError> {
        let token = self.tokens.get(token).filter(|token| now < token.expires_at);
        let token = token.ok_or_else(|| ApiError::new(401, ErrorCode::Unauthorized))?;
        let session = self.sessions.get(&token.session);
        let session = session.filter(|session| now < session.expires_at);
        let session = session.ok_or_else(session_expired)?;
        Ok(Caller { user: session.user, session: token.session })
    }

    pub(super) fn list_sessions(&self, caller: Caller, now: Timestamp) -> ApiResponse {
        let active = self
            .sessions
            .iter()
            .rev()
            .filter(|(_, session)| session.user == caller.user && now < session.expires_at);
        let info = |(id, session): (&SessionId, &Session)| SessionInfo {
            id: *id,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            user_agent: session.user_agent.clone(),
            current: *id == caller.session,
        };
        let mut infos: Vec<_> = active.map(info).collect();
        // The sort is stable: of those last seen at the same time, the newest stays first.
        infos.sort_by_key(|info| std::cmp::Reverse(info.last_seen_at));
        ApiResponse::ok(&infos)
    }

    pub(super) fn revoke(
        &mut self,
        caller: Caller,
        request: &ApiRequest,
    ) -> Result<ApiResponse, ApiError> {
        let id = request.id()?;
        let is_callers = |session: &&Session| session.user == caller.user;
        self.sessions.get(&id).filter(is_callers).ok_or_else(not_found)?;
        self.sessions.remove(&id);
        Ok(ApiResponse::done())
    }
}

impl From<WeakPassword> for ApiError {
    fn from(weakness: WeakPassword) -> Self {
        Self::field("password", weakness.rule())
    }
}

impl From<InvalidNickname> for ApiError {
    fn from(fault: InvalidNickname) -> Self {
        Self::field("nickname", fault.rule())
    }
}

fn cookie(token: &str, max_age: u64) -> String {
    format!("refresh_token={token}; Path=/api/auth; Max-Age={max_age}; HttpOnly; SameSite=Strict")
}

fn session_expired() -> ApiError {
    ApiError::new(401, ErrorCode::SessionExpired)
}

fn token_decode_error() -> ApiError {
    ApiError::new(400, ErrorCode::TokenDecodeError)
}
