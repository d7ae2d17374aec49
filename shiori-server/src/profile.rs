//! Opens the stores and the queue of the configuration. No other module depends on the profile.

#[cfg(feature = "embedded")]
use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};
use std::{path::PathBuf, sync::Arc};

#[cfg(feature = "embedded")]
use shiori_worker::queue::InProcessQueue;
use shiori_worker::{Clock, JobQueue, MeasuredClock};
#[cfg(feature = "distributed")]
use shiori_worker::{
    RemoteTime,
    queue::{QUEUE_NAME, RedisQueue},
    redis::{Redis, RedisTime},
};
#[cfg(feature = "distributed")]
use tokio::task::JoinHandle;
#[cfg(feature = "distributed")]
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    changes::Changes,
    config::Config,
    store::{
        AccountStore, DayStore, DiaryStore, Engine, SeparateStores, SessionStore, StoreError,
        SummaryStore,
    },
    summary::Wakeups,
};
#[cfg(feature = "distributed")]
use crate::{
    relay::Relay,
    store::{mongodb::MongoStore, mysql::MySqlStore, redis::RedisSessions},
};
#[cfg(feature = "embedded")]
use crate::{
    secrets::{create_private_dir, create_private_file},
    store::sqlite::SqliteStore,
};

/// The capacity of the in-process queue. A hint takes about 100 bytes. The dispatcher offers hints
/// that do not fit again.
#[cfg(feature = "embedded")]
const QUEUE_CAPACITY: usize = 100_000;

const DATABASE_URL: &str = "SHIORI_DATABASE_URL";
const MONGODB_URL: &str = "SHIORI_MONGODB_URL";
const REDIS_URL: &str = "SHIORI_REDIS_URL";

/// The stores and the queue of the configuration.
pub(crate) struct Profile {
    pub(crate) accounts: Arc<dyn AccountStore>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) diaries: Arc<dyn DiaryStore>,
    pub(crate) days: Arc<dyn DayStore>,
    pub(crate) summaries: Arc<dyn SummaryStore>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) wakeups: Wakeups,
    pub(crate) changes: Changes,
    /// The clock of the summary store, for every step of a summary.
    pub(crate) summary_clock: Arc<dyn Clock>,
    /// The clock of the session store, for everything else.
    pub(crate) clock: Arc<dyn Clock>,
    /// The open engines, for the metrics.
    pub(crate) observed: Vec<Arc<dyn Engine>>,
    /// The measured clocks, each with the name of its engine, for the metrics.
    pub(crate) measured_clocks: Vec<(&'static str, Arc<MeasuredClock>)>,
    engines: Engines,
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The URL is invalid, or its engine is not part of this build.
    #[error("{setting} is not the URL of a store that this build includes")]
    UnknownScheme {
        /// The setting with the URL.
        setting: &'static str,
    },
    /// The store is unavailable.
    #[error("could not open the store of {setting}")]
    Open {
        /// The setting with the URL.
        setting: &'static str,
        /// Why.
        source: StoreError,
    },
    /// Another server uses the embedded database.
    #[error("another server uses {}; stop it, or set another SHIORI_DATA_DIR", path.display())]
    InUse {
        /// The file of the database.
        path: PathBuf,
    },
}

impl Profile {
    /// Opens the stores and the queue beside a server.
    pub(crate) async fn open(config: &Config) -> Result<Self, ProfileError> {
        Self::open_with(Engines::default(), config).await
    }

    /// Opens the stores and the queue for a server. An embedded database is locked until the profile
    /// is closed, because servers that share one would not wake each other.
    pub(crate) async fn open_for_server(config: &Config) -> Result<Self, ProfileError> {
        #[cfg(feature = "embedded")]
        let engines = Engines { is_exclusive: true, ..Engines::default() };
        #[cfg(not(feature = "embedded"))]
        let engines = Engines::default();
        Self::open_with(engines, config).await
    }

    async fn open_with(mut engines: Engines, config: &Config) -> Result<Self, ProfileError> {
        let (accounts, summaries, summary_clock) = engines.accounts_and_summaries(config).await?;
        let diaries = engines.diaries(config).await?;
        let (sessions, queue, (wakeups, changes), clock) =
            engines.sessions_and_queue(config).await?;
        let days: Arc<dyn DayStore> =
            Arc::new(SeparateStores::new(sessions.clone(), diaries.clone(), summaries.clone()));
        #[cfg(feature = "embedded")]
        let days = engines.days(config).unwrap_or(days);
        Ok(Self {
            accounts,
            sessions,
            diaries,
            days,
            summaries,
            queue,
            wakeups,
            changes,
            summary_clock,
            clock,
            observed: std::mem::take(&mut engines.observed),
            measured_clocks: std::mem::take(&mut engines.measured_clocks),
            engines,
        })
    }

    /// Closes the stores.
    pub(crate) async fn close(self) {
        self.engines.close().await;
    }
}

