//! Several servers and workers on the engines of the distributed profile, with real processes,
//! signals and network faults.

use std::time::Duration;

use mongodb::bson::{Bson, doc};
use serde_json::json;
use shiori_sdk::{
    Change, Document, FailureKind, Precondition, SaveId, SummaryStatus, Week,
    limits::MAX_LOGIN_ATTEMPTS,
};
use tokio::time::timeout;

use crate::{
    fake_llm::{Behavior, FakeLlm},
    fixtures::{PASSWORD, day, draft, fresh_email, wait_until, week, write_week},
    metrics::Scrape,
    proxy::Proxy,
    raw_client::{RawClient, RawResponse},
    saves,
    test_cluster::{PrivateRedis, TestCluster, request_summaries, sign_up_on},
};

const FAST: Behavior = Behavior::Slow(Duration::from_millis(50));

/// Whether a worker has received 409 `lease_lost`.
async fn has_rejected_a_lease(url: &str) -> bool {
    let metrics = RawClient::anonymous(url).get("/metrics").await.text;
    metrics.lines().any(|line| {
        let is_worker_call = line.contains("/summarize/result\"") || line.contains("/heartbeat\"");
        line.starts_with("shiori_http_request_duration_seconds_count")
            && is_worker_call
            && line.contains("\"409\"")
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn concurrent_saves_on_two_servers_succeed_once_per_version() {
    let cluster = TestCluster::create().await;
    let (one, two) = (cluster.server_process(30).await, cluster.server_process(30).await);
    let servers = [one.url(), two.url()];
    saves::race_over_versions(&sign_up_on(&servers).await, 20).await;
    saves::race_to_be_first(&sign_up_on(&servers).await, 20).await;
    saves::race_in_chains(&sign_up_on(&servers).await, 50).await;
    saves::append_a_line_each(&sign_up_on(&servers.repeat(16)).await).await;
    one.terminate().await;
    two.terminate().await;
    cluster.drop_databases().await;
}

/// A session of one server is valid on the other. A summary is requested on one server, awaited on
/// the other, and written by a worker of the first.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_summary_requested_on_one_server_can_be_awaited_on_another() {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(Behavior::Gated).await;
    let (one, two) = (cluster.server(|_| {}).await, cluster.server(|_| {}).await);
    let worker = cluster.worker(&one.url(), &llm).await;
    let devices = sign_up_on(&[&one.url(), &two.url()]).await;
    write_week(&devices[0], "비가 왔지만 마음은 맑았다").await;
    let handle = devices[0].summaries().request(week()).await.unwrap().into_handle().unwrap();
    let elsewhere = devices[1].summaries().handle(handle.id());
    let waiting = tokio::spawn(async move { elsewhere.wait().await });
    wait_until("the model is called", async || llm.open() == 1).await;
    // Redis contains neither text nor titles of diaries.
    let redis = redis::Client::open(cluster.redis.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{}:*", cluster.prefix());
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    assert!(keys.iter().any(|key| key.contains("sessions")), "{keys:?}");
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap();
        let shown = format!("{key} {}", String::from_utf8_lossy(&dump));
        assert!(!shown.contains("마음") && !shown.contains("제목"), "{shown}");
    }
    llm.release(1);
    let summary = waiting.await.unwrap().unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed);
    assert_eq!(summary.reflection.as_deref(), Some("1번째로 쓴 글이에요."));
    let reflection = devices[1].reflections().get(week()).await.unwrap().expect("there");
    assert!(!reflection.stale);
    worker.terminate().await;
    one.stop().await;
    two.stop().await;
    cluster.drop_databases().await;
}

/// SIGKILL of a worker with 50 running jobs: another worker completes each once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_killed_workers_jobs_are_completed_by_another() {
    let cluster = TestCluster::create().await;
    let lease = Duration::from_secs(2);
    let server = cluster.server(|config| config.summaries.lease = lease).await;
    let gated = FakeLlm::start(Behavior::Gated).await;
    let first = cluster.worker(&server.url(), &gated).await;
    let mut handles = Vec::new();
    for _ in 0..2 {
        let client = sign_up_on(&[&server.url()]).await.remove(0);
        handles.extend(request_summaries(&client, 25).await);
    }
    wait_until("all jobs are running", async || gated.open() == 50).await;
    first.kill().await;
    let llm = FakeLlm::start(FAST).await;
    let second = cluster.worker(&server.url(), &llm).await;
    for handle in &handles {
        let summary = handle.wait().await.unwrap();
        assert_eq!(summary.status, SummaryStatus::Completed);
        // The second worker, too, may lose a lease on a busy machine.
        assert!(summary.attempts >= 2, "{summary:?}");
    }
    assert!(llm.calls() >= 50);
    assert_eq!(cluster.count("SELECT COUNT(*) FROM reflection").await, 50);
    second.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// Workers that cannot claim share the queue: one has a wrong token, and the server of another is
/// down. No summary waits for the dispatcher.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn workers_that_cannot_claim_do_not_delay_summaries() {
    let cluster = TestCluster::create().await;
    let hint_timeout = Duration::from_secs(60);
    let server = cluster.server(|config| config.summaries.hint_timeout = hint_timeout).await;
    let proxy = Proxy::start(&server.url()).await;
    let llm = FakeLlm::start(FAST).await;
    let wrong_token = "a token of another cluster";
    let rejected = cluster.worker_with_token(&server.url(), &llm, wrong_token).await;
    assert_eq!(rejected.exit_code().await, Some(1));
    let unauthorized = "shiori_http_request_duration_seconds_count\
        {method=\"POST\",route=\"/api/internal/check\",status=\"401\"}";
    assert!(Scrape::of(&server.url()).await.value(unauthorized) >= 1.0);
    let cut_off = cluster.worker(proxy.url(), &llm).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    let first = request_summaries(&client, 5).await;
    for handle in &first {
        assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    }
    // The worker waits for hints while its server is down.
    proxy.set_down(true);
    let healthy = cluster.worker(&server.url(), &llm).await;
    let start = tokio::time::Instant::now();
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    for handle in &request_summaries(&client, 20).await {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(llm.calls(), 25);
    cut_off.kill().await;
    healthy.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// The language model fails and then recovers. Attempts that did not reach it are not counted, so
/// it writes every summary, except one whose patience ends before.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn summaries_wait_for_the_model_until_their_patience_ends() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|_| {}).await;
    let llm = FakeLlm::start(Behavior::Status(500)).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    let handles = request_summaries(&client, 28).await;
    // The breaker opens for 30 s after five failures; then a probe fails, too.
    wait_until("the model is suspended", async || llm.calls() >= 5).await;
    let (suspended, calls) = (tokio::time::Instant::now(), llm.calls());
    wait_until("a probe is sent", async || {
        suspended.elapsed() > Duration::from_secs(25) && llm.calls() > calls
    })
    .await;
    assert!(llm.calls() < 28, "most did not reach the model: {}", llm.calls());
    for handle in &handles {
        let summary = handle.poll().await.unwrap();
        assert!(!summary.status.is_final() && summary.attempts < 5, "{summary:?}");
    }
    // The patience of one summary ends.
    cluster.run("UPDATE summary SET requested_at = requested_at - 900000").await;
    let start = tokio::time::Instant::now();
    for handle in &handles {
        let summary = handle.wait().await.unwrap();
        assert_eq!(summary.status, SummaryStatus::Completed);
        assert_eq!(summary.engine.as_deref(), Some("extractive/1"));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// SIGSTOP for longer than the lease, then SIGCONT: the late result is rejected, and the stored
/// result is kept.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_late_result_is_rejected() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|config| config.summaries.lease = Duration::from_secs(2)).await;
    let gated = FakeLlm::start(Behavior::Gated).await;
    let stopped_worker = cluster.worker(&server.url(), &gated).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    let handle = request_summaries(&client, 1).await.remove(0);
    wait_until("the model is called", async || gated.open() == 1).await;
    stopped_worker.signal("-STOP").await;
    let llm = FakeLlm::start(FAST).await;
    let other_worker = cluster.worker(&server.url(), &llm).await;
    let stored = handle.wait().await.unwrap();
    assert_eq!(stored.status, SummaryStatus::Completed);
    assert!(stored.attempts >= 2, "{stored:?}");
    // The model still responds to the stopped worker.
    gated.release(1);
    wait_until("the response is sent", async || gated.open() == 0).await;
    stopped_worker.signal("-CONT").await;
    wait_until("the result is rejected", async || has_rejected_a_lease(&server.url()).await).await;
    stopped_worker.terminate().await;
    assert_eq!(handle.poll().await.unwrap(), stored);
    assert_eq!(cluster.count("SELECT COUNT(*) FROM reflection").await, 1);
    other_worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// A job that takes twice its lease runs once, because heartbeats extend the lease. The lease is long
/// enough for a late heartbeat on a busy machine.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_job_longer_than_its_lease_is_run_once() {
    let cluster = TestCluster::create().await;
    let lease = Duration::from_secs(6);
    let server = cluster.server(|config| config.summaries.lease = lease).await;
    let llm = FakeLlm::start(Behavior::Slow(lease * 2)).await;
    let (one, two) =
        (cluster.worker(&server.url(), &llm).await, cluster.worker(&server.url(), &llm).await);
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    for handle in request_summaries(&client, 5).await {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    }
    assert_eq!(llm.calls(), 5);
    one.terminate().await;
    two.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// SIGTERM of a worker with 100 running jobs: it finishes them, and no job runs twice.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_terminated_worker_finishes_its_jobs() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|_| {}).await;
    let llm = FakeLlm::start(Behavior::Gated).await;
    let first = cluster.worker(&server.url(), &llm).await;
    let mut handles = Vec::new();
    for _ in 0..4 {
        let client = sign_up_on(&[&server.url()]).await.remove(0);
        handles.extend(request_summaries(&client, 25).await);
    }
    wait_until("all jobs are running", async || llm.open() == 100).await;
    let second = cluster.worker(&server.url(), &llm).await;
    let ending = tokio::spawn(first.terminate());
    llm.release(100);
    ending.await.unwrap();
    for handle in &handles {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    }
    assert_eq!(llm.calls(), 100);
    second.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// The server is killed after it has inserted the row and before the queue has accepted the hint:
/// Redis is stalled at that moment.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_summary_is_completed_if_the_server_is_killed_before_it_offers_the_hint() {
    let mut cluster = TestCluster::create().await;
    let redis = reqwest::Url::parse(&cluster.redis).unwrap();
    let engine = format!("{}:{}", redis.host_str().unwrap(), redis.port().unwrap());
    let redis_proxy = Proxy::start(&engine).await;
    let direct = std::mem::replace(
        &mut cluster.redis,
        format!("redis://{}{}", redis_proxy.addr(), redis.path()),
    );
    let server = cluster.server_process(30).await;
    let client = sign_up_on(&[server.url()]).await.remove(0);
    request_summaries(&client, 0).await;
    let lock = cluster.lock_summaries().await;
    let requesting =
        tokio::spawn(
            async move { client.summaries().request(Week::starting(day(1)).unwrap()).await },
        );
    wait_until("the request is blocked before its insert", async || {
        cluster.blocked_requests().await == 1
    })
    .await;
    redis_proxy.set_stalled(true);
    drop(lock);
    wait_until("the row is inserted", async || {
        cluster.count("SELECT COUNT(*) FROM summary").await == 1
    })
    .await;
    server.kill().await;
    requesting.abort();
    cluster.redis = direct;
    let server = cluster.server_process(30).await;
    let llm = FakeLlm::start(FAST).await;
    let worker = cluster.worker(server.url(), &llm).await;
    wait_until("the summary is completed", async || {
        cluster.count("SELECT COUNT(*) FROM summary WHERE status = 'completed'").await == 1
    })
    .await;
    worker.terminate().await;
    server.terminate().await;
    cluster.drop_databases().await;
}

/// Servers and workers are killed repeatedly while summaries are requested: every accepted summary
/// is completed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn accepted_summaries_are_completed_if_servers_and_workers_are_killed() {
    let cluster = TestCluster::create().await;
    let llm = FakeLlm::start(FAST).await;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        let server = cluster.server_process(1).await;
        let worker = cluster.worker(server.url(), &llm).await;
        let client = sign_up_on(&[server.url()]).await.remove(0);
        let requesting = tokio::spawn(async move {
            request_summaries(&client, 0).await;
            let mut ids = Vec::new();
            // Until the server is killed.
            for nth in 0..28 {
                let week = Week::starting(day(1).plus_days(nth - 6).unwrap()).unwrap();
                let Ok(requested) = client.summaries().request(week).await else { break };
                ids.push(requested.into_handle().unwrap().id());
            }
            ids
        });
        let before = cluster.count("SELECT COUNT(*) FROM summary").await;
        let some = rand::random_range(1..=12);
        wait_until("some are accepted", async || {
            cluster.count("SELECT COUNT(*) FROM summary").await >= before + some
        })
        .await;
        worker.kill().await;
        server.kill().await;
        accepted.extend(requesting.await.unwrap());
    }
    assert!(!accepted.is_empty());
    let server = cluster.server_process(1).await;
    let worker = cluster.worker(server.url(), &llm).await;
    wait_until("all are completed", async || {
        cluster.count("SELECT COUNT(*) FROM summary WHERE status <> 'completed'").await == 0
    })
    .await;
    let completed = cluster.count("SELECT COUNT(*) FROM summary").await;
    assert!(usize::try_from(completed).unwrap() >= accepted.len());
    assert_eq!(cluster.count("SELECT COUNT(*) FROM reflection").await, completed);
    worker.terminate().await;
    server.terminate().await;
    cluster.drop_databases().await;
}

