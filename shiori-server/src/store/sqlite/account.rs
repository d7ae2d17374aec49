use async_trait::async_trait;
use rusqlite::{Row, params};
use shiori_sdk::{Email, UserId};

use super::{SqliteStore, connection::Statements};
use crate::{
    auth::PasswordHash,
    store::{Account, AccountStore, CreateOutcome, StoreError, sql::AccountRow},
};

#[async_trait]
impl AccountStore for SqliteStore {
    async fn create(&self, account: &Account) -> Result<CreateOutcome, StoreError> {
        let account = account.clone();
        self.write(move |connection| {
            let inserted = connection.run(
                "INSERT INTO accounts (id, email, nickname, password_hash, created_at)
                 VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (email) DO NOTHING",
                params![
                    account.id.as_bytes(),
                    account.email.as_str(),
                    account.nickname,
                    account.password_hash.as_str(),
                    account.created_at.as_millis(),
                ],
            )?;
            Ok(if inserted == 1 { CreateOutcome::Created } else { CreateOutcome::EmailTaken })
        })
        .await
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let email = email.clone();
        self.snapshot(move |connection| {
            let row = connection.find(
                "SELECT id, email, nickname, password_hash, created_at FROM accounts
                 WHERE email = ?",
                [email.as_str()],
                account_row,
            )?;
            row.map(Account::try_from).transpose()
        })
        .await
    }

    async fn replace_password_hash(
        &self,
        user: UserId,
        expected: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let (expected, new) = (expected.clone(), new.clone());
        self.write(move |connection| {
            let changed = connection.run(
                "UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?",
                params![new.as_str(), user.as_bytes(), expected.as_str()],
            )?;
            Ok(changed == 1)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

fn account_row(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    Ok(AccountRow {
        id: row.get(0)?,
        email: row.get(1)?,
        nickname: row.get(2)?,
        password_hash: row.get(3)?,
        created_at: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::open_temporary, AccountStore};

    crate::account_contract!(async {
        let (store, dir) = open_temporary().await;
        (Arc::new(store) as Arc<dyn AccountStore>, dir)
    });
}
