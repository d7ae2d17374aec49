//! The Redis client of servers and workers: a single server, a cluster, or a master behind sentinels.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisFuture, RedisResult, Script, ScriptInvocation, ServerErrorKind, TlsMode, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig, PubSub},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    io::tcp::TcpSettings,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{RemoteTime, TimeReading, queue::QueueError};

/// Timeout for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout for establishing a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// `TCP_USER_TIMEOUT`: how long sent data may stay unacknowledged before the connection is closed.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// A Redis client. Clones share one connection, which is re-established after it breaks. `Debug` does
/// not show the password.
///
/// | URL | target |
/// |---|---|
/// | `redis://[[user]:password@]host[:port][/db]` | a single server |
/// | `redis+cluster://[[user]:password@]host:port[,host:port…]` | a cluster, given some of its nodes |
/// | `redis+sentinel://[[user]:password@]host:port[,host:port…]/master[/db]` | the master of this name, given its sentinels; user and password are the master's |
///
/// The scheme `rediss` instead of `redis` selects TLS.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    target: Target,
    prefix: String,
    shared: Mutex<Shared>,
    failures: AtomicU64,
}

/// The connection of all commands that do not block.
#[derive(Default)]
struct Shared {
    connection: Option<Connection>,
    /// Increased when the connection is dropped, so that commands that fail later on the old one do
    /// not drop the new one.
    generation: u64,
}

enum Target {
    One(Box<Client>),
    Cluster { client: Box<ClusterClient>, seeds: Vec<Client> },
    Sentinel(Box<Mutex<SentinelClient>>),
}

/// The URL is not valid. The error does not show it, because it may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid Redis URL")]
#[non_exhaustive]
pub struct InvalidRedisUrl;

/// A Redis command failed. Neither keys nor values are shown.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Redis command failed: {kind}")]
#[non_exhaustive]
pub struct RedisError {
    kind: String,
}

impl RedisError {
    fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into() }
    }

    pub(crate) fn timed_out() -> Self {
        Self::new("timed out")
    }
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        // The rest of the error may quote the command.
        Self::new(match (error.code(), error.is_timeout()) {
            (_, true) => "timed out".to_owned(),
            (Some(code), _) => code.to_owned(),
            (None, _) => format!("{:?}", error.kind()),
        })
    }
}

/// The clock of a Redis server; in a cluster, of the node that has a key.
#[derive(Debug, Clone)]
pub struct RedisTime {
    redis: Redis,
    key: String,
}

impl RedisTime {
    /// The clock of the node that has the key of this name.
    pub fn new(redis: Redis, name: &str) -> Self {
        Self { key: redis.key(name), redis }
    }
}

/// `TIME` on the node of a key. In a cluster, a plain `TIME` may go to another node.
static READ_TIME: LazyLock<Script> = LazyLock::new(|| Script::new("return redis.call('TIME')"));

#[async_trait]
impl RemoteTime for RedisTime {
    async fn read(&self) -> Result<TimeReading, Box<dyn std::error::Error + Send + Sync>> {
        let sent = Instant::now();
        let (seconds, micros): (i64, i64) =
            self.redis.invoke(&READ_TIME.key(self.key.as_str())).await?;
        let unix_micros = seconds.saturating_mul(1_000_000).saturating_add(micros);
        Ok(TimeReading { unix_micros, sent, received: Instant::now() })
    }
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Redis {
    /// A client for this URL. All keys start with `prefix`, so that several systems can share a Redis.
    /// Connects on first use.
    ///
    /// # Errors
    ///
    /// [`InvalidRedisUrl`] if the URL is invalid, or requires TLS and this build has none.
    pub fn new(url: &str, prefix: &str) -> Result<Self, InvalidRedisUrl> {
        let target = Target::parse(url)?;
        let prefix = prefix.to_owned();
        let failures = AtomicU64::new(0);
        Ok(Self(Arc::new(Inner { target, prefix, shared: Mutex::default(), failures })))
    }

    /// The number of commands and scripts that failed, including those of clones of this client.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    fn counted<T>(&self, response: RedisResult<T>) -> Result<T, RedisError> {
        response.map_err(|error| {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
            error.into()
        })
    }