/// Redis is flushed, and later killed and restarted without data, with 200 queued summaries: all
/// are completed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn queued_summaries_are_completed_after_redis_loses_its_data() {
    let mut cluster = TestCluster::create().await;
    let mut redis = PrivateRedis::start().await;
    cluster.redis = redis.url();
    let server = cluster.server(|_| {}).await;
    let mut requested = 0;
    while requested < 200 {
        let client = sign_up_on(&[&server.url()]).await.remove(0);
        requested += request_summaries(&client, 25).await.len();
    }
    let mut connection =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    let losses = "shiori_store_data_losses_total{engine=\"redis\"}";
    let noticed = async || Scrape::of(&server.url()).await.value(losses) >= 1.0;
    wait_until("the server has noticed the loss", noticed).await;
    let llm = FakeLlm::start(Behavior::Slow(Duration::from_millis(500))).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    wait_until("some have begun", async || llm.calls() > 20).await;
    redis.kill().await;
    wait_until("running jobs are completed", async || llm.open() == 0).await;
    redis.restart().await;
    wait_until("all are completed", async || {
        cluster.count("SELECT COUNT(*) FROM summary WHERE status = 'completed'").await == 200
    })
    .await;
    assert_eq!(cluster.count("SELECT COUNT(*) FROM reflection").await, 200);
    // Sessions are lost, and users can sign in again.
    sign_up_on(&[&server.url()]).await;
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// Redis is flushed while no worker takes hints: one of the servers offers all hints again, although
/// none of them is due for its periodic check. It changes no row. When that server is killed, the
/// other one does the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn the_hints_of_an_idle_backlog_return_after_a_flush() {
    const STATE: &str =
        "SELECT CAST(SUM(CRC32(CONCAT_WS(',', HEX(id), status, revision, not_before,
        next_hint_at))) AS SIGNED) FROM summary";
    let mut cluster = TestCluster::create().await;
    let redis = PrivateRedis::start().await;
    cluster.redis = redis.url();
    let (one, two) = (cluster.server(|_| {}).await, cluster.server_process(30).await);
    let client = sign_up_on(&[&one.url()]).await.remove(0);
    let requested = i64::try_from(request_summaries(&client, 28).await.len()).unwrap();
    // The first periodic check of each hint is in more than three minutes.
    cluster.run("UPDATE summary SET next_hint_at = next_hint_at + 200000").await;
    let state = cluster.count(STATE).await;
    let mut connection =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut flush = async || {
        redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
        let flushed = tokio::time::Instant::now();
        let key = format!("{}:queue", cluster.prefix());
        let mut depth = 0;
        while depth < requested {
            // Before the periodic check.
            assert!(flushed.elapsed() < Duration::from_secs(180), "{depth} of {requested}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let count = redis::cmd("ZCARD").arg(&key).to_owned();
            depth = count.query_async(&mut connection).await.unwrap();
        }
    };
    flush().await;
    flush().await;
    assert_eq!(cluster.count(STATE).await, state, "no row was changed");
    two.kill().await;
    flush().await;
    one.stop().await;
    let three = cluster.server_process(30).await;
    flush().await;
    assert_eq!(cluster.count(STATE).await, state, "no row was changed");
    three.terminate().await;
    cluster.drop_databases().await;
}

