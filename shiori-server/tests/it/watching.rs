//! Watching the changes of all diaries, on one server and over several, with faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use shiori_sdk::{Client, Date, DateRange, DateVersion, Draft, ErrorKind, Precondition};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    fixtures::{PASSWORD, day, draft, fresh_email, new_client, wait_until},
    proxy::Proxy,
    raw_client::RawClient,
    test_cluster::{PrivateRedis, TestCluster},
    test_server::TestServer,
};

fn all_dates() -> DateRange {
    DateRange::new(Date::new(1, 1, 1).unwrap(), Date::new(9999, 12, 31).unwrap()).unwrap()
}

async fn versions(client: &Client) -> BTreeMap<Date, DateVersion> {
    let versions = client.diaries().versions(all_dates()).await.unwrap();
    versions.into_iter().map(|version| (version.date, version)).collect()
}

/// A device that watches its user's diaries until this is dropped.
struct Watcher {
    seen: Arc<Mutex<BTreeMap<Date, DateVersion>>>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Signs in whenever the session has ended.
    fn start(url: &str, email: &str) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let (client, email, shared) = (new_client(url), email.to_owned(), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                if client.auth().login(&email, PASSWORD).await.is_err() {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
                let known: Vec<_> = shared.lock().unwrap().values().copied().collect();
                let mut watch = client.diaries().watch_since(known);
                while let Some(Ok(version)) = watch.next().await {
                    let before = shared.lock().unwrap().insert(version.date, version);
                    let before = before.map(|before: DateVersion| before.version);
                    assert!(before < Some(version.version), "{before:?} before {version:?}");
                }
            }
        });
        Self { seen, task }
    }

    fn knows(&self, expected: &BTreeMap<Date, DateVersion>) -> bool {
        // A failed assertion has ended the task.
        assert!(!self.task.is_finished());
        *self.seen.lock().unwrap() == *expected
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Changes diaries of the first days of February until `end`: saves, archives and deletes.
async fn change_diaries(url: String, email: String, end: Instant) {
    let client = new_client(&url);
    let mut nth = 0_u8;
    while Instant::now() < end {
        if !client.auth().is_signed_in() {
            let _ = timeout(Duration::from_secs(5), client.auth().login(&email, PASSWORD)).await;
        }
        nth = nth.wrapping_add(1);
        let date = day(1 + nth % 7);
        let change = async {
            let diaries = client.diaries();
            let append = |mut draft: Draft| async move {
                draft.content.push_paragraph("한 줄");
                draft
            };
            let Ok(saved) = diaries.update(date, append).await else { return };
            let version = saved.version;
            let _ = match nth % 5 {
                0 => diaries.delete(date, version).await,
                1 => diaries.archive(date, version, true).await.map(drop),
                _ => Ok(()),
            };
        };
        // Requests fail during an outage.
        let _ = timeout(Duration::from_secs(5), change).await;
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_continues_after_its_connection_was_cut() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(&server.url()).await;
    let (writer, email) = server.sign_up().await;
    let watcher = Watcher::start(proxy.url(), &email);
    for round in 0..6 {
        match round % 3 {
            0 => {}
            1 => proxy.cut_connections().await,
            _ => proxy.set_down(true),
        }
        let append = |mut draft: Draft| async move {
            draft.content.push_paragraph("한 줄");
            draft
        };
        writer.diaries().update(day(1 + round % 2), append).await.unwrap();
        proxy.set_down(false);
        let expected = versions(&writer).await;
        wait_until("the watch has seen it", async || watcher.knows(&expected)).await;
    }
    drop(watcher);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_its_session() {
    let server = TestServer::start().await;
    let (phone, email) = server.sign_up().await;
    let laptop = new_client(&server.url());
    laptop.auth().login(&email, PASSWORD).await.unwrap();
    let saved = phone.diaries().save(day(1), draft("글"), Precondition::IfAbsent).send().await;
    let mut watch = laptop.diaries().watch();
    assert_eq!(watch.next().await.unwrap().unwrap().version, saved.unwrap().version);
    let sessions = phone.auth().sessions().await.unwrap();
    let other = sessions.iter().find(|session| !session.current).unwrap();
    let auth = phone.auth();
    let ended = timeout(Duration::from_secs(60), watch.next());
    let (ended, revoked) = tokio::join!(ended, auth.revoke(other.id));
    revoked.unwrap();
    let error = ended.expect("the stream ends").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SignedOut);
    assert!(watch.next().await.is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_are_bounded_for_each_user_and_end_with_the_server() {
    let server = TestServer::with_config(|config| config.overload.max_waits_per_user = 2).await;
    let [one, other] =
        [RawClient::sign_up(&server.url()).await, RawClient::sign_up(&server.url()).await];
    let open = async |raw: &RawClient| {
        raw.request(reqwest::Method::GET, "/api/diary/events").send().await.unwrap()
    };
    let (first, mut second) = (open(&one).await, open(&one).await);
    let rejected = one.get("/api/diary/events").await;
    assert_eq!((rejected.status, rejected.error().as_str()), (429, "too_many_waits"));
    assert!(rejected.headers.contains_key("retry-after"));
    let mut of_other = open(&other).await;
    assert_eq!(of_other.status(), 200);
    drop(first);
    wait_until("the slot is free", async || open(&one).await.status() == 200).await;
    server.stop().await;
    for stream in [&mut second, &mut of_other] {
        // They end properly, so that no client sees an error.
        while stream.chunk().await.unwrap().is_some() {}
    }
}

/// Two servers, with faults between them and Redis. After each fault and quiet, every device that
/// watches on either server knows the version of every date.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn every_watch_knows_every_version_after_faults_of_redis() {
    let mut cluster = TestCluster::create().await;
    let mut redis = PrivateRedis::start().await;
    cluster.redis = redis.url();
    let proxy = Proxy::start(&format!("127.0.0.1:{}", redis.port())).await;
    let proxied = format!("redis://{}/", proxy.addr());
    let one = cluster.server(|config| config.redis_url = Some(proxied.as_str().into())).await;
    let two = cluster.server_process(30).await;
    let urls = [one.url(), two.url().to_owned()];
    let email = fresh_email();
    let writer = new_client(&urls[0]);
    writer.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
    let watchers = [&urls[0], &urls[1], &urls[0], &urls[1]].map(|url| Watcher::start(url, &email));
    let connection = redis::Client::open(redis.url()).unwrap();

    for fault in ["none", "cut", "stall", "flush", "freeze Redis", "freeze a server", "kill Redis"]
    {
        let end = Instant::now() + Duration::from_secs(5);
        let change = |url: &String| tokio::spawn(change_diaries(url.clone(), email.clone(), end));
        let changing = urls.each_ref().map(change);
        sleep(Duration::from_secs(1)).await;
        let outage = Duration::from_secs(3);
        match fault {
            "cut" => {
                for _ in 0..10 {
                    proxy.cut_connections().await;
                    sleep(outage / 10).await;
                }
            }
            "stall" => {
                proxy.set_stalled(true);
                sleep(outage).await;
                proxy.set_stalled(false);
            }
            "flush" => {
                let mut connection = connection.get_multiplexed_async_connection().await.unwrap();
                redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
            }
            "freeze Redis" => {
                redis.signal("-STOP").await;
                sleep(outage).await;
                redis.signal("-CONT").await;
            }
            "freeze a server" => {
                two.signal("-STOP").await;
                sleep(outage).await;
                two.signal("-CONT").await;
            }
            "kill Redis" => {
                redis.kill().await;
                redis.restart().await;
            }
            _ => {}
        }
        for task in changing {
            task.await.unwrap();
        }
        let quiet = Instant::now();
        wait_until("sign-ins succeed", async || {
            writer.auth().login(&email, PASSWORD).await.is_ok()
        })
        .await;
        let expected = versions(&writer).await;
        wait_until("every watch knows every version", async || {
            watchers.iter().all(|watcher| watcher.knows(&expected))
        })
        .await;
        assert!(expected.len() >= 7, "{fault}: {expected:?}");
        // Before the comparison of every five minutes.
        let elapsed = quiet.elapsed();
        assert!(elapsed < Duration::from_secs(90), "{fault}: {elapsed:?}");
    }
    drop(watchers);
    one.stop().await;
    two.terminate().await;
    cluster.drop_databases().await;
}

/// Each save on one server is yielded by a watch on the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MySQL, MongoDB and Redis: scripts/test.sh"]
async fn a_change_on_one_server_is_watched_on_another() {
    let cluster = TestCluster::create().await;
    let (one, two) = (cluster.server(|_| {}).await, cluster.server(|_| {}).await);
    let email = fresh_email();
    let writer = new_client(&one.url());
    writer.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
    writer.auth().login(&email, PASSWORD).await.unwrap();
    let reader = new_client(&two.url());
    reader.auth().login(&email, PASSWORD).await.unwrap();
    let saved = writer.diaries().save(day(1), draft("글"), Precondition::IfAbsent).send().await;
    let mut version = saved.unwrap().version;
    let mut watch = reader.diaries().watch();
    for _ in 0..20 {
        let watched = timeout(Duration::from_secs(60), watch.next()).await;
        let watched = watched.expect("the version arrives").unwrap().unwrap();
        assert_eq!((watched.date, watched.version), (day(1), version));
        let over = Precondition::IfVersion(version);
        version = writer.diaries().save(day(1), draft("글"), over).send().await.unwrap().version;
    }
    one.stop().await;
    two.stop().await;
    cluster.drop_databases().await;
}
