//! Settings from flags, the environment and a file, in this order of precedence.

mod check;
mod conversion;
mod error;
#[cfg(test)]
mod tests;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use shiori_worker::{LogFormat, Patience, Secret};

pub use self::error::ConfigError;
use super::{Network, Origin, WorkerMode};

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
    /// File with the URL of the database
    #[arg(long, env = "SHIORI_DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// Migrate that database at start [default: true]
    #[arg(long, env = "SHIORI_MIGRATE")]
    pub migrate: Option<bool>,
    /// MongoDB of the diaries, mongodb://… [default: SQLite in the data directory]
    #[arg(long, env = "SHIORI_MONGODB_URL", hide_env_values = true)]
    pub mongodb_url: Option<Secret>,
    /// File with the URL of the MongoDB
    #[arg(long, env = "SHIORI_MONGODB_URL_FILE")]
    pub mongodb_url_file: Option<PathBuf>,
    /// Redis of sessions and queue, redis://…, redis+cluster://… or redis+sentinel://…
    /// [default: SQLite, and a queue in the process]
    #[arg(long, env = "SHIORI_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
    /// File with the URL of the Redis
    #[arg(long, env = "SHIORI_REDIS_URL_FILE")]
    pub redis_url_file: Option<PathBuf>,
    /// Prefix of all keys in Redis [default: shiori]
    #[arg(long, env = "SHIORI_REDIS_PREFIX")]
    pub redis_prefix: Option<String>,
    /// Secret that signs the tokens [default: generated in the data directory]
    #[arg(long, env = "SHIORI_JWT_SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,
    /// File with the secret that signs the tokens
    #[arg(long, env = "SHIORI_JWT_SECRET_FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// Another secret whose tokens are accepted, while the secret is changed [default: none]
    #[arg(long, env = "SHIORI_JWT_SECRET_PREVIOUS", hide_env_values = true)]
    pub jwt_secret_previous: Option<Secret>,
    /// File with the other secret whose tokens are accepted
    #[arg(long, env = "SHIORI_JWT_SECRET_PREVIOUS_FILE")]
    pub jwt_secret_previous_file: Option<PathBuf>,
    /// Token that authenticates workers [default: generated in the data directory]
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<Secret>,
    /// File with the token that authenticates workers
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN_FILE")]
    pub internal_token_file: Option<PathBuf>,
    /// Another token that authenticates workers, while the token is changed [default: none]
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN_PREVIOUS", hide_env_values = true)]
    pub internal_token_previous: Option<Secret>,
    /// File with the other token that authenticates workers
    #[arg(long, env = "SHIORI_INTERNAL_TOKEN_PREVIOUS_FILE")]
    pub internal_token_previous_file: Option<PathBuf>,
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
    /// File with the invitation codes, separated by commas or line breaks
    #[arg(long, env = "SHIORI_INVITATION_CODES_FILE")]
    pub invitation_codes_file: Option<PathBuf>,
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
    /// Format of the log: text, or json for one object per line [default: text]
    #[arg(long, env = "SHIORI_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
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
            database_url_file: self.database_url_file.or(others.database_url_file),
            migrate: self.migrate.or(others.migrate),
            mongodb_url: self.mongodb_url.or(others.mongodb_url),
            mongodb_url_file: self.mongodb_url_file.or(others.mongodb_url_file),
            redis_url: self.redis_url.or(others.redis_url),
            redis_url_file: self.redis_url_file.or(others.redis_url_file),
            redis_prefix: self.redis_prefix.or(others.redis_prefix),
            jwt_secret: self.jwt_secret.or(others.jwt_secret),
            jwt_secret_file: self.jwt_secret_file.or(others.jwt_secret_file),
            jwt_secret_previous: self.jwt_secret_previous.or(others.jwt_secret_previous),
            jwt_secret_previous_file: self
                .jwt_secret_previous_file
                .or(others.jwt_secret_previous_file),
            internal_token: self.internal_token.or(others.internal_token),
            internal_token_file: self.internal_token_file.or(others.internal_token_file),
            internal_token_previous: self
                .internal_token_previous
                .or(others.internal_token_previous),
            internal_token_previous_file: self
                .internal_token_previous_file
                .or(others.internal_token_previous_file),
            internal_listen: self.internal_listen.or(others.internal_listen),
            cors_origins: self.cors_origins.or(others.cors_origins),
            trusted_proxies: self.trusted_proxies.or(others.trusted_proxies),
            signup: self.signup.or(others.signup),
            invitation_codes: self.invitation_codes.or(others.invitation_codes),
            invitation_codes_file: self.invitation_codes_file.or(others.invitation_codes_file),
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
            log_format: self.log_format.or(others.log_format),
        }
    }

    /// The address of the public listener.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}
