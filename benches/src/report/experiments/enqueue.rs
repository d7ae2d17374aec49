//! The latency of concurrent summary requests while the language model responds immediately, after
//! ten seconds, or never.

use shiori_benches::{
    FreshWeeks, Pace,
    process::{LanguageModel, WorkerSetup},
};

use super::{
    Context,
    calls::{as_usize, request},
};
use crate::{
    Result,
    figures::{Experiment, Figures, Point},
    load::{Sample, closed_loop_over},
    site::{Profile, Site},
};

/// The speeds of the language model.
pub(crate) const PACES: [Pace; 3] = [Pace::AtOnce, Pace::TenSeconds, Pace::Never];

/// Rounds of concurrent requests: this many, and fewer with more requests in each.
const ROUNDS: usize = 24;

/// Requests of all rounds with the same number of concurrent ones, at least one round.
const REQUESTS: usize = 192;

/// Runs the experiment.
///
/// # Errors
///
/// If a site cannot be set up.
pub(crate) async fn run(context: &Context, figures: &mut Figures) -> Result<()> {
    for _ in 0..context.plan.repeats {
        for profile in &context.profiles {
            for pace in PACES {
                measure(context, *profile, pace, figures).await?;
            }
        }
    }
    Ok(())
}

/// On a new site, so that no measurement has the backlog of another.
async fn measure(
    context: &Context,
    profile: Profile,
    pace: Pace,
    figures: &mut Figures,
) -> Result<()> {
    let setup = WorkerSetup { model: LanguageModel::Paced(pace), in_flight: 16 };
    let site = Site::open(profile, Some(&setup), 1, None).await?;
    let mut fresh = FreshWeeks::new(&site.place);
    closed_loop_over(8, fresh.take(16).await, request).await;
    for concurrency in &context.plan.concurrency {
        let clients = as_usize(*concurrency);
        let mut all = Sample::default();
        for _ in 0..(REQUESTS / clients).clamp(1, ROUNDS) {
            let weeks = fresh.take(clients).await;
            let sample = closed_loop_over(clients, weeks, request).await;
            all.took += sample.took;
            all.add(&sample);
        }
        let at = f64::from(*concurrency);
        let point = Point::new(profile.name(), Experiment::Enqueue, pace.name(), at);
        figures.add_sample(&point, &all);
    }
    site.close().await;
    Ok(())
}