/// Each engine becomes unreachable under load. Requests receive 503 with Retry-After without long
/// delays, the server recovers without a restart, and acknowledged saves are kept.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn the_server_recovers_from_engine_outages() {
    let mut cluster = TestCluster::create().await;
    let (mut mysql, mut mongodb) = (cluster.mysql.clone(), cluster.mongodb.clone());
    let mut redis = reqwest::Url::parse(&cluster.redis).unwrap();
    let mut proxies = Vec::new();
    for url in [&mut mysql, &mut mongodb, &mut redis] {
        proxies.push(proxied(url).await);
    }
    // Otherwise, the driver would discover the members of the replica set and bypass the proxy.
    mongodb.set_query(Some("directConnection=true"));
    (cluster.mysql, cluster.mongodb, cluster.redis) = (mysql, mongodb, redis.into());
    let server = cluster
        .server(|config| {
            config.worker = shiori_server::WorkerMode::InProcess;
            config.limits.request_timeout = Duration::from_secs(8);
        })
        .await;
    let raw = RawClient::sign_up(&server.url()).await;
    let mut version = 0;
    let mut accepted = 0;
    for (outage, stalled) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        save_next_version(&raw, &mut version).await.expect("saved");
        accepted += i64::from(request_summary(&raw, &mut 0).await);
        let set = |off: bool| {
            if stalled { proxies[outage].set_stalled(off) } else { proxies[outage].set_down(off) }
        };
        set(true);
        let mut rejections = 0;
        for _ in 0..2 {
            if save_next_version(&raw, &mut version).await.is_err() {
                rejections += 1;
            }
            accepted += i64::from(request_summary(&raw, &mut rejections).await);
        }
        assert!(rejections > 0, "the outage of engine {outage} had no effect");
        set(false);
        let recovered = async {
            while save_next_version(&raw, &mut version).await.is_err() {}
            while !request_summary(&raw, &mut 0).await {}
        };
        timeout(Duration::from_secs(60), recovered).await.expect("the server recovers");
    }
    let current = raw.get("/api/diary/20260216").await.json();
    assert_eq!(current["data"]["version"], version);
    assert_eq!(current["data"]["title"], format!("{version} 번째"));
    assert!(accepted > 0);
    wait_until("all are completed", async || {
        cluster.count("SELECT COUNT(*) FROM summary WHERE status <> 'completed'").await == 0
    })
    .await;
    server.stop().await;
    drop(proxies);
    cluster.mongodb.set_query(None);
    cluster.count("SELECT COUNT(*) FROM summary").await;
}

