//! The promises over many servers and workers, on the engines of the distributed profile: real
//! processes, real signals, connections that are really cut.

use std::time::Duration;

use serde_json::json;
use shiori_sdk::{Document, SaveId, SummaryStatus, Week};
use tokio::time::timeout;

use crate::{
    house::{Raw, day, until, week, write_week},
    llm::{Llm, Mood},
    proxy::Proxy,
    saves,
    town::{OwnRedis, Town, person, request},
};

const AT_ONCE: Mood = Mood::Slow(Duration::from_millis(50));

/// Whether a worker has been told that its lease is lost.
async fn has_refused(url: &str) -> bool {
    let metrics = Raw::stranger(url).get("/metrics").await.text;
    metrics.lines().any(|line| {
        let told = line.contains("/summarize/result\"") || line.contains("/heartbeat\"");
        line.starts_with("shiori_http_request_duration_seconds_count")
            && told
            && line.contains("\"409\"")
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn saves_race_over_two_server_processes() {
    let town = Town::found().await;
    let (one, two) = (town.server_process(30).await, town.server_process(30).await);
    let servers = [one.url(), two.url()];
    saves::race_over_versions(&person(&servers).await, 20).await;
    saves::race_to_be_first(&person(&servers).await, 20).await;
    saves::race_in_chains(&person(&servers).await, 50).await;
    saves::append_a_line_each(&person(&servers.repeat(16)).await).await;
    one.terminate().await;
    two.terminate().await;
    town.abandon().await;
}

/// Signed in at one server, known at the other; asked for at one, waited for at the other, written
/// by a worker that knows the first alone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_summary_crosses_servers_and_worker() {
    let town = Town::found().await;
    let llm = Llm::start(Mood::Gated).await;
    let (one, two) = (town.server(|_| {}).await, town.server(|_| {}).await);
    let worker = town.worker(&one.url(), &llm).await;
    let devices = person(&[&one.url(), &two.url()]).await;
    write_week(&devices[0], "비가 왔지만 마음은 맑았다").await;
    let handle = devices[0].summaries().request(week()).await.unwrap().into_handle().unwrap();
    let elsewhere = devices[1].summaries().handle(handle.id());
    let waiting = tokio::spawn(async move { elsewhere.wait().await });
    until("the model is asked", async || llm.open() == 1).await;
    // What a thief of the queue would find: no text, no name.
    let redis = redis::Client::open(town.redis.as_str()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{}:*", town.prefix());
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    assert!(keys.iter().any(|key| key.contains("sessions")), "{keys:?}");
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.unwrap();
        let shown = format!("{key} {}", String::from_utf8_lossy(&dump));
        assert!(!shown.contains("마음") && !shown.contains("제목"), "{shown}");
    }
    llm.answer(1);
    let summary = waiting.await.unwrap().unwrap();
    assert_eq!(summary.status, SummaryStatus::Completed);
    assert_eq!(summary.reflection.as_deref(), Some("1번째로 쓴 글이에요."));
    let reflection = devices[1].reflections().get(week()).await.unwrap().expect("there");
    assert!(!reflection.stale);
    worker.terminate().await;
    one.stop().await;
    two.stop().await;
    town.abandon().await;
}

/// SIGKILL of a worker with 50 jobs in flight: another completes them all, each with one result.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_killed_workers_jobs_are_completed_by_another() {
    let town = Town::found().await;
    let lease = Duration::from_secs(2);
    let server = town.server(|config| config.summaries.lease = lease).await;
    let stuck = Llm::start(Mood::Gated).await;
    let first = town.worker(&server.url(), &stuck).await;
    let mut handles = Vec::new();
    for _ in 0..2 {
        let client = person(&[&server.url()]).await.remove(0);
        handles.extend(request(&client, 25).await);
    }
    until("all are in flight", async || stuck.open() == 50).await;
    first.kill().await;
    let llm = Llm::start(AT_ONCE).await;
    let second = town.worker(&server.url(), &llm).await;
    for handle in &handles {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 2));
    }
    assert_eq!(llm.calls(), 50, "none is run twice by the second");
    assert_eq!(town.count("SELECT COUNT(*) FROM reflection").await, 50);
    second.terminate().await;
    server.stop().await;
    town.abandon().await;
}

