use async_trait::async_trait;
use shiori_sdk::{Timestamp, UserId};
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, id_bytes};
use crate::{
    auth::{Email, PasswordHash},
    store::{Account, AccountStore, Creation, StoreError},
};

#[async_trait]
impl AccountStore for SqliteStore {
    async fn create(&self, account: &Account) -> Result<Creation, StoreError> {
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
        Ok(if inserted.rows_affected() == 1 { Creation::Created } else { Creation::EmailTaken })
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        sqlx::query(
            "SELECT id, email, nickname, password_hash, created_at FROM accounts WHERE email = ?",
        )
        .bind(email.as_str())
        .fetch_optional(&self.readers)
        .await?
        .map(|row| account(&row))
        .transpose()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    let email: &str = row.try_get("email")?;
    Ok(Account {
        id: UserId::from_bytes(id_bytes(row, "id")?),
        email: email.parse().map_err(|_| StoreError::Corrupt { what: "an e-mail address" })?,
        nickname: row.try_get("nickname")?,
        password_hash: PasswordHash::parse(row.try_get("password_hash")?)
            .map_err(|_| StoreError::Corrupt { what: "a password hash" })?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
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
