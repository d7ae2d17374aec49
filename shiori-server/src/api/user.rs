//! The caller's account: read, change and delete it.

use axum::extract::State;
use http::{StatusCode, header::SET_COOKIE};
use shiori_sdk::{
    AccountChange, AccountInfo, ErrorCode, Password, PasswordChange, PasswordCheck, check_nickname,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::ApiError,
    extract::Body,
    openapi::{Done, Success, errors},
    reply::{Message, Reply},
    session::{cleared_cookie, device_cookie},
};
use crate::{
    account_tasks,
    app::App,
    auth::{NewPassword, Turn, Verdict},
    failpoint,
    store::{Account, AccountTask, AccountWork},
    throttle,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_account, change_account, delete_account))
        .routes(routes!(change_password))
}

type AccountResponse = Success<AccountInfo>;

errors!(ReadErrors: ANY | AUTHENTICATED);

/// The caller's account.
#[utoipa::path(
    get, path = "/api/user", tag = "account", security(("access_token" = [])),
    responses(
        (status = 200, description = "The account.", body = AccountResponse, example = json!({
            "code": 200, "message": "Your account.",
            "data": {
                "user_id": "0197f3a0-5c1e-7b3a-9d52-3f6f2f1c8a01", "email": "haru@example.com",
                "nickname": "하루", "created_at": "2026-02-16T20:00:00.000Z",
            },
        })),
        ReadErrors,
    )
)]
async fn read_account(
    State(app): State<App>,
    caller: Caller,
) -> Result<Reply<AccountInfo>, ApiError> {
    let account = account_of(&app, caller).await?;
    Ok(Reply::ok(Message { ko: "계정 정보입니다.", en: "Your account." }, account.into()))
}

errors!(RenameErrors: ANY | AUTHENTICATED | BODY);

/// Change the display name.
#[utoipa::path(
    patch, path = "/api/user", tag = "account", security(("access_token" = [])),
    request_body(content = AccountChange, example = json!({"nickname": "하루"})),
    responses(
        (status = 200, description = "The account was changed.", body = AccountResponse, example = json!({
            "code": 200, "message": "The account was changed.",
            "data": {
                "user_id": "0197f3a0-5c1e-7b3a-9d52-3f6f2f1c8a01", "email": "haru@example.com",
                "nickname": "하루", "created_at": "2026-02-16T20:00:00.000Z",
            },
        })),
        RenameErrors,
    )
)]
async fn change_account(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<AccountChange>,
) -> Result<Reply<AccountInfo>, ApiError> {
    check_nickname(&body.nickname)?;
    if !app.accounts.rename(caller.user, &body.nickname).await? {
        return Err(ApiError::invalid_token(ErrorCode::SessionExpired));
    }
    let account = account_of(&app, caller).await?;
    let message = Message { ko: "계정을 변경했습니다.", en: "The account was changed." };
    Ok(Reply::ok(message, account.into()))
}

errors!(PasswordErrors: ANY | AUTHENTICATED | BODY, WrongPassword, TooManyAttempts);

/// Change the password.
///
/// All other sessions of the account end, and no other device is known at its next login.
#[utoipa::path(
    post, path = "/api/user/password", tag = "account", security(("access_token" = [])),
    request_body(content = PasswordChange, example = json!({
        "password": "correct horse 1!", "new_password": "battery staple 2!",
    })),
    responses(
        (status = 200, description = "The password was changed.", body = Done,
         headers(("Set-Cookie" = String, description = "`device`, for later logins.")),
         example = json!({"code": 200, "message": "The password was changed.", "data": null})),
        PasswordErrors,
    )
)]
async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<PasswordChange>,
) -> Result<Reply<()>, ApiError> {
    let new = NewPassword::try_from(body.new_password)
        .map_err(|weakness| ApiError::invalid_field("new_password", weakness.rule()))?;
    let turn = app.passwords.admit()?;
    let account = account_of(&app, caller).await?;
    check_password(&app, turn, &account, body.password).await?;
    let hash = app.passwords.hash(app.passwords.admit()?, new).await?;
    let now = app.clock.now();
    let work = AccountWork::EndSessions { except: Some(caller.session) };
    let task = AccountTask { user: account.id, work, created_at: now, due_at: now };
    if !app.accounts.change_password(&account.password_hash, &hash, &task).await? {
        return Err(changed_meanwhile());
    }
    failpoint::reached("account_change");
    end_sessions(&app, &task).await;
    let device = device_cookie(&app, &Account { password_hash: hash, ..account }, None)?;
    let message =
        Message { ko: "비밀번호를 변경했습니다.", en: "The password was changed." };
    Ok(Reply::done(message).with_header(SET_COOKIE, device))
}

