//! The settings: flags, environment and file name the same ones, in this order of precedence.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use shiori_sdk::{DocumentLimits, MAX_LONG_POLL, MAX_RANGE_DAYS, MAX_TITLE_CHARS};
use shiori_worker::{Clock, Secret, SystemClock};

use crate::{
    auth::HashCost,
    secrets::{create_private_dir, load_or_create},
    store::ThrottlePolicy,
    summary::SummaryPolicy,
};

/// Everything a server needs to know. [`Config::embedded`] has a default for all of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the embedded stores keep their file.
    pub data_dir: PathBuf,
    /// Where accounts and summaries are kept: `sqlite:PATH`, or `mysql://…` for MySQL or MariaDB.
    pub database_url: Secret,
    /// Whether that database's tables are brought up to date at the start. Default yes.
    pub migrate: bool,
    /// The MongoDB of the diaries. Default: none, SQLite keeps them.
    pub mongodb_url: Option<Secret>,
    /// The Redis of sessions, queue and wake-ups. Default: none; SQLite keeps the sessions, and
    /// the queue is in this process.
    pub redis_url: Option<Secret>,
    /// What every key in Redis begins with. Default `shiori`.
    pub redis_prefix: String,
    /// Signs the tokens.
    pub jwt_secret: Secret,
    /// Lets workers in at the internal API.
    pub internal_token: Secret,
    /// A listener of its own for the internal API. Default: none, the public one serves it.
    pub internal_listen: Option<SocketAddr>,
    /// Who does the summaries. Default [`WorkerMode::DEFAULT`].
    pub worker: WorkerMode,
    /// Summaries in flight in the in-process worker. Default 16.
    pub worker_concurrency: usize,
    /// The models of the in-process worker. Default: the built-in ones.
    #[cfg(feature = "embedded")]
    pub pipeline: shiori_worker::Pipeline,
    /// The numbers of a summary's life.
    pub summaries: SummaryPolicy,
    /// The numbers of sessions and logins.
    pub sessions: SessionPolicy,
    /// What requests may ask for.
    pub limits: Limits,
    /// What a password hash costs.
    pub hash_cost: HashCost,
    /// How long requests and jobs under way have to finish when the server stops. Default 10 s.
    pub drain_timeout: Duration,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// The embedded default: all data in this directory, which is made if there is none, and
    /// the secrets that were made there on first use.
    ///
    /// # Errors
    ///
    /// Any error of the file system.
    pub fn embedded(data_dir: impl Into<PathBuf>) -> io::Result<Self> {
        let data_dir = data_dir.into();
        create_private_dir(&data_dir)?;
        let jwt_secret = load_or_create(&data_dir.join("jwt.secret"))?;
        let internal_token = load_or_create(&data_dir.join("internal.secret"))?;
        Ok(Self::with_secrets(data_dir, jwt_secret, internal_token))
    }

    /// The embedded default with secrets that are given. The directory is not touched before a
    /// store needs it.
    pub fn with_secrets(data_dir: PathBuf, jwt_secret: Secret, internal_token: Secret) -> Self {
        Self {
            database_url: format!("sqlite:{}", data_dir.join("shiori.db").display()).into(),
            migrate: true,
            mongodb_url: None,
            redis_url: None,
            redis_prefix: "shiori".to_owned(),
            jwt_secret,
            internal_token,
            data_dir,
            internal_listen: None,
            worker: WorkerMode::DEFAULT,
            worker_concurrency: 16,
            #[cfg(feature = "embedded")]
            pipeline: shiori_worker::Pipeline::builtin(),
            summaries: SummaryPolicy::default(),
            sessions: SessionPolicy::default(),
            limits: Limits::default(),
            hash_cost: HashCost::default(),
            drain_timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Who does the summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerMode {
    /// A task in this server. It needs the feature `embedded`.
    InProcess,
    /// Separate worker processes.
    None,
}

impl WorkerMode {
    /// [`WorkerMode::InProcess`], or [`WorkerMode::None`] in a build without the feature `embedded`.
    pub const DEFAULT: Self = if cfg!(feature = "embedded") { Self::InProcess } else { Self::None };
}

/// The numbers of sessions and logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// How long an access token is good for. Default 15 min.
    pub access_ttl: Duration,
    /// How long a session lives without a refresh. Default 30 days.
    pub refresh_ttl: Duration,
    /// How long the answer to a refresh may be asked for again. Default 10 s.
    pub refresh_grace: Duration,
    /// Live sessions that one user may have. Default 50.
    pub sessions_per_user: usize,
    /// How many logins may be tried for one e-mail address. Default 10 in 5 min.
    pub login_throttle: ThrottlePolicy,
    /// Whether cookies are for HTTPS only. Default no, for development on the loopback.
    pub secure_cookies: bool,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            access_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            refresh_grace: Duration::from_secs(10),
            sessions_per_user: 50,
            login_throttle: ThrottlePolicy { attempts: 10, window: Duration::from_secs(300) },
            secure_cookies: false,
        }
    }
}

