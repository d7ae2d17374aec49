//! Summaries per second of one worker, with a language model that takes ten seconds for each: a
//! worker in the server's process with SQLite and, if the engines of the distributed profile are
//! given, a separate worker process. Numbers on the command line replace those in [`IN_FLIGHT`].
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::{
    env,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use shiori_benches::{
    Engines, FreshWeeks, Place, Provider, Writing, record, resident_mib, runtime,
};
use shiori_sdk::{Client, SummaryHandle, SummaryStatus, Week};
use shiori_worker::{
    Pipeline,
    summarize::{OpenAiConfig, OpenAiSummarizer},
};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

const IN_FLIGHT: [usize; 3] = [20, 200, 1000];

/// The time of the model for each summary.
const MODEL_LATENCY: Duration = Duration::from_secs(10);

/// In each wave, the worker is at its maximum concurrency once.
const WAVES: usize = 3;

/// Concurrent calls of the SDK, enough to keep the worker busy.
const CALLERS: usize = 32;

/// The timeout of a run. If it is exceeded, the table shows 0 completed summaries.
const LIMIT: Duration = Duration::from_secs(300);

struct Figures {
    per_second: f64,
    concurrent: usize,
    completed: usize,
    all_done: Duration,
    resident_mib: u64,
}

fn main() {
    if Place::is_given() {
        println!("summary_throughput starts its own server and worker; unset SHIORI_URL");
        return;
    }
    let given: Vec<usize> = env::args().filter_map(|argument| argument.parse().ok()).collect();
    let counts = if given.is_empty() { IN_FLIGHT.to_vec() } else { given };
    let mut table = String::from(
        "| profile | in flight | ideal | summaries per second | concurrent model requests, max. | completed | time until all \
         were | resident memory |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let runtime = runtime();
    let profiles = if Engines::are_given() { &[false, true][..] } else { &[false] };
    for (is_distributed, in_flight) in
        profiles.iter().flat_map(|profile| counts.iter().map(move |count| (*profile, *count)))
    {
        let measured = async {
            if is_distributed { distributed(in_flight).await } else { embedded(in_flight).await }
        };
        let Figures { per_second, concurrent, completed, all_done, resident_mib } =
            runtime.block_on(measured);
        let profile = if is_distributed { "distributed" } else { "embedded" };
        #[allow(clippy::cast_precision_loss)] // thousands at most
        let ideal = in_flight as f64 / MODEL_LATENCY.as_secs_f64();
        let all = in_flight * WAVES;
        let _ = writeln!(
            table,
            "| {profile} | {in_flight} | {ideal:.1}/s | {per_second:.1}/s | {concurrent} | {completed} of {all} | \
             {all_done:.1?} | {resident_mib} MiB |",
        );
    }
    record("summary_throughput", &table);
}

async fn embedded(in_flight: usize) -> Figures {
    let provider = Provider::start(MODEL_LATENCY, Writing::AtOnce).await;
    let place = Place::embedded(|config| {
        config.pipeline = pipeline(provider.url(), in_flight);
        config.worker_concurrency = in_flight;
    })
    .await;
    measure(place, &provider, in_flight, std::process::id()).await
}

/// The memory is that of the worker process.
async fn distributed(in_flight: usize) -> Figures {
    let provider = Provider::start(MODEL_LATENCY, Writing::AtOnce).await;
    let engines = Engines::open().await;
    let place = Place::embedded(|config| engines.configure(config)).await;
    let worker = engines.worker(place.url(), &provider, in_flight);
    let worker = worker.expect("build it first: cargo build --release -p shiori-worker");
    let figures = measure(place, &provider, in_flight, worker.id()).await;
    drop(worker);
    engines.drop_all().await;
    figures
}

async fn measure(place: Place, provider: &Provider, in_flight: usize, process: u32) -> Figures {
    let weeks = FreshWeeks::new(&place).take(in_flight * WAVES).await;
    let stop = CancellationToken::new();
    let memory = tokio::spawn(watch_memory(process, stop.clone()));
    let started = Instant::now();
    let (completed, all_done) = match tokio::time::timeout(LIMIT, run(weeks)).await {
        Ok(completed) => (completed, started.elapsed()),
        Err(_) => (0, LIMIT),
    };
    stop.cancel();
    let figures = Figures {
        per_second: provider.sustained(in_flight),
        concurrent: provider.max_concurrent(),
        completed,
        all_done,
        resident_mib: memory.await.unwrap(),
    };
    place.close().await;
    figures
}

fn pipeline(url: &str, in_flight: usize) -> Pipeline {
    let config = OpenAiConfig {
        base_url: url.to_owned(),
        model: "bench".to_owned(),
        max_in_flight: in_flight,
        ..OpenAiConfig::default()
    };
    let summarizer = Arc::new(OpenAiSummarizer::new(config).unwrap());
    Pipeline { summarizer, ..Pipeline::builtin() }
}

/// Requests the summaries and waits for them. Returns the number of completed ones.
async fn run(weeks: Vec<(Client, Week)>) -> usize {
    let handles = by_callers(weeks, ask).await;
    by_callers(handles, is_completed).await.into_iter().filter(|completed| *completed).count()
}

async fn ask((client, week): (Client, Week)) -> SummaryHandle {
    client.summaries().request(week).await.unwrap().into_handle().unwrap()
}

async fn is_completed(handle: SummaryHandle) -> bool {
    let ended = handle.wait_for(LIMIT).await;
    ended.is_ok_and(|summary| summary.status == SummaryStatus::Completed)
}

/// Calls the function with each item, with up to [`CALLERS`] concurrent calls.
async fn by_callers<T, F>(items: Vec<T>, call: fn(T) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut items = items.into_iter();
    let mut calls: JoinSet<_> = items.by_ref().take(CALLERS).map(call).collect();
    let mut results = Vec::new();
    while let Some(result) = calls.join_next().await {
        results.push(result.unwrap());
        if let Some(item) = items.next() {
            calls.spawn(call(item));
        }
    }
    results
}

/// The maximum resident memory of the process in MiB, until `stop` is cancelled.
async fn watch_memory(process: u32, stop: CancellationToken) -> u64 {
    let mut most = 0;
    while !stop.is_cancelled() {
        most = most.max(resident_mib(process));
        sleep(Duration::from_millis(250)).await;
    }
    most
}
