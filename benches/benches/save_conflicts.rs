//! Concurrent saves: many saves of one version, of which one succeeds, and many appends, which all
//! succeed.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    sync::Mutex,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shiori_benches::{Pace, Percentiles, Place, record, runtime};
use shiori_sdk::{Client, Date, Document, Draft, Precondition, RetryReport};

const WRITERS: [usize; 4] = [2, 8, 32, 128];

/// The result of one round.
#[derive(Default)]
struct Round {
    successes: usize,
    conflicts: usize,
    others: usize,
    attempts: u32,
    took: Duration,
}

fn date() -> Date {
    Date::new(2026, 2, 16).unwrap()
}

/// All writers save over the same version concurrently and do not retry conflicts.
async fn save(client: &Client, writers: usize) -> Round {
    let current = client.diaries().get(date()).await.unwrap();
    let precondition = Precondition::unchanged_since(current.as_ref());
    let started = Instant::now();
    let saves: Vec<_> = (0..writers)
        .map(|writer| {
            let draft = Draft::new("경주", Document::from_text(&format!("{writer} 번")));
            tokio::spawn(client.diaries().save(date(), draft, precondition).send())
        })
        .collect();
    let mut round = Round::default();
    for save in saves {
        match save.await.unwrap() {
            Ok(_) => round.successes += 1,
            Err(error) if error.is_conflict() => round.conflicts += 1,
            Err(_) => round.others += 1,
        }
    }
    round.took = started.elapsed();
    round
}

/// All writers append a line to the same day concurrently and retry conflicts.
async fn append(client: &Client, writers: usize) -> Round {
    let appends: Vec<_> = (0..writers)
        .map(|writer| {
            let diaries = client.diaries();
            tokio::spawn(async move {
                let append = move |mut draft: Draft| async move {
                    draft.content.push_paragraph(&format!("{writer} 번째 줄"));
                    draft
                };
                diaries.update(date(), append).await
            })
        })
        .collect();
    let started = Instant::now();
    let mut round = Round::default();
    for append in appends {
        match append.await.unwrap() {
            Ok(saved) => {
                let RetryReport { attempts, conflicts, .. } = saved.report;
                round.successes += 1;
                round.attempts += attempts;
                round.conflicts += conflicts as usize;
            }
            Err(_) => round.others += 1,
        }
    }
    round.took = started.elapsed();
    round
}

#[allow(clippy::cast_precision_loss)] // a few thousand
fn save_conflicts(criterion: &mut Criterion) {
    let runtime = runtime();
    let place = runtime.block_on(Place::open(Pace::AtOnce));
    let mut group = criterion.benchmark_group("save_conflicts");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    let mut table = String::from(
        "| concurrent saves of one version | successes per round | 409 per round | others | time until all responses, p50 | p95 |\n\
         |---:|---:|---:|---:|---:|---:|\n",
    );
    for writers in WRITERS {
        let rounds = Mutex::new(Vec::new());
        group.bench_function(BenchmarkId::new("savers", writers), |bencher| {
            bencher.to_async(&runtime).iter_custom(async |iterations| {
                let client = place.person().await;
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let round = save(&client, writers).await;
                    total += round.took;
                    rounds.lock().unwrap().push(round);
                }
                total
            });
        });
        let rounds = rounds.into_inner().unwrap();
        let count = rounds.len() as f64;
        let mean = |of: fn(&Round) -> usize| rounds.iter().map(of).sum::<usize>() as f64 / count;
        let others: usize = rounds.iter().map(|round| round.others).sum();
        let mut times: Vec<_> = rounds.iter().map(|round| round.took).collect();
        let Percentiles { p50, p95, .. } = Percentiles::of(&mut times);
        let (won, lost) = (mean(|round| round.successes), mean(|round| round.conflicts));
        let _ = writeln!(
            table,
            "| {writers} | {won:.2} | {lost:.2} | {others} | {p50:.1?} | {p95:.1?} |"
        );
    }
    table.push_str(
        "\n| concurrent appends to one day | saves per success | rejected with a conflict | gave up | time until all are saved, p50 | p95 |\n\
         |---:|---:|---:|---:|---:|---:|\n",
    );
    for writers in WRITERS {
        let rounds = Mutex::new(Vec::new());
        group.bench_function(BenchmarkId::new("appenders", writers), |bencher| {
            bencher.to_async(&runtime).iter_custom(async |iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    // A new diary for each round, because it grows by a line with every append.
                    let round = append(&place.person().await, writers).await;
                    total += round.took;
                    rounds.lock().unwrap().push(round);
                }
                total
            });
        });
        let rounds = rounds.into_inner().unwrap();
        let attempts: u32 = rounds.iter().map(|round| round.attempts).sum();
        let landed: usize = rounds.iter().map(|round| round.successes).sum();
        let conflicts: usize = rounds.iter().map(|round| round.conflicts).sum();
        let gave_up: usize = rounds.iter().map(|round| round.others).sum();
        let mut times: Vec<_> = rounds.iter().map(|round| round.took).collect();
        let Percentiles { p50, p95, .. } = Percentiles::of(&mut times);
        let per_success = f64::from(attempts) / landed.max(1) as f64;
        let rate = 100.0 * conflicts as f64 / f64::from(attempts.max(1));
        let lost = 100.0 * gave_up as f64 / (landed + gave_up).max(1) as f64;
        let _ = writeln!(
            table,
            "| {writers} | {per_success:.2} | {rate:.0} % of saves | {lost:.1} % | {p50:.1?} | {p95:.1?} |"
        );
    }
    group.finish();
    record("save_conflicts", &table);
    runtime.block_on(place.close());
}

criterion_group!(benches, save_conflicts);
criterion_main!(benches);