/// The connections to the engines are closed, as by a restart or a firewall. The next request does
/// not fail: what is idempotent is repeated over a new connection.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn requests_after_connections_were_closed_succeed() {
    let mut cluster = TestCluster::create().await;
    let (mut mysql, mut mongodb) = (cluster.mysql.clone(), cluster.mongodb.clone());
    let mut redis = reqwest::Url::parse(&cluster.redis).unwrap();
    let mut proxies = Vec::new();
    for url in [&mut mysql, &mut mongodb, &mut redis] {
        proxies.push(proxied(url).await);
    }
    // Otherwise, the driver would discover the members of the replica set and bypass the proxy.
    mongodb.set_query(Some("directConnection=true"));
    (cluster.mysql, cluster.mongodb, cluster.redis) = (mysql, mongodb, redis.into());
    let server = cluster.server(|_| {}).await;
    let raw = RawClient::sign_up(&server.url()).await;
    let cut = async |which: &[usize]| {
        for proxy in which {
            proxies[*proxy].cut_connections().await;
        }
    };
    let (mut version, mut start) = (0, day(10));
    for closed in [&[0][..], &[1], &[2], &[0, 1, 2]] {
        cut(closed).await;
        save_next_version(&raw, &mut version).await.expect("saved");
        cut(closed).await;
        let read = raw.get("/api/diary/20260216").await;
        assert_eq!(read.status, 200, "{}", read.text);
        assert!(read.json()["data"]["summary_status"].is_string(), "{}", read.text);
        cut(closed).await;
        let list = raw.get("/api/diary?start=20260201&end=20260228").await;
        assert_eq!(list.status, 200, "{}", list.text);
        assert!(list.json()["data"][0]["summary_status"].is_string(), "{}", list.text);
        cut(closed).await;
        let week = Week::starting(start).unwrap();
        let body = json!({"start": week.start(), "end": week.end()});
        let requested = raw.post("/api/diary/summary", &body).await;
        assert_eq!(requested.status, 202, "{}", requested.text);
        cut(closed).await;
        let path = requested.headers["location"].to_str().unwrap().to_owned();
        let summary = raw.get(&path).await;
        assert_eq!(summary.json()["data"]["status"], "queued", "{}", summary.text);
        start = start.plus_days(1).unwrap();
    }
    assert_eq!(cluster.count("SELECT COUNT(*) FROM summary").await, 4);
    server.stop().await;
    cluster.drop_databases().await;
    drop(proxies);
}

