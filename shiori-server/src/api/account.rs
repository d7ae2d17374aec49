//! Accounts: signup, login, logout.

use axum::extract::State;
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use shiori_sdk::{
    AccessToken, Credentials, Email, ErrorCode, InvalidNickname, InvitationCode, NewAccount,
    SessionId, SignedUp, UserId, WeakPassword, check_nickname,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    client_address::ClientAddress,
    error::ApiError,
    extract::{Body, UserAgent},
    openapi::{Done, Success, errors},
    reply::{Message, Reply},
    session::{cleared_cookie, device_cookie, device_token, issue_tokens},
};
use crate::{
    app::App,
    auth::{DeviceClaims, NewPassword, Verdict},
    config::SignUps,
    secrets,
    store::{Account, CreateOutcome, Session, StoreError},
    throttle::{self, SignIn},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sign_up)).routes(routes!(log_in)).routes(routes!(log_out))
}

type SignedUpResponse = Success<SignedUp>;
type TokenResponse = Success<AccessToken>;

errors!(SignUpErrors: ANY | BODY, SignupClosed, InvalidInvitation, EmailTaken, TooManyAttempts);

/// Create an account.
///
/// A server may accept new accounts from everybody, only with an invitation code, or not at all.
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
    ClientAddress(address): ClientAddress,
    Body(body): Body<NewAccount>,
) -> Result<Reply<SignedUp>, ApiError> {
    if let SignUps::Closed = app.sign_ups.who {
        return Err(ApiError::new(ErrorCode::SignupClosed));
    }
    let email = Email::for_new_account(&body.email);
    let email = email.map_err(|_| ApiError::invalid_field("email", "email"))?;
    let password = NewPassword::try_from(body.password)?;
    check_nickname(&body.nickname)?;
    let turn = app.passwords.admit()?;
    // Before the invitation code is checked, so that codes cannot be guessed.
    throttle::sign_up(&*app.sessions, app.sign_ups.throttle, app.clock.now(), address).await?;
    if !is_invited(&app.sign_ups.who, body.invitation_code.as_ref()) {
        return Err(ApiError::new(ErrorCode::InvalidInvitation));
    }
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

fn is_invited(who: &SignUps, code: Option<&InvitationCode>) -> bool {
    match who {
        SignUps::Open => true,
        SignUps::Closed => false,
        SignUps::Invited(codes) => code.is_some_and(|code| {
            // All of them, so that the time depends on no code.
            codes.iter().fold(false, |any, valid| any | secrets::matches(valid, code.reveal()))
        }),
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
///
/// Failed attempts are limited by account and address. A device that sends the `device` cookie of an
/// earlier login to the account has its own limit, so that others cannot use it up. The cookie signs
/// nobody in, and is invalid after a change of the password.
#[utoipa::path(
    post, path = "/api/user/login", tag = "account",
    request_body(content = Credentials, example = json!({
        "email": "haru@example.com", "password": "correct horse 1!",
    })),
    responses(
        (status = 200, description = "Signed in. The refresh token is in the cookie.", body = TokenResponse,
         headers(
            ("Set-Cookie" = String, description = "`refresh_token`, for `POST /api/auth/refresh`; and `device`, for later logins."),
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
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Body(body): Body<Credentials>,
) -> Result<Reply<AccessToken>, ApiError> {
    let policy = &app.session_policy;
    // Before the store is called, so that a rejected attempt costs nothing and is not counted.
    let turn = app.passwords.admit()?;
    // An invalid address has the same response as an address without an account.
    let email = body.email.parse::<Email>().ok();
    let known = known_device(&app, &headers, email.as_ref()).await?;
    let (device, account) = known.unzip();
    let now = app.clock.now();
    let mut attempt =
        SignIn::begin(&app.sessions, policy, now, &body.email, address, device.as_ref()).await?;
    let account = match (account, &email) {
        (None, Some(email)) => app.accounts.find_by_email(email).await?,
        (account, _) => account,
    };
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    attempt.begin_check();
    let verdict = match app.passwords.verify(turn, body.password, hash).await {
        Ok(verdict) => verdict,
        Err(error) => {
            attempt.was_not_checked();
            return Err(error.into());
        }
    };
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
    attempt.succeeded().await?;

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
    let current = match current {
        Some(current) if hashes.contains(&current.password_hash) => current,
        current => {
            app.sessions.revoke(account.id, session.id).await?;
            return Err(match current {
                None => ApiError::new(ErrorCode::BadCredentials),
                // The next attempt verifies the new hash.
                Some(_) => ApiError::unavailable(),
            });
        }
    };
    let message = Message { ko: "로그인되었습니다.", en: "Signed in." };
    let device = device_cookie(&app, &current, device)?;
    Ok(issue_tokens(&app, &session, now, message)?.with_header(SET_COOKIE, device))
}

/// The device of the request with its account, if somebody has signed in to the account on it with
/// the current password. The account is read only if the cookie is one of this account, so that
/// throttled requests of others cost nothing.
async fn known_device(
    app: &App,
    headers: &HeaderMap,
    email: Option<&Email>,
) -> Result<Option<(DeviceClaims, Account)>, StoreError> {
    let (Some(email), Some(token)) = (email, device_token(headers)) else { return Ok(None) };
    let Ok(device) = app.tokens.verify_device(token) else { return Ok(None) };
    if !device.is_of_account(email.as_str()) {
        return Ok(None);
    }
    let account = app.accounts.find_by_email(email).await?;
    let is_current = |account: &Account| device.has_password(account.password_hash.as_str());
    Ok(account.filter(is_current).map(|account| (device, account)))
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
