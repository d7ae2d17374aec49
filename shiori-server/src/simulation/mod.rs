//! Servers, workers and clients under a deterministic scheduler: the dispatcher, the leases, the
//! changes of diaries, the service of summaries and the loop of the worker, without sockets, over
//! stores in memory and a queue in memory.
//!
//! Each seed is a schedule. It decides at each await of a step which task continues first, which step
//! fails with or without its effect, which message is lost, which process crashes there, and which
//! clock jumps. Time is virtual. Then nothing fails any more: every client gets its answer, and every
//! summary ends. The ledger has the rules.
//!
//! ```sh
//! SHIORI_SCHEDULES=1000000 cargo test --release -p shiori-server --lib simulation
//! ```
//!
//! `SHIORI_SCHEDULE_SEED=17` starts with that schedule; with `SHIORI_SCHEDULES=1` it runs only that
//! one.

mod clock;
mod diarists;
mod ledger;
mod network;
mod queue;
mod requesters;
mod schedule;
mod workers;
mod world;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use tokio::runtime::Builder;

use self::world::{Planted, Subject};
use crate::store::memory::Fault;

/// The number of schedules by default, of diaries and of summaries: about five minutes of one core
/// without optimisation.
const SCHEDULES: (u64, u64) = (85_000, 15_000);

/// The number of schedules in which a planted fault must be found.
const SCHEDULES_WITH_FAULTS: u64 = 4_000;

/// The number of schedules that are repeated to compare their traces.
const REPEATED: u64 = 100;

/// What happens in some of these schedules; otherwise they would test less.
const HAPPENS: [&str; 16] = [
    "a process crashes at this await",
    "server 1: crash",
    "worker 0: crash",
    "worker 0: stop",
    "the request was lost",
    "no answer from server",
    "the answer of save was lost",
    "the answer of swap was lost",
    "save failed",
    "hints were lost",
    "queue: loses its hints",
    "ms ahead",
    "attempts 2",
    ": completed",
    ": failed",
    ": cancelled",
];

/// The last lines of a trace that are printed.
const TRACE: usize = 150;

/// Runs one schedule. Returns its outcome and its trace.
fn run(
    subject: Subject,
    seed: u64,
    planted: Planted,
    is_traced: bool,
) -> (Result<(), String>, Vec<String>) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let outcome = runtime.block_on(async {
        schedule::begin(seed, is_traced);
        world::run(subject, planted).await
    });
    let trace = schedule::end();
    (outcome, trace)
}

/// The smallest seed that was found to violate a rule. Two threads run the schedules.
fn first_violation(subject: Subject, seeds: std::ops::Range<u64>, planted: Planted) -> Option<u64> {
    let (next, found) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let search = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end || found.load(Relaxed) < seed {
                return;
            }
            if run(subject, seed, planted, false).0.is_err() {
                found.fetch_min(seed, Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(search);
        }
    });
    Some(found.into_inner()).filter(|seed| *seed < u64::MAX)
}

/// Runs the schedules of this subject, and panics with the trace of one that violates a rule.
fn check(subject: Subject, schedules: u64) {
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("SHIORI_SCHEDULE_SEED").unwrap_or(0);
    let schedules = number("SHIORI_SCHEDULES").unwrap_or(schedules);
    if let Some(seed) = first_violation(subject, first..first + schedules, Planted::default()) {
        let (outcome, trace) = run(subject, seed, Planted::default(), true);
        let trace = trace[trace.len().saturating_sub(TRACE)..].join("\n");
        panic!("schedule {seed} of {subject:?}: {outcome:?}\n{trace}");
    }
}

#[test]
fn of_concurrent_saves_one_wins_and_none_is_lost() {
    check(Subject::Diaries, SCHEDULES.0);
}

#[test]
fn every_accepted_summary_ends_once() {
    check(Subject::Summaries, SCHEDULES.1);
}

#[test]
fn a_seed_has_one_schedule() {
    let mut lines = Vec::new();
    for subject in [Subject::Diaries, Subject::Summaries] {
        for seed in 0..REPEATED {
            let first = run(subject, seed, Planted::default(), true);
            let second = run(subject, seed, Planted::default(), true);
            let differs = first.1.iter().zip(&second.1).find(|(one, two)| one != two);
            assert!(first == second, "{subject:?} {seed} differs: {differs:?}");
            lines.extend(first.1);
        }
    }
    for what in HAPPENS {
        assert!(lines.iter().any(|line| line.contains(what)), "never happens: {what}");
    }
}

#[test]
fn planted_faults_are_found() {
    let store = |fault| Planted { store: Some(fault), ..Planted::default() };
    let faults = [
        ("a weak save", Subject::Diaries, store(Fault::WeakSave)),
        ("a forgotten save id", Subject::Diaries, store(Fault::ForgottenSaveId)),
        ("a weak step of a summary", Subject::Summaries, store(Fault::WeakSwap)),
        (
            "an unchecked lease",
            Subject::Summaries,
            Planted { lease_is_unchecked: true, ..Planted::default() },
        ),
        (
            "a lost hint that is not repeated",
            Subject::Summaries,
            Planted { hints_are_not_repeated: true, ..Planted::default() },
        ),
    ];
    for (what, subject, planted) in faults {
        let found = first_violation(subject, 0..SCHEDULES_WITH_FAULTS, planted);
        assert!(found.is_some(), "not found: {what}");
    }
}
