//! Replicas, a server and a network that loses, delays and repeats, in one thread and without time.
//! Each seed is a history: users write on several devices, which are offline, crash at any write, and
//! forget content. Then everything is quiet, and all devices and the server must have the same text.
//!
//! After each step, a ledger checks the text that the user sees. Each word that someone wrote and
//! nobody removed is there, once. A word that was removed is not. If the step listed a conflict, words
//! may occur repeatedly or be back, but none is lost.
//!
//! ```sh
//! SHIORI_REPLICA_HISTORIES=100000 cargo test --release -p shiori-sdk --all-features --lib simulation
//! ```
//!
//! `SHIORI_REPLICA_SEED=17` starts with that history; with `SHIORI_REPLICA_HISTORIES=1` it runs only
//! that one.

mod convergence;
mod device;
mod history;
mod ledger;
mod server;
mod steps;
mod trace;

use std::env;

use history::History;
use steps::*;

/// The number of histories by default.
const HISTORIES: u64 = 10_000;

/// The number of histories in which a fault must be found.
const HISTORIES_WITH_FAULTS: u64 = 3_000;

/// The lines of a trace that are printed.
const TRACE: usize = 60;

/// The first fault of these histories, and how often conflicts were listed.
fn first_fault(
    seeds: impl Iterator<Item = u64>,
    steps: &dyn Steps,
) -> (Option<(u64, String)>, u64) {
    let mut notes = 0;
    for seed in seeds {
        let mut history = History::new(seed, steps, false);
        if let Err(fault) = history.run() {
            return (Some((seed, fault)), notes);
        }
        notes += history.notes;
    }
    (None, notes)
}

#[test]
fn replicas_converge_and_lose_nothing() {
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("SHIORI_REPLICA_SEED").unwrap_or(0);
    let histories = number("SHIORI_REPLICA_HISTORIES").unwrap_or(HISTORIES);
    let (fault, notes) = first_fault(first..first + histories, &Correct);
    if let Some((seed, fault)) = fault {
        let mut history = History::new(seed, &Correct, true);
        let _ = history.run();
        let trace = history.trace.unwrap_or_default();
        let trace = &trace[trace.len().saturating_sub(TRACE)..];
        panic!("history {seed}: {fault}\n{}", trace.join("\n"));
    }
    assert!(histories < 1_000 || notes > 0, "conflicts must occur");
}

#[test]
fn planted_faults_are_found() {
    let faults: [(&str, &dyn Steps); 7] = [
        ("the base is forgotten after a merge", &ForgottenBase),
        ("each attempt has a new id", &NewIdPerAttempt),
        ("the outbox is cleared before the answer", &ClearedOutbox),
        ("a forgotten save is not listed", &NeverRepeated),
        ("a deletion drops a pending draft", &DeletionWins),
        ("an undone change is dropped while a save has no answer", &UndoneWhileSent),
        ("conflicts are not listed", &UnlistedConflicts),
    ];
    for (what, steps) in faults {
        let (fault, _) = first_fault(0..HISTORIES_WITH_FAULTS, steps);
        assert!(fault.is_some(), "not found: {what}");
    }
}
