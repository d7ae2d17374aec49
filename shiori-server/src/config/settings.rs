//! Settings from flags, the environment and a file, in this order of precedence.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use shiori_worker::{Patience, Secret};

use super::{
    Config, ConnectionPolicy, Limits, Network, Origin, OverloadPolicy, SignUpPolicy, SignUps,
    WorkerMode,
};
use crate::store::HistoryPolicy;

/// The settings of one source: flags, environment or a file. Missing settings have their default.
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
    /// Migrate that database at start [default: true]
    #[arg(long, env = "SHIORI_MIGRATE")]
    pub migrate: Option<bool>,
    /// MongoDB of the diaries, mongodb://… [default: SQLite in the data directory]
    #[arg(long, env = "SHIORI_MONGODB_URL", hide_env_values = true)]
    pub mongodb_url: Option<Secret>,
    /// Redis of sessions and queue, redis://…, redis+cluster://… or redis+sentinel://…
    /// [default: SQLite, and a queue in the process]
    #[arg(long, env = "SHIORI_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// Prefix of all keys in Redis [default: shiori]
    #[arg(long, env = "SHIORI_REDIS_PREFIX")]
    pub redis_prefix: Option<String>,
    /// Secret that signs the tokens [default: generated in the data directory]
    #[arg(long, env = "SHIORI_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Another secret whose tokens are accepted, while the secret is changed [default: none]
    #[arg(long, env = "SHIORI_JWT_SECRET_PREVIOUS", hide_env_values = true)]
    pub jwt_secret_previous: Option<Secret>,
    /// Token that authenticates workers [default: generated in the data directory]
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<Secret>,
    /// Another token that authenticates workers, while the token is changed [default: none]
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN_PREVIOUS", hide_env_values = true)]
    pub internal_token_previous: Option<Secret>,
    /// Address of a separate listener for the internal API, /readyz and /metrics [default: the public
    /// listener]
    #[arg(long, env = "SHIORI_INTERNAL_LISTEN")]
    pub internal_listen: Option<SocketAddr>,
    /// Origins whose pages may call the API from a browser, separated by commas, e.g.
    /// `https://app.example.com` [default: none]
    #[arg(long, env = "SHIORI_CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Option<Vec<Origin>>,
    /// Networks of the proxies whose X-Forwarded-For determines the address of a client, separated
    /// by commas, e.g. `10.0.0.0/8` [default: none; the address of the connection]
    #[arg(long, env = "SHIORI_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Option<Vec<Network>>,
    /// Who may create an account [default: open]
    #[arg(long, env = "SHIORI_SIGNUP")]
    pub signup: Option<SignUpMode>,
    /// Invitation codes, of which a sign-up needs one, separated by commas; at least 8 characters
    /// each. Only with `--signup invitation`
    #[arg(long, env = "SHIORI_INVITATION_CODES", value_delimiter = ',', hide_env_values = true)]
    pub invitation_codes: Option<Vec<Secret>>,
    /// Maximum sign-ups per hour from one address, or one /64 network of IPv6 [default: 100]
    #[arg(long, env = "SHIORI_SIGNUPS_PER_ADDRESS")]
    pub signups_per_address: Option<u32>,
    /// Maximum failed logins in 5 minutes from one address, for all accounts together [default: 100]
    #[arg(long, env = "SHIORI_FAILED_LOGINS_PER_ADDRESS")]
    pub failed_logins_per_address: Option<u32>,
    /// Where summaries are processed [default: in-process; with Redis, none]
    #[arg(long, env = "SHIORI_WORKER")]
    pub worker: Option<WorkerMode>,
    /// Maximum concurrent summaries of the in-process worker [default: 16]
    #[arg(long, env = "SHIORI_WORKER_CONCURRENCY")]
    pub worker_concurrency: Option<usize>,
    /// Seconds until a lease expires without a heartbeat [default: 30]
    #[arg(long, env = "SHIORI_LEASE_SECONDS")]
    pub lease_seconds: Option<u64>,
    /// Maximum attempts of a summary [default: 5]
    #[arg(long, env = "SHIORI_MAX_ATTEMPTS")]
    pub max_attempts: Option<u32>,
    /// How long after its request a summary waits for the language model, in seconds or as in 15m;
    /// afterwards its next attempt is the last. A worker's own setting takes precedence
    /// [default: 15m]
    #[arg(long, env = "SHIORI_LLM_PATIENCE")]
    pub llm_patience: Option<Patience>,
    /// Days of the week that need a diary, 1 to 7 [default: 7]
    #[arg(long, env = "SHIORI_REQUIRED_DAYS")]
    pub required_days: Option<u32>,
    /// Maximum summaries that one user requests within one day in UTC; 0 for any number
    /// [default: 200]
    #[arg(long, env = "SHIORI_MAX_SUMMARIES_PER_DAY")]
    pub max_summaries_per_day: Option<u32>,
    /// Maximum diaries of one user; 0 for any number [default: 36525]
    #[arg(long, env = "SHIORI_MAX_DIARIES")]
    pub max_diaries: Option<u64>,
    /// Maximum bytes of the documents of one user; 0 for any number [default: 1073741824]
    #[arg(long, env = "SHIORI_MAX_DIARY_BYTES")]
    pub max_diary_bytes: Option<u64>,
    /// Maximum replaced or deleted texts that are kept for each date, 0 to 1000; 0 keeps none and
    /// deletes those that were kept [default: 50]
    #[arg(long, env = "SHIORI_MAX_REVISIONS")]
    pub max_revisions: Option<u32>,
    /// Days after which a kept text is deleted, 0 to 3650; 0 keeps none and deletes those that were
    /// kept [default: 30]
    #[arg(long, env = "SHIORI_REVISION_DAYS")]
    pub revision_days: Option<u32>,
    /// Mark cookies for HTTPS only [default: false]
    #[arg(long, env = "SHIORI_SECURE_COOKIES")]
    pub secure_cookies: Option<bool>,
    /// Seconds for the head of a request, from its first byte or the connection [default: 15]
    #[arg(long, env = "SHIORI_HEAD_TIMEOUT_SECONDS")]
    pub head_timeout_seconds: Option<u64>,
    /// Seconds for the body of a request, after which the response is 408 [default: 30]
    #[arg(long, env = "SHIORI_BODY_TIMEOUT_SECONDS")]
    pub body_timeout_seconds: Option<u64>,
    /// Seconds until an open connection without a request is closed [default: 120]
    #[arg(long, env = "SHIORI_IDLE_TIMEOUT_SECONDS")]
    pub idle_timeout_seconds: Option<u64>,
    /// Seconds until a client that does not read its response is disconnected [default: 30]
    #[arg(long, env = "SHIORI_UNREAD_TIMEOUT_SECONDS")]
    pub unread_timeout_seconds: Option<u64>,
    /// Maximum open connections [default: 10000]
    #[arg(long, env = "SHIORI_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// Maximum open connections from one address, or one /64 network of IPv6 [default: 2000]
    #[arg(long, env = "SHIORI_MAX_CONNECTIONS_PER_ADDRESS")]
    pub max_connections_per_address: Option<usize>,
    /// Maximum bytes of the request line and headers [default: 65536]
    #[arg(long, env = "SHIORI_MAX_HEAD_BYTES")]
    pub max_head_bytes: Option<usize>,
    /// Maximum concurrent requests on one HTTP/2 connection [default: 100]
    #[arg(long, env = "SHIORI_MAX_STREAMS")]
    pub max_streams: Option<u32>,
    /// Maximum requests in progress; others get 503 [default: 512]
    #[arg(long, env = "SHIORI_MAX_REQUESTS")]
    pub max_requests: Option<usize>,
    /// Maximum requests in progress from one address, or one /64 network of IPv6 [default: 128]
    #[arg(long, env = "SHIORI_MAX_REQUESTS_PER_ADDRESS")]
    pub max_requests_per_address: Option<usize>,
    /// Maximum long-polls in progress [default: 4096]
    #[arg(long, env = "SHIORI_MAX_WAITS")]
    pub max_waits: Option<usize>,
    /// Maximum long-polls and event streams of one user in progress; others get 429 [default: 128]
    #[arg(long, env = "SHIORI_MAX_WAITS_PER_USER")]
    pub max_waits_per_user: Option<usize>,
    /// Milliseconds that a request may wait for admission [default: 500]
    #[arg(long, env = "SHIORI_QUEUE_TIMEOUT_MILLIS")]
    pub queue_timeout_millis: Option<u64>,
    /// Log filter, e.g. info, or debug for one crate as in `shiori_server=debug` [default: info]
    #[arg(long, env = "SHIORI_LOG")]
    pub log: Option<String>,
}