/// Runs the migrations of the databases.
///
/// # Errors
///
/// [`ProfileError`] if a database is unavailable, or its tables are newer than this version.
pub async fn migrate(config: &Config) -> Result<(), ProfileError> {
    let mut engines = Engines::default();
    let config = Config { migrate: true, ..config.clone() };
    engines.accounts_and_summaries(&config).await?;
    // Opening the store creates its indexes.
    engines.diaries(&config).await?;
    engines.close().await;
    Ok(())
}

/// Writes a consistent copy of the embedded database to a new file, while a server may use the
/// database. To restore it, stop the server, delete `shiori.db-wal` and `shiori.db-shm`, and replace
/// `shiori.db` in the data directory with the copy.
///
/// # Errors
///
/// [`BackupError`] if a store of the configuration is not embedded, the file exists, or a file
/// cannot be read or written. Then no file is left.
#[cfg(feature = "embedded")]
pub async fn back_up(config: &Config, to: &std::path::Path) -> Result<(), BackupError> {
    if config.database_url.reveal().split(':').next() != Some("sqlite") {
        return Err(BackupError::NotEmbedded { setting: DATABASE_URL });
    }
    if config.mongodb_url.is_some() {
        return Err(BackupError::NotEmbedded { setting: MONGODB_URL });
    }
    Ok(SqliteStore::back_up(&sqlite_file(config), to).await?)
}

/// The path of the embedded database.
#[cfg(feature = "embedded")]
fn sqlite_file(config: &Config) -> PathBuf {
    match config.database_url.reveal().strip_prefix("sqlite:") {
        Some(path) => PathBuf::from(path.strip_prefix("//").unwrap_or(path)),
        None => config.data_dir.join("shiori.db"),
    }
}

