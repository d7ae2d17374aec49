//! Engines that are replaced while their connections remain open: a former primary rejects writes, or
//! a server vanishes. A name of DNS or a proxy leads new connections to the successor.

use std::{path::Path, process::Command, time::Duration};

use futures_util::{StreamExt, future::join_all};
use reqwest::Url;
use serde_json::json;
use shiori_sdk::{Precondition, SummaryStatus};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::time::timeout;

use crate::{
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, day, draft, fresh_email, wait_until},
    proxy::Proxy,
    raw_client::{RawClient, RawResponse},
    test_cluster::{PrivateRedis, TestCluster, request_summaries, sign_up_on},
};

/// A MariaDB process of one test, which can be made read-only.
struct PrivateMariaDb {
    dir: tempfile::TempDir,
    url: Url,
}

impl PrivateMariaDb {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut start = services("start", dir.path());
        // The script starts the engines that have no URL.
        start.env_remove("SHIORI_TEST_MYSQL_URL");
        let output = start.output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let url = shown.trim().strip_prefix("export SHIORI_TEST_MYSQL_URL=");
        let url = url.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        Self { url: url.parse().unwrap(), dir }
    }
}

impl Drop for PrivateMariaDb {
    fn drop(&mut self) {
        let _ = services("stop", self.dir.path()).status();
    }
}

fn services(action: &str, dir: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services.py"));
    command.arg(action).arg(dir);
    command
}

fn address(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

async fn execute(connection: &mut MySqlConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.unwrap();
}

async fn sign_up(raw: &RawClient) -> RawResponse {
    let account = json!({"email": fresh_email(), "password": PASSWORD, "nickname": "손"});
    raw.post("/api/user/signup", &account).await
}

fn assert_unavailable(response: &RawResponse) {
    assert_eq!((response.status, response.error().as_str()), (503, "unavailable"));
    assert!(response.headers.contains_key("retry-after"), "{}", response.text);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_demoted_primary_of_mysql_is_left_for_its_successor() {
    let mut cluster = TestCluster::create().await;
    // The successor has the tables already.
    cluster.server(|_| {}).await.stop().await;
    let former = PrivateMariaDb::start();
    let name = cluster.prefix().to_owned();
    // The account of the tests may write to a read-only server. MySQL limits names to 32 characters.
    let user = format!("app_{}", &name[name.len() - 20..]);
    let successor = cluster.mysql.clone();
    let mut admin = MySqlConnection::connect(former.url.as_str()).await.unwrap();
    execute(&mut admin, format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await;
    for connection in [&mut admin, &mut MySqlConnection::connect(successor.as_str()).await.unwrap()]
    {
        execute(connection, format!("CREATE USER {user} IDENTIFIED BY '{user}'")).await;
        execute(connection, format!("GRANT ALL ON {name}.* TO {user}")).await;
    }
    let proxy = Proxy::start(&address(&former.url)).await;
    cluster.mysql = format!("mysql://{user}:{user}@{}/{name}", proxy.addr()).parse().unwrap();
    let server = cluster.server(|_| {}).await;
    let raw = RawClient::anonymous(&server.url());
    let sign_up_8_users = async || join_all((0..8).map(|_| sign_up(&raw))).await;

    for response in sign_up_8_users().await {
        assert_eq!(response.status, 201, "{}", response.text);
    }
    execute(&mut admin, "SET GLOBAL read_only = 1".to_owned()).await;
    for response in sign_up_8_users().await {
        assert_unavailable(&response);
    }
    proxy.lead_to(&address(&successor));
    let first = sign_up(&raw).await;
    if first.status != 201 {
        assert_unavailable(&first);
    }
    for response in sign_up_8_users().await {
        assert_eq!(response.status, 201, "{}", response.text);
    }
    wait_until("no connection leads to the former primary", async || {
        let mut admin = MySqlConnection::connect(former.url.as_str()).await.unwrap();
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?";
        let count = sqlx::query_scalar::<_, i64>(count).bind(&user).fetch_one(&mut admin).await;
        count.unwrap() == 0
    })
    .await;

    server.stop().await;
    cluster.run(&format!("DROP USER {user}")).await;
    cluster.drop_databases().await;
}

async fn redis_command(redis: &PrivateRedis, words: &[&str]) -> String {
    try_redis_command(redis, words).await.unwrap()
}

async fn try_redis_command(redis: &PrivateRedis, words: &[&str]) -> redis::RedisResult<String> {
    let client = redis::Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let command = redis::cmd(words[0]).arg(&words[1..]).to_owned();
    command.query_async(&mut connection).await
}

async fn wait_until_replicated(former: &PrivateRedis, successor: &PrivateRedis) {
    wait_until("the sessions are replicated", async || {
        let offset = |info: &str, field: &str| {
            let line = info.lines().find(|line| line.starts_with(field)).map(str::to_owned);
            line.and_then(|line| line.split_once(':')?.1.parse::<u64>().ok())
        };
        let there = redis_command(successor, &["INFO", "replication"]).await;
        let here = redis_command(former, &["INFO", "replication"]).await;
        there.contains("master_link_status:up")
            && offset(&there, "slave_repl_offset") >= offset(&here, "master_repl_offset")
    })
    .await;
}

/// The former master is a replica that rejects writes, and later reads, too. Sessions are kept, and
/// summaries are completed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_demoted_master_of_redis_is_left_for_its_successor() {
    let mut cluster = TestCluster::create().await;
    let (former, successor) = (PrivateRedis::start().await, PrivateRedis::start().await);
    let replicate = ["REPLICAOF", "127.0.0.1", &former.port().to_string()];
    redis_command(&successor, &replicate).await;
    let address_of = |redis: &PrivateRedis| format!("127.0.0.1:{}", redis.port());
    let proxy = Proxy::start(&address_of(&former)).await;
    cluster.redis = format!("redis://{}/", proxy.addr());
    let server = cluster.server(|_| {}).await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::from_millis(50))).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    let raw = RawClient::sign_up(&server.url()).await;
    assert_eq!(raw.get("/api/user").await.status, 200);
    wait_until_replicated(&former, &successor).await;

    redis_command(&successor, &["REPLICAOF", "NO", "ONE"]).await;
    redis_command(&former, &["CONFIG", "SET", "replica-serve-stale-data", "no"]).await;
    redis_command(&former, &["REPLICAOF", "127.0.0.1", "1"]).await;
    // A sign-in writes (READONLY), and other requests read (MASTERDOWN).
    let credentials = json!({"email": fresh_email(), "password": PASSWORD});
    assert_unavailable(&raw.post("/api/user/login", &credentials).await);
    assert_unavailable(&raw.get("/api/user").await);
    proxy.lead_to(&address_of(&successor));
    let read = raw.get("/api/user").await;
    assert_eq!(read.status, 200, "{}", read.text);
    for handle in request_summaries(&client, 3).await {
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    }
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// The sentinels make the former master a replica, and name the successor.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_demoted_master_is_left_for_the_one_that_the_sentinels_name() {
    let mut cluster = TestCluster::create().await;
    let (former, successor) = (PrivateRedis::start().await, PrivateRedis::start().await);
    redis_command(&successor, &["REPLICAOF", "127.0.0.1", &former.port().to_string()]).await;
    let sentinel = PrivateRedis::sentinel(&former).await;
    cluster.redis = format!("redis+sentinel://127.0.0.1:{}/shiori", sentinel.port());
    let server = cluster.server(|_| {}).await;
    let raw = RawClient::sign_up(&server.url()).await;
    wait_until_replicated(&former, &successor).await;
    let client = redis::Client::open(sentinel.url()).unwrap();
    wait_until("the sentinel knows the replica", async || {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let command = redis::cmd("SENTINEL").arg("FAILOVER").arg("shiori").to_owned();
        command.query_async::<()>(&mut connection).await.is_ok()
    })
    .await;
    // It closes its connections when it becomes one.
    wait_until("the former master is a replica", async || {
        let info = try_redis_command(&former, &["INFO", "replication"]).await;
        info.is_ok_and(|info| info.contains("role:slave"))
    })
    .await;
    // The sentinels name the former master until its successor is one.
    wait_until("sign-ups succeed", async || {
        let response = sign_up(&raw).await;
        if response.status != 201 {
            assert_unavailable(&response);
        }
        response.status == 201
    })
    .await;
    assert_eq!(raw.get("/api/user").await.status, 200);
    server.stop().await;
    cluster.drop_databases().await;
}

