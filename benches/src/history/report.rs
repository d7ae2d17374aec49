//! What a check has found.

use std::collections::BTreeMap;

use crate::{anomaly::Anomaly, record::Record};

/// The number of calls, by call and outcome.
pub(crate) fn counts(history: &[Record]) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let mut counts: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for record in history {
        let outcomes = counts.entry(record.call.name()).or_default();
        *outcomes.entry(record.outcome.name()).or_default() += 1;
    }
    counts
}

/// Prints the calls and the anomalies.
#[allow(clippy::print_stdout)] // the output of a program
pub(crate) fn print(history: &[Record], anomalies: &[Anomaly]) {
    for (call, outcomes) in counts(history) {
        let outcomes: Vec<_> =
            outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!("{call}: {}", outcomes.join(", "));
    }
    for anomaly in anomalies {
        println!("{anomaly}");
    }
    println!("{} calls, {} anomalies", history.len(), anomalies.len());
}
