//! A cluster of servers and workers with its own databases. Each test has one, on the engines that
//! `scripts/test.sh` starts.

use std::{process::Stdio, time::Duration};

use reqwest::Url;
use shiori_sdk::{Client, Draft, Precondition, SummaryHandle, Week};
use shiori_server::{Config, HashCost, Server, WorkerMode};
use sqlx::{Connection, MySqlConnection, MySqlPool, mysql::MySqlPoolOptions};
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    fake_llm::FakeLlm,
    fixtures::{PASSWORD, day, fresh_email, new_client, wait_until},
    process::Process,
    test_log::test_log,
};

const JWT_SECRET: &str = "a secret that all servers of a cluster share";
const INTERNAL_TOKEN: &str = "a token for the workers of a cluster";

/// A MySQL database, a MongoDB database and a key prefix in Redis, shared by servers and workers.
pub struct TestCluster {
    name: String,
    pub mysql: Url,
    pub mongodb: Url,
    pub redis: String,
    admin: MySqlPool,
}

impl TestCluster {
    pub async fn create() -> Self {
        test_log();
        let name = format!("shiori_test_{}", Uuid::new_v4().simple());
        let of = |variable: &str| {
            let url = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"));
            let mut url = Url::parse(&url).unwrap();
            url.set_path(&name);
            url
        };
        let admin = MySqlPoolOptions::new()
            .max_connections(2)
            .connect(&std::env::var("SHIORI_TEST_MYSQL_URL").unwrap())
            .await
            .unwrap();
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&admin).await.unwrap();
        let redis = std::env::var("SHIORI_TEST_REDIS_URL").unwrap();
        let (mysql, mongodb) = (of("SHIORI_TEST_MYSQL_URL"), of("SHIORI_TEST_MONGODB_URL"));
        Self { name, mysql, mongodb, redis, admin }
    }

    /// Drops the databases. Keys in Redis expire.
    pub async fn drop_databases(self) {
        let drop = format!("DROP DATABASE {}", self.name);
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&self.admin).await.unwrap();
        let mongodb = mongodb::Client::with_uri_str(self.mongodb.as_str()).await.unwrap();
        mongodb.database(&self.name).drop().await.unwrap();
    }

    /// The configuration of a server: no worker, one required day, and a short hint timeout.
    pub fn config(&self) -> Config {
        let nowhere = "/nonexistent/nothing-is-kept-here".into();
        let mut config = Config::with_secrets(nowhere, JWT_SECRET.into(), INTERNAL_TOKEN.into());
        config.database_url = self.mysql.as_str().into();
        config.mongodb_url = Some(self.mongodb.as_str().into());
        config.redis_url = Some(self.redis.as_str().into());
        config.redis_prefix.clone_from(&self.name);
        config.hash_cost = HashCost::MINIMAL;
        config.worker = WorkerMode::None;
        config.summaries.required_days = 1;
        config.summaries.hint_timeout = Duration::from_secs(1);
        config.summaries.first_backoff = Duration::from_millis(100);
        config
    }

    /// A server in this process.
    pub async fn server(&self, change: impl FnOnce(&mut Config)) -> ClusterServer {
        let mut config = self.config();
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await.unwrap();
        ClusterServer { server, shutdown }
    }

    /// A server in its own process.
    pub async fn server_process(&self, lease_seconds: u32) -> Process {
        Process::server(&[
            ("SHIORI_DATABASE_URL", self.mysql.as_str()),
            ("SHIORI_MONGODB_URL", self.mongodb.as_str()),
            ("SHIORI_REDIS_URL", &self.redis),
            ("SHIORI_REDIS_PREFIX", &self.name),
            ("SHIORI_JWT_SECRET", JWT_SECRET),
            ("SHIORI_INTERNAL_TOKEN", INTERNAL_TOKEN),
            ("SHIORI_REQUIRED_DAYS", "1"),
            ("SHIORI_LEASE_SECONDS", &lease_seconds.to_string()),
        ])
        .await
    }

    /// A worker in its own process.
    pub async fn worker(&self, server: &str, llm: &FakeLlm) -> Process {
        self.worker_with_token(server, llm, INTERNAL_TOKEN).await
    }

    /// A worker with this service token.
    pub async fn worker_with_token(&self, server: &str, llm: &FakeLlm, token: &str) -> Process {
        Process::worker(&[
            ("SHIORI_SERVER_URL", server),
            ("SHIORI_REDIS_URL", &self.redis),
            ("SHIORI_REDIS_PREFIX", &self.name),
            ("SHIORI_INTERNAL_TOKEN", token),
            ("SHIORI_WORKER_CONCURRENCY", "200"),
            ("SHIORI_DRAIN_SECONDS", "30"),
            ("SHIORI_LLM_MODEL", "test-model"),
            ("OPENAI_BASE_URL", llm.url()),
        ])
        .await
    }

    /// The count that a statement on the MySQL database returns.
    pub async fn count(&self, statement: &'static str) -> i64 {
        let mut connection = self.admin.acquire().await.unwrap();
        let switch = format!("USE {}", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(switch)).execute(&mut *connection).await.unwrap();
        sqlx::query_scalar(statement).fetch_one(&mut *connection).await.unwrap()
    }

    pub async fn run(&self, statement: &str) {
        let mut connection = self.admin.acquire().await.unwrap();
        let switch = format!("USE {}", self.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(switch)).execute(&mut *connection).await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&mut *connection).await.unwrap();
    }

    /// Locks the summary tables until the connection is dropped.
    pub async fn lock_summaries(&self) -> MySqlConnection {
        let mut connection = MySqlConnection::connect(self.mysql.as_str()).await.unwrap();
        let lock = sqlx::raw_sql("LOCK TABLES summary WRITE, summary_user WRITE");
        lock.execute(&mut connection).await.unwrap();
        connection
    }

    /// The number of requests that wait for the lock.
    pub async fn blocked_requests(&self) -> i64 {
        self.count(
            "SELECT COUNT(*) FROM information_schema.processlist
             WHERE db = DATABASE() AND state LIKE '%lock%' AND info LIKE '%FROM reflection%'",
        )
        .await
    }

    /// The token of the internal API of all servers.
    pub fn internal_token() -> &'static str {
        INTERNAL_TOKEN
    }

    pub fn prefix(&self) -> &str {
        &self.name
    }
}