/// Starts a proxy for the engine of this URL, and changes the URL to that of the proxy.
async fn proxied(url: &mut reqwest::Url) -> Proxy {
    let engine = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let proxy = Proxy::start(&engine).await;
    let (host, port) = proxy.addr().split_once(':').unwrap();
    url.set_host(Some(host)).unwrap();
    url.set_port(Some(port.parse().unwrap())).unwrap();
    proxy
}

/// While MySQL is unreachable or does not respond, diaries can be read, listed, saved, archived and
/// deleted, and conflicts are reported, without long delays and without summary status and emotion.
/// These return when MySQL recovers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn diaries_do_not_depend_on_mysql() {
    const DAY: &str = "/api/diary/20260216";
    let mut cluster = TestCluster::create().await;
    let mut mysql = cluster.mysql.clone();
    let proxy = proxied(&mut mysql).await;
    let direct = std::mem::replace(&mut cluster.mysql, mysql);
    let server = cluster.server(|_| {}).await;
    let raw = RawClient::sign_up(&server.url()).await;
    let device = sign_up_on(&[&server.url()]).await.remove(0);
    let mut version = 0;
    for stalled in [false, true] {
        save_next_version(&raw, &mut version).await.expect("saved");
        let tag = raw.get(DAY).await.headers["etag"].to_str().unwrap().to_owned();
        let diary = device.diaries().save(day(17), draft("글"), Precondition::IfAbsent);
        diary.send().await.unwrap();
        let known = device.diaries().get(day(17)).await.unwrap().unwrap();
        assert!(known.summary_status.is_some() && known.etag.is_some());
        let set = |off| if stalled { proxy.set_stalled(off) } else { proxy.set_down(off) };
        set(true);

        let outage = async {
            let read = raw.request(reqwest::Method::GET, DAY).header("if-none-match", &tag);
            let read = RawResponse::send(read).await;
            assert_eq!(read.status, 200, "{}", read.text);
            assert!(!read.headers.contains_key("etag"));
            let shown = &read.json()["data"];
            assert_eq!(
                (&shown["version"], &shown["summary_status"]),
                (&json!(version), &json!(null))
            );
            let list = raw.get("/api/diary?start=20260201&end=20260228").await;
            assert_eq!(list.status, 200, "{}", list.text);
            let entry = &list.json()["data"][0];
            assert_eq!((&entry["version"], &entry["emotion"]), (&json!(version), &json!(null)));
            save_next_version(&raw, &mut version).await.expect("saved");
            let body = json!({"title": "진 글", "content": {"type": "doc"}, "version": 0});
            let archive = json!({"archived": true, "version": 0});
            for lost in [
                raw.post(DAY, &body).await,
                raw.post(&format!("{DAY}/archive"), &archive).await,
                raw.delete(&format!("{DAY}?version=0")).await,
            ] {
                assert_eq!(lost.error(), "diary_conflict", "{}", lost.text);
                let current = &lost.json()["data"]["current"];
                assert_eq!(current["version"], version);
                assert_eq!(current["summary_status"], json!(null));
            }
            let changed = device.diaries().get_if_changed(&known).await.unwrap();
            let Change::Changed(Some(diary)) = changed else { panic!("{changed:?}") };
            assert_eq!(
                (diary.version, diary.summary_status, diary.etag),
                (known.version, None, None)
            );
            let archived = device.diaries().archive(day(17), known.version, true).await.unwrap();
            device.diaries().delete(day(17), archived).await.unwrap();
            let rejected = raw.get("/api/diary/reflections?start=20260216&end=20260222").await;
            assert_eq!((rejected.status, rejected.error().as_str()), (503, "unavailable"));
        };
        // Seven responses wait for MySQL, most of them briefly; the error response waits for the
        // timeout.
        timeout(Duration::from_secs(15), outage)
            .await
            .expect("responses do not wait long for MySQL");

        set(false);
        wait_until("the summary status is available again", async || {
            raw.get(DAY).await.json()["data"]["summary_status"] == "none"
        })
        .await;
    }
    server.stop().await;
    cluster.mysql = direct;
    cluster.drop_databases().await;
}

