//! Servers whose own clocks differ. Summaries use the clock of MySQL and sessions that of Redis,
//! independent of the servers' clocks.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use shiori_sdk::{SummaryStatus, Timestamp};
use shiori_worker::{Clock, protocol::LeaseToken};

use crate::{
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, fresh_email},
    raw_client::RawClient,
    test_cluster::{ClusterServer, TestCluster, request_summaries, sign_up_on},
};

/// A clock that is ahead of the system clock by this many milliseconds.
#[derive(Debug)]
struct SkewedClock(i64);

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().as_millis() + self.0)
    }
}

const HINT_TIMEOUT: Duration = Duration::from_secs(300);

/// A server whose clock is ahead by this many milliseconds, and which does not repeat hints for 5
/// minutes.
async fn server(cluster: &TestCluster, ahead_ms: i64) -> ClusterServer {
    cluster
        .server(|config| {
            config.clock = Arc::new(SkewedClock(ahead_ms));
            // Long enough for a late heartbeat on a busy machine.
            config.summaries.lease = Duration::from_secs(6);
            config.summaries.hint_timeout = HINT_TIMEOUT;
        })
        .await
}

async fn metric(url: &str, name: &str) -> u32 {
    let metrics = RawClient::anonymous(url).get("/metrics").await.text;
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

/// 20 summaries on two servers with these clocks: each is written once, and no lease expires.
async fn summaries_are_written_once(clocks: [i64; 2]) {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::from_secs(9))).await;
    let servers = [server(&cluster, clocks[0]).await, server(&cluster, clocks[1]).await];
    let workers = [
        cluster.worker(&servers[0].url(), &llm).await,
        cluster.worker(&servers[1].url(), &llm).await,
    ];
    let start = Instant::now();
    let mut handles = Vec::new();
    for server in &servers {
        let client = sign_up_on(&[&server.url()]).await.remove(0);
        handles.extend(request_summaries(&client, 10).await);
    }
    for handle in &handles {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    }
    let took = start.elapsed();
    assert!(took < HINT_TIMEOUT, "a hint was lost: {took:?}");
    assert_eq!(llm.calls(), 20);
    for server in &servers {
        assert_eq!(metric(&server.url(), "shiori_leases_taken_back_total").await, 0);
    }
    for worker in workers {
        worker.terminate().await;
    }
    for server in servers {
        server.stop().await;
    }
    cluster.drop_databases().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn servers_whose_clocks_differ_by_80_seconds_do_not_expire_valid_leases() {
    summaries_are_written_once([40_000, -40_000]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn servers_whose_clocks_differ_by_50_milliseconds_do_not_expire_valid_leases() {
    summaries_are_written_once([25, -25]).await;
}

/// An attempt fails at the server with the fast clock. The next one is claimed at the server with
/// the slow clock when it is due, and its hint is not lost.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_summary_requeued_at_one_server_is_claimed_at_another_when_it_is_due() {
    for skew in [25, 40_000] {
        let cluster = TestCluster::create().await;
        let llm = FakeLlm::start(Behavior::Slow(Duration::ZERO)).await;
        let (fast, slow) = (server(&cluster, skew).await, server(&cluster, -skew).await);
        let client = sign_up_on(&[&fast.url()]).await.remove(0);
        let handles = request_summaries(&client, 10).await;
        let internal = RawClient::with_token(&fast.url(), TestCluster::internal_token());
        for handle in &handles {
            let path = format!("/api/internal/summaries/{}", handle.id());
            let token = LeaseToken::new();
            let claim = json!({"worker_id": "w", "lease_token": token});
            assert_eq!(internal.post(&format!("{path}/claim"), &claim).await.status, 200);
            let failure = json!({"lease_token": token, "kind": "model_unavailable",
                "message": "", "retryable": true, "retry_after_ms": 2000});
            assert_eq!(internal.post(&format!("{path}/failure"), &failure).await.status, 200);
        }
        let start = Instant::now();
        let worker = cluster.worker(&slow.url(), &llm).await;
        for handle in &handles {
            assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?} at a skew of {skew} ms");
        assert_eq!(llm.calls(), 10);
        worker.terminate().await;
        fast.stop().await;
        slow.stop().await;
        cluster.drop_databases().await;
    }
}

/// If a hint is taken long before it is due, the server offers it again immediately and does not
/// wait for the dispatcher.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_claim_that_is_too_early_does_not_lose_the_hint() {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::ZERO)).await;
    let server = server(&cluster, 0).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    let handle = request_summaries(&client, 1).await.remove(0);
    // The hint can be taken now, but the summary is due in three seconds.
    let due = Timestamp::now().as_millis() + 3000;
    cluster.run(&format!("UPDATE summary SET not_before = {due}")).await;
    let start = Instant::now();
    let worker = cluster.worker(&server.url(), &llm).await;
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// Tokens and sessions of one server are valid at the other, even if the lifetime of an access
/// token is shorter than the difference of the clocks.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn sessions_are_valid_at_servers_whose_clocks_differ() {
    let cluster = TestCluster::create().await;
    let start = async |ahead_ms| {
        let change = |config: &mut shiori_server::Config| {
            config.clock = Arc::new(SkewedClock(ahead_ms));
            config.sessions.access_ttl = Duration::from_secs(20);
        };
        cluster.server(change).await
    };
    let servers = [start(40_000).await, start(-40_000).await];
    for (here, there) in [(0, 1), (1, 0)] {
        let email = fresh_email();
        let raw = RawClient::anonymous(&servers[here].url());
        let account = json!({"email": email, "password": PASSWORD, "nickname": "시오리"});
        assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
        let login = json!({"email": email, "password": PASSWORD});
        let signed_in = raw.post("/api/user/login", &login).await.json();
        let token = signed_in["data"]["token"].as_str().unwrap();
        for server in [here, there] {
            let client = RawClient::with_token(&servers[server].url(), token);
            let listed = client.get("/api/auth/sessions").await;
            assert_eq!(listed.status, 200, "{}", listed.text);
        }
    }
    for server in servers {
        server.stop().await;
    }
    cluster.drop_databases().await;
}