/// Commands, subscriptions and blocking reads notice that the other side of their connection has
/// vanished, although it is still open.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn half_open_connections_to_redis_are_replaced() {
    let mut cluster = TestCluster::create().await;
    let other = cluster.server(|_| {}).await;
    let redis = Url::parse(&cluster.redis).unwrap();
    let proxy = Proxy::start(&address(&redis)).await;
    cluster.redis = format!("redis://{}{}", proxy.addr(), redis.path());
    let server = cluster.server(|_| {}).await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::from_millis(50))).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    let devices = sign_up_on(&[&server.url(), &other.url()]).await;
    let mut watch = devices[0].diaries().watch();
    let mut watched = async |version| {
        let yielded = timeout(Duration::from_secs(120), watch.next()).await;
        let yielded = yielded.expect("the version arrives").unwrap().unwrap();
        assert_eq!(yielded.version, version);
    };
    let save = async |precondition| {
        let saving = devices[1].diaries().save(day(28), draft("글"), precondition).send();
        saving.await.unwrap().version
    };
    let first = save(Precondition::IfAbsent).await;
    watched(first).await;
    proxy.freeze_connections();
    watched(save(Precondition::IfVersion(first)).await).await;
    let read = RawClient::sign_up(&server.url()).await.get("/api/user").await;
    assert_eq!(read.status, 200, "{}", read.text);
    for handle in request_summaries(&devices[0], 3).await {
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    }
    worker.terminate().await;
    server.stop().await;
    other.stop().await;
    cluster.drop_databases().await;
}
