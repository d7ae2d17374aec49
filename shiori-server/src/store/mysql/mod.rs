//! Accounts and summaries in MySQL or MariaDB.

mod account;
mod summary;

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{
    Connection, MySql, MySqlConnection, MySqlPool,
    error::DatabaseError,
    migrate::Migrator,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    pool::PoolConnection,
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{sleep, timeout},
};

use super::StoreError;

/// Names the lock under which tables are brought up to date.
const MIGRATION_LOCK: &str = "shiori migrations";

/// How long another server that brings the tables up to date is waited for, in seconds.
const MIGRATION_PATIENCE: u32 = 60;

/// Connections at most. A statement takes a few milliseconds, so that they serve thousands of
/// requests a second.
const CONNECTIONS: u32 = 32;

/// How long a step waits for a connection before the store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was idle for longer may have died meanwhile.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long a connection may take to show that it is alive.
const PING_TIME: Duration = Duration::from_secs(1);

/// How long a step may take.
const STEP_TIME: Duration = Duration::from_secs(5);

/// How often a step is tried that the engine has rolled back for another's sake.
const TRIES: u32 = 10;

/// Accounts and summaries in one database of MySQL (8.0 or newer) or MariaDB (10.6 or newer).
#[derive(Clone)]
pub struct MySqlStore {
    pool: MySqlPool,
}

impl MySqlStore {
    /// Connects to the database of this URL, `mysql://user:password@host:port/database`. Its
    /// tables are not touched; see [`MySqlStore::migrate`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the URL is none, or the database does not answer.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options: MySqlConnectOptions = url.parse()?;
        let pool = MySqlPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // What does not fit is an error, and a lock is not waited for longer than the
                    // request that wants it.
                    sqlx::query(
                        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),
                            SESSION innodb_lock_wait_timeout = 5",
                    )
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            // In place of sqlx's own test, which a dead connection keeps waiting for all the time
            // that there is.
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move {
                    if metadata.idle_for >= TRUSTED_IDLE {
                        // An error makes sqlx hang up; of one that is merely not wanted it would
                        // take leave, and wait for the answer.
                        let alive = timeout(PING_TIME, connection.ping()).await;
                        alive.map_err(|_| sqlx::Error::PoolTimedOut)??;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool })
    }

    /// Brings the tables up to date. Servers that do so at once wait for each other.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the database does not answer, or is newer than this
    /// version.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // sqlx's own lock waits with a negative limit, which MariaDB takes for no wait at all.
        // The lock goes with its connection, however this ends.
        let mut holder = self.pool.acquire().await?.detach();
        let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(?, ?)")
            .bind(MIGRATION_LOCK)
            .bind(MIGRATION_PATIENCE)
            .fetch_one(&mut holder)
            .await?;
        if locked != Some(1) {
            return Err(StoreError::Unavailable("another server is migrating".into()));
        }
        let mut migrator: Migrator = sqlx::migrate!("../migrations/mysql");
        let migrated = migrator.set_locking(false).run(&self.pool).await;
        holder.close().await?;
        migrated.map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// Closes the connections after the steps under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.step(|mut connection| async move {
            sqlx::query("SELECT 1").execute(connection.raw()).await?;
            Ok(())
        })
        .await
    }

    /// Runs one step on a connection of its own, within its time, and repeats it if the engine
    /// has rolled it back because it met another one.
    async fn step<T, F>(
        &self,
        step: impl Fn(OwnedMutexGuard<Checked>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let mut tries = 1;
        loop {
            let connection = Checked { connection: self.pool.acquire().await?, is_clean: false };
            let connection = Arc::new(Mutex::new(connection));
            let lent = connection.clone().lock_owned().await;
            let Ok(outcome) = timeout(STEP_TIME, step(lent)).await else {
                return Err(StoreError::Unavailable("no answer in time".into()));
            };
            // An error of the engine's own is an answer; any other may have left one under way.
            connection.lock().await.is_clean =
                !matches!(&outcome, Err(Failed::Sql(error)) if error.as_database_error().is_none());
            drop(connection);
            match outcome {
                Err(Failed::Sql(error)) if tries < TRIES && was_rolled_back(&error) => {
                    let ceiling = Duration::from_millis(10 * u64::from(tries));
                    sleep(ceiling.mul_f64(rand::random())).await;
                    tries += 1;
                }
                Err(Failed::Sql(error)) => return Err(error.into()),
                Err(Failed::Store(error)) => return Err(error),
                Ok(done) => return Ok(done),
            }
        }
    }
}

