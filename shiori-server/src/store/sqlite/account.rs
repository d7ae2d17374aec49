use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use shiori_sdk::{Email, Timestamp, UserId};

use super::{SqliteStore, connection::Statements};
use crate::{
    auth::PasswordHash,
    store::{
        Account, AccountStore, AccountTask, CreateOutcome, StoreError,
        sql::{AccountRow, TaskRow, kind},
    },
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

    async fn find(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.snapshot(move |connection| {
            let row = connection.find(
                "SELECT id, email, nickname, password_hash, created_at FROM accounts
                 WHERE id = ?",
                [user.as_bytes()],
                account_row,
            )?;
            row.map(Account::try_from).transpose()
        })
        .await
    }

    async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.snapshot(move |connection| {
            let rows = connection.all(
                "SELECT id, email, nickname, password_hash, created_at FROM accounts
                 WHERE id > ? ORDER BY id LIMIT ?",
                params![after.as_ref().map_or(&[][..], |user| user.as_bytes()), limit],
                account_row,
            )?;
            rows.into_iter().map(Account::try_from).collect()
        })
        .await
    }

    async fn rename(&self, user: UserId, nickname: &str) -> Result<bool, StoreError> {
        let nickname = nickname.to_owned();
        self.write(move |connection| {
            let renamed = connection.run(
                "UPDATE accounts SET nickname = ? WHERE id = ?",
                params![nickname, user.as_bytes()],
            )?;
            Ok(renamed == 1)
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
        self.write(move |connection| replace_hash(connection, user, &expected, &new)).await
    }

    async fn change_password(
        &self,
        expected: &PasswordHash,
        new: &PasswordHash,
        task: &AccountTask,
    ) -> Result<bool, StoreError> {
        let (expected, new, task) = (expected.clone(), new.clone(), task.clone());
        self.write(move |connection| {
            let changed = replace_hash(connection, task.user, &expected, &new)?;
            if changed {
                add_task(connection, &task)?;
            }
            Ok(changed)
        })
        .await
    }

    async fn delete(
        &self,
        expected: &PasswordHash,
        task: &AccountTask,
    ) -> Result<bool, StoreError> {
        let (expected, task) = (expected.clone(), task.clone());
        self.write(move |connection| {
            let deleted = connection.run(
                "DELETE FROM accounts WHERE id = ? AND password_hash = ?",
                params![task.user.as_bytes(), expected.as_str()],
            )?;
            if deleted == 1 {
                add_task(connection, &task)?;
            }
            Ok(deleted == 1)
        })
        .await
    }

    async fn due_tasks(&self, now: Timestamp, limit: u32) -> Result<Vec<AccountTask>, StoreError> {
        self.snapshot(move |connection| {
            let rows = connection.all(
                "SELECT user_id, kind, kept_session, attempts_key, created_at, due_at
                 FROM account_task WHERE due_at <= ? ORDER BY due_at LIMIT ?",
                params![now.as_millis(), limit],
                task_row,
            )?;
            rows.into_iter().map(AccountTask::try_from).collect()
        })
        .await
    }

    async fn postpone_task(
        &self,
        task: &AccountTask,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let task = task.clone();
        self.write(move |connection| {
            let postponed = connection.run(
                "UPDATE account_task SET due_at = ?
                 WHERE user_id = ? AND kind = ? AND created_at = ? AND due_at = ?",
                params![
                    until.as_millis(),
                    task.user.as_bytes(),
                    kind(&task.work),
                    task.created_at.as_millis(),
                    task.due_at.as_millis(),
                ],
            )?;
            Ok(postponed == 1)
        })
        .await
    }

    async fn finish_task(&self, task: &AccountTask) -> Result<(), StoreError> {
        let task = task.clone();
        self.write(move |connection| {
            connection.run(
                "DELETE FROM account_task WHERE user_id = ? AND kind = ? AND created_at = ?",
                params![task.user.as_bytes(), kind(&task.work), task.created_at.as_millis()],
            )?;
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Self::ping(self).await
    }
}

fn replace_hash(
    connection: &Connection,
    user: UserId,
    expected: &PasswordHash,
    new: &PasswordHash,
) -> Result<bool, StoreError> {
    let changed = connection.run(
        "UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?",
        params![new.as_str(), user.as_bytes(), expected.as_str()],
    )?;
    Ok(changed == 1)
}

/// Adds the task, or replaces the user's older task of its kind.
fn add_task(connection: &Connection, task: &AccountTask) -> Result<(), StoreError> {
    let row = TaskRow::of(task);
    connection.run(
        "INSERT OR REPLACE INTO account_task
             (user_id, kind, kept_session, attempts_key, created_at, due_at)
         VALUES (?, ?, ?, ?, ?, ?)",
        params![
            row.user_id,
            row.kind,
            row.kept_session,
            row.attempts_key,
            row.created_at,
            row.due_at,
        ],
    )?;
    Ok(())
}

fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    Ok(TaskRow {
        user_id: row.get(0)?,
        kind: row.get(1)?,
        kept_session: row.get(2)?,
        attempts_key: row.get(3)?,
        created_at: row.get(4)?,
        due_at: row.get(5)?,
    })
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
