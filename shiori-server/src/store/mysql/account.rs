use async_trait::async_trait;
use shiori_sdk::{Email, Timestamp, UserId};
use sqlx::MySqlConnection;

use super::{MySqlStore, StepError, errors::is_duplicate};
use crate::{
    auth::PasswordHash,
    store::{
        Account, AccountStore, AccountTask, CreateOutcome, StoreError,
        sql::{AccountRow, TaskRow, kind},
    },
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
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
            "SELECT id, email, nickname, password_hash, created_at FROM accounts WHERE email = ?",
        )
        .bind(email.as_str())
        .fetch_optional(connection.raw()).await?)
            })
            .await?;
        row.map(Account::try_from).transpose()
    }

    async fn find(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let row: Option<AccountRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT id, email, nickname, password_hash, created_at FROM accounts
                     WHERE id = ?",
                )
                .bind(&user.as_bytes()[..])
                .fetch_optional(connection.raw())
                .await?)
            })
            .await?;
        row.map(Account::try_from).transpose()
    }

    async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<Account>, StoreError> {
        let after = after.map_or_else(Vec::new, |user| user.as_bytes().to_vec());
        let rows: Vec<AccountRow> = self
            .idempotent(|mut connection| {
                let after = after.clone();
                async move {
                    Ok(sqlx::query_as(
                        "SELECT id, email, nickname, password_hash, created_at FROM accounts
                         WHERE id > ? ORDER BY id LIMIT ?",
                    )
                    .bind(after)
                    .bind(limit)
                    .fetch_all(connection.raw())
                    .await?)
                }
            })
            .await?;
        rows.into_iter().map(Account::try_from).collect()
    }

    async fn rename(&self, user: UserId, nickname: &str) -> Result<bool, StoreError> {
        self.idempotent(|mut connection| async move {
            let renamed = sqlx::query("UPDATE accounts SET nickname = ? WHERE id = ?")
                .bind(nickname)
                .bind(&user.as_bytes()[..])
                .execute(connection.raw())
                .await?;
            Ok(renamed.rows_affected() == 1)
        })
        .await
    }

    async fn replace_password_hash(
        &self,
        user: UserId,
        expected: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.step(|mut connection| async move {
            replace_hash(connection.raw(), user, expected, new).await
        })
        .await
    }

    async fn change_password(
        &self,
        expected: &PasswordHash,
        new: &PasswordHash,
        task: &AccountTask,
    ) -> Result<bool, StoreError> {
        self.step(|mut connection| async move {
            let mut transaction = connection.begin().await?;
            if !replace_hash(&mut transaction, task.user, expected, new).await? {
                return Ok(false);
            }
            add_task(&mut transaction, task).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn delete(
        &self,
        expected: &PasswordHash,
        task: &AccountTask,
    ) -> Result<bool, StoreError> {
        self.step(|mut connection| async move {
            let mut transaction = connection.begin().await?;
            let deleted = sqlx::query("DELETE FROM accounts WHERE id = ? AND password_hash = ?")
                .bind(&task.user.as_bytes()[..])
                .bind(expected.as_str())
                .execute(&mut *transaction)
                .await?;
            if deleted.rows_affected() == 0 {
                return Ok(false);
            }
            add_task(&mut transaction, task).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn due_tasks(&self, now: Timestamp, limit: u32) -> Result<Vec<AccountTask>, StoreError> {
        let rows: Vec<TaskRow> = self
            .idempotent(|mut connection| async move {
                Ok(sqlx::query_as(
                    "SELECT user_id, kind, kept_session, attempts_key, created_at, due_at
                     FROM account_task WHERE due_at <= ? ORDER BY due_at LIMIT ?",
                )
                .bind(now.as_millis())
                .bind(limit)
                .fetch_all(connection.raw())
                .await?)
            })
            .await?;
        rows.into_iter().map(AccountTask::try_from).collect()
    }

    async fn postpone_task(
        &self,
        task: &AccountTask,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.step(|mut connection| async move {
            let postponed = sqlx::query(
                "UPDATE account_task SET due_at = ?
                 WHERE user_id = ? AND kind = ? AND created_at = ? AND due_at = ?",
            )
            .bind(until.as_millis())
            .bind(&task.user.as_bytes()[..])
            .bind(kind(&task.work))
            .bind(task.created_at.as_millis())
            .bind(task.due_at.as_millis())
            .execute(connection.raw())
            .await?;
            Ok(postponed.rows_affected() == 1)
        })
        .await
    }

    async fn finish_task(&self, task: &AccountTask) -> Result<(), StoreError> {
        self.idempotent(|mut connection| async move {
            sqlx::query(
                "DELETE FROM account_task WHERE user_id = ? AND kind = ? AND created_at = ?",
            )
            .bind(&task.user.as_bytes()[..])
            .bind(kind(&task.work))
            .bind(task.created_at.as_millis())
            .execute(connection.raw())
            .await?;
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ping().await
    }
}

async fn replace_hash(
    connection: &mut MySqlConnection,
    user: UserId,
    expected: &PasswordHash,
    new: &PasswordHash,
) -> Result<bool, StepError> {
    let updated =
        sqlx::query("UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?")
            .bind(new.as_str())
            .bind(&user.as_bytes()[..])
            .bind(expected.as_str())
            .execute(connection)
            .await?;
    Ok(updated.rows_affected() == 1)
}

/// Adds the task, or replaces the user's older task of its kind.
async fn add_task(connection: &mut MySqlConnection, task: &AccountTask) -> Result<(), StepError> {
    let row = TaskRow::of(task);
    sqlx::query(
        "REPLACE INTO account_task
             (user_id, kind, kept_session, attempts_key, created_at, due_at)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(row.user_id)
    .bind(row.kind)
    .bind(row.kept_session)
    .bind(row.attempts_key)
    .bind(row.created_at)
    .bind(row.due_at)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::open_for_tests, AccountStore};

    crate::account_contract!([ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"], async {
        (Arc::new(open_for_tests().await) as Arc<dyn AccountStore>, ())
    });
}
