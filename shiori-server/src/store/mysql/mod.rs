//! Accounts and summaries in MySQL or MariaDB.

mod account;
mod errors;
mod pool;
mod summary;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use shiori_sdk::backoff::Backoff;
use shiori_worker::{RemoteTime, TimeReading};
use sqlx::{
    Connection, MySql, MySqlConnection, Transaction,
    migrate::Migrator,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{sleep, timeout},
};

use self::{
    errors::{is_disconnected, is_rolled_back, rejects_writes},
    pool::{Pool, PooledConnection},
};
use super::{
    StoreError,
    engine::{ConnectionUse, Engine, FailureCounts, Failures},
};

/// The name of the lock of migrations.
const MIGRATION_LOCK: &str = "shiori migrations";

/// How long to wait for the migrations of another server.
const MIGRATION_LOCK_TIMEOUT_SECONDS: u32 = 60;

/// How long a step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idempotent step may take on a connection that may be broken, before it is repeated
/// on another one. A step usually takes a few milliseconds.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);

/// Attempts of a step that the engine rolls back because of a deadlock or a lock timeout.
const MAX_ATTEMPTS: u32 = 10;

/// The pauses between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));

/// Accounts and summaries in one database of MySQL (8.0 or newer) or MariaDB (10.6 or newer).
#[derive(Clone)]
pub struct MySqlStore {
    pool: Pool,
    failures: FailureCounts,
}

