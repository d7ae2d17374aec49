use std::fmt;

use async_trait::async_trait;
use shiori_sdk::{AccountInfo, Email, SessionId, Timestamp, UserId};

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

    /// The account of a user.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn find(&self, user: UserId) -> Result<Option<Account>, StoreError>;

    /// At most `limit` accounts after this user, in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Changes the display name. Returns whether the account exists.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn rename(&self, user: UserId, nickname: &str) -> Result<bool, StoreError>;

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

    /// Replaces the hash of the task's user if it is still this one, and adds the task in the same
    /// transaction. Returns whether it did.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn change_password(
        &self,
        expected: &PasswordHash,
        new: &PasswordHash,
        task: &AccountTask,
    ) -> Result<bool, StoreError>;

    /// Deletes the account of the task's user if its password hash is still this one, and adds the
    /// task in the same transaction. Returns whether it did.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn delete(&self, expected: &PasswordHash, task: &AccountTask)
    -> Result<bool, StoreError>;

    /// At most `limit` tasks that are due, the longest due first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn due_tasks(&self, now: Timestamp, limit: u32) -> Result<Vec<AccountTask>, StoreError>;

    /// Makes the task due at `until`, if nobody has postponed, replaced or finished it. Returns
    /// whether it did.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn postpone_task(&self, task: &AccountTask, until: Timestamp)
    -> Result<bool, StoreError>;

    /// Deletes the task, unless another one has replaced it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store is unavailable.
    async fn finish_task(&self, task: &AccountTask) -> Result<(), StoreError>;

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

impl From<Account> for AccountInfo {
    fn from(account: Account) -> Self {
        Self {
            user_id: account.id,
            email: account.email.as_str().to_owned(),
            nickname: account.nickname,
            created_at: account.created_at,
        }
    }
}

/// What a change of an account requires in other stores. It is stored with the change, because no
/// transaction spans two stores, and repeated until all of it is done. A user has at most one task of
/// each kind; a newer one replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountTask {
    /// The user.
    pub user: UserId,
    /// The work.
    pub work: AccountWork,
    /// When the account was changed.
    pub created_at: Timestamp,
    /// When the work is done or repeated.
    pub due_at: Timestamp,
}

/// The work of an [`AccountTask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountWork {
    /// Ends the sessions that were created until the change.
    EndSessions {
        /// The session that is kept.
        except: Option<SessionId>,
    },
    /// Deletes everything that is stored of a user whose account was deleted.
    Erase {
        /// The key of the account's login attempts.
        attempts_key: [u8; 32],
    },
}

/// The outcome of [`AccountStore::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The account was created.
    Created,
    /// The e-mail address already has an account; nothing was changed.
    EmailTaken,
}
