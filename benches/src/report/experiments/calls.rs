//! The latency and the rate of the three calls: read, save, and request a summary. First in closed
//! loops, beside the floors; then in open loops at half and at 80 % of the highest rate.

use shiori_benches::{
    FreshWeeks, Pace,
    process::{LanguageModel, WorkerSetup},
};
use shiori_sdk::{Client, Requested, Week};

use super::Context;
use crate::{
    Result,
    diarist::Diarist,
    figures::{Better, Distribution, Experiment, Figures, Point, Unit},
    floors::Floors,
    load::{Sample, closed_loop, closed_loop_over, open_loop},
    machine::cpu_micros,
    schedule::Schedule,
    site::{Profile, Site},
};

/// The subject of a read.
pub(crate) const READ: &str = "read";

/// The subject of a save.
pub(crate) const SAVE: &str = "save";

/// The subject of a summary request.
pub(crate) const REQUEST: &str = "summary request";

/// The rates of the open loops, in percent of the peak.
pub(crate) const LOADS: [f64; 2] = [50.0, 80.0];

/// Diaries to read and save. More than the saves that are in progress at once.
const DAYS: usize = 768;

/// Clients of the closed loop of summary requests that finds their peak.
pub(crate) const REQUEST_CLIENTS: u32 = 32;

/// Summaries that the worker has in progress while requests are measured.
const IN_FLIGHT: usize = 16;

