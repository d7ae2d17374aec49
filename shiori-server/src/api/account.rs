//! Accounts: signup, login, logout.

use axum::extract::State;
use http::{StatusCode, header::SET_COOKIE};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shiori_sdk::{
    AccessToken, Credentials, Email, Envelope, ErrorCode, InvalidNickname, NewAccount, SessionId,
    SignedUp, UserId, WeakPassword, check_nickname,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::ApiError,
    extract::{Body, UserAgent},
    reply::{Message, Reply},
    session::{cleared_cookie, issue_tokens},
};
use crate::{
    app::App,
    auth::{NewPassword, Verdict},
    store::{Account, CreateOutcome, LoginAttempt, Session},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign_up)).routes(routes!(log_in)).routes(routes!(log_out))
}

/// Create an account.
#[utoipa::path(
    post, path = "/api/user/signup", tag = "account", request_body = NewAccount,
    responses(
        (status = 201, description = "the account is there", body = Envelope<SignedUp>),
        (status = 409, description = "email_taken", body = Envelope<Value>),
        (status = 422, description = "invalid_request: data names the field and its rule", body = Envelope<Value>),
    )
)]
async fn sign_up(
    State(app): State<App>,
    Body(body): Body<NewAccount>,
) -> Result<Reply<SignedUp>, ApiError> {
    let email = Email::for_new_account(&body.email);
    let email = email.map_err(|_| ApiError::invalid_field("email", "email"))?;
    let password = NewPassword::try_from(body.password)?;
    check_nickname(&body.nickname)?;
    let account = Account {
        id: UserId::new(),
        email,
        nickname: body.nickname,
        password_hash: app.passwords.hash(password).await?,
        created_at: app.clock.now(),
    };
    match app.accounts.create(&account).await? {
        CreateOutcome::Created => {
            let message = Message { ko: "가입되었습니다.", en: "The account is made." };
            let data = SignedUp { user_id: account.id };
            Ok(Reply::ok(message, data).with_status(StatusCode::CREATED))
        }
        CreateOutcome::EmailTaken => Err(ApiError::new(ErrorCode::EmailTaken)),
    }
}

impl From<WeakPassword> for ApiError {
    fn from(weakness: WeakPassword) -> Self {
        Self::invalid_field("password", weakness.rule())
    }
}

impl From<InvalidNickname> for ApiError {
    fn from(fault: InvalidNickname) -> Self {
        Self::invalid_field("nickname", fault.rule())
    }
}

/// Sign a device in.
#[utoipa::path(
    post, path = "/api/user/login", tag = "account", request_body = Credentials,
    responses(
        (status = 200, description = "signed in; the refresh token is in the cookie", body = Envelope<AccessToken>,
         headers(("Set-Cookie" = String, description = "refresh_token"))),
        (status = 401, description = "bad_credentials", body = Envelope<Value>),
        (status = 429, description = "too_many_attempts", body = Envelope<Value>,
         headers(("Retry-After" = u64, description = "seconds"))),
    )
)]
async fn log_in(
    State(app): State<App>,
    UserAgent(user_agent): UserAgent,
    Body(body): Body<Credentials>,
) -> Result<Reply<AccessToken>, ApiError> {
    let policy = &app.session_policy;
    let attempts = attempts_key(&body.email);
    let now = app.clock.now();
    match app.sessions.record_login_attempt(&attempts, now, policy.login_throttle).await? {
        LoginAttempt::Allowed => {}
        LoginAttempt::Throttled(wait) => {
            return Err(ApiError::new(ErrorCode::TooManyAttempts).with_retry_after(wait));
        }
    }

    // An invalid address gets the same response as an address without an account.
    let account = match body.email.parse::<Email>() {
        Ok(email) => app.accounts.find_by_email(&email).await?,
        Err(_) => None,
    };
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let verdict = app.passwords.verify(body.password, hash).await?;
    let Some(account) = account.filter(|_| verdict != Verdict::Wrong) else {
        return Err(ApiError::new(ErrorCode::BadCredentials));
    };
    if let Verdict::RightRehashed(hash) = verdict {
        // Not essential, so a failure does not fail the login. Meanwhile the password may have been
        // changed: then nothing is replaced.
        let replaced =
            app.accounts.replace_password_hash(account.id, &account.password_hash, &hash).await;
        if let Err(error) = replaced {
            tracing::warn!(%error, "cannot replace the hash of a password");
        }
    }
    app.sessions.clear_login_attempts(&attempts).await?;

    // Password hashing may have waited for a core.
    let now = app.clock.now();
    let session = Session {
        id: SessionId::new(),
        user: account.id,
        generation: 1,
        rotated_at: now,
        created_at: now,
        last_seen_at: now,
        expires_at: now + policy.refresh_ttl,
        user_agent,
    };
    app.sessions.create(&session, policy.sessions_per_user).await?;
    issue_tokens(&app, &session, now, Message { ko: "로그인되었습니다.", en: "Signed in." })
}

/// The key of an e-mail address's login attempts, which does not reveal the address.
fn attempts_key(email: &str) -> [u8; 32] {
    Sha256::digest(email.to_lowercase()).into()
}

/// Sign this device out.
#[utoipa::path(
    delete, path = "/api/user/logout", tag = "account", security(("access_token" = [])),
    responses(
        (status = 200, description = "the session has ended; the cookie is cleared", body = Envelope<Value>),
        (status = 401, description = "unauthorized or session_expired", body = Envelope<Value>),
    )
)]
async fn log_out(State(app): State<App>, caller: Caller) -> Result<Reply<()>, ApiError> {
    app.sessions.revoke(caller.user, caller.session).await?;
    let message = Message { ko: "로그아웃되었습니다.", en: "Signed out." };
    Ok(Reply::done(message).with_header(SET_COOKIE, cleared_cookie(&app.session_policy)?))
}
