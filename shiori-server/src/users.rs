//! What operators do with accounts: list them, reset a password, delete one.

use std::fmt;

use shiori_sdk::{AccountInfo, Email, Password, UserId};

use crate::{
    account_tasks,
    auth::{NewPassword, PasswordError, PasswordHasher},
    config::Config,
    profile::{Profile, ProfileError},
    store::{Account, AccountTask, AccountWork, StoreError},
};

/// Accounts that [`Users::list`] reads at once.
const PAGE: u32 = 500;

/// The characters of a generated password, without those that look alike.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters of a generated password: 100 random bits.
const PASSWORD_CHARS: usize = 20;

/// The accounts, for operators. Servers may use the stores meanwhile.
pub struct Users {
    profile: Profile,
    config: Config,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Users")
    }
}

/// An operation on accounts failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// A store could not be opened.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] StoreError),
    /// No account has the e-mail address.
    #[error("no account has this e-mail address")]
    NotFound,
    /// The user changed the password at the same time; nothing was changed.
    #[error("the account was changed meanwhile; repeat the command")]
    Changed,
    /// The password could not be hashed.
    #[error("could not hash the password")]
    Hash(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<PasswordError> for UsersError {
    fn from(error: PasswordError) -> Self {
        Self::Hash(error.into())
    }
}

impl Users {
    /// Opens the stores of this configuration.
    ///
    /// # Errors
    ///
    /// [`UsersError::Profile`] if a store is unavailable.
    pub async fn open(config: Config) -> Result<Self, UsersError> {
        Ok(Self { profile: Profile::open(&config).await?, config })
    }

    /// Closes the stores.
    pub async fn close(self) {
        self.profile.close().await;
    }

    /// At most 500 accounts after this user, in the order of their ids, which is that of the signups.
    ///
    /// # Errors
    ///
    /// [`UsersError::Store`] if the store is unavailable.
    pub async fn list(&self, after: Option<UserId>) -> Result<Vec<AccountInfo>, UsersError> {
        let page = self.profile.accounts.list(after, PAGE).await?;
        Ok(page.into_iter().map(AccountInfo::from).collect())
    }

    /// Replaces the password of the account by a random one, which is returned, and ends all its
    /// sessions.
    ///
    /// # Errors
    ///
    /// [`UsersError::NotFound`] if no account has this address.
    pub async fn reset_password(&self, email: &str) -> Result<Password, UsersError> {
        let account = self.find(email).await?;
        let hasher = PasswordHasher::new(self.config.hash_cost)?;
        let password = random_password();
        let new = NewPassword::try_from(password.clone())
            .map_err(|error| UsersError::Hash(error.into()))?;
        let hash = hasher.hash(hasher.admit()?, new).await?;
        let task = self.task(&account, AccountWork::EndSessions { except: None });
        if !self.profile.accounts.change_password(&account.password_hash, &hash, &task).await? {
            return Err(UsersError::Changed);
        }
        let Profile { accounts, sessions, .. } = &self.profile;
        account_tasks::end_sessions(&**accounts, &**sessions, &task, None).await?;
        Ok(password)
    }

    /// Deletes the account and ends its sessions. A running server, or the next one that starts,
    /// erases its data.
    ///
    /// # Errors
    ///
    /// [`UsersError::NotFound`] if no account has this address.
    pub async fn delete(&self, email: &str) -> Result<(), UsersError> {
        let account = self.find(email).await?;
        let task = self.task(&account, account_tasks::erasure(&account));
        if !self.profile.accounts.delete(&account.password_hash, &task).await? {
            return Err(UsersError::Changed);
        }
        self.profile.sessions.revoke_all(account.id, task.created_at, None).await?;
        Ok(())
    }

    async fn find(&self, email: &str) -> Result<Account, UsersError> {
        let email = email.parse::<Email>().map_err(|_| UsersError::NotFound)?;
        self.profile.accounts.find_by_email(&email).await?.ok_or(UsersError::NotFound)
    }

    fn task(&self, account: &Account, work: AccountWork) -> AccountTask {
        let now = self.profile.clock.now();
        AccountTask { user: account.id, work, created_at: now, due_at: now }
    }
}

/// A random password that the rule for new passwords allows, in groups of four characters.
fn random_password() -> Password {
    loop {
        let mut text = String::new();
        for position in 0..PASSWORD_CHARS {
            if position > 0 && position % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]));
        }
        let password = Password::from(text);
        // A few have no letter or no digit.
        if password.check().is_ok() {
            return password;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_passwords_differ_and_are_allowed() {
        let passwords: HashSet<_> =
            (0..1000).map(|_| random_password().reveal().to_owned()).collect();
        assert_eq!(passwords.len(), 1000);
        assert!(passwords.iter().all(|password| password.len() == 24));
        assert!(passwords.iter().all(|password| Password::from(password.as_str()).check().is_ok()));
    }
}
