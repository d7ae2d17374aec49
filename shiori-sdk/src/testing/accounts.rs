//! Accounts and failed logins.

use std::collections::HashMap;

use super::response::ApiError;
use crate::types::{
    Credentials, Email, ErrorCode, NewAccount, Password, Timestamp, UserId, check_nickname,
    limits::{LOGIN_WINDOW, MAX_LOGIN_ATTEMPTS},
};

#[derive(Default)]
pub(super) struct Accounts {
    accounts: HashMap<Email, Account>,
    /// Failed logins by e-mail address in lower case, valid or not.
    failed_logins: HashMap<String, FailedLogins>,
}

struct Account {
    user: UserId,
    /// In its prepared form, not hashed: the fake is only for tests.
    password: Password,
}

struct FailedLogins {
    count: u32,
    window_start: Timestamp,
}

impl Accounts {
    pub(super) fn sign_up(&mut self, account: &NewAccount) -> Result<UserId, ApiError> {
        let email = Email::for_new_account(&account.email);
        let email = email.map_err(|_| ApiError::invalid_field("email", "email"))?;
        let password = account.password.check();
        password.map_err(|weakness| ApiError::invalid_field("password", weakness.rule()))?;
        let nickname = check_nickname(&account.nickname);
        nickname.map_err(|error| ApiError::invalid_field("nickname", error.rule()))?;
        if self.accounts.contains_key(&email) {
            return Err(ApiError::new(409, ErrorCode::EmailTaken));
        }
        let user = UserId::new();
        let password = account.password.prepared();
        self.accounts.insert(email, Account { user, password });
        Ok(user)
    }

    /// The user with these credentials.
    pub(super) fn log_in(
        &mut self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<UserId, ApiError> {
        let key = credentials.email.to_lowercase();
        let first = || FailedLogins { count: 0, window_start: now };
        let failed = self.failed_logins.entry(key.clone()).or_insert_with(first);
        if now.duration_since(failed.window_start) >= LOGIN_WINDOW {
            *failed = first();
        }
        if failed.count >= MAX_LOGIN_ATTEMPTS {
            let wait = (failed.window_start + LOGIN_WINDOW).duration_since(now);
            return Err(ApiError::new(429, ErrorCode::TooManyAttempts).with_retry_after(wait));
        }
        failed.count += 1;
        let email = credentials.email.parse::<Email>().ok();
        let account = email.and_then(|email| self.accounts.get(&email));
        let password = credentials.password.prepared();
        let account = account.filter(|account| account.password == password);
        let account = account.ok_or_else(|| ApiError::new(401, ErrorCode::BadCredentials))?;
        self.failed_logins.remove(&key);
        Ok(account.user)
    }
}
