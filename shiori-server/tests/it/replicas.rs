//! Replicas of one account that work offline, over connections that fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use shiori_sdk::{
    Client, Date, DateRange, Draft, MemoryStore, Replica, ReplicaDiary, RetryPolicy,
    testing::FakeShiori,
};
use tokio::time::timeout;

use crate::{
    fixtures::{PASSWORD, day, draft, fresh_email, new_client, wait_until},
    proxy::Proxy,
    test_server::TestServer,
};

/// Random histories of the test.
const HISTORIES: u64 = 100;

/// Words are only added to the diaries of these days, so each must be there once.
const KEPT_DAYS: [u8; 2] = [1, 2];

/// Also deleted and archived.
const DELETED_DAY: u8 = 3;

/// A device: its store survives a restart of the replica.
struct Device {
    client: Client,
    store: MemoryStore,
    replica: Replica,
}

impl Device {
    async fn new(url: &str, email: &str) -> Self {
        let client = Client::builder(url).retry_policy(RetryPolicy::never()).build().unwrap();
        client.auth().login(email, PASSWORD).await.unwrap();
        let store = MemoryStore::new();
        let replica = Replica::open(client.clone(), store.clone()).await.unwrap();
        Self { client, store, replica }
    }

    async fn restart(&mut self) {
        self.replica = Replica::open(self.client.clone(), self.store.clone()).await.unwrap();
    }

    async fn draft(&self, date: Date) -> Option<Draft> {
        self.replica.get(date).await.unwrap().as_ref().map(ReplicaDiary::to_draft)
    }

    /// Inserts a paragraph at a random place.
    async fn write(&self, date: Date, text: &str, random: &mut StdRng) {
        let mut texts =
            self.draft(date).await.map(|draft| draft.content.block_texts()).unwrap_or_default();
        texts.insert(random.random_range(0..=texts.len()), text.to_owned());
        self.replica.save(date, draft(&texts.join("\n"))).await.unwrap();
    }
}

fn every_day() -> DateRange {
    DateRange::new(day(1), day(28)).unwrap()
}

/// What a client without a replica reads: the title, the text and whether it is archived.
async fn on_server(client: &Client) -> BTreeMap<Date, (Draft, bool)> {
    let mut diaries = BTreeMap::new();
    for entry in client.diaries().list(every_day()).await.unwrap() {
        let diary = client.diaries().get(entry.date).await.unwrap().unwrap();
        diaries.insert(entry.date, (diary.to_draft(), diary.is_archived));
    }
    diaries
}

async fn on_device(device: &Device) -> BTreeMap<Date, (Draft, bool)> {
    let mut diaries = BTreeMap::new();
    for entry in device.replica.list(every_day()).await.unwrap() {
        // A date without a diary may be listed because of a conflict.
        if let Some(diary) = device.replica.get(entry.date).await.unwrap() {
            diaries.insert(entry.date, (diary.to_draft(), diary.is_archived));
        }
    }
    diaries
}

/// Synchronises until nothing changes any more.
async fn quiesce(devices: &[Device]) {
    for _ in 0..3 {
        for device in devices {
            device.replica.sync().await.unwrap();
        }
    }
}