    /// The key of this name. A part in braces is the hash tag that selects the slot in a cluster.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.0.prefix)
    }

    /// Sends a command over the shared connection. It is sent again over a new one if the server is no
    /// longer the master, because it was not run then.
    ///
    /// # Errors
    ///
    /// [`RedisError`].
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        self.counted(self.send(command, is_demoted).await)
    }

    /// Sends an idempotent command over the shared connection. It is also sent again over a new one if
    /// the connection breaks.
    ///
    /// # Errors
    ///
    /// [`RedisError`].
    pub async fn query_idempotent<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        let is_repeated = |error: &_| is_demoted(error) || is_disconnected(error);
        self.counted(self.send(command, is_repeated).await)
    }

    /// Runs a script over the shared connection. It is run again over a new one if the server is no
    /// longer the master, because it had no effect then.
    ///
    /// # Errors
    ///
    /// [`RedisError`].
    pub async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        self.counted(self.run(script, is_demoted).await)
    }

    /// Runs an idempotent script over the shared connection. It is also run again over a new one if the
    /// connection breaks.
    ///
    /// # Errors
    ///
    /// [`RedisError`].
    pub async fn invoke_idempotent<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        let is_repeated = |error: &_| is_demoted(error) || is_disconnected(error);
        self.counted(self.run(script, is_repeated).await)
    }

    async fn send<T: FromRedisValue>(
        &self,
        command: &Cmd,
        is_repeated_after: impl Fn(&redis::RedisError) -> bool,
    ) -> RedisResult<T> {
        let send = async || {
            let (mut connection, generation) = self.connection().await?;
            self.check(command.query_async(&mut connection).await, generation).await
        };
        match send().await {
            Err(error) if is_repeated_after(&error) => send().await,
            response => response,
        }
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        is_repeated_after: impl Fn(&redis::RedisError) -> bool,
    ) -> RedisResult<T> {
        let run = async || {
            let (mut connection, generation) = self.connection().await?;
            self.check(script.invoke_async(&mut connection).await, generation).await
        };
        match run().await {
            Err(error) if is_repeated_after(&error) => run().await,
            response => response,
        }
    }

    /// A separate connection for blocking commands, without a response timeout: the caller sets one.
    pub(crate) async fn blocking(&self) -> Result<Connection, RedisError> {
        Ok(self.0.target.connect(None).await?)
    }

    /// A connection for subscriptions. In a cluster, messages published on any node reach all nodes.
    ///
    /// # Errors
    ///
    /// [`RedisError`].
    pub async fn listen(&self) -> Result<PubSub, RedisError> {
        match &self.0.target {
            Target::One(client) => listen(client).await,
            Target::Sentinel(sentinel) => listen(&master(sentinel).await?).await,
            Target::Cluster { seeds, .. } => {
                let mut failed = RedisError::new("no node responded");
                for seed in seeds {
                    match listen(seed).await {
                        Ok(listening) => return Ok(listening),
                        Err(error) => failed = error,
                    }
                }
                Err(failed)
            }
        }
    }

    /// Checks that Redis is available.
    ///
    /// # Errors
    ///
    /// [`RedisError`] if it is not.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.query_idempotent::<Value>(&redis::cmd("PING")).await.map(drop)
    }

    async fn connection(&self) -> RedisResult<(Connection, u64)> {
        let mut shared = self.0.shared.lock().await;
        if let Some(connection) = &shared.connection {
            return Ok((connection.clone(), shared.generation));
        }
        let connection = self.0.target.connect(Some(RESPONSE_TIMEOUT)).await?;
        shared.connection = Some(connection.clone());
        Ok((connection, shared.generation))
    }

    /// Drops the connection of this generation after an error that it would repeat. The next command
    /// connects anew: it resolves the name of the server, or asks the sentinels for the master.
    async fn check<T>(&self, response: RedisResult<T>, generation: u64) -> RedisResult<T> {
        if let Err(error) = &response
            && (is_demoted(error) || self.0.target.is_lost(error))
        {
            let mut shared = self.0.shared.lock().await;
            if shared.generation == generation {
                *shared = Shared { connection: None, generation: generation.wrapping_add(1) };
            }
        }
        response
    }

    /// The response to a blocking command on a connection that is not shared. If its server is no
    /// longer the master, the shared connection is dropped, too.
    pub(crate) async fn check_blocking<T>(
        &self,
        response: RedisResult<T>,
    ) -> Result<T, RedisError> {
        let generation = self.0.shared.lock().await.generation;
        self.counted(self.check(response, generation).await)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.target {
            Target::One(_) => "one",
            Target::Cluster { .. } => "cluster",
            Target::Sentinel(_) => "sentinel",
        };
        f.debug_struct("Redis")
            .field("kind", &kind)
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}