/// What requests may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body. Default 1 MiB.
    pub body_bytes: usize,
    /// Depth and size of a document.
    pub document: DocumentLimits,
    /// Characters of a title. Default 50.
    pub title_chars: usize,
    /// Days of a listing. Default 366.
    pub range_days: u32,
    /// The longest wait of a long-poll. Default 30 s.
    pub wait: Duration,
    /// How long an ordinary request may take before it is answered with 503. Default 15 s.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            document: DocumentLimits::default(),
            title_chars: MAX_TITLE_CHARS,
            range_days: MAX_RANGE_DAYS,
            wait: MAX_LONG_POLL,
            request_time: Duration::from_secs(15),
        }
    }
}

/// The settings as flags, environment or a file give them; what is not given has its default.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address of the public listener [default: 127.0.0.1:8080]
    #[arg(long, env = "SHIORI_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Directory of the embedded stores and the generated secrets [default: ./shiori-data]
    #[arg(long, env = "SHIORI_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Database of accounts and summaries, sqlite:PATH or mysql://… [default: SQLite in the data
    /// directory]
    #[arg(long, env = "SHIORI_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<Secret>,
    /// Bring that database's tables up to date at the start [default: true]
    #[arg(long, env = "SHIORI_MIGRATE")]
    pub migrate: Option<bool>,
    /// MongoDB of the diaries, mongodb://… [default: SQLite in the data directory]
    #[arg(long, env = "SHIORI_MONGODB_URL", hide_env_values = true)]
    pub mongodb_url: Option<Secret>,
    /// Redis of sessions and queue, redis://…, redis+cluster://… or redis+sentinel://…
    /// [default: SQLite, and a queue in the process]
    #[arg(long, env = "SHIORI_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// What every key in Redis begins with [default: shiori]
    #[arg(long, env = "SHIORI_REDIS_PREFIX")]
    pub redis_prefix: Option<String>,
    /// Secret that signs the tokens [default: generated in the data directory]
    #[arg(long, env = "SHIORI_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Token that lets workers in [default: generated in the data directory]
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<Secret>,
    /// Address of a listener of its own for the internal API [default: the public listener]
    #[arg(long, env = "SHIORI_INTERNAL_LISTEN")]
    pub internal_listen: Option<SocketAddr>,
    /// Who does the summaries [default: in-process; with Redis, none]
    #[arg(long, env = "SHIORI_WORKER")]
    pub worker: Option<WorkerMode>,
    /// Summaries in flight in the in-process worker [default: 16]
    #[arg(long, env = "SHIORI_WORKER_CONCURRENCY")]
    pub worker_concurrency: Option<usize>,
    /// Seconds that a worker holds a summary without a heartbeat [default: 30]
    #[arg(long, env = "SHIORI_LEASE_SECONDS")]
    pub lease_seconds: Option<u64>,
    /// How often a summary is tried [default: 5]
    #[arg(long, env = "SHIORI_MAX_ATTEMPTS")]
    pub max_attempts: Option<u32>,
    /// Days of the week that need a diary, 1 to 7 [default: 7]
    #[arg(long, env = "SHIORI_REQUIRED_DAYS")]
    pub required_days: Option<u32>,
    /// Mark cookies for HTTPS only [default: false]
    #[arg(long, env = "SHIORI_SECURE_COOKIES")]
    pub secure_cookies: Option<bool>,
    /// What is logged, e.g. info, or debug for one crate as in `shiori_server=debug` [default: info]
    #[arg(long, env = "SHIORI_LOG")]
    pub log: Option<String>,
}