/// More sign-ins than the limit of failed ones are rejected because MySQL is unreachable. They do not count.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn sign_ins_that_an_outage_rejects_are_not_throttled() {
    let mut cluster = TestCluster::create().await;
    let mut mysql = cluster.mysql.clone();
    let proxy = proxied(&mut mysql).await;
    let direct = std::mem::replace(&mut cluster.mysql, mysql);
    let server = cluster.server(|_| {}).await;
    let (raw, email) = (RawClient::anonymous(&server.url()), fresh_email());
    let account = json!({"email": email, "password": PASSWORD, "nickname": "손"});
    assert_eq!(raw.post("/api/user/signup", &account).await.status, 201);
    let login = json!({"email": email, "password": PASSWORD});
    proxy.set_down(true);
    for _ in 0..=MAX_LOGIN_ATTEMPTS {
        assert_eq!(raw.post("/api/user/login", &login).await.status, 503);
    }
    proxy.set_down(false);
    wait_until("sign-ins are possible again", async || {
        let status = raw.post("/api/user/login", &login).await.status;
        assert!([200, 503].contains(&status), "{status}");
        status == 200
    })
    .await;
    server.stop().await;
    cluster.mysql = direct;
    cluster.drop_databases().await;
}

/// Saves the next version. Returns `Err` after a well-formed 503. `version` is the acknowledged
/// version.
async fn save_next_version(raw: &RawClient, version: &mut u64) -> Result<(), ()> {
    let title = format!("{} 번째", *version + 1);
    let body = json!({
        "title": title,
        "content": Document::from_text(&title),
        "version": (*version > 0).then_some(*version),
        "save_id": SaveId::new(),
    });
    let response = raw.post("/api/diary/20260216", &body).await;
    match response.status {
        200 | 201 => {
            *version += 1;
            Ok(())
        }
        503 => {
            assert!(response.headers.contains_key("retry-after"), "{}", response.text);
            // The save may have been applied; then it is the current version.
            let current = raw.get("/api/diary/20260216").await;
            if current.status == 200 && current.json()["data"]["title"] == title {
                *version += 1;
            }
            Err(())
        }
        // The save was applied after the check above, and its response was lost.
        409 if response.json()["data"]["current"]["title"] == title => {
            *version += 1;
            Ok(())
        }
        other => panic!("{other}: {}", response.text),
    }
}