impl Target {
    fn parse(url: &str) -> Result<Self, InvalidRedisUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidRedisUrl)?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(base, "redis" | "rediss") {
            return Err(InvalidRedisUrl);
        }
        if kind.is_empty() {
            return client(url).map(|client| Self::One(Box::new(client)));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let each = |path: &str| -> Result<Vec<ConnectionInfo>, InvalidRedisUrl> {
            let info = |host| connection_info(&format!("{base}://{credentials}{host}{path}"));
            hosts.split(',').map(info).collect()
        };
        match kind {
            "cluster" if path.is_empty() => {
                let nodes = each("")?;
                let seeds = nodes
                    .iter()
                    .map(|node| Client::open(node.clone()).map_err(|_| InvalidRedisUrl))
                    .collect::<Result<_, _>>()?;
                let client = ClusterClientBuilder::new(nodes)
                    .tcp_settings(tcp_settings())
                    .connection_timeout(CONNECTION_TIMEOUT)
                    .response_timeout(RESPONSE_TIMEOUT)
                    .retries(3)
                    .build()
                    .map_err(|_| InvalidRedisUrl)?;
                Ok(Self::Cluster { client: Box::new(client), seeds })
            }
            "sentinel" => {
                let (name, db) = path.split_once('/').unwrap_or((path, "0"));
                if name.is_empty() {
                    return Err(InvalidRedisUrl);
                }
                sentinel(&each("")?, name, db).map(|client| Self::Sentinel(Box::new(client.into())))
            }
            _ => Err(InvalidRedisUrl),
        }
    }

    /// Whether the connection does not recover by itself from this error. The connection of a single
    /// server is re-established when it breaks, but not when it no longer responds: a proxy may keep a
    /// connection open whose server has vanished. That of a cluster manages the ones to its nodes.
    fn is_lost(&self, error: &redis::RedisError) -> bool {
        match self {
            Self::One(_) => error.is_timeout(),
            Self::Sentinel(_) => error.is_timeout() || error.is_unrecoverable_error(),
            Self::Cluster { .. } => false,
        }
    }

    async fn connect(&self, response_timeout: Option<Duration>) -> RedisResult<Connection> {
        let client = match self {
            Self::One(client) => Client::clone(client),
            Self::Sentinel(sentinel) => master(sentinel).await?,
            Self::Cluster { client, .. } => {
                let config = redis::cluster::ClusterConfig::new()
                    .set_connection_timeout(CONNECTION_TIMEOUT)
                    // A cluster connection always has a timeout, so it must be longer than any
                    // blocking command.
                    .set_response_timeout(response_timeout.unwrap_or(Duration::from_secs(60)));
                let connection = client.get_async_connection_with_config(config).await?;
                return Ok(Connection::Cluster(Box::new(connection)));
            }
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(response_timeout)
            // Callers retry; requests should fail fast while Redis is unavailable.
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(100))
            .set_max_delay(Duration::from_millis(500));
        ConnectionManager::new_lazy_with_config(client, config).map(Connection::Managed)
    }
}

fn sentinel(
    sentinels: &[ConnectionInfo],
    name: &str,
    db: &str,
) -> Result<SentinelClient, InvalidRedisUrl> {
    let first = sentinels.first().ok_or(InvalidRedisUrl)?;
    let db = db.parse().map_err(|_| InvalidRedisUrl)?;
    let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)
        .map_err(|_| InvalidRedisUrl)?
        .set_client_to_redis_db(db)
        .set_client_to_redis_tcp_settings(tcp_settings())
        .set_client_to_sentinel_tcp_settings(tcp_settings());
    if matches!(first.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    let settings = first.redis_settings();
    if let Some(username) = settings.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    builder.build().map_err(|_| InvalidRedisUrl)
}

async fn master(sentinel: &Mutex<SentinelClient>) -> RedisResult<Client> {
    let client = async { sentinel.lock().await.async_get_client().await };
    timeout(CONNECTION_TIMEOUT, client).await.unwrap_or_else(|_| {
        Err(redis::RedisError::from((ErrorKind::Io, "no sentinel responded in time")))
    })
}

