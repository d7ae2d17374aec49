//! The configuration of a server.

mod network;
mod origin;
mod settings;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;
use shiori_sdk::{DocumentLimits, limits};
use shiori_worker::{Clock, Secret, SystemClock};

pub use self::{
    network::{InvalidNetwork, Network},
    origin::{InvalidOrigin, Origin},
    settings::{ConfigError, Settings, SignUpMode},
};
use crate::{
    auth::HashCost,
    in_process_worker,
    secrets::{create_private_dir, load_or_create},
    store::{DiaryQuota, HistoryPolicy, ThrottlePolicy},
    summary::SummaryPolicy,
};

/// The configuration of a server. [`Config::embedded`] sets a default for every field.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the embedded stores.
    pub data_dir: PathBuf,
    /// The database of accounts and summaries: `sqlite:PATH`, or `mysql://…` for MySQL or MariaDB.
    pub database_url: Secret,
    /// Whether the server migrates that database at start. Default: true.
    pub migrate: bool,
    /// The MongoDB of the diaries. Default: none; they are in SQLite.
    pub mongodb_url: Option<Secret>,
    /// The Redis of sessions, queue and wake-ups. Default: none; sessions are in SQLite, and the
    /// queue is in this process.
    pub redis_url: Option<Secret>,
    /// The prefix of all keys in Redis. Default `shiori`.
    pub redis_prefix: String,
    /// The secret that signs tokens.
    pub jwt_secret: Secret,
    /// Another secret, whose tokens are accepted, too: the previous one, or the next one while other
    /// servers already sign with it. Default: none.
    pub jwt_secret_previous: Option<Secret>,
    /// The token that authenticates workers at the internal API.
    pub internal_token: Secret,
    /// Another token that authenticates workers. Default: none.
    pub internal_token_previous: Option<Secret>,
    /// A separate listener for the internal API, `/readyz` and `/metrics`. Default: none; the
    /// public listener serves them.
    pub internal_listen: Option<SocketAddr>,
    /// The origins whose pages may call the API from a browser. Default: none; then only pages of
    /// the server's own origin can call it.
    pub cors_origins: Vec<Origin>,
    /// Where summaries are processed. Default [`WorkerMode::DEFAULT`].
    pub worker: WorkerMode,
    /// Maximum concurrent summaries of the in-process worker. Default 16.
    pub worker_concurrency: usize,
    /// The models of the in-process worker. Default: the built-in ones.
    #[cfg(feature = "embedded")]
    pub pipeline: shiori_worker::Pipeline,
    /// Limits and durations of summaries.
    pub summaries: SummaryPolicy,
    /// Limits and durations of sessions and logins.
    pub sessions: SessionPolicy,
    /// Who may create an account.
    pub sign_ups: SignUpPolicy,
    /// The proxies whose `X-Forwarded-For` determines the address of a client, for the limits of
    /// sign-ins and sign-ups. Default: none; the address is that of the connection.
    pub trusted_proxies: Vec<Network>,
    /// Limits of requests.
    pub limits: Limits,
    /// Limits and timeouts of connections.
    pub connections: ConnectionPolicy,
    /// Limits of requests in progress.
    pub overload: OverloadPolicy,
    /// The cost of a password hash.
    pub hash_cost: HashCost,
    /// How long requests and jobs in progress may take to finish when the server stops. Default 10
    /// s.
    pub drain_timeout: Duration,
    /// The clock. Not used for data in MySQL and Redis, for which all servers use the store's
    /// clock, as measured by each.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// The embedded default: all data in this directory, which is created if missing. Secrets are
    /// generated there on first use.
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

    /// The embedded default with the given secrets. The directory is not created until a store
    /// needs it.
    pub fn with_secrets(data_dir: PathBuf, jwt_secret: Secret, internal_token: Secret) -> Self {
        Self {
            database_url: format!("sqlite:{}", data_dir.join("shiori.db").display()).into(),
            migrate: true,
            mongodb_url: None,
            redis_url: None,
            redis_prefix: "shiori".to_owned(),
            jwt_secret,
            jwt_secret_previous: None,
            internal_token,
            internal_token_previous: None,
            data_dir,
            internal_listen: None,
            cors_origins: Vec::new(),
            worker: WorkerMode::DEFAULT,
            worker_concurrency: 16,
            #[cfg(feature = "embedded")]
            pipeline: shiori_worker::Pipeline::builtin(),
            summaries: SummaryPolicy::default(),
            sessions: SessionPolicy::default(),
            sign_ups: SignUpPolicy::default(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            connections: ConnectionPolicy::default(),
            overload: OverloadPolicy::default(),
            hash_cost: HashCost::default(),
            drain_timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Where summaries are processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerMode {
    /// In a task of this server. Needs the feature `embedded`.
    InProcess,
    /// In other processes.
    None,
}

impl WorkerMode {
    /// [`WorkerMode::InProcess`], or [`WorkerMode::None`] in a build without the feature `embedded`.
    pub const DEFAULT: Self = Self::default_if(in_process_worker::EXISTS);

    /// The default of a build that has a worker or not.
    pub(crate) const fn default_if(worker_exists: bool) -> Self {
        if worker_exists { Self::InProcess } else { Self::None }
    }
}

/// Limits and durations of sessions and logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// The lifetime of an access token. Default 15 min.
    pub access_ttl: Duration,
    /// The time after which a session expires without a refresh. Default 30 days.
    pub refresh_ttl: Duration,
    /// How long a refresh may be repeated with the previous token while none of the new tokens has
    /// been used. Default 24 h.
    pub refresh_repeat: Duration,
    /// How long a refresh may be repeated with the previous token although the new tokens are used,
    /// because a copy of the request may be late. Default 10 s.
    pub refresh_grace: Duration,
    /// Maximum sessions of one user. Default 50.
    pub sessions_per_user: usize,
    /// The limit of failed logins for one account, from each device that has signed in to it before,
    /// and from all other devices at one address (or /64 network of IPv6). Default 10 in 5 min.
    pub login_throttle: ThrottlePolicy,
    /// The limit of failed logins from one address, for all accounts together. Logins of devices that
    /// have signed in before do not count. Default 100 in 5 min.
    pub login_throttle_per_address: ThrottlePolicy,
    /// The limit of failed logins for one account from all addresses together. Logins of devices that
    /// have signed in before do not count. Beyond it, each address has one attempt in the window,
    /// until ten times the limit. Default 100 in 5 min.
    pub login_throttle_per_account: ThrottlePolicy,
    /// Whether cookies are `Secure`. Default: false, for development on the loopback.
    pub secure_cookies: bool,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            access_ttl: limits::ACCESS_TOKEN_TTL,
            refresh_ttl: limits::SESSION_TTL,
            refresh_repeat: limits::REFRESH_REPEAT,
            refresh_grace: limits::REFRESH_GRACE,
            sessions_per_user: 50,
            login_throttle: ThrottlePolicy {
                attempts: limits::MAX_LOGIN_ATTEMPTS,
                window: limits::LOGIN_WINDOW,
            },
            login_throttle_per_address: ThrottlePolicy {
                attempts: 100,
                window: limits::LOGIN_WINDOW,
            },
            login_throttle_per_account: ThrottlePolicy {
                attempts: 100,
                window: limits::LOGIN_WINDOW,
            },
            secure_cookies: false,
        }
    }
}

