//! What an offline replica costs: local saves and reads, the first round over ten years, and memory.
//! The server is a process of its own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    env,
    fmt::Write,
    fs,
    process::exit,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use shiori_benches::{
    Percentiles, Place, page,
    process::{self, Process, ServerSetup},
    record, resident_mib, runtime,
};
use shiori_sdk::{Client, Date, DateRange, Draft, Precondition, RedbStore, Replica};

/// The diaries of the first round: ten years.
const DIARIES: i64 = 3650;

/// Calls of each kind.
const CALLS: i64 = 1000;

/// Calls that list ten years.
const LISTS: usize = 50;

fn main() {
    let runtime = runtime();
    if env::args().nth(1).as_deref() == Some(process::SERVER) {
        exit(i32::from(runtime.block_on(process::run_server()).is_err()));
    }
    record("replica", &runtime.block_on(measure()));
}

async fn measure() -> String {
    let dir = tempfile::tempdir().unwrap();
    let setup = ServerSetup {
        dir: dir.path().to_owned(),
        port: 0,
        engines: None,
        worker: None,
        lease_ms: None,
    };
    let server = Process::server(&setup).await.unwrap();
    let client = Place::at(server.url()).person().await;
    let dates: Vec<_> = (0..DIARIES).map(date).collect();
    for dates in dates.chunks(32) {
        join_all(dates.iter().map(|date| save(&client, *date))).await;
    }

    let mut table =
        "| a replica of ten years, 3,650 diaries of 3 KiB | p50 | p99 |\n|---|---:|---:|\n"
            .to_owned();
    let file = dir.path().join("replica.redb");
    let before_mib = resident_mib(std::process::id());
    let started = Instant::now();
    let replica = Replica::open(client, RedbStore::open(&file).unwrap()).await.unwrap();
    replica.sync().await.unwrap();
    let first_round = started.elapsed();
    let memory_mib = resident_mib(std::process::id()).saturating_sub(before_mib);
    let ten_years = DateRange::new(date(0), date(DIARIES)).unwrap();
    assert_eq!(replica.list(ten_years).await.unwrap().len(), dates.len());

    let (mut saves, mut reads, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for nth in 0..CALLS {
        let started = Instant::now();
        replica.save(date(nth), edited()).await.unwrap();
        saves.push(started.elapsed());
        let started = Instant::now();
        replica.get(date(nth)).await.unwrap().unwrap();
        reads.push(started.elapsed());
    }
    for _ in 0..LISTS {
        let started = Instant::now();
        replica.list(ten_years).await.unwrap();
        lists.push(started.elapsed());
    }
    for (name, mut times) in [
        ("`save`, on the disk when it returns", saves),
        ("`get`", reads),
        ("`list` of all dates", lists),
    ] {
        let Percentiles { p50, p99, .. } = Percentiles::of(&mut times);
        let _ = writeln!(table, "| {name} | {p50:.2?} | {p99:.2?} |");
    }
    let started = Instant::now();
    replica.sync().await.unwrap();
    let changed = started.elapsed();
    let mut unchanged: Vec<Duration> = Vec::new();
    for _ in 0..LISTS {
        let started = Instant::now();
        replica.sync().await.unwrap();
        unchanged.push(started.elapsed());
    }
    let Percentiles { p50, p99, .. } = Percentiles::of(&mut unchanged);
    let _ = writeln!(table, "| `sync` without a change | {p50:.2?} | {p99:.2?} |");
    let _ = writeln!(table, "| the first `sync` | {first_round:.2?} | |");
    let _ = writeln!(table, "| a `sync` that sends 1,000 diaries | {changed:.2?} | |");
    let _ =
        writeln!(table, "| memory of the process after the first `sync` | +{memory_mib} MiB | |");
    let file_mib = fs::metadata(&file).unwrap().len() / (1024 * 1024);
    let _ = writeln!(table, "| the file | {file_mib} MiB | |");
    table
}

fn date(days: i64) -> Date {
    Date::new(2016, 3, 1).unwrap().plus_days(days).unwrap()
}

/// The page with another line.
fn edited() -> Draft {
    let mut draft = page();
    draft.content.push_paragraph("저녁에는 그쳤다.");
    draft
}

async fn save(client: &Client, date: Date) {
    client.diaries().save(date, page(), Precondition::IfAbsent).await.unwrap();
}
