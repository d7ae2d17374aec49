//! The connections to the database.
//!
//! sqlx's own pool pings each connection when it is returned, in a task of its own: a second round
//! trip for every statement. Here, a step records whether its connection can be used again.

use std::{
    collections::VecDeque,
    fmt, io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shiori_sdk::backoff::Backoff;
use sqlx::{ConnectOptions, Connection, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// Maximum number of connections. A statement takes a few milliseconds, so they handle thousands of
/// requests per second.
const MAX_CONNECTIONS: u32 = 32;

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

/// Connections that were idle for longer are closed. By default, the engine closes them after 8
/// hours.
const MAX_IDLE: Duration = Duration::from_mins(10);

/// Older connections are closed, so that changed addresses and credentials take effect.
const MAX_AGE: Duration = Duration::from_mins(30);

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    options: MySqlConnectOptions,
    permits: Arc<Semaphore>,
    /// The most recently used connection is the last.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    connection: MySqlConnection,
    connected_at: Instant,
    since: Instant,
}

/// A connection of the pool. When it is dropped, it returns to the pool if it is reusable, otherwise
/// it is closed.
pub(super) struct PooledConnection {
    /// `None` after it was returned.
    connection: Option<MySqlConnection>,
    connected_at: Instant,
    /// How long it was idle before it was acquired.
    idle_for: Duration,
    is_reusable: bool,
    pool: Arc<Inner>,
    /// Released after the connection was returned.
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool without connections.
    pub(super) fn new(options: MySqlConnectOptions) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
        Self(Arc::new(Inner { options, permits, idle: Mutex::default() }))
    }

    /// The options of its connections.
    pub(super) fn options(&self) -> &MySqlConnectOptions {
        &self.0.options
    }

    /// The most recently used connection, or a new one.
    ///
    /// # Errors
    ///
    /// [`sqlx::Error`] if all connections are in use for too long, or the database is unavailable.
    pub(super) async fn acquire(&self) -> sqlx::Result<PooledConnection> {
        let acquired = async {
            let permit = self.0.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
            let (connection, connected_at, idle_for) = match self.0.take() {
                Some(idle) => (idle.connection, idle.connected_at, idle.since.elapsed()),
                None => (self.connect().await?, Instant::now(), Duration::ZERO),
            };
            Ok(PooledConnection {
                connection: Some(connection),
                connected_at,
                idle_for,
                is_reusable: false,
                pool: self.0.clone(),
                _permit: permit,
            })
        };
        timeout(ACQUIRE_TIMEOUT, acquired).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// A new connection that does not belong to the pool.
    ///
    /// # Errors
    ///
    /// [`sqlx::Error`] if the database is unavailable. While it refuses connections because it is
    /// starting or has too many, this waits.
    pub(super) async fn connect(&self) -> sqlx::Result<MySqlConnection> {
        let mut attempt = 1;
        let mut connection = loop {
            match self.0.options.connect().await {
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
                SESSION innodb_lock_wait_timeout = 5",
        )
        .execute(&mut connection)
        .await?;
        Ok(connection)
    }

    /// Closes the idle connections: after one was found broken, the others probably are, too.
    pub(super) fn discard_idle(&self) {
        self.0.idle().clear();
    }

    /// Closes the connections after the steps in progress.
    pub(super) async fn close(&self) {
        // Fails only if the pool is already closed.
        let _all = self.0.permits.acquire_many(MAX_CONNECTIONS).await;
        self.0.permits.close();
        let idle = mem::take(&mut *self.0.idle());
        for Idle { connection, .. } in idle {
            // It is dropped in any case.
            let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
        }
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recently used connection that is not too old.
    fn take(&self) -> Option<Idle> {
        loop {
            let idle = self.idle().pop_back()?;
            if idle.since.elapsed() < MAX_IDLE && idle.connected_at.elapsed() < MAX_AGE {
                return Some(idle);
            }
            close_in_background(idle);
        }
    }

    /// Adds a connection, and closes one that was not used for long.
    fn put(&self, idle: Idle) {
        let mut all = self.idle();
        all.push_back(idle);
        let unused = all.pop_front_if(|first| first.since.elapsed() >= MAX_IDLE);
        drop(all);
        unused.map(close_in_background);
    }
}

fn close_in_background(idle: Idle) {
    tokio::spawn(timeout(CLOSE_TIMEOUT, idle.connection.close()));
}

/// Whether the engine may accept a connection soon: it is starting, or has too many connections.
fn is_temporary(error: &sqlx::Error) -> bool {
    const TOO_MANY_CONNECTIONS: u16 = 1040;
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        error => super::number(error) == Some(TOO_MANY_CONNECTIONS),
    }
}

impl PooledConnection {
    /// The connection.
    pub(super) fn raw(&mut self) -> &mut MySqlConnection {
        self.connection.as_mut().expect("the connection is taken only by `drop`")
    }

    /// Whether it was idle for so long that it may be broken.
    pub(super) fn may_be_broken(&self) -> bool {
        self.idle_for >= LONG_IDLE
    }

    /// Whether the engine responds.
    pub(super) async fn responds(&mut self) -> bool {
        matches!(timeout(PING_TIMEOUT, self.raw().ping()).await, Ok(Ok(())))
    }

    /// It is in sync, and its transaction has ended.
    pub(super) fn set_reusable(&mut self) {
        self.is_reusable = true;
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if self.is_reusable
            && let Some(connection) = self.connection.take()
        {
            let (connected_at, since) = (self.connected_at, Instant::now());
            self.pool.put(Idle { connection, connected_at, since });
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}