/// SIGSTOP for longer than the lease, then SIGCONT: what the worker brings late is refused, and
/// what is stored stays.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_late_result_is_refused() {
    let town = Town::found().await;
    let server = town.server(|config| config.summaries.lease = Duration::from_secs(2)).await;
    let gated = Llm::start(Mood::Gated).await;
    let sleeper = town.worker(&server.url(), &gated).await;
    let client = person(&[&server.url()]).await.remove(0);
    let handle = request(&client, 1).await.remove(0);
    until("the model is asked", async || gated.open() == 1).await;
    sleeper.signal("-STOP").await;
    let llm = Llm::start(AT_ONCE).await;
    let waker = town.worker(&server.url(), &llm).await;
    let stored = handle.wait().await.unwrap();
    assert_eq!((stored.status, stored.attempts), (SummaryStatus::Completed, 2));
    // The model has answered the sleeper, too, who does not know what time it is.
    gated.answer(1);
    until("the answer is sent", async || gated.open() == 0).await;
    sleeper.signal("-CONT").await;
    until("it is refused", async || has_refused(&server.url()).await).await;
    sleeper.terminate().await;
    assert_eq!(handle.poll().await.unwrap(), stored);
    assert_eq!(town.count("SELECT COUNT(*) FROM reflection").await, 1);
    waker.terminate().await;
    server.stop().await;
    town.abandon().await;
}

/// A job that takes three times its lease is run once, for its worker lives.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_job_longer_than_its_lease_is_run_once() {
    let town = Town::found().await;
    let server = town.server(|config| config.summaries.lease = Duration::from_secs(1)).await;
    let llm = Llm::start(Mood::Slow(Duration::from_secs(3))).await;
    let (one, two) =
        (town.worker(&server.url(), &llm).await, town.worker(&server.url(), &llm).await);
    let client = person(&[&server.url()]).await.remove(0);
    for handle in request(&client, 5).await {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    }
    assert_eq!(llm.calls(), 5);
    one.terminate().await;
    two.terminate().await;
    server.stop().await;
    town.abandon().await;
}

/// SIGTERM of a worker with 100 in flight: it finishes them, and none is run twice because of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_terminated_worker_finishes_what_it_has() {
    let town = Town::found().await;
    let server = town.server(|_| {}).await;
    let llm = Llm::start(Mood::Gated).await;
    let first = town.worker(&server.url(), &llm).await;
    let mut handles = Vec::new();
    for _ in 0..4 {
        let client = person(&[&server.url()]).await.remove(0);
        handles.extend(request(&client, 25).await);
    }
    until("all are in flight", async || llm.open() == 100).await;
    let second = town.worker(&server.url(), &llm).await;
    let ending = tokio::spawn(first.terminate());
    llm.answer(100);
    ending.await.unwrap();
    for handle in &handles {
        let summary = handle.wait().await.unwrap();
        assert_eq!((summary.status, summary.attempts), (SummaryStatus::Completed, 1));
    }
    assert_eq!(llm.calls(), 100);
    second.terminate().await;
    server.stop().await;
    town.abandon().await;
}

/// The server is killed after it has inserted the row and before the queue has taken the hint:
/// Redis stands still at that moment.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_server_killed_between_row_and_hint_loses_nothing() {
    let mut town = Town::found().await;
    let redis = reqwest::Url::parse(&town.redis).unwrap();
    let engine = format!("{}:{}", redis.host_str().unwrap(), redis.port().unwrap());
    let before_redis = Proxy::before(&engine).await;
    let direct = std::mem::replace(
        &mut town.redis,
        format!("redis://{}{}", before_redis.addr(), redis.path()),
    );
    let server = town.server_process(30).await;
    let client = person(&[server.url()]).await.remove(0);
    request(&client, 0).await;
    let gate = town.lock_summaries().await;
    let asking =
        tokio::spawn(
            async move { client.summaries().request(Week::starting(day(1)).unwrap()).await },
        );
    until("the request is before the row", async || town.waiting().await == 1).await;
    before_redis.set_frozen(true);
    drop(gate);
    until("the row is there", async || town.count("SELECT COUNT(*) FROM summary").await == 1).await;
    server.kill().await;
    asking.abort();
    town.redis = direct;
    let server = town.server_process(30).await;
    let llm = Llm::start(AT_ONCE).await;
    let worker = town.worker(server.url(), &llm).await;
    until("it is completed", async || {
        town.count("SELECT COUNT(*) FROM summary WHERE status = 'completed'").await == 1
    })
    .await;
    worker.terminate().await;
    server.terminate().await;
    town.abandon().await;
}

