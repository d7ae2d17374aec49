//! What a run has recorded and a check has found.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    Result,
    anomaly::Anomaly,
    faults::Injected,
    options::{Fault, Options, Profile, name},
    record::Record,
    run::Recorded,
    timeline,
};

/// The report of a run, as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    profile: Profile,
    seconds: u64,
    seed: u64,
    clients: u32,
    dates: u32,
    /// Calls by call and outcome.
    calls: Counts,
    faults: &'a [FaultReport],
    anomalies: &'a [Anomaly],
}

/// A fault and the time until responses arrived again.
#[derive(Debug, Serialize)]
pub(crate) struct FaultReport {
    fault: Fault,
    target: String,
    start_ms: u64,
    lasted_ms: u64,
    /// From the end of the fault until a call that began later had a definite outcome: of the affected
    /// server, otherwise of every server. Null if there was none.
    recovery_ms: Option<u64>,
}

/// The number of calls, by call and outcome.
type Counts = BTreeMap<&'static str, BTreeMap<&'static str, u64>>;

fn counts(history: &[Record]) -> Counts {
    let mut counts = Counts::new();
    for record in history {
        let outcomes = counts.entry(record.call.name()).or_default();
        *outcomes.entry(record.outcome.name()).or_default() += 1;
    }
    counts
}

/// The faults of a run.
pub(crate) fn faults(recorded: &Recorded) -> Vec<FaultReport> {
    let report = |injected: &Injected| FaultReport {
        fault: injected.fault,
        target: injected.target.clone(),
        start_ms: millis(injected.start),
        lasted_ms: millis(injected.end - injected.start),
        recovery_ms: recovery(recorded, injected).map(millis),
    };
    recorded.faults.iter().map(report).collect()
}

/// Writes the history, the report and the timeline into the directory of `--out`.
///
/// # Errors
///
/// If a file cannot be written.
pub(crate) fn write(
    options: &Options,
    recorded: &Recorded,
    faults: &[FaultReport],
    anomalies: &[Anomaly],
) -> Result<()> {
    fs::create_dir_all(&options.out)?;
    write_history(&options.out.join("history.jsonl"), &recorded.history)?;
    let report = Report {
        profile: options.profile(),
        seconds: options.seconds,
        seed: options.seed,
        clients: options.clients,
        dates: options.dates,
        calls: counts(&recorded.history),
        faults,
        anomalies,
    };
    fs::write(options.out.join("report.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    let svg = timeline::svg(&recorded.history, &recorded.faults, anomalies)?;
    fs::write(options.out.join("timeline.svg"), svg)?;
    Ok(())
}

fn write_history(path: &Path, history: &[Record]) -> Result<()> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    for record in history {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

/// Nanoseconds from the end of a fault until the responses of the affected servers.
fn recovery(recorded: &Recorded, injected: &Injected) -> Option<u64> {
    let affected = match injected.server {
        Some(server) => server..server + 1,
        None => 0..recorded.servers,
    };
    // The history is ordered by the ends of the calls.
    let from = recorded.history.partition_point(|record| record.end < injected.end);
    let first = |server: usize| {
        let mut of_server = recorded.history[from..].iter().filter(|record| {
            record.client as usize % recorded.servers == server && record.start >= injected.end
        });
        of_server.find(|record| record.outcome.is_definite()).map(|record| record.end)
    };
    let last = affected.map(first).collect::<Option<Vec<u64>>>()?.into_iter().max()?;
    Some(last - injected.end)
}

fn millis(nanos: u64) -> u64 {
    nanos / 1_000_000
}

/// Prints the calls, the faults and the anomalies.
#[allow(clippy::print_stdout)] // the output of a program
pub(crate) fn print(history: &[Record], faults: &[FaultReport], anomalies: &[Anomaly]) {
    for (call, outcomes) in counts(history) {
        let outcomes: Vec<_> =
            outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!("{call}: {}", outcomes.join(", "));
    }
    for kind in Fault::value_variants() {
        let of_kind = || faults.iter().filter(|fault| fault.fault == *kind);
        let (count, slowest) = (of_kind().count(), of_kind().filter_map(|it| it.recovery_ms).max());
        if let Some(slowest) = slowest {
            println!("{} × {count}: recovered after at most {slowest} ms", name(kind));
        }
    }
    for anomaly in anomalies {
        println!("{anomaly}");
    }
    println!("{} calls, {} faults, {} anomalies", history.len(), faults.len(), anomalies.len());
}
