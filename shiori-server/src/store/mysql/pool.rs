//! The connections to the database.
//!
//! sqlx's own pool pings each connection when it is returned, in a task of its own: a second round
//! trip for every statement. Here, a step records whether its connection can be used again.

use std::{
    fmt, io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use deadpool::{
    Status,
    managed::{self, Manager, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult},
};
use shiori_sdk::backoff::Backoff;
use sqlx::{ConnectOptions, Connection, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::time::{sleep, timeout};

use super::errors::number;
use crate::store::engine::ConnectionUse;

/// Maximum number of connections. A statement takes a few milliseconds, so they handle thousands of
/// requests per second.
const MAX_CONNECTIONS: usize = 32;

/// How long a step waits for a connection before it fails with "unavailable".
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between attempts to connect to an engine that is starting.
const CONNECT_BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

/// A connection that was idle for this long may be broken.
const LONG_IDLE: Duration = Duration::from_secs(1);

const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The timeout of closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that were idle for longer are closed.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(20);

/// The engine closes a connection that is idle for this long, and rolls back its transaction. So a
/// server that has vanished without closing its connections keeps rows locked only for this long, and
/// not for the 8 hours of the engine's default. More than [`MAX_IDLE`], and than a step.
const ENGINE_IDLE: Duration = Duration::from_secs(30);

/// As [`ENGINE_IDLE`], for a connection that only holds a lock while a migration runs on another one.
const ENGINE_IDLE_WITH_LOCK: Duration = Duration::from_hours(8);

/// Older connections are closed, so that changed addresses and credentials take effect.
const MAX_AGE: Duration = Duration::from_mins(30);

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub(super) struct Pool(managed::Pool<Connections>);

/// Creates the connections.
struct Connections {
    options: MySqlConnectOptions,
    /// Increased when all connections are discarded. Those of an earlier generation are not used
    /// again.
    generation: AtomicU64,
}

/// A connection with the time for which it was idle.
struct Pooled {
    connection: MySqlConnection,
    generation: u64,
    idle_for: Duration,
}

/// A connection of the pool. When it is dropped, it returns to the pool if it is reusable, otherwise
/// it is closed.
pub(super) struct PooledConnection {
    /// `None` only while this is dropped.
    pooled: Option<Object<Connections>>,
    has_transaction: bool,
    is_reusable: bool,
}

impl Manager for Connections {
    type Type = Pooled;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Pooled> {
        let generation = self.generation.load(Ordering::SeqCst);
        let connection = connect(&self.options, ENGINE_IDLE).await?;
        Ok(Pooled { connection, generation, idle_for: Duration::ZERO })
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        // Since it was last acquired. A step takes a few milliseconds of that.
        pooled.idle_for = metrics.last_used();
        if pooled.generation != self.generation.load(Ordering::SeqCst) {
            return Err(RecycleError::message("discarded"));
        }
        if metrics.age() >= MAX_AGE {
            return Err(RecycleError::message("too old"));
        }
        Ok(())
    }
}

impl Pool {
    /// A pool without connections.
    pub(super) fn new(options: MySqlConnectOptions) -> Self {
        let connections = Connections { options, generation: AtomicU64::new(0) };
        let pool = managed::Pool::builder(connections)
            .max_size(MAX_CONNECTIONS)
            // The most recently used connection first, so that the others can become too old.
            .queue_mode(QueueMode::Lifo)
            .build();
        Self(pool.expect("a pool without timeouts needs no runtime"))
    }

    /// The options of its connections.
    pub(super) fn options(&self) -> &MySqlConnectOptions {
        &self.0.manager().options
    }

    /// The use of the connections.
    pub(super) fn connections(&self) -> ConnectionUse {
        let Status { max_size, size, available, waiting } = self.0.status();
        let in_use = size.saturating_sub(available);
        ConnectionUse { max: max_size, in_use, idle: available, waiting }
    }

    /// The most recently used connection, or a new one.
    ///
    /// # Errors
    ///
    /// [`sqlx::Error`] if all connections are in use for too long, or the database is unavailable.
    pub(super) async fn acquire(&self) -> sqlx::Result<PooledConnection> {
        self.close_unused(MAX_IDLE);
        match timeout(ACQUIRE_TIMEOUT, self.0.get()).await {
            Ok(Ok(pooled)) => Ok(PooledConnection {
                pooled: Some(pooled),
                has_transaction: false,
                is_reusable: false,
            }),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// A new connection that does not belong to the pool and may be idle for 8 hours.
    ///
    /// # Errors
    ///
    /// [`sqlx::Error`] if the database is unavailable. While it refuses connections because it is
    /// starting or has too many, this waits.
    pub(super) async fn connect(&self) -> sqlx::Result<MySqlConnection> {
        connect(self.options(), ENGINE_IDLE_WITH_LOCK).await
    }

    /// Closes the connections that were idle for this long, before the engine does.
    pub(super) fn close_unused(&self, max_idle: Duration) {
        let unused = self.0.retain(|_, metrics| metrics.last_used() < max_idle).removed;
        if !unused.is_empty() {
            tokio::spawn(close_all(unused));
        }
    }

    /// Closes the idle connections: after one was found broken, the others probably are, too.
    pub(super) fn discard_idle(&self) {
        self.0.retain(|_, _| false);
    }

    /// Closes all connections of this generation and earlier ones: the idle ones now, and the others
    /// after their steps. Does nothing if they have been discarded already, so that concurrent steps
    /// that fail for the same reason do not close each other's new connections.
    pub(super) fn discard(&self, generation: u64) {
        let current = &self.0.manager().generation;
        let next = generation.wrapping_add(1);
        if current.compare_exchange(generation, next, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.0.retain(|pooled, _| pooled.generation == next);
        }
    }

    /// Closes the idle connections, and the others after the steps in progress.
    pub(super) async fn close(&self) {
        close_all(self.0.retain(|_, _| false).removed).await;
        self.0.close();
    }
}

async fn close_all(connections: Vec<Pooled>) {
    for Pooled { connection, .. } in connections {
        // It is dropped in any case.
        let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
    }
}

async fn connect(
    options: &MySqlConnectOptions,
    engine_idle: Duration,
) -> sqlx::Result<MySqlConnection> {
    let mut attempt = 1;
    let mut connection = loop {
        match options.connect().await {
            Err(error) if is_temporary(&error) => {
                sleep(CONNECT_BACKOFF.pause(attempt, rand::random())).await;
                attempt = attempt.saturating_add(1);
            }
            connected => break connected?,
        }
    };
    // Truncation is an error, and the lock timeout matches the timeout of a step.
    sqlx::query(
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'),
            SESSION innodb_lock_wait_timeout = 5,
            SESSION wait_timeout = ?",
    )
    .bind(engine_idle.as_secs())
    .execute(&mut connection)
    .await?;
    Ok(connection)
}

/// Whether the engine may accept a connection soon: it is starting, or has too many connections.
fn is_temporary(error: &sqlx::Error) -> bool {
    const TOO_MANY_CONNECTIONS: u16 = 1040;
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        error => number(error) == Some(TOO_MANY_CONNECTIONS),
    }
}

impl PooledConnection {
    fn pooled(&mut self) -> &mut Pooled {
        self.pooled.as_mut().expect("the connection is taken only by `drop`")
    }

    /// The connection.
    pub(super) fn raw(&mut self) -> &mut MySqlConnection {
        &mut self.pooled().connection
    }

    /// The generation to [discard](Pool::discard) if its server must not be used.
    pub(super) fn generation(&mut self) -> u64 {
        self.pooled().generation
    }

    /// Whether it was idle for so long that it may be broken.
    pub(super) fn may_be_broken(&mut self) -> bool {
        self.pooled().idle_for >= LONG_IDLE
    }

    /// Whether the engine responds.
    pub(super) async fn responds(&mut self) -> bool {
        matches!(timeout(PING_TIMEOUT, self.raw().ping()).await, Ok(Ok(())))
    }

    /// A transaction is begun.
    pub(super) fn set_transaction(&mut self) {
        self.has_transaction = true;
    }

    /// Whether a transaction was begun. It may have ended.
    pub(super) fn has_transaction(&self) -> bool {
        self.has_transaction
    }

    /// It is in sync, and its transaction has ended.
    pub(super) fn set_reusable(&mut self) {
        self.is_reusable = true;
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if !self.is_reusable
            && let Some(pooled) = self.pooled.take()
        {
            drop(Object::take(pooled));
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}