/// Servers and workers are killed again and again while summaries are asked for: each that was
/// accepted is completed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn servers_and_workers_killed_at_random_lose_nothing() {
    let town = Town::found().await;
    let llm = Llm::start(AT_ONCE).await;
    let mut accepted = Vec::new();
    for _ in 0..5 {
        let server = town.server_process(1).await;
        let worker = town.worker(server.url(), &llm).await;
        let client = person(&[server.url()]).await.remove(0);
        let asking = tokio::spawn(async move {
            request(&client, 0).await;
            let mut ids = Vec::new();
            // Until the server dies under it.
            for nth in 0..28 {
                let week = Week::starting(day(1).plus_days(nth - 6).unwrap()).unwrap();
                let Ok(requested) = client.summaries().request(week).await else { break };
                ids.push(requested.into_handle().unwrap().id());
            }
            ids
        });
        let before = town.count("SELECT COUNT(*) FROM summary").await;
        let some = rand::random_range(1..=12);
        until("some are accepted", async || {
            town.count("SELECT COUNT(*) FROM summary").await >= before + some
        })
        .await;
        worker.kill().await;
        server.kill().await;
        accepted.extend(asking.await.unwrap());
    }
    assert!(!accepted.is_empty());
    let server = town.server_process(1).await;
    let worker = town.worker(server.url(), &llm).await;
    until("all are completed", async || {
        town.count("SELECT COUNT(*) FROM summary WHERE status <> 'completed'").await == 0
    })
    .await;
    let completed = town.count("SELECT COUNT(*) FROM summary").await;
    assert!(usize::try_from(completed).unwrap() >= accepted.len());
    assert_eq!(town.count("SELECT COUNT(*) FROM reflection").await, completed);
    worker.terminate().await;
    server.terminate().await;
    town.abandon().await;
}

/// Redis is flushed, and then killed and started empty, with 200 summaries queued: all finish.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_redis_that_forgets_everything_loses_no_summary() {
    let mut town = Town::found().await;
    let mut redis = OwnRedis::start().await;
    town.redis = redis.url();
    let server = town.server(|_| {}).await;
    let mut asked = 0;
    while asked < 200 {
        let client = person(&[&server.url()]).await.remove(0);
        asked += request(&client, 25).await.len();
    }
    let mut connection =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    let llm = Llm::start(Mood::Slow(Duration::from_millis(500))).await;
    let worker = town.worker(&server.url(), &llm).await;
    until("some have begun", async || llm.calls() > 20).await;
    redis.kill().await;
    until("what was taken is completed", async || llm.open() == 0).await;
    redis.restart().await;
    until("all are completed", async || {
        town.count("SELECT COUNT(*) FROM summary WHERE status = 'completed'").await == 200
    })
    .await;
    assert_eq!(town.count("SELECT COUNT(*) FROM reflection").await, 200);
    // Everybody has to sign in again, and can.
    person(&[&server.url()]).await;
    worker.terminate().await;
    server.stop().await;
    town.abandon().await;
}

