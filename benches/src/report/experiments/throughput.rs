//! Summaries per second of one worker, over the summaries that it has in flight.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shiori_benches::{
    FreshWeeks, Provider, Writing,
    process::{LanguageModel, WorkerSetup},
};
use shiori_sdk::{Client, SummaryHandle, SummaryStatus, Week};

use super::{Context, calls::as_usize};
use crate::{
    Result,
    figures::{Better, Experiment, Figures, Point, Unit},
    load::closed_loop_over,
    site::{Profile, Site},
};

/// The time that the language model takes for each summary.
pub(crate) const MODEL_LATENCY: Duration = Duration::from_secs(1);

/// The subject of the figures.
pub(crate) const SUMMARIES: &str = "summaries";

/// In each wave, the worker is at its maximum concurrency once.
const WAVES: usize = 3;

/// Concurrent calls of the SDK.
pub(super) const CALLERS: usize = 32;

/// How long to wait for a summary.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Runs the experiment.
///
/// # Errors
///
/// If a site cannot be set up.
pub(crate) async fn run(context: &Context, figures: &mut Figures) -> Result<()> {
    for _ in 0..context.plan.long_repeats {
        for profile in &context.profiles {
            for in_flight in &context.plan.in_flight {
                measure(*profile, *in_flight, figures).await?;
            }
        }
    }
    Ok(())
}

async fn measure(profile: Profile, in_flight: u32, figures: &mut Figures) -> Result<()> {
    let provider = Provider::start(MODEL_LATENCY, Writing::AtOnce).await;
    let model = LanguageModel::Endpoint(provider.url().to_owned());
    let worker = WorkerSetup { model, in_flight: as_usize(in_flight) };
    let site = Site::open(profile, Some(&worker), 1, None).await?;
    let weeks = FreshWeeks::new(&site.place).take(as_usize(in_flight) * WAVES).await;

    let handles = Arc::new(Mutex::new(Vec::new()));
    let requested = handles.clone();
    let requests = closed_loop_over(CALLERS, weeks, move |week| {
        let requested = requested.clone();
        async move {
            let handle = request(week).await;
            let succeeded = handle.is_some();
            requested.lock().unwrap_or_else(PoisonError::into_inner).extend(handle);
            succeeded
        }
    });
    let requests = requests.await;
    let handles = std::mem::take(&mut *handles.lock().unwrap_or_else(PoisonError::into_inner));
    let waits = closed_loop_over(CALLERS, handles, is_completed).await;

    let point = Point::new(profile.name(), Experiment::Throughput, SUMMARIES, f64::from(in_flight));
    let rate = provider.sustained(as_usize(in_flight));
    figures.add(&point, "rate", Unit::PerSecond, Better::Higher, rate);
    #[allow(clippy::cast_precision_loss)] // thousands at most
    let errors = (requests.errors + waits.errors) as f64;
    figures.add(&point, "errors", Unit::Number, Better::Lower, errors);
    site.close().await;
    Ok(())
}

pub(super) async fn request((client, week): (Client, Week)) -> Option<SummaryHandle> {
    client.summaries().request(week).await.ok()?.into_handle().ok()
}

pub(super) async fn is_completed(handle: SummaryHandle) -> bool {
    let ended = handle.wait_for(LIMIT).await;
    ended.is_ok_and(|summary| summary.status == SummaryStatus::Completed)
}