errors!(DeleteErrors: ANY | AUTHENTICATED | BODY, WrongPassword, TooManyAttempts);

/// Delete the account and everything that is stored of it.
///
/// The account and its sessions end at once. Diaries, reflections and emotions are erased within
/// minutes, also if a server or a store fails meanwhile.
#[utoipa::path(
    delete, path = "/api/user", tag = "account", security(("access_token" = [])),
    request_body(content = PasswordCheck, example = json!({"password": "correct horse 1!"})),
    responses(
        (status = 202, description = "The account was deleted. Its data is being erased.", body = Done,
         headers(("Set-Cookie" = String, description = "Deletes `refresh_token`.")),
         example = json!({"code": 202, "message": "The account was deleted.", "data": null})),
        DeleteErrors,
    )
)]
async fn delete_account(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<PasswordCheck>,
) -> Result<Reply<()>, ApiError> {
    let turn = app.passwords.admit()?;
    let account = account_of(&app, caller).await?;
    check_password(&app, turn, &account, body.password).await?;
    let now = app.clock.now();
    let work = account_tasks::erasure(&account);
    let task = AccountTask { user: account.id, work, created_at: now, due_at: now };
    if !app.accounts.delete(&account.password_hash, &task).await? {
        return Err(changed_meanwhile());
    }
    failpoint::reached("account_change");
    // The rest of the task is left to the dispatcher.
    if let Err(error) = app.sessions.revoke_all(account.id, now, None).await {
        tracing::warn!(%error, "could not end the sessions of a deleted account; they end later");
    }
    let message = Message { ko: "계정을 삭제했습니다.", en: "The account was deleted." };
    Ok(Reply::done(message)
        .with_status(StatusCode::ACCEPTED)
        .with_header(SET_COOKIE, cleared_cookie(&app.session_policy)?))
}

/// The caller's account. Without an account, it was deleted after the session was read.
async fn account_of(app: &App, caller: Caller) -> Result<Account, ApiError> {
    let account = app.accounts.find(caller.user).await?;
    account.ok_or_else(|| ApiError::invalid_token(ErrorCode::SessionExpired))
}

/// The hash is another one than the one that was verified: the password was changed, or a login has
/// replaced its hash. The next attempt verifies the new hash.
fn changed_meanwhile() -> ApiError {
    ApiError::unavailable()
}

/// Verifies the account's password, with a limit of attempts, so that an access token alone is not
/// enough to guess it.
async fn check_password(
    app: &App,
    turn: Turn,
    account: &Account,
    password: Password,
) -> Result<(), ApiError> {
    let (sessions, now) = (&*app.sessions, app.clock.now());
    let policy = app.session_policy.login_throttle;
    let key = throttle::confirm_password(sessions, policy, now, account.id).await?;
    let hash = account.password_hash.clone();
    match app.passwords.verify(turn, password, Some(hash)).await {
        Ok(Verdict::Wrong) => Err(ApiError::new(ErrorCode::WrongPassword)),
        Ok(_) => Ok(app.sessions.clear_attempts(&key).await?),
        Err(error) => {
            throttle::refund(sessions, &key).await;
            Err(error.into())
        }
    }
}

/// Ends sessions now. If that fails, the dispatcher repeats it.
async fn end_sessions(app: &App, task: &AccountTask) {
    if let Err(error) = account_tasks::run(app, task).await {
        tracing::warn!(%error, "could not end sessions after a change of a password; they end later");
    }
}
