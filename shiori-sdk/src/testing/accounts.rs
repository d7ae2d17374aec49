//! Accounts and failed logins.

use std::collections::{HashMap, hash_map::Entry};

use uuid::Uuid;

use super::response::ApiError;
use crate::types::{
    AccountChange, AccountInfo, Credentials, Email, ErrorCode, NewAccount, Password,
    PasswordChange, PasswordCheck, Timestamp, UserId, check_nickname,
    limits::{LOGIN_WINDOW, MAX_LOGIN_ATTEMPTS},
};

#[derive(Default)]
pub(super) struct Accounts {
    by_email: HashMap<Email, Account>,
    /// The devices on which somebody has signed in, by their token.
    devices: HashMap<String, Device>,
    /// Failed logins by the token of a known device, or by e-mail address in lower case, valid or
    /// not.
    failed_logins: HashMap<String, FailedLogins>,
    /// Wrong passwords in requests of signed-in users.
    wrong_passwords: HashMap<UserId, FailedLogins>,
}

/// A device is known as long as the account has the password of its last login.
struct Device {
    email: Email,
    password: Password,
}

struct Account {
    user: UserId,
    nickname: String,
    created_at: Timestamp,
    /// In its prepared form, not hashed: the fake is only for tests.
    password: Password,
}

struct FailedLogins {
    count: u32,
    window_start: Timestamp,
}

impl Accounts {
    pub(super) fn sign_up(
        &mut self,
        account: &NewAccount,
        now: Timestamp,
    ) -> Result<UserId, ApiError> {
        let email = Email::for_new_account(&account.email);
        let email = email.map_err(|_| ApiError::invalid_field("email", "email"))?;
        let password = account.password.check();
        password.map_err(|weakness| ApiError::invalid_field("password", weakness.rule()))?;
        let nickname = check_nickname(&account.nickname);
        nickname.map_err(|error| ApiError::invalid_field("nickname", error.rule()))?;
        if self.by_email.contains_key(&email) {
            return Err(ApiError::new(409, ErrorCode::EmailTaken));
        }
        let user = UserId::new();
        let password = account.password.prepared();
        let nickname = account.nickname.clone();
        self.by_email.insert(email, Account { user, nickname, created_at: now, password });
        Ok(user)
    }

    /// The user with these credentials, and the token of the device. The failed logins of a known
    /// device and of all others are limited separately.
    pub(super) fn log_in(
        &mut self,
        credentials: &Credentials,
        device: Option<&str>,
        now: Timestamp,
    ) -> Result<(UserId, String), ApiError> {
        let email = credentials.email.parse::<Email>().ok();
        let known = device.filter(|token| self.is_known(token, email.as_ref()));
        let key = known.map_or_else(|| credentials.email.to_lowercase(), str::to_owned);
        count(self.failed_logins.entry(key.clone()), now)?;
        let password = credentials.password.prepared();
        let found = email.and_then(|email| Some((self.by_email.get(&email)?, email)));
        let found = found.filter(|(account, _)| account.password == password);
        let (account, email) =
            found.ok_or_else(|| ApiError::new(401, ErrorCode::BadCredentials))?;
        self.failed_logins.remove(&key);
        let token = known.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        self.devices.insert(token.clone(), Device { email, password });
        Ok((account.user, token))
    }

    fn is_known(&self, token: &str, email: Option<&Email>) -> bool {
        let (Some(device), Some(email)) = (self.devices.get(token), email) else { return false };
        let account = self.by_email.get(email);
        device.email == *email && account.is_some_and(|it| it.password == device.password)
    }

    pub(super) fn info(&self, user: UserId) -> Result<AccountInfo, ApiError> {
        let found = self.by_email.iter().find(|(_, account)| account.user == user);
        let (email, account) = found.ok_or_else(ApiError::not_found)?;
        Ok(AccountInfo {
            user_id: user,
            email: email.as_str().to_owned(),
            nickname: account.nickname.clone(),
            created_at: account.created_at,
        })
    }

    pub(super) fn rename(
        &mut self,
        user: UserId,
        change: AccountChange,
    ) -> Result<AccountInfo, ApiError> {
        let nickname = check_nickname(&change.nickname);
        nickname.map_err(|error| ApiError::invalid_field("nickname", error.rule()))?;
        self.account(user)?.nickname = change.nickname;
        self.info(user)
    }

    /// Returns the token of the device, which stays known.
    pub(super) fn change_password(
        &mut self,
        user: UserId,
        change: &PasswordChange,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let new = change.new_password.check();
        new.map_err(|weakness| ApiError::invalid_field("new_password", weakness.rule()))?;
        self.check_password(user, &change.password, now)?;
        let password = change.new_password.prepared();
        let mut accounts = self.by_email.iter_mut();
        let found = accounts.find(|(_, account)| account.user == user);
        let (email, account) = found.ok_or_else(ApiError::not_found)?;
        account.password = password.clone();
        let (email, token) = (email.clone(), Uuid::new_v4().to_string());
        self.devices.insert(token.clone(), Device { email, password });
        Ok(token)
    }

    pub(super) fn delete(
        &mut self,
        user: UserId,
        check: &PasswordCheck,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        self.check_password(user, &check.password, now)?;
        self.by_email.retain(|_, account| account.user != user);
        Ok(())
    }

    fn check_password(
        &mut self,
        user: UserId,
        password: &Password,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        count(self.wrong_passwords.entry(user), now)?;
        if self.account(user)?.password != password.prepared() {
            return Err(ApiError::new(403, ErrorCode::WrongPassword));
        }
        self.wrong_passwords.remove(&user);
        Ok(())
    }

    fn account(&mut self, user: UserId) -> Result<&mut Account, ApiError> {
        let found = self.by_email.values_mut().find(|account| account.user == user);
        found.ok_or_else(ApiError::not_found)
    }
}

/// Counts an attempt, unless its window is full.
fn count<K>(entry: Entry<'_, K, FailedLogins>, now: Timestamp) -> Result<(), ApiError> {
    let first = || FailedLogins { count: 0, window_start: now };
    let failed = entry.or_insert_with(first);
    if now.duration_since(failed.window_start) >= LOGIN_WINDOW {
        *failed = first();
    }
    if failed.count >= MAX_LOGIN_ATTEMPTS {
        let wait = (failed.window_start + LOGIN_WINDOW).duration_since(now);
        return Err(ApiError::new(429, ErrorCode::TooManyAttempts).with_retry_after(wait));
    }
    failed.count += 1;
    Ok(())
}
