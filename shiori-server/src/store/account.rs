use std::fmt;

use async_trait::async_trait;
use shiori_sdk::{Timestamp, UserId};

use super::StoreError;
use crate::auth::{Email, PasswordHash};

/// Owns the accounts.
#[async_trait]
pub trait AccountStore: Send + Sync + fmt::Debug {
    /// Creates the account, unless its e-mail address has one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn create(&self, account: &Account) -> Result<CreateOutcome, StoreError>;

    /// The account of an e-mail address.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store does not answer.
    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError>;

    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it does not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A person's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Names the account.
    pub id: UserId,
    /// The e-mail address, unique among accounts.
    pub email: Email,
    /// What to call the person.
    pub nickname: String,
    /// The hash of the password.
    pub password_hash: PasswordHash,
    /// When the person signed up.
    pub created_at: Timestamp,
}

/// What became of [`AccountStore::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The account is there.
    Created,
    /// The e-mail address has an account already; nothing was changed.
    EmailTaken,
}