impl MySqlStore {
    /// Connects to the database of this URL, `mysql://user:password@host:port/database`. It does
    /// not migrate; see [`MySqlStore::migrate`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the URL is invalid or the database is unavailable.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let options: MySqlConnectOptions = url.parse()?;
        let pool = Pool::new(options);
        pool.acquire().await?.set_reusable();
        Ok(Self { pool, failures: FailureCounts::default() })
    }

    /// Runs the migrations. Servers that migrate concurrently wait for each other.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the database is unavailable or newer than this version.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        // sqlx's own lock has a negative timeout, which MariaDB treats as zero. The lock is
        // released when its connection is closed.
        let mut holder = self.pool.connect().await?;
        let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(?, ?)")
            .bind(MIGRATION_LOCK)
            .bind(MIGRATION_LOCK_TIMEOUT_SECONDS)
            .fetch_one(&mut holder)
            .await?;
        if locked != Some(1) {
            return Err(StoreError::Unavailable("another server is migrating".into()));
        }
        let mut migrator: Migrator = sqlx::migrate!("migrations/mysql");
        let pool = MySqlPoolOptions::new().max_connections(1);
        let pool = pool.connect_with(self.pool.options().clone()).await?;
        let migrated = migrator.set_locking(false).run(&pool).await;
        pool.close().await;
        holder.close().await?;
        migrated.map_err(|error| StoreError::Unavailable(error.into()))
    }

    /// Closes the connections after the steps in progress.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.idempotent(|mut connection| async move {
            sqlx::query("SELECT 1").execute(connection.raw()).await?;
            Ok(())
        })
        .await
    }

    /// Runs one step on one connection with a timeout, and repeats it if the engine rolled it back
    /// because of a concurrent step.
    async fn step<T, F>(&self, step: impl Fn(StepConnection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StepError>>,
    {
        self.failures.counted(self.run(step, false).await)
    }

    /// Like [`MySqlStore::step`], for a step that has the same effect and outcome if it is applied
    /// twice. It is also repeated once if its connection is broken or its server rejects writes. So its
    /// connection needs no ping.
    async fn idempotent<T, F>(&self, step: impl Fn(StepConnection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StepError>>,
    {
        self.failures.counted(self.run(step, true).await)
    }

    async fn run<T, F>(
        &self,
        step: impl Fn(StepConnection) -> F,
        is_idempotent: bool,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StepError>>,
    {
        let mut attempt = 1;
        let mut may_reconnect = is_idempotent;
        loop {
            let mut connection = self.pool.acquire().await?;
            let mut limit = STEP_TIMEOUT;
            if connection.may_be_broken() {
                if may_reconnect {
                    limit = FIRST_TIMEOUT;
                } else if !connection.responds().await {
                    drop(connection);
                    self.pool.discard_idle();
                    connection = self.pool.acquire().await?;
                }
            }
            let generation = connection.generation();
            let connection = Arc::new(Mutex::new(connection));
            let guard = connection.clone().lock_owned().await;
            let outcome = timeout(limit, step(StepConnection(guard))).await;
            let (is_broken, is_demoted) = match &outcome {
                Err(_) => (true, false),
                Ok(Err(StepError::Sql(error))) => (is_disconnected(error), rejects_writes(error)),
                Ok(_) => (false, false),
            };
            if !is_broken && !is_demoted {
                let mut connection = connection.lock().await;
                // A rollback is sent with the next statement; until then, the engine keeps the
                // locks of the transaction.
                let is_clean = matches!(outcome, Ok(Ok(_))) && !connection.has_transaction();
                if is_clean || connection.responds().await {
                    connection.set_reusable();
                }
            }
            drop(connection);
            if is_demoted {
                self.pool.discard(generation);
            } else if is_broken && may_reconnect {
                self.pool.discard_idle();
            }
            if (is_broken || is_demoted) && may_reconnect {
                may_reconnect = false;
                continue;
            }
            match outcome {
                Ok(Err(StepError::Sql(error)))
                    if attempt < MAX_ATTEMPTS && is_rolled_back(&error) =>
                {
                    sleep(BACKOFF.pause(attempt, rand::random())).await;
                    attempt += 1;
                }
                Ok(Err(StepError::Sql(error))) => return Err(error.into()),
                Ok(Err(StepError::Store(error))) => return Err(error),
                Ok(Ok(done)) => return Ok(done),
                Err(_) => return Err(StoreError::Unavailable("timed out".into())),
            }
        }
    }
}

impl Engine for MySqlStore {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn failures(&self) -> Failures {
        self.failures.read()
    }

    fn connections(&self) -> Option<ConnectionUse> {
        Some(self.pool.connections())
    }
}

#[async_trait]
impl RemoteTime for MySqlStore {
    async fn read(&self) -> Result<TimeReading, Box<dyn std::error::Error + Send + Sync>> {
        let reading = self.idempotent(|mut connection| async move {
            // Measured after the connection is acquired, so that the round trip is that of the
            // statement.
            let sent = Instant::now();
            let unix_micros: i64 = sqlx::query_scalar(
                "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
            )
            .fetch_one(connection.raw())
            .await?;
            Ok(TimeReading { unix_micros, sent, received: Instant::now() })
        });
        Ok(reading.await?)
    }
}

/// The connection of a step. It returns to the pool only after a complete step. If a step is dropped
/// before its end, because of a timeout or a disconnected client, the pending response would
/// otherwise be read as that of the next statement.
struct StepConnection(OwnedMutexGuard<PooledConnection>);

impl StepConnection {
    /// The connection, for a statement.
    fn raw(&mut self) -> &mut MySqlConnection {
        self.0.raw()
    }

    /// Begins a transaction. It is rolled back unless it is committed.
    async fn begin(&mut self) -> sqlx::Result<Transaction<'_, MySql>> {
        self.0.set_transaction();
        self.0.raw().begin().await
    }
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MySqlStore")
    }
}

/// Why a step failed.
enum StepError {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for StepError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A migrated store on the test database. The tests share it, because they use new random users and
/// ids.
#[cfg(test)]
async fn open_for_tests() -> MySqlStore {
    let url = std::env::var("SHIORI_TEST_MYSQL_URL").expect("SHIORI_TEST_MYSQL_URL");
    let store = MySqlStore::open(&url).await.expect("opened");
    store.migrate().await.expect("migrated");
    store
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use shiori_sdk::{Date, Timestamp, UserId, Week};

    use super::{errors::REJECTS_WRITES, *};
    use crate::{
        store::SummaryStore,
        summary::{SummaryJob, SummaryPolicy},
    };

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn servers_that_migrate_concurrently_wait_for_each_other() {
        let stores: Vec<_> = (0..4).map(|_| tokio::spawn(open_for_tests())).collect();
        for store in stores {
            store.await.expect("migrated").ping().await.expect("a response");
        }
    }

    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn the_clock_of_the_database_is_read() {
        let store = open_for_tests().await;
        let reading = store.read().await.expect("a response");
        // The test database runs on this machine.
        let now = Timestamp::now().as_millis();
        assert!((reading.unix_micros / 1000).abs_diff(now) < 5_000, "{reading:?} {now}");
        assert!(reading.sent < reading.received);
    }

    /// Steps are dropped at random moments; later steps must still read their own responses.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_dropped_step_does_not_affect_the_next() {
        let store = open_for_tests().await;
        let clients = (0..16).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let week = Week::starting(Date::new(2026, 2, 16).expect("a date")).expect("a week");
                for _ in 0..100 {
                    let policy = SummaryPolicy::default();
                    let row = SummaryJob::new(UserId::new(), week, None, Timestamp::now(), &policy);
                    let moment = || Duration::from_micros(rand::random_range(0..8000));
                    let _ = timeout(moment(), store.insert(&row, policy.quota())).await;
                    let _ = timeout(moment(), store.compare_and_swap(&row, &row, None)).await;
                    let found = store.get(row.id).await.expect("a response");
                    assert!(found.is_none_or(|found| found.id == row.id));
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            timeout(Duration::from_secs(60), client)
                .await
                .expect("in time")
                .expect("the response of this step");
        }
    }

    /// A step ends before its transaction is committed. No lock remains until the connection is used
    /// again.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn an_uncommitted_transaction_is_rolled_back() {
        const INSERT: &str = "INSERT INTO summary_user (user_id) VALUES (?)";
        let (store, user) = (open_for_tests().await, UserId::new());
        let left_open = store.step(|mut connection| async move {
            let mut transaction = connection.begin().await?;
            let insert = sqlx::query(INSERT).bind(user.as_bytes().to_vec());
            insert.execute(&mut *transaction).await?;
            Ok(())
        });
        left_open.await.expect("inserted");
        let mut other = store.pool.connect().await.expect("connected");
        let insert = sqlx::query(INSERT).bind(user.as_bytes().to_vec());
        insert.execute(&mut other).await.expect("neither a lock nor a row");
    }

    /// The engine's number of a connection.
    async fn id(connection: &mut MySqlConnection) -> u64 {
        sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
            .fetch_one(connection)
            .await
            .expect("a response")
    }

    async fn used_id(store: &MySqlStore) -> u64 {
        let id = store.step(|mut connection| async move { Ok(id(connection.raw()).await) });
        id.await.expect("a response")
    }

    /// The engine closes the connection. A step that is idempotent is repeated, and another one
    /// checks its connection first if it was idle.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_closed_connection_fails_no_step() {
        let store = open_for_tests().await;
        let kill = async |id: u64| {
            let mut other = store.pool.connect().await.expect("connected");
            let kill = sqlx::AssertSqlSafe(format!("KILL {id}"));
            sqlx::raw_sql(kill).execute(&mut other).await.expect("killed");
        };
        let first = used_id(&store).await;
        assert_eq!(used_id(&store).await, first, "the connection is used again");
        kill(first).await;
        store.ping().await.expect("repeated");
        let second = used_id(&store).await;
        assert_ne!(second, first);
        kill(second).await;
        // It is idle for long enough to be checked.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_ne!(used_id(&store).await, second);
    }

    /// The pool closes an idle connection before the engine does, which keeps the locks of a server
    /// that has vanished until then.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn the_engine_closes_idle_connections_soon() {
        let store = open_for_tests().await;
        let idle = store.step(|mut connection| async move {
            let idle = sqlx::query_scalar("SELECT CAST(@@SESSION.wait_timeout AS UNSIGNED)");
            Ok(idle.fetch_one(connection.raw()).await?)
        });
        let idle = Duration::from_secs(idle.await.expect("a number"));
        assert_eq!(idle, Duration::from_secs(30));
        assert!(idle > pool::MAX_IDLE);
    }

    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn unused_connections_are_closed() {
        let store = open_for_tests().await;
        let first = used_id(&store).await;
        store.pool.close_unused(Duration::from_mins(1));
        assert_eq!(store.pool.connections().idle, 1, "it was used");
        store.pool.close_unused(Duration::ZERO);
        assert_eq!(store.pool.connections().idle, 0);
        let mut other = store.pool.connect().await.expect("connected");
        let open = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?";
        while sqlx::query_scalar::<_, i64>(open)
            .bind(first)
            .fetch_one(&mut other)
            .await
            .expect("a count")
            > 0
        {
            tokio::task::yield_now().await;
        }
    }

    /// All connections lead to the server that rejects writes, also those that are in use.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_server_that_rejects_writes_loses_all_connections() {
        let store = open_for_tests().await;
        let acquire = || async { store.pool.acquire().await.expect("connected") };
        for code in REJECTS_WRITES {
            let (mut idle, mut in_use) = (acquire().await, acquire().await);
            let old = [id(idle.raw()).await, id(in_use.raw()).await];
            idle.set_reusable();
            drop(idle);
            let rejected = store.step(|mut connection| async move {
                let signal = format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}");
                let signal = sqlx::raw_sql(sqlx::AssertSqlSafe(signal));
                Ok(signal.execute(connection.raw()).await.map(drop)?)
            });
            let error = rejected.await.expect_err("rejected");
            assert!(matches!(error, StoreError::Unavailable(_)), "{code}: {error:?}");
            in_use.set_reusable();
            drop(in_use);
            let (mut one, mut two) = (acquire().await, acquire().await);
            for new in [id(one.raw()).await, id(two.raw()).await] {
                assert!(!old.contains(&new), "{code}: connection {new} is used again");
            }
        }
    }

    /// A step that is idempotent is repeated on a new connection.
    #[tokio::test]
    #[ignore = "needs MySQL or MariaDB: SHIORI_TEST_MYSQL_URL"]
    async fn a_failover_fails_no_idempotent_step() {
        let store = open_for_tests().await;
        let attempts = &AtomicU32::new(0);
        let step = store.idempotent(|mut connection| async move {
            if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
                let signal = sqlx::raw_sql("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290");
                signal.execute(connection.raw()).await?;
            }
            Ok(())
        });
        step.await.expect("repeated");
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn neither_password_nor_values_are_shown() {
        let error = MySqlStore::open("mysql://someone:hunter2@127.0.0.1:1/shiori").await;
        assert!(!format!("{:?}", error.expect_err("unreachable")).contains("hunter2"));
        let error = MySqlStore::open("mysql://:hunter2@@:x").await;
        assert!(!format!("{:?}", error.expect_err("an invalid URL")).contains("hunter2"));
    }
}
