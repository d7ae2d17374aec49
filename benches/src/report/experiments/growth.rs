//! What more data costs: diaries of other users, queued summaries that no worker processes, and
//! finished summaries of the week that is read.

use shiori_benches::FreshWeeks;
use shiori_sdk::{Date, Precondition, Week};
use tokio::time::sleep;

use super::{
    Context,
    calls::{READ, REQUEST, SAVE, request},
};
use crate::{
    Result,
    diarist::{Diarist, sign_up},
    figures::{Better, Experiment, Figures, Point, Unit},
    generator::{add_diaries, add_finished, add_queued},
    load::{closed_loop, closed_loop_over},
    machine::cpu_micros,
    site::Site,
};

/// Diaries of the users who are measured.
const DAYS: usize = 128;

/// The statistic with the CPU time of a server without requests, in percent of a core.
pub(crate) const IDLE_CPU: &str = "server CPU without requests";

/// Windows in which an idle server is observed.
const WINDOWS: u32 = 3;

/// Summary requests of one repeat.
const REQUESTS: usize = 60;

/// Runs the experiments.
///
/// # Errors
///
/// If a site cannot be set up or filled.
pub(crate) async fn run(context: &Context, figures: &mut Figures) -> Result<()> {
    over_diaries(context, figures).await?;
    over_queued(context, figures).await?;
    over_finished(context, figures).await
}

async fn over_diaries(context: &Context, figures: &mut Figures) -> Result<()> {
    let mut filled = Vec::new();
    for profile in &context.profiles {
        for count in &context.plan.diaries {
            let site = Site::open(*profile, None, 0, None).await?;
            add_diaries(&site.setup, *count).await?;
            let diarist = Diarist::create(site.place.url(), &context.http, DAYS).await?;
            filled.push((*profile, *count, site, diarist));
        }
    }
    for repeat in 0..=context.plan.repeats {
        for (profile, count, _, diarist) in &filled {
            for call in [READ, SAVE] {
                let sample = one_client(context, diarist, call).await;
                // The first one fills the caches.
                if repeat > 0 {
                    let at = f64::from(*count);
                    let point = Point::new(profile.name(), Experiment::Diaries, call, at);
                    figures.add_sample(&point, &sample);
                }
            }
        }
    }
    for (_, _, site, _) in filled {
        site.close().await;
    }
    Ok(())
}

async fn one_client(
    context: &Context,
    diarist: &Diarist,
    call: &'static str,
) -> crate::load::Sample {
    let (diarist, lasts) = (diarist.clone(), context.plan.loop_time / 2);
    closed_loop(1, lasts, move |_| {
        let diarist = diarist.clone();
        async move { if call == READ { diarist.read().await } else { diarist.save().await } }
    })
    .await
}

/// One number after the other, because a server with a large backlog is busy. The profiles are
/// observed at the same time.
async fn over_queued(context: &Context, figures: &mut Figures) -> Result<()> {
    for count in &context.plan.queued {
        let mut filled = Vec::new();
        for profile in &context.profiles {
            let site = Site::open(*profile, None, 0, None).await?;
            add_queued(&site.setup, *count).await?;
            let diarist = Diarist::create(site.place.url(), &context.http, DAYS).await?;
            let point = |subject: &str| {
                Point::new(profile.name(), Experiment::Backlog, subject, f64::from(*count))
            };
            filled.push((
                point("server"),
                [point(READ), point(SAVE), point(REQUEST)],
                site,
                diarist,
            ));
        }
        // The first hints are offered once.
        sleep(context.plan.idle_window).await;
        for _ in 0..WINDOWS {
            let before: Vec<_> =
                filled.iter().map(|(_, _, site, _)| cpu_micros(site.server.id())).collect();
            sleep(context.plan.idle_window).await;
            for ((point, _, site, _), before) in filled.iter().zip(before) {
                let used = cpu_micros(site.server.id()).saturating_sub(before);
                #[allow(clippy::cast_precision_loss)] // seconds
                let percent = used as f64 / context.plan.idle_window.as_micros() as f64 * 100.0;
                figures.add(point, IDLE_CPU, Unit::Percent, Better::Lower, percent);
            }
        }
        let mut weeks: Vec<_> =
            filled.iter().map(|(_, _, site, _)| FreshWeeks::new(&site.place)).collect();
        for _ in 0..context.plan.repeats {
            for ((_, [read, save, requests], _, diarist), weeks) in filled.iter().zip(&mut weeks) {
                figures.add_sample(read, &one_client(context, diarist, READ).await);
                figures.add_sample(save, &one_client(context, diarist, SAVE).await);
                let sample = closed_loop_over(1, weeks.take(REQUESTS).await, request).await;
                figures.add_sample(requests, &sample);
            }
        }
        drop(weeks);
        for (_, _, site, _) in filled {
            site.close().await;
        }
    }
    Ok(())
}

async fn over_finished(context: &Context, figures: &mut Figures) -> Result<()> {
    let mut sites = Vec::new();
    let mut readers = Vec::new();
    for profile in &context.profiles {
        let site = Site::open(*profile, None, 0, None).await?;
        for count in &context.plan.finished {
            let (client, user) = sign_up(site.place.url(), &context.http).await?;
            let week = Week::containing(Date::new(2026, 2, 16)?);
            for date in week.dates() {
                let save =
                    client.diaries().save(date, shiori_benches::page(), Precondition::IfAbsent);
                save.await?;
            }
            add_finished(&site.setup, user, week, *count).await?;
            let point = Point::new(profile.name(), Experiment::History, READ, f64::from(*count));
            readers.push((point, client.diaries(), week.start()));
        }
        sites.push(site);
    }
    for repeat in 0..=context.plan.repeats {
        for (point, diaries, date) in &readers {
            let (diaries, date) = (diaries.clone(), *date);
            let sample = closed_loop(1, context.plan.loop_time / 4, move |_| {
                let diaries = diaries.clone();
                // The summaries are found if the day has an emotion.
                async move {
                    diaries
                        .get(date)
                        .await
                        .is_ok_and(|day| day.is_some_and(|day| day.emotion.is_some()))
                }
            });
            let sample = sample.await;
            if repeat > 0 {
                figures.add_sample(point, &sample);
            }
        }
    }
    for site in sites {
        site.close().await;
    }
    Ok(())
}