/// One random history of some devices; `seed` determines it, apart from times and ids.
async fn run_history(proxy: &Proxy, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (client, email) = (new_client(proxy.url()), fresh_email());
    client.auth().signup(&email, PASSWORD, "손").await.unwrap();
    client.auth().login(&email, PASSWORD).await.unwrap();
    let mut devices = Vec::new();
    for _ in 0..random.random_range(2..=4) {
        devices.push(Device::new(proxy.url(), &email).await);
    }
    let mut written: BTreeMap<Date, BTreeSet<String>> = BTreeMap::new();
    for step in 0..random.random_range(10..30) {
        let at = random.random_range(0..devices.len());
        let device = &mut devices[at];
        match random.random_range(0..100) {
            0..40 => {
                let date = day(KEPT_DAYS[random.random_range(0..KEPT_DAYS.len())]);
                let word = format!("낱말{step}");
                device.write(date, &word, &mut random).await;
                written.entry(date).or_default().insert(word);
            }
            40..50 => device.write(day(DELETED_DAY), &format!("글{step}"), &mut random).await,
            50..54 => device.replica.delete(day(DELETED_DAY)).await.unwrap(),
            54..58 => {
                device.replica.archive(day(DELETED_DAY), random.random()).await.unwrap();
            }
            58..64 => device.restart().await,
            // Each of these fails or succeeds; the end shows whether anything was lost.
            64..76 => {
                let parts =
                    ["POST /api/diary/2026", "DELETE /api/diary/2026", "/api/diary/versions"];
                proxy.drop_response_to(parts[random.random_range(0..parts.len())]);
                let _ = device.replica.sync().await;
            }
            76..82 => {
                let cut = async {
                    tokio::task::yield_now().await;
                    proxy.cut_connections().await;
                };
                let _ = tokio::join!(device.replica.sync(), cut);
            }
            _ => {
                let _ = device.replica.sync().await;
            }
        }
    }
    // A rule that no request has met.
    proxy.drop_response_to("no request contains this");
    quiesce(&devices).await;

    let server = on_server(&client).await;
    for device in &devices {
        assert_eq!(device.replica.unsent(), [], "seed {seed}");
        assert!(on_device(device).await == server, "seed {seed}: a device differs from the server");
    }
    for (date, words) in written {
        let mut texts = server[&date].0.content.block_texts();
        texts.sort();
        assert!(texts.iter().eq(&words), "seed {seed}, {date}: {texts:?} instead of {words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_converge_after_random_histories() {
    let server = TestServer::without_worker().await;
    let proxy = Proxy::start(&server.url()).await;
    for seed in 0..HISTORIES {
        run_history(&proxy, seed).await;
    }
    proxy.set_down(true);
    server.stop().await;
}

/// The server for the tests of other programs is no easier.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_converge_on_the_fake() {
    let fake = FakeShiori::start();
    let proxy = Proxy::start(&fake.url()).await;
    for seed in 0..HISTORIES {
        run_history(&proxy, seed).await;
    }
    proxy.set_down(true);
}

/// Two devices write in the background, while their connections are closed and stalled.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_converge_in_the_background() {
    let server = TestServer::without_worker().await;
    let (client, email) = server.sign_up().await;
    let proxies = [Proxy::start(&server.url()).await, Proxy::start(&server.url()).await];
    let (mut devices, mut runs) = (Vec::new(), Vec::new());
    for proxy in &proxies {
        let device = Device::new(proxy.url(), &email).await;
        let replica = device.replica.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = tokio::spawn(async move { replica.run(async { drop(stopped.await) }).await });
        devices.push(device);
        runs.push((stop, run));
    }
    let mut random = StdRng::seed_from_u64(7);
    let mut words = BTreeSet::new();
    for round in 0..12 {
        let proxy = &proxies[round % 2];
        match round % 4 {
            0 => proxy.set_down(true),
            1 => proxy.set_down(false),
            2 => proxy.cut_connections().await,
            _ => proxy.drop_response_to("POST /api/diary/2026"),
        }
        for (number, device) in devices.iter().enumerate() {
            let word = format!("낱말{round}-{number}");
            device.write(day(1), &word, &mut random).await;
            words.insert(word);
        }
    }
    for proxy in &proxies {
        proxy.set_down(false);
    }
    wait_until("both devices and the server have all words", async || {
        let server = on_server(&client).await;
        let mut is_equal = server
            .get(&day(1))
            .is_some_and(|(draft, _)| draft.content.block_texts().len() == words.len());
        for device in &devices {
            is_equal &= device.replica.unsent().is_empty() && on_device(device).await == server;
        }
        is_equal
    })
    .await;
    let mut texts = on_server(&client).await[&day(1)].0.content.block_texts();
    texts.sort();
    assert!(texts.iter().eq(&words), "{texts:?} instead of {words:?}");
    for (stop, run) in runs {
        stop.send(()).unwrap();
        timeout(Duration::from_secs(60), run).await.expect("it stops").unwrap().unwrap();
    }
    drop(devices);
    for proxy in &proxies {
        proxy.set_down(true);
    }
    server.stop().await;
}
