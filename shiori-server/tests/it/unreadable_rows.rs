//! A running server with unreadable rows of summaries.

use rusqlite::Connection;
use shiori_sdk::{Client, SummaryHandle, SummaryStatus};
use shiori_server::WorkerMode;

use crate::{
    fixtures::{wait_until, week, write_week},
    raw_client::RawClient,
    test_cluster::{TestCluster, sign_up_on},
    test_server::TestServer,
};

/// More rows than a batch of the dispatcher, all due before others.
const ROWS: i64 = 150;

const COLUMNS: &str = "INSERT INTO summary (id, user_id, start, status, revision, attempts,
    requested_at, not_before, next_hint_at, lease_token, lease_expires, lease_worker, versions_read)";

const NUMBERS: &str =
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 150)";

/// The values of an unreadable row of this status; `id` is an expression for a new id.
fn values(id: &str, status: &str) -> String {
    let lease = if status == "running" { "'?', 0, 'w'" } else { "NULL, NULL, NULL" };
    format!("SELECT {id}, {id}, 20260216, '{status}', -1, 1, 0, 0, 0, {lease}, '{{}}' FROM n")
}

async fn postponed(url: &str) -> i64 {
    let metrics = RawClient::anonymous(url).get("/metrics").await.text;
    let line = metrics.lines().find(|line| line.starts_with("shiori_summary_rows_set_aside_total"));
    line.unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

/// Every unreadable row is postponed once, an expired lease is handled, and a lost hint is offered
/// again.
async fn assert_that_others_continue(url: &str, handle: &SummaryHandle) {
    wait_until("the lease is expired", async || {
        handle.poll().await.unwrap().status == SummaryStatus::Queued
    })
    .await;
    wait_until("all unreadable rows are postponed", async || postponed(url).await == 2 * ROWS)
        .await;
}

/// The user can replace the unreadable summary with a new request, and cancel another one.
async fn assert_that_the_user_can_continue(
    client: &Client,
    unreadable: &SummaryHandle,
    damage: impl AsyncFn(),
) {
    damage().await;
    assert!(unreadable.poll().await.is_err(), "the row is unreadable");
    let again = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_ne!(again.id(), unreadable.id());
    assert_eq!(unreadable.poll().await.unwrap().status, SummaryStatus::Failed);
    damage().await;
    again.cancel().await.unwrap();
    let third = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    assert_ne!(third.id(), again.id());
}

const DAMAGE: &str = "UPDATE summary SET revision = -1 WHERE status IN ('queued', 'running')";

/// Gives the only readable row an expired lease without a worker.
const LOSE_LEASE: &str = "UPDATE summary SET status = 'running', attempts = 1, lease_token = '?',
    lease_expires = 1, lease_worker = 'w', failure = '{\"kind\":\"new\",\"message\":\"\"}'
    WHERE revision > 0";

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_rows_block_neither_the_dispatcher_nor_the_user() {
    let server = TestServer::with_config(|config| config.worker = WorkerMode::None).await;
    let client = server.client().await;
    write_week(&client, "읽을 수 없는 줄").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    let file = Connection::open(server.data_dir().join("shiori.db")).unwrap();
    file.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    for status in ["queued", "running"] {
        let values = values("randomblob(16)", status);
        file.execute(&format!("{COLUMNS} {NUMBERS} {values}"), []).unwrap();
    }
    file.execute(LOSE_LEASE, []).unwrap();
    assert_that_others_continue(&server.url(), &handle).await;
    file.execute("DELETE FROM summary WHERE revision = -1", []).unwrap();
    let damage = async || {
        file.execute(DAMAGE, []).unwrap();
    };
    assert_that_the_user_can_continue(&client, &handle, damage).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn unreadable_rows_in_mysql_block_neither_the_dispatcher_nor_the_user() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|_| {}).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    write_week(&client, "읽을 수 없는 줄").await;
    let handle = client.summaries().request(week()).await.unwrap().into_handle().unwrap();
    for status in ["queued", "running"] {
        // Two different ids per row.
        let values = values("UNHEX(MD5(CONCAT(RAND(), i)))", status);
        cluster.run(&format!("{COLUMNS} {NUMBERS} {values}")).await;
    }
    cluster.run(LOSE_LEASE).await;
    assert_that_others_continue(&server.url(), &handle).await;
    cluster.run("DELETE FROM summary WHERE revision = -1").await;
    assert_that_the_user_can_continue(&client, &handle, async || cluster.run(DAMAGE).await).await;
    server.stop().await;
    cluster.drop_databases().await;
}
