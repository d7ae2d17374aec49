use async_trait::async_trait;
use shiori_sdk::Email;

use super::SqliteStore;
use crate::store::{Account, AccountStore, CreateOutcome, StoreError, sql::AccountRow};

#[async_trait]
impl AccountStore for SqliteStore {
    async fn create(&self, account: &Account) -> Result<CreateOutcome, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO accounts (id, email, nickname, password_hash, created_at)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (email) DO NOTHING",
        )
        .bind(&account.id.as_bytes()[..])
        .bind(account.email.as_str())
        .bind(&account.nickname)
        .bind(account.password_hash.as_str())
        .bind(account.created_at.as_millis())
        .execute(&self.writer)
        .await?;
        Ok(if inserted.rows_affected() == 1 {
            CreateOutcome::Created
        } else {
            CreateOutcome::EmailTaken
        })
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let row: Option<AccountRow> = sqlx::query_as(
            "SELECT id, email, nickname, password_hash, created_at FROM accounts WHERE email = ?",
        )
        .bind(email.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.map(Account::try_from).transpose()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
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