/// Who may create an account, and how many.
#[derive(Debug, Clone)]
pub struct SignUpPolicy {
    /// Who may create an account. Default [`SignUps::Open`].
    pub who: SignUps,
    /// The limit of attempts from one address, or one /64 network of IPv6, also of those with a
    /// wrong invitation code or a taken e-mail address. Default 100 per hour.
    pub throttle: ThrottlePolicy,
}

impl Default for SignUpPolicy {
    fn default() -> Self {
        let throttle = ThrottlePolicy { attempts: 100, window: Duration::from_hours(1) };
        Self { who: SignUps::Open, throttle }
    }
}

/// Who may create an account.
#[derive(Debug, Clone)]
pub enum SignUps {
    /// Everybody.
    Open,
    /// Nobody.
    Closed,
    /// Those with one of these invitation codes. A code can be used any number of times.
    Invited(Vec<Secret>),
}

/// Limits of requests and of what they store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum bytes of a body. Default 1 MiB.
    pub body_bytes: usize,
    /// Maximum depth and size of a document.
    pub document: DocumentLimits,
    /// Maximum characters of a title (extended grapheme clusters after NFC). Default 50.
    pub title_chars: usize,
    /// What one user may store. Default: 36,525 diaries, and 1 GiB of documents.
    pub diaries: DiaryQuota,
    /// Which replaced and deleted texts are kept. Default: 50 for each date, for 30 days.
    pub history: HistoryPolicy,
    /// Maximum days of a listing. Default 366.
    pub range_days: u32,
    /// The longest wait of a long-poll. Default 30 s.
    pub max_wait: Duration,
    /// The timeout of a request, after which the response is 503. The wait of a long-poll is added;
    /// an open event stream has no timeout. Default 15 s.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: limits::MAX_BODY_BYTES,
            document: DocumentLimits::default(),
            title_chars: limits::MAX_TITLE_CHARS,
            diaries: DiaryQuota {
                diaries: Some(limits::MAX_DIARIES),
                bytes: Some(limits::MAX_DIARY_BYTES),
            },
            history: HistoryPolicy {
                per_date: limits::MAX_REVISIONS,
                max_age: limits::REVISION_TTL,
            },
            range_days: limits::MAX_RANGE_DAYS,
            max_wait: limits::MAX_LONG_POLL,
            request_timeout: Duration::from_secs(15),
        }
    }
}

