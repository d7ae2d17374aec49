use std::fmt;

use async_trait::async_trait;
use shiori_sdk::{Email, Timestamp, UserId};

use super::StoreError;
use crate::auth::PasswordHash;

/// The store of accounts.
#[async_trait]
pub trait AccountStore: Send + Sync + fmt::Debug {
    /// Creates the account, unless its e-mail address is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn create(&self, account: &Account) -> Result<CreateOutcome, StoreError>;

    /// Finds the account of an e-mail address.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError>;

    /// Replaces the hash of the user's password if it is still this one. Returns whether it was
    /// replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn replace_password_hash(
        &self,
        user: UserId,
        expected: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError>;

    /// Checks that the store is available.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is not.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A user's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The id of the user.
    pub id: UserId,
    /// The e-mail address, unique among accounts.
    pub email: Email,
    /// The display name.
    pub nickname: String,
    /// The hash of the password.
    pub password_hash: PasswordHash,
    /// When the account was created.
    pub created_at: Timestamp,
}

/// The outcome of [`AccountStore::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The account was created.
    Created,
    /// The e-mail address already has an account; nothing was changed.
    EmailTaken,
}