/// A setting cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the settings file {path} is not valid: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its values.
        reason: String,
    },
    /// A value is out of its range.
    #[error("the setting {name} must be {rule}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A value is needed, and there is none.
    #[error("the setting {name} is needed: {reason}")]
    Required {
        /// The setting.
        name: &'static str,
        /// What for.
        reason: &'static str,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the file cannot be read, or names a setting that does not exist.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            reason: error.message().to_owned(),
        })
    }

    /// These settings, with what they leave open taken from `others`.
    pub fn or(self, others: Self) -> Self {
        Self {
            listen: self.listen.or(others.listen),
            data_dir: self.data_dir.or(others.data_dir),
            database_url: self.database_url.or(others.database_url),
            migrate: self.migrate.or(others.migrate),
            mongodb_url: self.mongodb_url.or(others.mongodb_url),
            redis_url: self.redis_url.or(others.redis_url),
            redis_prefix: self.redis_prefix.or(others.redis_prefix),
            jwt_secret: self.jwt_secret.or(others.jwt_secret),
            internal_token: self.internal_token.or(others.internal_token),
            internal_listen: self.internal_listen.or(others.internal_listen),
            worker: self.worker.or(others.worker),
            worker_concurrency: self.worker_concurrency.or(others.worker_concurrency),
            lease_seconds: self.lease_seconds.or(others.lease_seconds),
            max_attempts: self.max_attempts.or(others.max_attempts),
            required_days: self.required_days.or(others.required_days),
            secure_cookies: self.secure_cookies.or(others.secure_cookies),
            log: self.log.or(others.log),
        }
    }

    /// The address of the public listener.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)))
    }

    /// The configuration that the settings make.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a value is out of its range, or the data directory cannot be used.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let out_of_range = |name, rule| ConfigError::OutOfRange { name, rule };
        let secret = |given: Option<Secret>, name, least, rule| match given {
            Some(secret) if secret.reveal().len() < least => Err(out_of_range(name, rule)),
            given => Ok(given),
        };
        let jwt_secret = secret(self.jwt_secret, "jwt_secret", 32, "at least 32 characters")?;
        let internal_token =
            secret(self.internal_token, "internal_token", 16, "at least 16 characters")?;
        if self.redis_url.is_some() {
            // Secrets that each server makes for itself would let it refuse the tokens of others.
            for (name, given) in [("jwt_secret", &jwt_secret), ("internal_token", &internal_token)]
            {
                if given.is_none() {
                    let reason = "all servers and workers on one Redis need the same";
                    return Err(ConfigError::Required { name, reason });
                }
            }
        }
        let data_dir = self.data_dir.unwrap_or_else(|| PathBuf::from("shiori-data"));
        let mut config = match (jwt_secret, internal_token) {
            (Some(jwt_secret), Some(internal_token)) => {
                Config::with_secrets(data_dir, jwt_secret, internal_token)
            }
            (jwt_secret, internal_token) => {
                let mut config = Config::embedded(&data_dir)
                    .map_err(|source| ConfigError::DataDir { path: data_dir, source })?;
                config.jwt_secret = jwt_secret.unwrap_or(config.jwt_secret);
                config.internal_token = internal_token.unwrap_or(config.internal_token);
                config
            }
        };
        if let Some(url) = self.database_url {
            config.database_url = url;
        }
        config.migrate = self.migrate.unwrap_or(config.migrate);
        config.mongodb_url = self.mongodb_url;
        config.redis_url = self.redis_url;
        config.redis_prefix = self.redis_prefix.unwrap_or(config.redis_prefix);
        config.internal_listen = self.internal_listen;
        let elsewhere = config.redis_url.is_some();
        let usual = if elsewhere { WorkerMode::None } else { WorkerMode::DEFAULT };
        config.worker = self.worker.unwrap_or(usual);
        if let Some(concurrency) = self.worker_concurrency {
            if !(1..=10_000).contains(&concurrency) {
                return Err(out_of_range("worker_concurrency", "1 to 10000"));
            }
            config.worker_concurrency = concurrency;
        }
        if let Some(seconds) = self.lease_seconds {
            if !(1..=3600).contains(&seconds) {
                return Err(out_of_range("lease_seconds", "1 to 3600"));
            }
            config.summaries.lease = Duration::from_secs(seconds);
        }
        if let Some(attempts) = self.max_attempts {
            if !(1..=100).contains(&attempts) {
                return Err(out_of_range("max_attempts", "1 to 100"));
            }
            config.summaries.max_attempts = attempts;
        }
        if let Some(days) = self.required_days {
            if !(1..=7).contains(&days) {
                return Err(out_of_range("required_days", "1 to 7"));
            }
            config.summaries.required_days = days;
        }
        config.sessions.secure_cookies = self.secure_cookies.unwrap_or_default();
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_file_and_the_file_before_the_default() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shiori.toml");
        fs::write(&path, "lease_seconds = 7\nmax_attempts = 2\nworker = \"none\"\n")
            .expect("written");
        let flags = Settings {
            lease_seconds: Some(9),
            data_dir: Some(dir.path().join("data")),
            ..Settings::default()
        };
        let settings = flags.or(Settings::from_file(&path).expect("read"));
        let config = settings.into_config().expect("valid");
        assert_eq!(config.summaries.lease, Duration::from_secs(9));
        assert_eq!(config.summaries.max_attempts, 2);
        assert_eq!(config.summaries.required_days, 7);
        assert_eq!(config.worker, WorkerMode::None);
    }

    #[test]
    fn with_redis_the_secrets_are_shared_and_the_workers_elsewhere() {
        let shared = || Settings {
            redis_url: Some("redis://localhost".into()),
            jwt_secret: Some("a secret of thirty-two characters".into()),
            internal_token: Some("sixteen letters!".into()),
            data_dir: Some("/nonexistent/and-not-made".into()),
            ..Settings::default()
        };
        let config = shared().into_config().expect("valid");
        assert_eq!(config.worker, WorkerMode::None);
        let with_worker = Settings { worker: Some(WorkerMode::InProcess), ..shared() };
        assert_eq!(with_worker.into_config().expect("valid").worker, WorkerMode::InProcess);
        for without in [
            Settings { jwt_secret: None, ..shared() },
            Settings { internal_token: None, ..shared() },
        ] {
            assert!(matches!(without.into_config(), Err(ConfigError::Required { .. })));
        }
    }

    #[test]
    fn a_bad_setting_is_named_and_its_value_is_not_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shiori.toml");
        fs::write(&path, "jwt_secrets = \"hunter2\"\n").expect("written");
        let error = Settings::from_file(&path).expect_err("unknown").to_string();
        assert!(error.contains("jwt_secrets") && !error.contains("hunter2"), "{error}");
        let settings = Settings {
            jwt_secret: Some("hunter2".into()),
            data_dir: Some(dir.path().join("data")),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let shared =
            Settings { redis_url: Some("redis://:hunter2@host".into()), ..Settings::default() };
        let error = shared.into_config().expect_err("no common secret").to_string();
        assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
        let error = settings.into_config().expect_err("short").to_string();
        assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
    }
}
