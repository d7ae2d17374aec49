//! The experiments of a report.

mod calls;
mod conflicts;
mod enqueue;
mod growth;
mod merge;
mod recovery;
mod text;
mod throughput;

use std::time::Instant;

use clap::ValueEnum;

pub(crate) use self::{
    calls::{READ, REQUEST, SAVE},
    conflicts::{GAVE_UP, RACE, REJECTED, SAVES_PER_SUCCESS, SUCCESSES, plain},
    enqueue::PACES,
    growth::IDLE_CPU,
    merge::SDK,
    recovery::{CAUGHT_UP, KILL, LEASE, LONGEST, LOST, RATE as RECOVERY_RATE},
    text::{BESIDE, FAILED, FIRST_WORD, IN_FLIGHT, LATENCY_BESIDE, SUMMARY_RATE, WHOLE},
    throughput::{MODEL_LATENCY, SUMMARIES},
};

use crate::{Result, figures::Figures, plan::Plan, site::Profile};

/// What all experiments share.
#[derive(Debug)]
pub(crate) struct Context {
    /// The profiles to measure.
    pub(crate) profiles: Vec<Profile>,
    /// The sizes.
    pub(crate) plan: Plan,
    /// The HTTP client of the SDK and of the floors.
    pub(crate) http: reqwest::Client,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Floors, closed loops and open loops.
    Calls,
    /// Concurrent writers of one day.
    Conflicts,
    /// Summary requests while the language model is slow.
    Enqueue,
    /// Summaries per second.
    Throughput,
    /// The first word of a summary, and what showing texts costs. Only if it is named.
    Text,
    /// The kill of a worker.
    Recovery,
    /// More diaries, queued and finished summaries.
    Growth,
    /// Three-way merges.
    Merges,
}

impl Part {
    /// The parts of a report without `--only`.
    pub(crate) fn default_parts() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|part| *part != Self::Text).collect()
    }
}

/// Runs these parts.
///
/// # Errors
///
/// If a process does not start, or a store or server fails while an experiment is prepared. Calls
/// that fail while they are measured are counted in the figures.
pub(crate) async fn run(context: &Context, parts: &[Part]) -> Result<Figures> {
    let mut figures = Figures::default();
    let started = Instant::now();
    for part in Part::value_variants().iter().filter(|part| parts.contains(part)) {
        announce(started, *part);
        match part {
            Part::Calls => {
                let peaks = calls::closed(context, &mut figures).await?;
                calls::open(context, &peaks, &mut figures).await?;
            }
            Part::Conflicts => conflicts::run(context, &mut figures).await?,
            Part::Enqueue => enqueue::run(context, &mut figures).await?,
            Part::Throughput => throughput::run(context, &mut figures).await?,
            Part::Text => text::run(context, &mut figures).await?,
            Part::Recovery => recovery::run(context, &mut figures).await?,
            Part::Growth => growth::run(context, &mut figures).await?,
            Part::Merges => merge::run(context, &mut figures),
        }
    }
    Ok(figures)
}

#[allow(clippy::print_stderr)] // the progress of a program that runs for minutes
fn announce(started: Instant, part: Part) {
    let name = part.to_possible_value().map(|name| name.get_name().to_owned());
    eprintln!("{:>4} s: {}", started.elapsed().as_secs(), name.unwrap_or_default());
}