/// Requests a summary. Returns whether it was accepted; any other response must be a well-formed
/// 503.
async fn request_summary(raw: &RawClient, rejections: &mut u32) -> bool {
    let body = json!({"start": "20260216", "end": "20260222", "force": true});
    let response = raw.post("/api/diary/summary", &body).await;
    match response.status {
        202 => true,
        503 => {
            assert!(response.headers.contains_key("retry-after"), "{}", response.text);
            *rejections += 1;
            false
        }
        other => panic!("{other}: {}", response.text),
    }
}

/// A summary with an unreadable diary fails on its first claim, and the reason contains the day.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_summary_over_an_unreadable_document_fails() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|_| {}).await;
    let llm = FakeLlm::start(FAST).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    let client = sign_up_on(&[&server.url()]).await.remove(0);
    write_week(&client, "즐거운 하루").await;
    let mongodb = mongodb::Client::with_uri_str(cluster.mongodb.as_str()).await.unwrap();
    let diaries = mongodb.database(cluster.prefix()).collection::<Bson>("diaries");
    for damage in [doc! { "content": "[" }, doc! { "content": 7 }, doc! { "saves": "x" }] {
        let filter = doc! { "date": 20_260_218 };
        let before: Bson = diaries.find_one(filter.clone()).await.unwrap().unwrap();
        diaries.update_one(filter.clone(), doc! { "$set": damage.clone() }).await.unwrap();
        let handle =
            client.summaries().request_with(week(), true).await.unwrap().into_handle().unwrap();
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Failed, 0), "{damage}");
        let failure = summary.failure.unwrap();
        assert_eq!(failure.kind, FailureKind::UnreadableDiary);
        assert!(failure.message.contains("20260218"), "{}", failure.message);
        diaries.replace_one(filter, before).await.unwrap();
    }
    let handle =
        client.summaries().request_with(week(), true).await.unwrap().into_handle().unwrap();
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}

/// The rows of a user are deleted while a summary runs: the result is rejected, and the worker
/// continues with other jobs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn the_result_for_a_deleted_user_is_rejected() {
    let cluster = TestCluster::create().await;
    let server = cluster.server(|_| {}).await;
    let llm = FakeLlm::start(Behavior::Gated).await;
    let worker = cluster.worker(&server.url(), &llm).await;
    let deleted = sign_up_on(&[&server.url()]).await.remove(0);
    let handle = request_summaries(&deleted, 1).await.remove(0);
    wait_until("the model is called", async || llm.open() == 1).await;
    cluster.run("DELETE FROM summary").await;
    cluster.run("DELETE FROM accounts").await;
    llm.release(1);
    wait_until("the result is rejected", async || has_rejected_a_lease(&server.url()).await).await;
    assert_eq!(handle.poll().await.unwrap_err().status_code(), Some(404));
    assert_eq!(cluster.count("SELECT COUNT(*) FROM reflection").await, 0);
    let other = sign_up_on(&[&server.url()]).await.remove(0);
    let handle = request_summaries(&other, 1).await.remove(0);
    llm.release(1);
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    worker.terminate().await;
    server.stop().await;
    cluster.drop_databases().await;
}
