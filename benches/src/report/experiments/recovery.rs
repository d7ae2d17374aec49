//! A worker is killed while summaries are requested at a fixed rate. In the embedded profile the
//! worker is part of the server, so the server is killed and started again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use shiori_benches::{
    FreshWeeks, Provider, Writing,
    process::{LanguageModel, Process, WorkerSetup},
};
use shiori_sdk::{Client, SummaryHandle, SummaryStatus, Week};
use tokio::{task::JoinSet, time::sleep};

use super::Context;
use crate::{
    Result,
    figures::{Better, Experiment, Figures, Point, Timeline, Unit},
    load::open_loop,
    schedule::Schedule,
    site::{Profile, Site},
};

/// The subject of the figures.
pub(crate) const KILL: &str = "kill of a worker";

/// The statistic with the time until all summaries that were requested before the kill had finished.
pub(crate) const CAUGHT_UP: &str = "time until all earlier summaries had finished";

/// The statistic with the longest time of a summary.
pub(crate) const LONGEST: &str = "longest time of a summary";

/// The statistic with the number of summaries that have not finished.
pub(crate) const LOST: &str = "not finished";

/// Requests per second.
pub(crate) const RATE: f64 = 20.0;

/// The time that the language model takes for each summary.
pub(crate) const MODEL_LATENCY: Duration = Duration::from_millis(500);

/// The lease of a summary. Shorter than the default of 30 s, so that the experiment is short.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// When the worker is killed, from the first request.
const KILL_AT: Duration = Duration::from_secs(3);

/// The time of the last request.
const LASTS: Duration = Duration::from_secs(8);

/// How long to wait for a summary after the last request.
const LIMIT: Duration = Duration::from_secs(30);

/// Pause before a call that has failed is repeated.
const PAUSE: Duration = Duration::from_millis(50);

/// The resolution of the timeline.
const STEP: Duration = Duration::from_millis(100);

/// The requests of a run: when each was due, and when its summary had finished, if it has.
type Requests = Vec<(Duration, Option<Duration>)>;

/// Seconds since the first request, and the number of unfinished summaries.
type Unfinished = Vec<(f64, f64)>;

/// Runs the experiment.
///
/// # Errors
///
/// If a site cannot be set up.
pub(crate) async fn run(context: &Context, figures: &mut Figures) -> Result<()> {
    let mut timelines: Vec<(Profile, Vec<Unfinished>)> =
        context.profiles.iter().map(|profile| (*profile, Vec::new())).collect();
    for _ in 0..context.plan.long_repeats {
        // Both profiles at the same time: the load is low.
        let mut running = JoinSet::new();
        for profile in context.profiles.clone() {
            running.spawn(async move { (profile, measure(profile).await) });
        }
        while let Some(measured) = running.join_next().await {
            let (profile, requests) = measured?;
            let requests = requests?;
            add(figures, &point(profile), &requests);
            if let Some((_, repeats)) = timelines.iter_mut().find(|(of, _)| *of == profile) {
                repeats.push(timeline(&requests));
            }
        }
    }
    figures.timelines.extend(timelines.into_iter().map(|(profile, repeats)| Timeline {
        point: point(profile),
        killed_at: KILL_AT.as_secs_f64(),
        repeats,
    }));
    Ok(())
}

fn point(profile: Profile) -> Point {
    Point::new(profile.name(), Experiment::Recovery, KILL, None)
}

