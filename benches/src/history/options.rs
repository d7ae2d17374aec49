//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use shiori_benches::Engines;

/// Runs many clients under faults, records what they call and receive, and checks whether the
/// guarantees permit it. Exits with 1 if there are anomalies.
#[derive(Debug, Parser)]
#[command(name = "history")]
pub(crate) struct Options {
    /// How long the clients run; then all faults end, and everything is read once more
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Selects calls, pauses and faults; processes and networks remain random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The faults, one after the other in random order; without a value, none
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., default_value = "kill")]
    pub(crate) faults: Vec<Fault>,
    /// By default the distributed profile if the URLs of its engines are set, else the embedded one
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Clients, each with a session of the same user
    #[arg(long, default_value_t = 8)]
    pub(crate) clients: u32,
    /// Dates that all clients change
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) dates: u32,
    /// Directory of the report
    #[arg(long, default_value = "target/history")]
    pub(crate) out: PathBuf,
    /// Run nothing; check this history, one call a line
    #[arg(long, value_name = "HISTORY.jsonl")]
    pub(crate) of: Option<PathBuf>,
}

/// The stores and processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// One server on SQLite, with its worker.
    Embedded,
    /// Two servers and two workers on MySQL or MariaDB, MongoDB and Redis.
    Distributed,
}

/// A fault. It affects only processes and connections of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// A server or worker, or all of them, are killed (SIGKILL) and started again.
    Kill,
    /// A server or worker is stopped (SIGSTOP) and continued, also for longer than a lease.
    Stop,
    /// All connections to a server or an engine are closed, and new ones refused for some time.
    Cut,
    /// Connections to a server or an engine remain open, but transfer nothing for some time.
    Freeze,
    /// The run's own Redis is killed and started again, empty.
    RedisKill,
    /// All keys of the run's own Redis are deleted.
    RedisFlush,
}

impl Options {
    /// The profile of the run.
    pub(crate) fn profile(&self) -> Profile {
        let default =
            || if Engines::are_given() { Profile::Distributed } else { Profile::Embedded };
        self.profile.unwrap_or_else(default)
    }

    /// Whether the run has this fault.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
