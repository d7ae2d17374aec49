//! Accounts: signup, login, logout.

use axum::extract::State;
use http::{StatusCode, header::SET_COOKIE};
use sha2::{Digest, Sha256};
use shiori_sdk::{
    AccessToken, Credentials, Email, ErrorCode, InvalidNickname, NewAccount, SessionId, SignedUp,
    UserId, WeakPassword, check_nickname,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::ApiError,
    extract::{Body, UserAgent},
    openapi::{Done, Success, errors},
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

type SignedUpResponse = Success<SignedUp>;
type TokenResponse = Success<AccessToken>;

errors!(SignUpErrors: ANY | BODY, EmailTaken);

/// Create an account.
#[utoipa::path(
    post, path = "/api/user/signup", tag = "account",
    request_body(content = NewAccount, example = json!({
        "email": "haru@example.com", "password": "correct horse 1!", "nickname": "하루",
    })),
    responses(
        (status = 201, description = "The account was created.", body = SignedUpResponse, example = json!({
            "code": 201, "message": "The account was created.",
            "data": {"user_id": "0197f3a0-5c1e-7b3a-9d52-3f6f2f1c8a01"},
        })),
        SignUpErrors,
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
    let turn = app.passwords.admit()?;
    let account = Account {
        id: UserId::new(),
        email,
        nickname: body.nickname,
        password_hash: app.passwords.hash(turn, password).await?,
        created_at: app.clock.now(),
    };
    match app.accounts.create(&account).await? {
        CreateOutcome::Created => {
            let message = Message { ko: "가입되었습니다.", en: "The account was created." };
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

errors!(LogInErrors: ANY | BODY, BadCredentials, TooManyAttempts);

/// Sign a device in.
#[utoipa::path(
    post, path = "/api/user/login", tag = "account",
    request_body(content = Credentials, example = json!({
        "email": "haru@example.com", "password": "correct horse 1!",
    })),
    responses(
        (status = 200, description = "Signed in. The refresh token is in the cookie.", body = TokenResponse,
         headers(
            ("Set-Cookie" = String, description = "`refresh_token`, for `POST /api/auth/refresh`."),
            ("Cache-Control" = String, description = "`no-store`"),
         ),
         example = json!({
            "code": 200, "message": "Signed in.",
            "data": {"token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "expires_in": 900},
         })),
        LogInErrors,
    )
)]
async fn log_in(
    State(app): State<App>,
    UserAgent(user_agent): UserAgent,
    Body(body): Body<Credentials>,
) -> Result<Reply<AccessToken>, ApiError> {
    let policy = &app.session_policy;
    // Before the store is called, so that a rejected attempt costs nothing and is not counted.
    let turn = app.passwords.admit()?;
    let attempts = attempts_key(&body.email);
    let now = app.clock.now();
    match app.sessions.record_login_attempt(&attempts, now, policy.login_throttle).await? {
        LoginAttempt::Allowed => {}
        LoginAttempt::Throttled(wait) => {
            return Err(ApiError::new(ErrorCode::TooManyAttempts).with_retry_after(wait));
        }
    }

    // An invalid address has the same response as an address without an account.
    let account = match body.email.parse::<Email>() {
        Ok(email) => app.accounts.find_by_email(&email).await?,
        Err(_) => None,
    };
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let verdict = app.passwords.verify(turn, body.password, hash).await?;
    let Some(account) = account.filter(|_| verdict != Verdict::Wrong) else {
        return Err(ApiError::new(ErrorCode::BadCredentials));
    };
    let mut hashes = vec![account.password_hash.clone()];
    if let Verdict::RightRehashed(hash) = verdict {
        // Not essential, so a failure does not fail the login. If the password has been changed in
        // the meantime, nothing is replaced.
        let replaced =
            app.accounts.replace_password_hash(account.id, &account.password_hash, &hash).await;
        match replaced {
            Ok(_) => hashes.push(hash),
            Err(error) => tracing::warn!(%error, "could not replace a password hash"),
        }
    }
    app.sessions.clear_login_attempts(&attempts).await?;

    // Read again, because password hashing may have waited for a core.
    let now = app.clock.now();
    let session = Session {
        id: SessionId::new(),
        user: account.id,
        generation: 1,
        is_used: false,
        rotated_at: now,
        created_at: now,
        last_seen_at: now,
        expires_at: now + policy.refresh_ttl,
        user_agent,
    };
    app.sessions.create(&session, policy.sessions_per_user).await?;
    // Changing a password or deleting an account ends the sessions that exist then. A login that has
    // verified the old password before must not create another.
    let current = app.accounts.find(account.id).await?;
    if current.as_ref().is_none_or(|current| !hashes.contains(&current.password_hash)) {
        app.sessions.revoke(account.id, session.id).await?;
        return Err(match current {
            None => ApiError::new(ErrorCode::BadCredentials),
            // The next attempt verifies the new hash.
            Some(_) => ApiError::refused(ErrorCode::Unavailable),
        });
    }
    issue_tokens(&app, &session, now, Message { ko: "로그인되었습니다.", en: "Signed in." })
}

/// The key of an e-mail address's login attempts, which does not reveal the address.
pub(crate) fn attempts_key(email: &str) -> [u8; 32] {
    Sha256::digest(email.to_lowercase()).into()
}

errors!(LogOutErrors: ANY | AUTHENTICATED);

/// Sign this device out.
#[utoipa::path(
    delete, path = "/api/user/logout", tag = "account", security(("access_token" = [])),
    responses(
        (status = 200, description = "The session was ended.", body = Done,
         headers(("Set-Cookie" = String, description = "Deletes `refresh_token`.")),
         example = json!({"code": 200, "message": "Signed out.", "data": null})),
        LogOutErrors,
    )
)]
async fn log_out(State(app): State<App>, caller: Caller) -> Result<Reply<()>, ApiError> {
    app.sessions.revoke(caller.user, caller.session).await?;
    let message = Message { ko: "로그아웃되었습니다.", en: "Signed out." };
    Ok(Reply::done(message).with_header(SET_COOKIE, cleared_cookie(&app.session_policy)?))
}
