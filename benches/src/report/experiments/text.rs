//! The text of running summaries: the time to its first word, and what it costs other requests.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use shiori_benches::{
    FreshWeeks, Provider, Writing,
    process::{LanguageModel, WorkerSetup},
};
use shiori_sdk::{Client, SummaryStep, Week};
use tokio::time::timeout;

use super::{
    Context,
    calls::as_usize,
    throughput::{CALLERS, LIMIT, is_completed, request},
};
use crate::{
    Result,
    figures::{Better, Experiment, Figures, Point, Unit},
    load::{Sample, closed_loop_over, open_loop},
    schedule::Schedule,
    site::{Profile, Site},
};

/// The subject of the time to the first word.
pub(crate) const FIRST_WORD: &str = "first word";

/// The subject of the time to the whole text.
pub(crate) const WHOLE: &str = "whole text";

/// The subjects of the requests beside running summaries, and how the model writes these.
pub(crate) const BESIDE: [(&str, Writing); 2] =
    [("requests, no text shown", Writing::Thinking), ("requests, texts shown", Writing::Text)];

/// The statistic of the summaries per second.
pub(crate) const SUMMARY_RATE: &str = "summaries per second";

/// The statistic of the summaries that did not complete.
pub(crate) const FAILED: &str = "failed summaries";

/// The time that the model takes for a text whose first word is awaited.
const MODEL_LATENCY: Duration = Duration::from_secs(10);

/// Watched summaries at a time.
const WATCHED: usize = 4;

/// Summaries in flight beside the requests.
pub(crate) const IN_FLIGHT: u32 = 200;

/// The time that the model takes for each of these.
pub(crate) const LATENCY_BESIDE: Duration = Duration::from_secs(5);

/// Requests per second beside them: as many as the worker finishes.
const RATE: f64 = 40.0;

/// Runs the experiment.
///
/// # Errors
///
/// If a site cannot be set up.
pub(crate) async fn run(context: &Context, figures: &mut Figures) -> Result<()> {
    for _ in 0..context.plan.long_repeats {
        for profile in &context.profiles {
            first_word(*profile, figures).await?;
            for (subject, writing) in BESIDE {
                beside(*profile, subject, writing, figures).await?;
            }
        }
    }
    Ok(())
}

async fn open(profile: Profile, provider: &Provider) -> Result<Site> {
    let model = LanguageModel::Endpoint(provider.url().to_owned());
    let in_flight = as_usize(IN_FLIGHT);
    Site::open(profile, Some(&WorkerSetup { model, in_flight }), 1, None).await
}

/// The times from a request until a watch yields the first word and the whole.
async fn first_word(profile: Profile, figures: &mut Figures) -> Result<()> {
    let provider = Provider::start(MODEL_LATENCY, Writing::Text).await;
    let site = open(profile, &provider).await?;
    let weeks = FreshWeeks::new(&site.place).take(WATCHED).await;
    let first = Arc::new(Mutex::new(Sample::default()));
    let recorded = first.clone();
    let whole = closed_loop_over(WATCHED, weeks, move |week| {
        let first = recorded.clone();
        async move {
            let Some(time) = timeout(LIMIT, watched(week)).await.ok().flatten() else {
                return false;
            };
            first.lock().unwrap_or_else(PoisonError::into_inner).record(time);
            true
        }
    });
    let whole = whole.await;
    let point = |subject| Point::new(profile.name(), Experiment::Text, subject, None);
    figures.add_sample(&point(WHOLE), &whole);
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (first.took, first.errors) = (whole.took, whole.errors);
    figures.add_sample(&point(FIRST_WORD), &first);
    site.close().await;
    Ok(())
}

/// Waits for the end of a summary. Returns the time until its first word; `None` if it had none.
async fn watched((client, week): (Client, Week)) -> Option<Duration> {
    let sent = Instant::now();
    let mut watch = request((client, week)).await?.watch();
    let mut first = None;
    while let Some(step) = watch.next().await {
        if matches!(step.ok()?, SummaryStep::Text(_)) {
            first.get_or_insert_with(|| sent.elapsed());
        }
    }
    first
}

/// Requests at a fixed rate while the worker is at its maximum concurrency, and the rate at which it
/// finishes them.
async fn beside(
    profile: Profile,
    subject: &str,
    writing: Writing,
    figures: &mut Figures,
) -> Result<()> {
    let provider = Provider::start(LATENCY_BESIDE, writing).await;
    let site = open(profile, &provider).await?;
    let mut fresh = FreshWeeks::new(&site.place);
    let in_flight = as_usize(IN_FLIGHT);
    let handles = Arc::new(Mutex::new(Vec::new()));
    let requested = handles.clone();
    let call = move |week| {
        let requested = requested.clone();
        async move {
            let handle = request(week).await;
            let succeeded = handle.is_some();
            requested.lock().unwrap_or_else(PoisonError::into_inner).extend(handle);
            succeeded
        }
    };
    let mut weeks = fresh.take(2 * in_flight).await;
    let first = closed_loop_over(CALLERS, weeks.split_off(in_flight), call.clone()).await;
    let schedule = Schedule::new(RATE, LATENCY_BESIDE);
    let sample = open_loop(schedule, move |_| {
        let week = weeks.pop();
        let call = call.clone();
        async move {
            match week {
                Some(week) => call(week).await,
                None => false,
            }
        }
    });
    let sample = sample.await;
    let handles = std::mem::take(&mut *handles.lock().unwrap_or_else(PoisonError::into_inner));
    let waits = closed_loop_over(CALLERS, handles, is_completed).await;
    let point = Point::new(profile.name(), Experiment::Text, subject, f64::from(IN_FLIGHT));
    figures.add_sample(&point, &sample);
    let rate = provider.sustained(in_flight);
    figures.add(&point, SUMMARY_RATE, Unit::PerSecond, Better::Higher, rate);
    #[allow(clippy::cast_precision_loss)] // hundreds at most
    let failed = (first.errors + waits.errors) as f64;
    figures.add(&point, FAILED, Unit::Number, Better::Lower, failed);
    site.close().await;
    Ok(())
}