/// Locks the embedded database for a server; `None` if another one has done so. The system unlocks it
/// when the process ends.
#[cfg(feature = "embedded")]
fn lock(database: &Path) -> io::Result<Option<File>> {
    // SQLite locks the database itself in its own way.
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    create_private_file(&path)?;
    let file = File::options().write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The embedded database was not backed up.
#[cfg(feature = "embedded")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store is another engine, which has its own backup.
    #[error("{setting} names an engine with a backup of its own; see docs/operations.md")]
    NotEmbedded {
        /// The setting with the URL.
        setting: &'static str,
    },
    /// A file could not be read or written.
    #[error("could not write the backup")]
    Failed(#[from] StoreError),
}

type Sql = (Arc<dyn AccountStore>, Arc<dyn SummaryStore>, Arc<dyn Clock>);
type Shared = (Arc<dyn SessionStore>, Arc<dyn JobQueue>, (Wakeups, Changes), Arc<dyn Clock>);

/// The open engines. Each is opened at most once, and only if it is used.
#[derive(Default)]
struct Engines {
    /// Whether no other server may use the embedded database.
    #[cfg(feature = "embedded")]
    is_exclusive: bool,
    observed: Vec<Arc<dyn Engine>>,
    measured_clocks: Vec<(&'static str, Arc<MeasuredClock>)>,
    #[cfg(feature = "embedded")]
    sqlite: Option<SqliteStore>,
    /// Unlocked when it is closed.
    #[cfg(feature = "embedded")]
    lock: Option<File>,
    #[cfg(feature = "distributed")]
    mysql: Option<MySqlStore>,
    /// The relay of wake-ups and hints. It stops when this is dropped.
    #[cfg(feature = "distributed")]
    relay: Option<(DropGuard, JoinHandle<()>)>,
    /// The measurements of remote clocks, and the check of Redis. They stop when this is dropped.
    #[cfg(feature = "distributed")]
    checks: Vec<DropGuard>,
}

impl Engines {
    async fn accounts_and_summaries(&mut self, config: &Config) -> Result<Sql, ProfileError> {
        let setting = DATABASE_URL;
        let scheme = config.database_url.reveal().split(':').next().unwrap_or_default();
        match scheme {
            #[cfg(feature = "embedded")]
            "sqlite" => {
                let store = Arc::new(self.sqlite(config).await?);
                Ok((store.clone(), store, config.clock.clone()))
            }
            #[cfg(feature = "distributed")]
            "mysql" | "mariadb" => {
                let opened = async {
                    let store = MySqlStore::open(config.database_url.reveal()).await?;
                    if config.migrate {
                        store.migrate().await?;
                    }
                    Ok(store)
                };
                let store =
                    opened.await.map_err(|source| ProfileError::Open { setting, source })?;
                self.mysql = Some(store.clone());
                let store = Arc::new(store);
                self.observed.push(store.clone());
                let clock = self.measured("mysql", setting, store.clone()).await?;
                Ok((store.clone(), store, clock))
            }
            _ => Err(ProfileError::UnknownScheme { setting }),
        }
    }

    async fn diaries(&mut self, config: &Config) -> Result<Arc<dyn DiaryStore>, ProfileError> {
        let setting = MONGODB_URL;
        match &config.mongodb_url {
            #[cfg(feature = "embedded")]
            None => Ok(Arc::new(self.sqlite(config).await?)),
            #[cfg(feature = "distributed")]
            Some(url) => {
                let opened = MongoStore::open(url.reveal()).await;
                let store = opened.map_err(|source| ProfileError::Open { setting, source })?;
                let store = Arc::new(store);
                self.observed.push(store.clone());
                Ok(store)
            }
            #[allow(unreachable_patterns)] // with both features
            _ => Err(ProfileError::UnknownScheme { setting }),
        }
    }

    /// Sessions, diaries and summaries together, if SQLite stores them all.
    #[cfg(feature = "embedded")]
    fn days(&self, config: &Config) -> Option<Arc<dyn DayStore>> {
        let stores_all = config.mongodb_url.is_none()
            && config.redis_url.is_none()
            && config.database_url.reveal().split(':').next() == Some("sqlite");
        let store = self.sqlite.as_ref().filter(|_| stores_all)?;
        Some(Arc::new(store.clone()))
    }

    async fn sessions_and_queue(&mut self, config: &Config) -> Result<Shared, ProfileError> {
        let setting = REDIS_URL;
        match &config.redis_url {
            #[cfg(feature = "embedded")]
            None => {
                let queue = InProcessQueue::new(QUEUE_CAPACITY, config.clock.clone());
                let sessions = Arc::new(self.sqlite(config).await?);
                let local = (Wakeups::default(), Changes::default());
                Ok((sessions, Arc::new(queue), local, config.clock.clone()))
            }
            #[cfg(feature = "distributed")]
            Some(url) => {
                let redis = Redis::new(url.reveal(), &config.redis_prefix)
                    .map_err(|_| ProfileError::UnknownScheme { setting })?;
                let answered = redis.ping().await;
                answered.map_err(|source| ProfileError::Open { setting, source: source.into() })?;
                let (wakeups, changes, relay) = Relay::new(redis.clone());
                let stop = CancellationToken::new();
                let running = tokio::spawn(relay.run(stop.clone()));
                self.relay = Some((stop.drop_guard(), running));
                let time = RedisTime::new(redis.clone(), QUEUE_NAME);
                let clock = self.measured("redis", setting, Arc::new(time)).await?;
                let sessions = Arc::new(RedisSessions::new(redis.clone()));
                self.observed.push(sessions.clone());
                let checked = sessions.clone();
                self.keep_running(async move { checked.keep_checking().await });
                let queue = RedisQueue::new(redis, QUEUE_NAME, clock.clone());
                Ok((sessions, Arc::new(queue), (wakeups, changes), clock))
            }
            #[allow(unreachable_patterns)] // with both features
            _ => Err(ProfileError::UnknownScheme { setting }),
        }
    }

    /// The SQLite store at the configured URL, otherwise in the data directory.
    #[cfg(feature = "embedded")]
    async fn sqlite(&mut self, config: &Config) -> Result<SqliteStore, ProfileError> {
        if let Some(store) = &self.sqlite {
            return Ok(store.clone());
        }
        let open = |source| ProfileError::Open { setting: DATABASE_URL, source };
        create_private_dir(&config.data_dir)
            .map_err(|error| open(StoreError::Unavailable(error.into())))?;
        let path = sqlite_file(config);
        if self.is_exclusive {
            // Before the tables are migrated.
            let locked =
                lock(&path).map_err(|error| open(StoreError::Unavailable(error.into())))?;
            self.lock = Some(locked.ok_or_else(|| ProfileError::InUse { path: path.clone() })?);
        }
        let store = SqliteStore::open(&path).await.map_err(open)?;
        self.observed.push(Arc::new(store.clone()));
        self.sqlite = Some(store.clone());
        Ok(store)
    }

    /// The clock of an engine that other servers use, too. It is measured once before this returns,
    /// and then periodically.
    #[cfg(feature = "distributed")]
    async fn measured(
        &mut self,
        engine: &'static str,
        setting: &'static str,
        remote: Arc<dyn RemoteTime>,
    ) -> Result<Arc<dyn Clock>, ProfileError> {
        let clock = Arc::new(MeasuredClock::new(remote));
        let unavailable =
            |error| ProfileError::Open { setting, source: StoreError::Unavailable(error) };
        clock.start().await.map_err(unavailable)?;
        let kept = clock.clone();
        self.keep_running(async move { kept.keep_measured().await });
        self.measured_clocks.push((engine, clock.clone()));
        Ok(clock)
    }

    /// Runs a task until the engines are closed.
    #[cfg(feature = "distributed")]
    fn keep_running(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(task));
        self.checks.push(stop.drop_guard());
    }

    async fn close(self) {
        #[cfg(feature = "embedded")]
        if let Some(store) = self.sqlite {
            store.close().await;
        }
        #[cfg(feature = "distributed")]
        drop(self.checks);
        #[cfg(feature = "distributed")]
        if let Some((stop, running)) = self.relay {
            drop(stop);
            let _ = running.await;
        }
        #[cfg(feature = "distributed")]
        if let Some(store) = self.mysql {
            store.close().await;
        }
    }
}