async fn measure(profile: Profile) -> Result<Requests> {
    let provider = Provider::start(MODEL_LATENCY, Writing::AtOnce).await;
    let model = LanguageModel::Endpoint(provider.url().to_owned());
    let worker = WorkerSetup { model, in_flight: 16 };
    let lease_ms = u64::try_from(LEASE.as_millis())?;
    let mut site = Site::open(profile, Some(&worker), 2, Some(lease_ms)).await?;
    let schedule = Schedule::new(RATE, LASTS);
    let count = usize::try_from(schedule.count())?;
    let weeks = FreshWeeks::new(&site.place).take(count).await;

    let finished = Arc::new(Mutex::new(vec![None; count]));
    let started = Instant::now();
    let requests = open_loop(schedule, {
        let (mut weeks, finished) = (weeks.into_iter(), finished.clone());
        move |nth| {
            let (week, finished) = (weeks.next(), finished.clone());
            async move {
                let Some((client, week)) = week else { return false };
                let deadline = started + LASTS + LIMIT;
                let is_finished = finish(client, week, deadline).await;
                let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                if let (true, Some(entry)) = (is_finished, finished.get_mut(nth as usize)) {
                    *entry = Some(started.elapsed());
                }
                is_finished
            }
        }
    });
    let kill = async {
        sleep(KILL_AT).await;
        match site.workers.pop() {
            Some(mut worker) => worker.kill(),
            None => {
                site.server.kill();
                site.server = Process::server(&site.setup).await?;
            }
        }
        Ok(())
    };
    let (_, killed): (_, Result<()>) = tokio::join!(requests, kill);
    killed?;
    site.close().await;
    let finished = finished.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(schedule.arrivals().zip(finished).collect())
}

/// Requests a summary and waits until it is completed. Failed calls are repeated, as a program of a
/// user would do. Returns whether it was completed before the deadline.
async fn finish(client: Client, week: Week, deadline: Instant) -> bool {
    let mut handle: Option<SummaryHandle> = None;
    while Instant::now() < deadline {
        let Some(requested) = &handle else {
            let requested = client.summaries().request(week).await;
            handle = requested.ok().and_then(|requested| requested.into_handle().ok());
            if handle.is_none() {
                sleep(PAUSE).await;
            }
            continue;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        match requested.wait_for(left).await {
            Ok(summary) => return summary.status == SummaryStatus::Completed,
            Err(_) => sleep(PAUSE).await,
        }
    }
    false
}

fn add(figures: &mut Figures, point: &Point, requests: &Requests) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let earlier = requests.iter().filter(|(due, _)| *due <= KILL_AT);
    let last = earlier.filter_map(|(_, finished)| *finished).max().unwrap_or_default();
    let caught_up = last.saturating_sub(KILL_AT);
    figures.add(point, CAUGHT_UP, Unit::Milliseconds, Better::Lower, ms(caught_up));
    let times =
        requests.iter().filter_map(|(due, finished)| Some(finished.as_ref()?.saturating_sub(*due)));
    let longest = times.max().unwrap_or_default();
    figures.add(point, LONGEST, Unit::Milliseconds, Better::Lower, ms(longest));
    let lost = requests.iter().filter(|(_, finished)| finished.is_none()).count();
    #[allow(clippy::cast_precision_loss)] // hundreds
    figures.add(point, LOST, Unit::Number, Better::Lower, lost as f64);
}

/// The number of summaries that are due and not finished, over time in seconds. It ends when all have
/// finished.
#[allow(clippy::cast_precision_loss)] // hundreds
fn timeline(requests: &Requests) -> Unfinished {
    let last = requests.iter().filter_map(|(_, finished)| *finished).max().unwrap_or_default();
    let steps = last.as_millis() / STEP.as_millis() + 2;
    let times = (0..).map(|nth| STEP * nth).take(usize::try_from(steps).unwrap_or(usize::MAX));
    times
        .map(|now| {
            let is_open = |(due, finished): &&(Duration, Option<Duration>)| {
                *due <= now && finished.is_none_or(|finished| finished > now)
            };
            (now.as_secs_f64(), requests.iter().filter(is_open).count() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_counts_what_is_due_and_not_finished() {
        let at = Duration::from_millis;
        let requests = vec![(at(0), Some(at(150))), (at(100), Some(at(250))), (at(200), None)];
        let counts: Vec<_> = timeline(&requests).into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [1.0, 2.0, 2.0, 1.0]);
    }

    #[test]
    fn figures_count_from_the_kill() {
        let at = Duration::from_secs_f64;
        let requests = vec![(at(2.9), Some(at(7.0))), (at(3.1), Some(at(8.5))), (at(4.0), None)];
        let mut figures = Figures::default();
        let point = point(Profile::Embedded);
        add(&mut figures, &point, &requests);
        assert_eq!(figures.median(&point, CAUGHT_UP), Some(4000.0));
        assert_eq!(figures.median(&point, LONGEST), Some(5400.0));
        assert_eq!(figures.median(&point, LOST), Some(1.0));
    }
}