/// A server of the cluster, in this process.
pub struct ClusterServer {
    server: Server,
    shutdown: CancellationToken,
}

impl ClusterServer {
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.server.stopped().await.unwrap();
    }
}

/// Signs up a new user. Returns a signed-in client for each server.
pub async fn sign_up_on(servers: &[&str]) -> Vec<Client> {
    let email = fresh_email();
    let mut devices = Vec::new();
    for server in servers {
        let device = new_client(server);
        if devices.is_empty() {
            device.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
        }
        device.auth().login(&email, PASSWORD).await.unwrap();
        devices.push(device);
    }
    devices
}

/// Writes four diaries and requests the summaries of `count` weeks, at most 28.
pub async fn request_summaries(client: &Client, count: u8) -> Vec<SummaryHandle> {
    for date in [day(1), day(8), day(15), day(22)] {
        let text = format!("{date}에는 산책을 했다. 바람이 시원해서 즐거웠다.");
        let draft = Draft::new("하루", shiori_sdk::Document::from_text(&text));
        client.diaries().save(date, draft, Precondition::IfAbsent).send().await.unwrap();
    }
    let mut handles = Vec::new();
    for nth in 0..count {
        let start = day(1).plus_days(i64::from(nth) - 6).unwrap();
        let week = Week::starting(start).unwrap();
        handles.push(client.summaries().request(week).await.unwrap().into_handle().unwrap());
    }
    handles
}

/// A Redis process of one test, which can be killed and restarted.
pub struct PrivateRedis {
    process: Option<tokio::process::Child>,
    port: u16,
    /// A replica stores there what it receives.
    dir: tempfile::TempDir,
    /// The first arguments.
    arguments: Vec<String>,
}

impl PrivateRedis {
    pub async fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), Vec::new()).await
    }

    /// A sentinel of a master, which it calls `shiori`.
    pub async fn sentinel(master: &Self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sentinel.conf");
        let monitor = format!("sentinel monitor shiori 127.0.0.1 {} 1\n", master.port);
        std::fs::write(&file, monitor).unwrap();
        let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        Self::start_with(dir, arguments).await
    }

    async fn start_with(dir: tempfile::TempDir, arguments: Vec<String>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut redis = Self { process: None, port, dir, arguments };
        redis.restart().await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a signal, e.g. `-STOP`.
    pub async fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().and_then(tokio::process::Child::id).unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// SIGKILL; its data is lost.
    pub async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// Restarts it without data on the same port.
    pub async fn restart(&mut self) {
        let port = self.port.to_string();
        let run = |program: &str| {
            Command::new(program)
                // `redis-check-rdb` is the same binary under another name.
                .arg0("redis-server")
                .args(&self.arguments)
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"])
                .arg(self.dir.path())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        };
        let process = run("redis-server").or_else(|_| run("redis-check-rdb"));
        self.process = Some(process.expect("Redis is installed"));
        wait_until("Redis is available", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
        })
        .await;
    }
}