/// A connection that goes back to the pool only if its step came to its end. One whose step was
/// dropped in the middle, because a client hung up or time was over, would take the late answer
/// for that of its next statement, and wait for ever for the rest of it.
struct Checked {
    connection: PoolConnection<MySql>,
    is_clean: bool,
}

impl Checked {
    fn raw(&mut self) -> &mut MySqlConnection {
        &mut self.connection
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        if !self.is_clean {
            self.connection.close_on_drop();
        }
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MySqlStore")
    }
}

/// Why a step did not come to its end.
enum Failed {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A deadlock, or a lock that was waited for too long.
fn was_rolled_back(error: &sqlx::Error) -> bool {
    const LOCK_WAIT_TIMEOUT: u16 = 1205;
    const DEADLOCK: u16 = 1213;
    matches!(number(error), Some(LOCK_WAIT_TIMEOUT | DEADLOCK))
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?.number())
}

/// A store over the database of the tests, up to date. Users and ids are fresh and random, so the
/// tests may share it.
#[cfg(test)]
async fn open_for_tests() -> MySqlStore {
    let url = std::env::var("SHIORI_TEST_MYSQL_URL").expect("SHIORI_TEST_MYSQL_URL");
    let store = MySqlStore::open(&url).await.expect("opened");
    store.migrate().await.expect("migrated");
    store
}

#[cfg(test)]
mod tests {
    use shiori_sdk::{Date, Timestamp, UserId, Week};

    use super::*;
    use crate::{
        store::SummaryStore,
        summary::{SummaryJob, SummaryPolicy},
    };

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn servers_that_migrate_at_once_wait_for_each_other() {
        let stores: Vec<_> = (0..4).map(|_| tokio::spawn(open_for_tests())).collect();
        for store in stores {
            store.await.expect("migrated").ping().await.expect("answered");
        }
    }

    /// Clients hang up at every moment of a step. Those who come after get their own answers.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_step_that_was_dropped_leaves_nothing_to_the_next() {
        let store = open_for_tests().await;
        let askers = (0..16).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let week = Week::starting(Date::new(2026, 2, 16).expect("a date")).expect("a week");
                for _ in 0..100 {
                    let policy = SummaryPolicy::default();
                    let row = SummaryJob::new(UserId::new(), week, None, Timestamp::now(), &policy);
                    let moment = || Duration::from_micros(rand::random_range(0..8000));
                    let _ = timeout(moment(), store.insert(&row, 3)).await;
                    let _ = timeout(moment(), store.compare_and_swap(&row, &row, None)).await;
                    let found = store.get(row.id).await.expect("answered");
                    assert!(found.is_none_or(|found| found.id == row.id));
                }
            })
        });
        for asker in askers.collect::<Vec<_>>() {
            timeout(Duration::from_secs(60), asker)
                .await
                .expect("in time")
                .expect("its own answer");
        }
    }

    #[tokio::test]
    async fn neither_password_nor_values_are_shown() {
        let error = MySqlStore::open("mysql://someone:hunter2@127.0.0.1:1/shiori").await;
        assert!(!format!("{:?}", error.expect_err("nobody is there")).contains("hunter2"));
        let error = MySqlStore::open("mysql://:hunter2@@:x").await;
        assert!(!format!("{:?}", error.expect_err("no URL")).contains("hunter2"));
    }
}
