//! How soon, and at what cost, a device sees what another has changed: the time until a watch yields
//! a save, beside polling; and the first and an idle comparison of ten years.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, future::join_all};
use shiori_benches::{Engines, PASSWORD, Percentiles, Place, record, runtime};
use shiori_sdk::{Client, Date, DateRange, Document, Draft, Precondition, Version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

/// Saves that a watch yields.
const WATCHED: usize = 1000;

/// Devices that poll, each with its own phase.
const POLLERS: u32 = 100;

const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The diaries of the first comparison: ten years.
const DIARIES: i64 = 3650;

/// Comparisons without a change.
const IDLE: u32 = 200;

fn main() {
    let runtime = runtime();
    let mut table = String::from(
        "| a save on one device is seen by another | p50 | p95 | p99 | the save alone, p50 |\n\
         |---|---:|---:|---:|---:|\n",
    );
    let mut sync = String::from(
        "\n| ten years, 3,650 diaries of 3 KiB | time | bytes received |\n|---|---:|---:|\n",
    );
    runtime.block_on(async {
        let place = Place::embedded(|_| {}).await;
        let (writer, email) = place.person_with_email().await;
        let reader = device(place.url(), &email).await;
        row(&mut table, "watch, one embedded server", watch(&writer, &reader).await);
        row(&mut table, "poll every 2 s, one embedded server", poll(&place).await);
        compare(&mut sync, "embedded", &place).await;
        place.close().await;
        if Engines::are_given() {
            let engines = Engines::open().await;
            let [one, two] = [
                Place::embedded(|config| engines.configure(config)).await,
                Place::embedded(|config| engines.configure(config)).await,
            ];
            let (writer, email) = one.person_with_email().await;
            let reader = device(two.url(), &email).await;
            row(&mut table, "watch, two servers, distributed", watch(&writer, &reader).await);
            row(&mut table, "poll every 2 s, distributed", poll(&one).await);
            compare(&mut sync, "distributed", &one).await;
            one.close().await;
            two.close().await;
            engines.drop_all().await;
        }
    });
    record("changes", &(table + &sync));
}

fn row(table: &mut String, name: &str, [mut seen, mut saves]: [Vec<Duration>; 2]) {
    let Percentiles { p50, p95, p99 } = Percentiles::of(&mut seen);
    let save = Percentiles::of(&mut saves).p50;
    let _ = writeln!(table, "| {name} | {p50:.1?} | {p95:.1?} | {p99:.1?} | {save:.1?} |");
}

fn date(days: i64) -> Date {
    Date::new(2016, 3, 1).unwrap().plus_days(days).unwrap()
}

/// A diary of 3 KiB.
fn draft() -> Draft {
    Draft::new("통영", Document::from_text(&"감나무에 인사했다. ".repeat(110)))
}

/// Saves over this version; returns the new version.
async fn save(client: &Client, date: Date, version: Option<Version>) -> Version {
    let save = client.diaries().save(date, draft(), Precondition::from(version));
    save.send().await.unwrap().version
}

/// Another device of the user, at this server.
async fn device(url: &str, email: &str) -> Client {
    let client = Client::builder(url).build().unwrap();
    client.auth().login(email, PASSWORD).await.unwrap();
    client
}

/// The times from the start of a save until a watch yields it, and until the save has returned.
async fn watch(writer: &Client, reader: &Client) -> [Vec<Duration>; 2] {
    let mut version = save(writer, date(0), None).await;
    let mut changes = reader.diaries().watch();
    while changes.next().await.unwrap().unwrap().version < version {}
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..WATCHED {
        let started = Instant::now();
        let saving = async { (save(writer, date(0), Some(version)).await, started.elapsed()) };
        let seeing = async { (changes.next().await.unwrap().unwrap(), started.elapsed()) };
        let ((saved, save_time), (seen, seen_time)) = tokio::join!(saving, seeing);
        assert_eq!(seen.version, saved);
        times[0].push(seen_time);
        times[1].push(save_time);
        version = saved;
    }
    times
}

/// As [`watch`], with devices that read the diary every two seconds.
async fn poll(place: &Place) -> [Vec<Duration>; 2] {
    let client = place.person().await;
    let dates = (0..POLLERS).map(|nth| (nth, date(nth.into())));
    let polls = dates.map(|(nth, date)| {
        let client = client.clone();
        async move {
            let version = save(&client, date, None).await;
            let started = Instant::now();
            let saved = save(&client, date, Some(version)).await;
            let save_time = started.elapsed();
            sleep(POLL_INTERVAL * nth / POLLERS).await;
            while client.diaries().get(date).await.unwrap().unwrap().version < saved {
                sleep(POLL_INTERVAL).await;
            }
            (started.elapsed(), save_time)
        }
    });
    let (seen, saves) = join_all(polls).await.into_iter().unzip();
    [seen, saves]
}

/// Reads ten years, and compares the versions without a change.
async fn compare(table: &mut String, profile: &str, place: &Place) {
    let (writer, email) = place.person_with_email().await;
    let dates: Vec<_> = (0..DIARIES).map(date).collect();
    for dates in dates.chunks(32) {
        join_all(dates.iter().map(|date| save(&writer, *date, None))).await;
    }
    let meter = Meter::start(place.url()).await;
    let reader = device(&meter.url, &email).await;
    let range = DateRange::new(date(0), date(DIARIES)).unwrap();
    let before = meter.received();
    let started = Instant::now();
    let diaries: Vec<_> = reader.diaries().read(range).try_collect().await.unwrap();
    let took = started.elapsed();
    assert_eq!(diaries.len(), dates.len());
    let bytes = meter.received() - before;
    let _ = writeln!(table, "| first read, {profile} | {took:.1?} | {bytes} |");

    let (before, mut times) = (meter.received(), Vec::new());
    let versions = reader.diaries().versions(range).await.unwrap();
    let bytes = meter.received() - before;
    for _ in 0..IDLE {
        let started = Instant::now();
        assert_eq!(reader.diaries().versions(range).await.unwrap().len(), versions.len());
        times.push(started.elapsed());
    }
    let p50 = Percentiles::of(&mut times).p50;
    let _ = writeln!(table, "| versions, {profile} | {p50:.1?} | {bytes} |");

    // A watch that knows everything compares once when it starts, and yields nothing.
    let mut watch = reader.diaries().watch_since(versions.clone());
    let _ = tokio::time::timeout(Duration::from_secs(1), watch.next()).await;
    let before = meter.received();
    let minute = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
    assert!(minute.is_err(), "nothing has changed");
    let bytes = meter.received() - before;
    let _ = writeln!(table, "| one minute of an idle watch, {profile} | | {bytes} |");
}

/// A proxy that counts the bytes that clients receive.
struct Meter {
    url: String,
    received: Arc<AtomicU64>,
}

impl Meter {
    async fn start(url: &str) -> Self {
        let server = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(AtomicU64::new(0));
        let counted = received.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, counted.clone()));
            }
        });
        Self { url, received }
    }

    fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }
}

/// Forwards until the server closes the connection.
async fn forward(client: TcpStream, server: TcpStream, received: Arc<AtomicU64>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
        received.fetch_add(count as u64, Relaxed);
        if to_client.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