/// Limits and timeouts of the connections of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionPolicy {
    /// The timeout of a request's head, counted from its first byte; for the first request of a
    /// connection, from the start of the connection. Default 15 s; 1 s if more than three quarters
    /// of [`ConnectionPolicy::max_connections`] are open.
    pub head_timeout: Duration,
    /// The timeout of a request's body, after which the response is 408. Default 30 s.
    pub body_timeout: Duration,
    /// The time after which a connection without a request is closed. Default 120 s; 1 s if more
    /// than three quarters of [`ConnectionPolicy::max_connections`] are open. The default is longer
    /// than clients and load balancers usually keep connections, so that they close them first and
    /// do not send requests on closed ones.
    pub idle_timeout: Duration,
    /// The time after which a connection is closed if the client reads nothing, or almost nothing,
    /// of its response. Default 30 s; 1 s if 48 MiB of long responses are unsent, or the server is
    /// stopping.
    pub unread_timeout: Duration,
    /// Maximum open connections. Default 10,000; fewer if the limit of open files does not permit
    /// them.
    pub max_connections: usize,
    /// Maximum open connections from one address, or one /64 network of IPv6. Default 2,000.
    pub max_connections_per_address: usize,
    /// Maximum bytes of the request line and headers, at least 8 KiB. Default 64 KiB.
    pub max_head_bytes: usize,
    /// Maximum concurrent requests on one HTTP/2 connection. Default 100.
    pub max_streams: u32,
}

impl ConnectionPolicy {
    /// The minimum of `max_head_bytes`, because buffers have this size.
    pub(crate) const MIN_HEAD_BYTES: usize = 8 << 10;

    /// The shortest of the timeouts that the listener checks regularly.
    pub(crate) fn shortest_timeout(&self) -> Duration {
        self.head_timeout.min(self.idle_timeout).min(self.unread_timeout)
    }
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            unread_timeout: Duration::from_secs(30),
            max_connections: 10_000,
            max_connections_per_address: 2_000,
            max_head_bytes: 64 << 10,
            max_streams: 100,
        }
    }
}

/// Limits of requests in progress. Beyond them, requests get 503 with `Retry-After` before any work is
/// done. Requests for health, metrics and the API's description have no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverloadPolicy {
    /// Maximum requests in progress, from their admission to the head of their response. Default
    /// 512. Up to 16 times as many may wait for admission, half of them from one address. Addresses
    /// take turns. The requests of workers have a separate limit with this value.
    pub max_requests: usize,
    /// Maximum requests in progress from one address, or one /64 network of IPv6. Default 128.
    pub max_requests_per_address: usize,
    /// Maximum long-polls in progress. Default 4,096.
    pub max_waits: usize,
    /// Maximum long-polls and event streams of one user in progress. Further ones get 429. Default
    /// 128, four times the unfinished summaries that a user may have.
    pub max_waits_per_user: usize,
    /// How long a request may wait for admission. Default 500 ms.
    pub queue_timeout: Duration,
}

impl Default for OverloadPolicy {
    fn default() -> Self {
        Self {
            max_requests: 512,
            max_requests_per_address: 128,
            max_waits: 4096,
            max_waits_per_user: 128,
            queue_timeout: Duration::from_millis(500),
        }
    }
}