/// Who may create an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SignUpMode {
    /// Everybody.
    Open,
    /// Nobody.
    Closed,
    /// Those with an invitation code.
    Invitation,
}

/// Invalid settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read the settings file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is invalid.
    #[error("invalid settings file {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The error, without values of the file.
        reason: String,
    },
    /// A value is out of range.
    #[error("the setting {name} must be {rule}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The rule that it must satisfy.
        rule: &'static str,
    },
    /// A required setting is missing.
    #[error("the setting {name} is required: {reason}")]
    Required {
        /// The setting.
        name: &'static str,
        /// Why it is required.
        reason: &'static str,
    },
    /// The data directory cannot be used.
    #[error("could not use the data directory {path}")]
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
    /// [`ConfigError`] if the file cannot be read or contains an unknown setting.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            reason: error.message().to_owned(),
        })
    }

    /// These settings, with missing ones taken from `others`.
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
            jwt_secret_previous: self.jwt_secret_previous.or(others.jwt_secret_previous),
            internal_token: self.internal_token.or(others.internal_token),
            internal_token_previous: self
                .internal_token_previous
                .or(others.internal_token_previous),
            internal_listen: self.internal_listen.or(others.internal_listen),
            cors_origins: self.cors_origins.or(others.cors_origins),
            trusted_proxies: self.trusted_proxies.or(others.trusted_proxies),
            signup: self.signup.or(others.signup),
            invitation_codes: self.invitation_codes.or(others.invitation_codes),
            signups_per_address: self.signups_per_address.or(others.signups_per_address),
            failed_logins_per_address: self
                .failed_logins_per_address
                .or(others.failed_logins_per_address),
            worker: self.worker.or(others.worker),
            worker_concurrency: self.worker_concurrency.or(others.worker_concurrency),
            lease_seconds: self.lease_seconds.or(others.lease_seconds),
            max_attempts: self.max_attempts.or(others.max_attempts),
            llm_patience: self.llm_patience.or(others.llm_patience),
            required_days: self.required_days.or(others.required_days),
            max_summaries_per_day: self.max_summaries_per_day.or(others.max_summaries_per_day),
            max_diaries: self.max_diaries.or(others.max_diaries),
            max_diary_bytes: self.max_diary_bytes.or(others.max_diary_bytes),
            max_revisions: self.max_revisions.or(others.max_revisions),
            revision_days: self.revision_days.or(others.revision_days),
            secure_cookies: self.secure_cookies.or(others.secure_cookies),
            head_timeout_seconds: self.head_timeout_seconds.or(others.head_timeout_seconds),
            body_timeout_seconds: self.body_timeout_seconds.or(others.body_timeout_seconds),
            idle_timeout_seconds: self.idle_timeout_seconds.or(others.idle_timeout_seconds),
            unread_timeout_seconds: self.unread_timeout_seconds.or(others.unread_timeout_seconds),
            max_connections: self.max_connections.or(others.max_connections),
            max_connections_per_address: self
                .max_connections_per_address
                .or(others.max_connections_per_address),
            max_head_bytes: self.max_head_bytes.or(others.max_head_bytes),
            max_streams: self.max_streams.or(others.max_streams),
            max_requests: self.max_requests.or(others.max_requests),
            max_requests_per_address: self
                .max_requests_per_address
                .or(others.max_requests_per_address),
            max_waits: self.max_waits.or(others.max_waits),
            max_waits_per_user: self.max_waits_per_user.or(others.max_waits_per_user),
            queue_timeout_millis: self.queue_timeout_millis.or(others.queue_timeout_millis),
            log: self.log.or(others.log),
        }
    }

    /// The address of the public listener.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)))
    }

    /// Converts the settings into a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a value is out of range or missing, or the data directory cannot be used.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let (connections, overload) = (self.connections()?, self.overload()?);
        let (sign_ups, history) = (self.sign_ups()?, self.history()?);
        let secret = |given: Option<Secret>, name, least, rule| match given {
            Some(secret) if secret.reveal().len() < least => Err(out_of_range(name, rule)),
            given => Ok(given),
        };
        let jwt = |given, name| secret(given, name, 32, "at least 32 characters");
        let internal = |given, name| secret(given, name, 16, "at least 16 characters");
        let jwt_secret = jwt(self.jwt_secret, "jwt_secret")?;
        let jwt_secret_previous = jwt(self.jwt_secret_previous, "jwt_secret_previous")?;
        let internal_token = internal(self.internal_token, "internal_token")?;
        let internal_token_previous =
            internal(self.internal_token_previous, "internal_token_previous")?;
        if self.redis_url.is_some() {
            // With generated secrets, each server would reject the tokens of the others.
            for (name, given) in [("jwt_secret", &jwt_secret), ("internal_token", &internal_token)]
            {
                if given.is_none() {
                    let reason = "all servers and workers with the same Redis must share it";
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
        config.jwt_secret_previous = jwt_secret_previous;
        config.internal_token_previous = internal_token_previous;
        config.cors_origins = self.cors_origins.unwrap_or_default();
        config.trusted_proxies = self.trusted_proxies.unwrap_or_default();
        config.sign_ups = sign_ups;
        if let Some(attempts) = self.failed_logins_per_address {
            if attempts == 0 {
                return Err(out_of_range("failed_logins_per_address", "at least 1"));
            }
            config.sessions.login_throttle_per_address.attempts = attempts;
        }
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
        config.summaries.llm_patience = self.llm_patience.unwrap_or_default();
        if let Some(days) = self.required_days {
            if !(1..=7).contains(&days) {
                return Err(out_of_range("required_days", "1 to 7"));
            }
            config.summaries.required_days = days;
        }
        // 0 is no limit.
        if let Some(limit) = self.max_summaries_per_day {
            config.summaries.max_per_day = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some(limit) = self.max_diaries {
            config.limits.diaries.diaries = Some(limit).filter(|limit| *limit > 0);
        }
        if let Some(limit) = self.max_diary_bytes {
            config.limits.diaries.bytes = Some(limit).filter(|limit| *limit > 0);
        }
        config.limits.history = history;
        config.sessions.secure_cookies = self.secure_cookies.unwrap_or_default();
        config.connections = connections;
        config.overload = overload;
        Ok(config)
    }

    /// Which replaced texts are kept.
    fn history(&self) -> Result<HistoryPolicy, ConfigError> {
        let mut policy = Limits::default().history;
        match self.max_revisions {
            Some(1001..) => return Err(out_of_range("max_revisions", "0 to 1000")),
            given => policy.per_date = given.unwrap_or(policy.per_date),
        }
        match self.revision_days {
            Some(3651..) => return Err(out_of_range("revision_days", "0 to 3650")),
            Some(days) => policy.max_age = Duration::from_hours(24 * u64::from(days)),
            None => {}
        }
        Ok(policy)
    }

    /// Who may create an account.
    fn sign_ups(&self) -> Result<SignUpPolicy, ConfigError> {
        let mut policy = SignUpPolicy::default();
        let codes = self.invitation_codes.as_deref().unwrap_or_default();
        policy.who = match self.signup {
            Some(SignUpMode::Invitation) if codes.is_empty() => {
                let reason = "sign-ups need an invitation code";
                return Err(ConfigError::Required { name: "invitation_codes", reason });
            }
            Some(SignUpMode::Invitation) => SignUps::Invited(codes.to_vec()),
            // Otherwise, an operator could believe that they restrict something.
            _ if !codes.is_empty() => {
                let reason = "invitation codes need the value invitation";
                return Err(ConfigError::Required { name: "signup", reason });
            }
            Some(SignUpMode::Closed) => SignUps::Closed,
            None | Some(SignUpMode::Open) => SignUps::Open,
        };
        if codes.iter().any(|code| code.reveal().chars().count() < 8) {
            return Err(out_of_range("invitation_codes", "at least 8 characters each"));
        }
        match self.signups_per_address {
            Some(0) => return Err(out_of_range("signups_per_address", "at least 1")),
            Some(attempts) => policy.throttle.attempts = attempts,
            None => {}
        }
        Ok(policy)
    }

    /// The limits and timeouts of connections.
    fn connections(&self) -> Result<ConnectionPolicy, ConfigError> {
        let default = ConnectionPolicy::default();
        Ok(ConnectionPolicy {
            head_timeout: seconds("head_timeout_seconds", self.head_timeout_seconds)?
                .unwrap_or(default.head_timeout),
            body_timeout: seconds("body_timeout_seconds", self.body_timeout_seconds)?
                .unwrap_or(default.body_timeout),
            idle_timeout: seconds("idle_timeout_seconds", self.idle_timeout_seconds)?
                .unwrap_or(default.idle_timeout),
            unread_timeout: seconds("unread_timeout_seconds", self.unread_timeout_seconds)?
                .unwrap_or(default.unread_timeout),
            max_connections: at_least_one("max_connections", self.max_connections)?
                .unwrap_or(default.max_connections),
            max_connections_per_address: at_least_one(
                "max_connections_per_address",
                self.max_connections_per_address,
            )?
            .unwrap_or(default.max_connections_per_address),
            max_head_bytes: match self.max_head_bytes {
                Some(bytes) if !(8192..=1 << 20).contains(&bytes) => {
                    return Err(out_of_range("max_head_bytes", "8192 to 1048576"));
                }
                bytes => bytes.unwrap_or(default.max_head_bytes),
            },
            max_streams: match self.max_streams {
                Some(0) => return Err(out_of_range("max_streams", "at least 1")),
                streams => streams.unwrap_or(default.max_streams),
            },
        })
    }

    /// The limits of requests in progress.
    fn overload(&self) -> Result<OverloadPolicy, ConfigError> {
        let default = OverloadPolicy::default();
        Ok(OverloadPolicy {
            max_requests: at_least_one("max_requests", self.max_requests)?
                .unwrap_or(default.max_requests),
            max_requests_per_address: at_least_one(
                "max_requests_per_address",
                self.max_requests_per_address,
            )?
            .unwrap_or(default.max_requests_per_address),
            max_waits: at_least_one("max_waits", self.max_waits)?.unwrap_or(default.max_waits),
            max_waits_per_user: at_least_one("max_waits_per_user", self.max_waits_per_user)?
                .unwrap_or(default.max_waits_per_user),
            queue_timeout: match self.queue_timeout_millis {
                Some(millis) if millis > 10_000 => {
                    return Err(out_of_range("queue_timeout_millis", "0 to 10000"));
                }
                millis => millis.map_or(default.queue_timeout, Duration::from_millis),
            },
        })
    }
}

fn out_of_range(name: &'static str, rule: &'static str) -> ConfigError {
    ConfigError::OutOfRange { name, rule }
}

/// A timeout of 1 second to 1 hour.
fn seconds(name: &'static str, given: Option<u64>) -> Result<Option<Duration>, ConfigError> {
    match given {
        Some(seconds) if !(1..=3600).contains(&seconds) => Err(out_of_range(name, "1 to 3600")),
        given => Ok(given.map(Duration::from_secs)),
    }
}

fn at_least_one(name: &'static str, given: Option<usize>) -> Result<Option<usize>, ConfigError> {
    match given {
        Some(0) => Err(out_of_range(name, "at least 1")),
        given => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::DiaryQuota, summary::SummaryPolicy};

    #[test]
    fn flags_override_the_file_and_the_file_overrides_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("shiori.toml");
        fs::write(
            &path,
            "lease_seconds = 7\nmax_attempts = 2\nllm_patience = \"20m\"\nworker = \"none\"\n\
             cors_origins = [\"https://app.example.com\", \"http://localhost:5173\"]\n",
        )
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
        assert_eq!(config.summaries.llm_patience.get(), Duration::from_secs(20 * 60));
        assert_eq!(config.worker, WorkerMode::None);
        let origins: Vec<_> = config.cors_origins.iter().map(Origin::as_str).collect();
        assert_eq!(origins, ["https://app.example.com", "http://localhost:5173"]);
    }

    #[test]
    fn origins_are_separated_by_commas() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            settings: Settings,
        }
        let origins = |value| {
            let parsed = <Cli as clap::Parser>::try_parse_from(["x", "--cors-origins", value]);
            parsed.map(|cli| cli.settings.cors_origins.unwrap_or_default())
        };
        let found = origins("https://a.example,http://b.example:81").expect("valid");
        let found: Vec<_> = found.iter().map(Origin::as_str).collect();
        assert_eq!(found, ["https://a.example", "http://b.example:81"]);
        for invalid in ["*", "null", "a.example", "https://a.example/", "https://a.example,,"] {
            assert!(origins(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn limits_of_connections_are_set_within_their_range() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = |change: fn(&mut Settings)| {
            let data_dir = Some(dir.path().join("data"));
            let mut settings = Settings { data_dir, ..Settings::default() };
            change(&mut settings);
            settings.into_config().map(|config| config.connections)
        };
        assert_eq!(settings(|_| {}).expect("valid"), ConnectionPolicy::default());
        let set = settings(|settings| {
            settings.body_timeout_seconds = Some(7);
            settings.max_connections = Some(8);
        });
        let expected = ConnectionPolicy {
            body_timeout: Duration::from_secs(7),
            max_connections: 8,
            ..ConnectionPolicy::default()
        };
        assert_eq!(set.expect("valid"), expected);
        for (name, change) in [
            (
                "head_timeout_seconds",
                (|settings| settings.head_timeout_seconds = Some(0)) as fn(&mut Settings),
            ),
            ("unread_timeout_seconds", |settings| settings.unread_timeout_seconds = Some(3601)),
            ("max_connections", |settings| settings.max_connections = Some(0)),
            ("max_head_bytes", |settings| settings.max_head_bytes = Some(8191)),
            ("max_streams", |settings| settings.max_streams = Some(0)),
        ] {
            let error = settings(change).expect_err("out of range").to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_quota_of_zero_is_no_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = |quota: Option<u32>| {
            let settings = Settings {
                data_dir: Some(dir.path().join("data")),
                max_summaries_per_day: quota,
                max_diaries: quota.map(u64::from),
                max_diary_bytes: quota.map(u64::from),
                ..Settings::default()
            };
            let config = settings.into_config().expect("valid");
            (config.summaries.max_per_day, config.limits.diaries)
        };
        let default = (SummaryPolicy::default().max_per_day, Limits::default().diaries);
        assert_eq!(config(None), default);
        assert_eq!(config(Some(0)), (None, DiaryQuota { diaries: None, bytes: None }));
        assert_eq!(config(Some(7)), (Some(7), DiaryQuota { diaries: Some(7), bytes: Some(7) }));
    }

    #[test]
    fn a_history_of_zero_revisions_or_days_is_off() {
        let dir = tempfile::tempdir().expect("a directory");
        let history = |max_revisions, revision_days| {
            let settings = Settings {
                data_dir: Some(dir.path().join("data")),
                max_revisions,
                revision_days,
                ..Settings::default()
            };
            settings.into_config().map(|config| config.limits.history)
        };
        let default = Limits::default().history;
        assert_eq!(history(None, None).expect("valid"), default);
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        let set = history(Some(7), Some(7)).expect("valid");
        assert_eq!((set.per_date, set.max_age, set.is_on()), (7, week, true));
        assert!(!history(Some(0), None).expect("valid").is_on());
        assert!(!history(None, Some(0)).expect("valid").is_on());
        for (revisions, days, name) in
            [(Some(1001), None, "max_revisions"), (None, Some(3651), "revision_days")]
        {
            let error = history(revisions, days).expect_err("out of range").to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn with_redis_secrets_are_required_and_the_default_is_no_worker() {
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
    fn sign_ups_are_open_closed_or_by_invitation() {
        let dir = tempfile::tempdir().expect("a directory");
        let policy = |signup, codes: Option<&[&str]>| {
            let settings = Settings {
                data_dir: Some(dir.path().join("data")),
                signup,
                invitation_codes: codes
                    .map(|codes| codes.iter().map(|code| Secret::from(*code)).collect()),
                ..Settings::default()
            };
            settings.into_config().map(|config| config.sign_ups.who)
        };
        assert!(matches!(policy(None, None), Ok(SignUps::Open)));
        assert!(matches!(policy(Some(SignUpMode::Closed), None), Ok(SignUps::Closed)));
        let invited = policy(Some(SignUpMode::Invitation), Some(&["spring-2026", "autumn-2026"]));
        assert!(matches!(invited, Ok(SignUps::Invited(codes)) if codes.len() == 2));
        for (signup, codes) in [
            (Some(SignUpMode::Invitation), None),
            (Some(SignUpMode::Open), Some(&["spring-2026"][..])),
            (None, Some(&["spring-2026"][..])),
            (Some(SignUpMode::Invitation), Some(&["short"][..])),
        ] {
            let error = policy(signup, codes).expect_err("invalid").to_string();
            assert!(!error.contains("short") && !error.contains("spring"), "{error}");
        }
    }

    #[test]
    fn errors_name_the_setting_and_do_not_show_its_value() {
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
        let error = shared.into_config().expect_err("a missing secret").to_string();
        assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
        let error = settings.into_config().expect_err("short").to_string();
        assert!(error.contains("jwt_secret") && !error.contains("hunter2"), "{error}");
    }
}
