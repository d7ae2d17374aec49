//! The latency of summary requests, with language models of different speeds.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    sync::Mutex,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shiori_benches::{FreshWeeks, Pace, Percentiles, Place, record, runtime};
use shiori_sdk::{Client, Requested, Week};

const CONCURRENCY: [usize; 4] = [1, 8, 32, 128];

/// Sends the requests concurrently. Returns the time of each.
async fn ask(weeks: Vec<(Client, Week)>) -> Vec<Duration> {
    let requests: Vec<_> = weeks
        .into_iter()
        .map(|(client, week)| {
            tokio::spawn(async move {
                let asked = Instant::now();
                let requested = client.summaries().request(week).await.unwrap();
                assert!(matches!(requested, Requested::Accepted(_)), "{requested:?}");
                asked.elapsed()
            })
        })
        .collect();
    let mut times = Vec::with_capacity(requests.len());
    for request in requests {
        times.push(request.await.unwrap());
    }
    times
}

fn enqueue_latency(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut table = String::from(
        "| concurrent requests | the model responds | p50 | p95 | p99 |\n|---:|---|---:|---:|---:|\n",
    );
    let mut group = criterion.benchmark_group("enqueue_latency");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    for concurrency in CONCURRENCY {
        for pace in [Pace::AtOnce, Pace::TenSeconds, Pace::Never] {
            let place = runtime.block_on(Place::open(pace));
            let all = Mutex::new(Vec::new());
            let fresh = tokio::sync::Mutex::new(FreshWeeks::new(&place));
            group.throughput(Throughput::Elements(concurrency as u64));
            let id = BenchmarkId::new(pace.name(), concurrency);
            group.bench_function(id, |bencher| {
                bencher.to_async(&runtime).iter_custom(async |rounds| {
                    let mut total = Duration::ZERO;
                    for _ in 0..rounds {
                        let weeks = fresh.lock().await.take(concurrency).await;
                        let started = Instant::now();
                        let times = ask(weeks).await;
                        total += started.elapsed();
                        all.lock().unwrap().extend(times);
                    }
                    total
                });
            });
            let Percentiles { p50, p95, p99 } = Percentiles::of(&mut all.lock().unwrap());
            let name = if Place::is_given() { "server at SHIORI_URL" } else { pace.name() };
            let _ =
                writeln!(table, "| {concurrency} | {name} | {p50:.1?} | {p95:.1?} | {p99:.1?} |");
            drop(fresh);
            runtime.block_on(place.close());
            if Place::is_given() {
                break;
            }
        }
    }
    group.finish();
    record("enqueue_latency", &table);
}

criterion_group!(benches, enqueue_latency);
criterion_main!(benches);