/// The highest rate of each call, per second.
#[derive(Debug, Default)]
pub(crate) struct Peaks(Vec<(Profile, &'static str, f64)>);

impl Peaks {
    fn of(&self, profile: Profile, call: &str) -> Option<f64> {
        self.0.iter().find(|(p, c, _)| *p == profile && *c == call).map(|(_, _, rate)| *rate)
    }
}

/// A site for reads and saves.
struct Bench {
    profile: Profile,
    site: Site,
    diarist: Diarist,
    floors: Floors,
}

impl Bench {
    async fn open(context: &Context, profile: Profile) -> Result<Self> {
        let site = Site::open(profile, None, 0, None).await?;
        let url = site.place.url();
        let diarist = Diarist::create(url, &context.http, DAYS).await?;
        let floors = Floors::open(url, &context.http, site.setup.engines.as_ref()).await?;
        Ok(Self { profile, site, diarist, floors })
    }

    async fn closed_loop(&self, context: &Context, call: &str, clients: usize) -> Sample {
        let diarist = self.diarist.clone();
        let lasts = context.plan.loop_time;
        if call == READ {
            closed_loop(clients, lasts, move |_| {
                let diarist = diarist.clone();
                async move { diarist.read().await }
            })
            .await
        } else {
            closed_loop(clients, lasts, move |_| {
                let diarist = diarist.clone();
                async move { diarist.save().await }
            })
            .await
        }
    }

    async fn open_loop(&self, schedule: Schedule, call: &str) -> Sample {
        let diarist = self.diarist.clone();
        if call == READ {
            open_loop(schedule, move |_| {
                let diarist = diarist.clone();
                async move { diarist.read().await }
            })
            .await
        } else {
            open_loop(schedule, move |_| {
                let diarist = diarist.clone();
                async move { diarist.save().await }
            })
            .await
        }
    }
}

/// The floors, and all calls in closed loops. Returns the peaks.
///
/// # Errors
///
/// If a site cannot be set up, or a floor fails.
pub(crate) async fn closed(context: &Context, figures: &mut Figures) -> Result<Peaks> {
    let mut benches = Vec::new();
    for profile in &context.profiles {
        benches.push(Bench::open(context, *profile).await?);
    }
    let mut distributions = Distributions::default();
    // Connections, caches and prepared statements.
    for bench in &benches {
        for (call, clients) in [(READ, 32), (SAVE, 32)] {
            bench.closed_loop(context, call, clients).await;
        }
    }
    for _ in 0..context.plan.repeats {
        for bench in &benches {
            let name = bench.profile.name();
            for (floor, sample) in bench.floors.measure(context.plan.loop_time / 2).await? {
                figures.add_sample(&Point::new(name, Experiment::Floor, floor, None), &sample);
            }
            for call in [READ, SAVE] {
                for clients in &context.plan.clients {
                    let cpu = cpu_micros(bench.site.server.id());
                    let sample = bench.closed_loop(context, call, as_usize(*clients)).await;
                    let cpu = cpu_micros(bench.site.server.id()).saturating_sub(cpu);
                    let at = f64::from(*clients);
                    let point = Point::new(name, Experiment::ClosedLoop, call, at);
                    figures.add_sample(&point, &sample);
                    add_cpu(figures, &point, cpu, &sample);
                    distributions.add(&point, &sample);
                }
            }
            requests_closed(context, bench.profile, figures, &mut distributions).await?;
        }
    }
    for bench in benches {
        bench.site.close().await;
    }
    distributions.move_into(figures);
    Ok(peaks(context, figures))
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn add_cpu(figures: &mut Figures, point: &Point, cpu_micros: u64, sample: &Sample) {
    let per_call = cpu_micros as f64 / sample.count().max(1) as f64;
    figures.add(point, "server CPU", Unit::CpuMicros, Better::Lower, per_call);
}

/// Summary requests, on a new site each time: a backlog of summaries costs CPU time of its own.
async fn requests_closed(
    context: &Context,
    profile: Profile,
    figures: &mut Figures,
    distributions: &mut Distributions,
) -> Result<()> {
    let site = site_for_requests(profile).await?;
    let count = context.plan.requests;
    let mut fresh = FreshWeeks::new(&site.place);
    closed_loop_over(1, fresh.take(20).await, request).await;
    for (clients, count) in [(1, count), (REQUEST_CLIENTS, 4 * count)] {
        let weeks = fresh.take(count).await;
        let cpu = cpu_micros(site.server.id());
        let sample = closed_loop_over(as_usize(clients), weeks, request).await;
        let cpu = cpu_micros(site.server.id()).saturating_sub(cpu);
        let at = f64::from(clients);
        let point = Point::new(profile.name(), Experiment::ClosedLoop, REQUEST, at);
        figures.add_sample(&point, &sample);
        add_cpu(figures, &point, cpu, &sample);
        distributions.add(&point, &sample);
    }
    site.close().await;
    Ok(())
}

/// A server whose worker has a language model that takes ten seconds.
async fn site_for_requests(profile: Profile) -> Result<Site> {
    let model = LanguageModel::Paced(Pace::TenSeconds);
    Site::open(profile, Some(&WorkerSetup { model, in_flight: IN_FLIGHT }), 1, None).await
}

/// Requests a summary. Returns whether it was accepted.
pub(crate) async fn request((client, week): (Client, Week)) -> bool {
    matches!(client.summaries().request(week).await, Ok(Requested::Accepted(_)))
}

/// The highest median rate of each call.
fn peaks(context: &Context, figures: &Figures) -> Peaks {
    let mut peaks = Peaks::default();
    for profile in &context.profiles {
        for call in [READ, SAVE, REQUEST] {
            let rates = figures
                .of(Experiment::ClosedLoop, "rate")
                .filter(|rate| rate.point.profile == profile.name() && rate.point.subject == call);
            let rates = rates.filter_map(|rate| Some(rate.spread()?.median));
            if let Some(peak) = rates.max_by(f64::total_cmp) {
                peaks.0.push((*profile, call, peak));
            }
        }
    }
    peaks
}

/// All calls in open loops.
///
/// # Errors
///
/// If a site cannot be set up.
pub(crate) async fn open(context: &Context, peaks: &Peaks, figures: &mut Figures) -> Result<()> {
    let mut distributions = Distributions::default();
    let mut benches = Vec::new();
    for profile in &context.profiles {
        benches.push(Bench::open(context, *profile).await?);
    }
    for bench in &benches {
        bench.closed_loop(context, READ, 32).await;
        bench.closed_loop(context, SAVE, 32).await;
    }
    for _ in 0..context.plan.repeats {
        for bench in &benches {
            for (call, percent) in
                [READ, SAVE].into_iter().flat_map(|call| LOADS.map(|at| (call, at)))
            {
                let Some(peak) = peaks.of(bench.profile, call) else { continue };
                let rate = peak * percent / 100.0;
                let schedule = Schedule::new(rate, context.plan.loop_time);
                let sample = bench.open_loop(schedule, call).await;
                let point = Point::new(bench.profile.name(), Experiment::OpenLoop, call, percent);
                add_open(figures, &mut distributions, &point, rate, &sample);
            }
            requests_open(context, bench.profile, peaks, figures, &mut distributions).await?;
        }
    }
    for bench in benches {
        bench.site.close().await;
    }
    distributions.move_into(figures);
    Ok(())
}

async fn requests_open(
    context: &Context,
    profile: Profile,
    peaks: &Peaks,
    figures: &mut Figures,
    distributions: &mut Distributions,
) -> Result<()> {
    let Some(peak) = peaks.of(profile, REQUEST) else { return Ok(()) };
    let site = site_for_requests(profile).await?;
    let mut fresh = FreshWeeks::new(&site.place);
    closed_loop_over(8, fresh.take(40).await, request).await;
    for percent in LOADS {
        let rate = peak * percent / 100.0;
        let schedule = Schedule::new(rate, context.plan.loop_time);
        let mut weeks = fresh.take(as_usize(schedule.count())).await.into_iter();
        let sample = open_loop(schedule, move |_| {
            let week = weeks.next();
            async move {
                match week {
                    Some(week) => request(week).await,
                    None => false,
                }
            }
        });
        let sample = sample.await;
        let point = Point::new(profile.name(), Experiment::OpenLoop, REQUEST, percent);
        add_open(figures, distributions, &point, rate, &sample);
    }
    site.close().await;
    Ok(())
}

fn add_open(
    figures: &mut Figures,
    distributions: &mut Distributions,
    point: &Point,
    rate: f64,
    sample: &Sample,
) {
    figures.add_sample(point, sample);
    figures.add(point, "intended rate", Unit::PerSecond, Better::Neither, rate);
    let lateness = sample.lateness_ms(0.99);
    figures.add(point, "generator lateness p99", Unit::Milliseconds, Better::Neither, lateness);
    distributions.add(point, sample);
}

/// The samples of all repeats, for the distributions.
#[derive(Debug, Default)]
struct Distributions(Vec<(Point, Sample)>);

impl Distributions {
    fn add(&mut self, point: &Point, sample: &Sample) {
        match self.0.iter_mut().find(|(other, _)| other == point) {
            Some((_, all)) => all.add(sample),
            None => self.0.push((point.clone(), sample.clone())),
        }
    }

    fn move_into(self, figures: &mut Figures) {
        figures.distributions.extend(
            self.0
                .into_iter()
                .map(|(point, sample)| Distribution { point, points: sample.distribution() }),
        );
    }
}

/// A count of clients as a size.
pub(crate) fn as_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
