use async_trait::async_trait;
use shiori_sdk::{Email, UserId};

use super::{MySqlStore, is_duplicate};
use crate::{
    auth::PasswordHash,
    store::{Account, AccountStore, CreateOutcome, StoreError, sql::AccountRow},
};

#[async_trait]
impl AccountStore for MySqlStore {
    async fn create(&self, account: &Account) -> Result<CreateOutcome, StoreError> {
        self.step(|mut connection| async move {
            let inserted = sqlx::query(
                "INSERT INTO accounts (id, email, nickname, password_hash, created_at)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(&account.id.as_bytes()[..])
            .bind(account.email.as_str())
            .bind(&account.nickname)
            .bind(account.password_hash.as_str())
            .bind(account.created_at.as_millis())
            .execute(connection.raw())
            .await;
            match inserted {
                Ok(_) => Ok(CreateOutcome::Created),
                Err(error) if is_duplicate(&error) => Ok(CreateOutcome::EmailTaken),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, StoreError> {
        let row: Option<AccountRow> = self
            .step(|mut connection| async move {
                Ok(sqlx::query_as(
            "SELECT id, email, nickname, password_hash, created_at FROM accounts WHERE email = ?",
        )
        .bind(email.as_str())
        .fetch_optional(connection.raw()).await?)
            })
            .await?;
        row.map(Account::try_from).transpose()
    }

    async fn replace_password_hash(
        &self,
        user: UserId,
        expected: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.step(|mut connection| async move {
            let updated = sqlx::query(
                "UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?",
            )
            .bind(new.as_str())
            .bind(&user.as_bytes()[..])
            .bind(expected.as_str())
            .execute(connection.raw())
            .await?;
            Ok(updated.rows_affected() == 1)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ping().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::open_for_tests, AccountStore};

    crate::account_contract!([ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"], async {
        (Arc::new(open_for_tests().await) as Arc<dyn AccountStore>, ())
    });
}
