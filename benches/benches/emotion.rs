//! The emotion models: sentences per second by engine, threads and texts per call, and the load
//! time and memory of BERT. The checkpoint has BERT-base's shape and random weights. It is created
//! in a temporary directory, or in the directory `SHIORI_BENCH_CHECKPOINT`, so that
//! `benches/bert_runtimes.py` can measure the same sentences with torch and onnxruntime.
//!
//! Then the effect of a busy model on requests: 50 concurrent summary requests to a server with
//! leases of 5 s, each with a day of 20 sentences, followed by 50 requests one after the other.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    env,
    fmt::{self, Write},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use shiori_benches::{
    FreshWeeks, Percentiles, Place, long_sentences, record, resident_mib, runtime, sentences,
    write_checkpoint,
};
use shiori_sdk::{Client, Date, Document, Draft, Precondition, SummaryHandle, SummaryStatus, Week};
use shiori_worker::emotion::{BertModel, BertOptions, EmotionModel, LexiconModel, LinearModel};

/// Texts per call: one text, a short day, a week, and many weeks under load.
const TEXTS_A_CALL: [usize; 4] = [1, 8, 56, 448];

/// Minimum time of each measurement.
const MEASURED: Duration = Duration::from_secs(6);

fn main() {
    let kept = env::var_os("SHIORI_BENCH_CHECKPOINT").map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let dir = kept.as_deref().unwrap_or(temporary.path());
    if !dir.join("model.safetensors").exists() {
        fs::create_dir_all(dir).unwrap();
        write_checkpoint(dir).unwrap();
    }
    if kept.is_some() {
        fs::write(dir.join("short.txt"), sentences(56).join("\n")).unwrap();
        fs::write(dir.join("long.txt"), long_sentences(448).join("\n")).unwrap();
    }

    let mut table = String::from("| engine | threads |");
    for count in TEXTS_A_CALL {
        write!(table, " {count} per call |").unwrap();
    }
    table += " 448 long per call | load time | resident memory |\n|---|---:|";
    table += &"---:|".repeat(TEXTS_A_CALL.len() + 3);
    table.push('\n');
    measure(&mut table, "lexicon", "", LexiconModel::new);
    measure(&mut table, "linear", "", LinearModel::new);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        let load = || load(dir, threads);
        measure(&mut table, "BERT-base", threads, load);
    }
    table += "\n| 50 concurrent summaries, with | concurrent requests, p50 | p95 | sequential requests, p50 | p95 | \
              completed | leases lost | time until all were |\n|---|---:|---:|---:|---:|---:|---:|---:|\n";
    serve(&mut table, "linear", Arc::new(LinearModel::new()));
    serve(&mut table, "BERT-base", Arc::new(load(dir, cores)));
    record("emotion", &table);
}

fn load(dir: &Path, threads: usize) -> BertModel {
    BertModel::load(dir, BertOptions { threads, ..BertOptions::default() }).unwrap()
}

/// A row of the table.
fn measure<M: EmotionModel>(
    table: &mut String,
    engine: &str,
    threads: impl fmt::Display,
    load: impl FnOnce() -> M,
) {
    let runtime = runtime();
    let before = Instant::now();
    let model = load();
    let loaded = before.elapsed();
    write!(table, "| {engine} | {threads} |").unwrap();
    for count in TEXTS_A_CALL {
        let per_second = runtime.block_on(throughput(&model, &sentences(448), count));
        write!(table, " {per_second:.1}/s |").unwrap();
    }
    let per_second = runtime.block_on(throughput(&model, &long_sentences(448), 448));
    write!(table, " {per_second:.1}/s |").unwrap();
    writeln!(table, " {loaded:.1?} | {} MiB |", resident_mib(std::process::id())).unwrap();
}

/// Sentences per second with this many texts per call, one call after the other.
async fn throughput(model: &impl EmotionModel, all: &[String], texts_a_call: usize) -> f64 {
    let mut calls = all.chunks(texts_a_call).cycle();
    model.judge(calls.next().unwrap().to_vec()).await.unwrap();
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < MEASURED {
        let texts = calls.next().unwrap().to_vec();
        done += u32::try_from(model.judge(texts).await.unwrap().len()).unwrap();
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

/// A row of the second table.
fn serve(table: &mut String, engine: &str, model: Arc<dyn EmotionModel>) {
    const SUMMARIES: usize = 50;
    let row = async {
        let place = Place::embedded(|config| {
            config.summaries.lease = Duration::from_secs(5);
            config.worker_concurrency = SUMMARIES;
            config.pipeline.emotion = model;
        })
        .await;
        let weeks = long_days(&place, SUMMARIES).await;
        let few = FreshWeeks::new(&place).take(SUMMARIES).await;

        let began = Instant::now();
        let asked: Vec<_> =
            weeks.into_iter().map(|(person, week)| tokio::spawn(ask(person, week))).collect();
        let (mut at_once, mut handles) = (Vec::new(), Vec::new());
        for asked in asked {
            let (took, handle) = asked.await.unwrap();
            at_once.push(took);
            handles.push(handle);
        }
        let mut one_by_one = Vec::new();
        for (person, week) in few {
            one_by_one.push(ask(person, week).await.0);
        }
        let (mut completed, mut lost) = (0, 0);
        for handle in handles {
            let summary = handle.wait_for(Duration::from_secs(600)).await.unwrap();
            completed += usize::from(summary.status == SummaryStatus::Completed);
            lost += summary.attempts - 1;
        }
        let all_done = began.elapsed();
        place.close().await;
        let (at_once, one) = (Percentiles::of(&mut at_once), Percentiles::of(&mut one_by_one));
        format!(
            "| {engine} | {:.1?} | {:.1?} | {:.1?} | {:.1?} | {completed} of {SUMMARIES} | {lost} | {all_done:.1?} |\n",
            at_once.p50, at_once.p95, one.p50, one.p95
        )
    };
    *table += &runtime().block_on(row);
}

/// Weeks of one user, each with one day of 20 sentences.
async fn long_days(place: &Place, count: usize) -> Vec<(Client, Week)> {
    let person = place.person().await;
    let document = Document::from_text(&sentences(20).join("\n"));
    let first = Date::new(2026, 1, 5).unwrap();
    let mut weeks = Vec::new();
    for nth in 0..i64::try_from(count).unwrap() {
        let date = first.plus_days(nth * 7).unwrap();
        let draft = Draft::new("하루", document.clone());
        person.diaries().save(date, draft, Precondition::IfAbsent).await.unwrap();
        weeks.push((person.clone(), Week::starting(date).unwrap()));
    }
    weeks
}

async fn ask(person: Client, week: Week) -> (Duration, SummaryHandle) {
    let asked = Instant::now();
    let requested = person.summaries().request(week).await.unwrap();
    (asked.elapsed(), requested.into_handle().unwrap())
}