/// Each engine is cut off under load. Meanwhile answers are 503 with a time to wait, and never
/// late; afterwards everything goes on by itself, and what was acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn an_engine_that_is_cut_off_is_survived() {
    let mut town = Town::found().await;
    let (mut mysql, mut mongodb) = (town.mysql.clone(), town.mongodb.clone());
    let mut redis = reqwest::Url::parse(&town.redis).unwrap();
    let mut proxies = Vec::new();
    for url in [&mut mysql, &mut mongodb, &mut redis] {
        let engine = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let proxy = Proxy::before(&engine).await;
        let (host, port) = proxy.addr().split_once(':').unwrap();
        url.set_host(Some(host)).unwrap();
        url.set_port(Some(port.parse().unwrap())).unwrap();
        proxies.push(proxy);
    }
    // Else the driver would find the replica set's members behind the proxy's back.
    mongodb.set_query(Some("directConnection=true"));
    (town.mysql, town.mongodb, town.redis) = (mysql, mongodb, redis.into());
    let server = town
        .server(|config| {
            config.worker = shiori_server::WorkerMode::InProcess;
            config.limits.request_time = Duration::from_secs(8);
        })
        .await;
    let raw = Raw::person(&server.url()).await;
    let mut version = 0;
    let mut accepted = 0;
    for (outage, frozen) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        save(&raw, &mut version).await.expect("saved");
        accepted += i64::from(ask(&raw, &mut 0).await);
        let set = |off: bool| {
            if frozen { proxies[outage].set_frozen(off) } else { proxies[outage].set_down(off) }
        };
        set(true);
        let mut refusals = 0;
        for _ in 0..2 {
            if save(&raw, &mut version).await.is_err() {
                refusals += 1;
            }
            accepted += i64::from(ask(&raw, &mut refusals).await);
        }
        assert!(refusals > 0, "nobody noticed that engine {outage} was cut off");
        set(false);
        let recovered = async {
            while save(&raw, &mut version).await.is_err() {}
            while !ask(&raw, &mut 0).await {}
        };
        timeout(Duration::from_secs(60), recovered).await.expect("it recovers");
    }
    let current = raw.get("/api/diary/20260216").await.json();
    assert_eq!(current["data"]["version"], version);
    assert_eq!(current["data"]["title"], format!("{version} 번째"));
    assert!(accepted > 0);
    until("all are completed", async || {
        town.count("SELECT COUNT(*) FROM summary WHERE status <> 'completed'").await == 0
    })
    .await;
    server.stop().await;
    drop(proxies);
    town.mongodb.set_query(None);
    town.count("SELECT COUNT(*) FROM summary").await;
}

/// Saves the next version, repeating until an answer is known; an error is a refusal as it should
/// be. What was acknowledged is the version.
async fn save(raw: &Raw, version: &mut u64) -> Result<(), ()> {
    let title = format!("{} 번째", *version + 1);
    let body = json!({
        "title": title,
        "content": Document::from_text(&title),
        "version": (*version > 0).then_some(*version),
        "save_id": SaveId::new(),
    });
    let answer = raw.post("/api/diary/20260216", &body).await;
    match answer.status {
        200 | 201 => {
            *version += 1;
            Ok(())
        }
        503 => {
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
            // It may have been applied all the same; then it is the current one.
            let current = raw.get("/api/diary/20260216").await;
            if current.status == 200 && current.json()["data"]["title"] == title {
                *version += 1;
            }
            Err(())
        }
        // Applied after the look above: the answer was lost, not the save.
        409 if answer.json()["data"]["current"]["title"] == title => {
            *version += 1;
            Ok(())
        }
        other => panic!("{other}: {}", answer.text),
    }
}

/// Asks for a summary; whether it was accepted. A refusal is as it should be.
async fn ask(raw: &Raw, refusals: &mut u32) -> bool {
    let body = json!({"start": "20260216", "end": "20260222", "force": true});
    let answer = raw.post("/api/diary/summary", &body).await;
    match answer.status {
        202 => true,
        503 => {
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
            *refusals += 1;
            false
        }
        other => panic!("{other}: {}", answer.text),
    }
}

/// A person's rows are deleted while a summary of theirs runs: what the worker brings is refused,
/// and it goes on with others.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn the_result_of_a_deleted_person_is_refused() {
    let town = Town::found().await;
    let server = town.server(|_| {}).await;
    let llm = Llm::start(Mood::Gated).await;
    let worker = town.worker(&server.url(), &llm).await;
    let gone = person(&[&server.url()]).await.remove(0);
    let handle = request(&gone, 1).await.remove(0);
    until("the model is asked", async || llm.open() == 1).await;
    town.run("DELETE FROM summary").await;
    town.run("DELETE FROM accounts").await;
    llm.answer(1);
    until("it is refused", async || has_refused(&server.url()).await).await;
    assert_eq!(handle.poll().await.unwrap_err().status_code(), Some(404));
    assert_eq!(town.count("SELECT COUNT(*) FROM reflection").await, 0);
    let other = person(&[&server.url()]).await.remove(0);
    let handle = request(&other, 1).await.remove(0);
    llm.answer(1);
    assert_eq!(handle.wait().await.unwrap().status, SummaryStatus::Completed);
    worker.terminate().await;
    server.stop().await;
    town.abandon().await;
}