async fn listen(client: &Client) -> Result<PubSub, RedisError> {
    match timeout(CONNECTION_TIMEOUT, client.get_async_pubsub()).await {
        Ok(listening) => Ok(listening?),
        Err(_) => Err(RedisError::timed_out()),
    }
}

fn client(url: &str) -> Result<Client, InvalidRedisUrl> {
    Client::open(connection_info(url)?).map_err(|_| InvalidRedisUrl)
}

fn connection_info(url: &str) -> Result<ConnectionInfo, InvalidRedisUrl> {
    let info = url.into_connection_info().map_err(|_| InvalidRedisUrl)?;
    Ok(info.set_tcp_settings(tcp_settings()))
}

fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

/// Whether the connection broke, so that a command may or may not have been run.
fn is_disconnected(error: &redis::RedisError) -> bool {
    error.is_connection_dropped() && !error.is_timeout()
}

/// Whether the server is not the master, or an isolated one. It keeps its connections open. The command
/// was not run.
fn is_demoted(error: &redis::RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => true,
        // The second is the response to a blocked command when its master becomes a replica.
        _ => matches!(error.code(), Some("NOREPLICAS" | "UNBLOCKED")),
    }
}

/// A connection to a single server or a cluster.
#[derive(Clone)]
pub(crate) enum Connection {
    Managed(ConnectionManager),
    Cluster(Box<ClusterConnection>),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Managed(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Managed(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Managed(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server that responds to each command with this error. Returns its URL and the number of its
    /// connections so far.
    async fn failing_server(error: &'static str) -> (String, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("an address"));
        let accepted = Arc::new(AtomicU32::new(0));
        let count = accepted.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while let Ok(length @ 1..) = client.read(&mut buffer).await {
                        // Each command is an array. Those of the connection itself succeed.
                        let commands = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        for command in commands.split('*').skip(1) {
                            let is_setup = command.contains("CLIENT");
                            let response =
                                if is_setup { "+OK\r\n".into() } else { format!("-{error}\r\n") };
                            if client.write_all(response.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        (url, accepted)
    }

    #[tokio::test]
    async fn a_server_that_is_not_the_master_loses_its_connection() {
        for (error, is_reconnected) in [
            ("READONLY You can't write against a read only replica.", true),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                true,
            ),
            ("NOREPLICAS Not enough good replicas to write.", true),
            ("LOADING Redis is loading the dataset in memory", false),
            ("TRYAGAIN Multiple keys request during rehashing of slot", false),
            ("CLUSTERDOWN The cluster is down", false),
            ("BUSY Redis is busy running a script.", false),
        ] {
            let (url, accepted) = failing_server(error).await;
            let redis = Redis::new(&url, "shiori").expect("a URL");
            for _ in 0..2 {
                let failed = redis.query::<()>(&redis::cmd("PING")).await.expect_err(error);
                let code = error.split(' ').next().expect("a code");
                assert_eq!(failed.to_string(), format!("Redis command failed: {code}"));
            }
            // Each is repeated once.
            let expected = if is_reconnected { 4 } else { 1 };
            assert_eq!(accepted.load(Ordering::SeqCst), expected, "{error}");
        }
    }

    #[test]
    fn urls_select_a_server_a_cluster_or_a_master() {
        for (url, kind) in [
            ("redis://localhost", "one"),
            ("redis://:hunter2@localhost:6380/3", "one"),
            ("redis+cluster://a:1,b:2,c:3", "cluster"),
            ("redis+cluster://user:hunter2@a:1,b:2", "cluster"),
            ("redis+sentinel://a:1,b:2/mymaster", "sentinel"),
            ("redis+sentinel://:hunter2@a:1/mymaster/2", "sentinel"),
        ] {
            let debug = format!("{:?}", Redis::new(url, "shiori").expect(url));
            assert!(debug.contains(kind) && !debug.contains("hunter2"), "{url}: {debug}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected_and_not_shown() {
        for url in [
            "",
            "localhost",
            "http://:hunter2@localhost",
            "redis+tower://:hunter2@localhost",
            "redis+cluster://",
            "redis+cluster://a:1/path",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/mymaster/x",
            "redis://a:hunter2",
        ] {
            let error = Redis::new(url, "shiori").expect_err(url);
            assert!(!format!("{error:?} {error}").contains("hunter2"));
        }
    }
}
