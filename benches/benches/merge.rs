//! Three-way merges of long diaries, compared with checking and parsing one document.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fmt::Write,
    hint::black_box,
    sync::Mutex,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use shiori_benches::{BLOCKS, MergeCase, Percentiles, merge_cases, record};
use shiori_sdk::{DocumentLimits, merge::merge3};

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let mut table = format!(
        "| of {BLOCKS} blocks | KiB | overlaps | p50 | p95 |\n|:---|---:|---:|---:|---:|\n"
    );
    let mut measure = |name: &str, bytes: usize, overlaps: usize, run: &dyn Fn()| {
        let times = Mutex::new(Vec::new());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let started = Instant::now();
                    run();
                    let took = started.elapsed();
                    total += took;
                    times.lock().unwrap().push(took);
                }
                total
            });
        });
        let Percentiles { p50, p95, .. } = Percentiles::of(&mut times.into_inner().unwrap());
        let _ = writeln!(
            table,
            "| {name} | {} | {overlaps} | {p50:.0?} | {p95:.0?} |",
            bytes.div_ceil(1024)
        );
    };
    for MergeCase { name, base, ours, theirs } in merge_cases() {
        let overlaps = merge3(&base, &ours, &theirs).overlaps.len();
        let run = || drop(black_box(merge3(&base, &ours, &theirs)));
        measure(name, base.as_json().len(), overlaps, &run);
    }
    let [MergeCase { base: document, .. }, ..] = merge_cases();
    let limits = DocumentLimits::default();
    let (bytes, check) = (document.as_json().len(), || document.check(&limits).unwrap());
    measure("for comparison: checking the limits of one document", bytes, 0, &check);
    measure("for comparison: parsing one document into a tree", bytes, 0, &|| {
        drop(black_box(document.to_value()));
    });
    group.finish();
    record("merge", &table);
}

criterion_group!(benches, merge);
criterion_main!(benches);
