//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use shiori_benches::Engines;

use crate::Result;

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
    /// By default the one that a fault needs, else the distributed one if the URLs of its engines are
    /// set, else the embedded one
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Clients, each with a session of the same user, who has at most 50
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) clients: u32,
    /// Dates that all clients change
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) dates: u32,
    /// The longest pause of a client between two calls
    #[arg(long, default_value_t = 16)]
    pub(crate) max_pause_ms: u64,
    /// Chooses this percentage of the calls among those for summaries, the rest among all
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) summaries: u8,
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
    /// Open connections to a server or an engine are lost: neither side receives anything more, nor
    /// notices that the other one closes them.
    HalfOpen,
    /// A server or worker is killed and started again with a clock that is 40 s behind or ahead.
    Clock,
    /// The disk of the embedded server is full for some time.
    DiskFull,
    /// The run's own MariaDB is stopped in good order (SIGTERM) and started again.
    MysqlRestart,
    /// The run's own MariaDB is killed (SIGKILL), started again and recovers.
    MysqlKill,
    /// The primary of the run's own MongoDB steps down, or is killed (SIGKILL) and started again.
    MongodbElection,
    /// The primary of the run's own MongoDB is stopped (SIGSTOP) until the others have elected another
    /// one, and continued.
    MongodbStop,
    /// The primary of the run's own MongoDB is separated from the other members, with or without its
    /// clients, until these have elected another one.
    MongodbPartition,
    /// Some commands of the servers fail in the run's own MongoDB for some time, also after they had
    /// their effect.
    MongodbFailpoint,
}

impl Fault {
    /// The only profile that can have this fault; `None` if both can.
    pub(crate) fn profile(self) -> Option<Profile> {
        match self {
            Self::Kill | Self::Stop | Self::Cut | Self::Freeze | Self::HalfOpen | Self::Clock => {
                None
            }
            Self::DiskFull => Some(Profile::Embedded),
            Self::RedisKill
            | Self::RedisFlush
            | Self::MysqlRestart
            | Self::MysqlKill
            | Self::MongodbElection
            | Self::MongodbStop
            | Self::MongodbPartition
            | Self::MongodbFailpoint => Some(Profile::Distributed),
        }
    }
}

impl Options {
    /// The profile of the run.
    pub(crate) fn profile(&self) -> Profile {
        let by_fault = || self.faults.iter().find_map(|fault| fault.profile());
        let by_engines = || {
            if Engines::are_given() { Profile::Distributed } else { Profile::Embedded }
        };
        self.profile.or_else(by_fault).unwrap_or_else(by_engines)
    }

    /// Whether the run has one of these faults.
    pub(crate) fn has(&self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| self.faults.contains(fault))
    }

    /// Checks that the profile can have the faults.
    ///
    /// # Errors
    ///
    /// If it cannot have one of them.
    pub(crate) fn check(&self) -> Result<()> {
        let profile = self.profile();
        let fits = |fault: &Fault| fault.profile().is_none_or(|it| it == profile);
        if self.has(&[Fault::MongodbPartition]) && !cfg!(target_os = "linux") {
            return Err("mongodb-partition needs Linux".into());
        }
        match self.faults.iter().find(|fault| !fits(fault)) {
            None => Ok(()),
            Some(fault) => {
                let [profile, fault] = [name(&profile), name(fault)];
                Err(format!("the {profile} profile cannot have the fault {fault}").into())
            }
        }
    }
}

/// The name of a value on the command line.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Options {
        Options::parse_from([&["history"], arguments].concat())
    }

    #[test]
    fn the_profile_is_that_of_the_faults() {
        let of = |faults| parse(&["--faults", faults]).profile();
        assert_eq!(of("kill,disk-full"), Profile::Embedded);
        assert_eq!(of("stop,mysql-kill"), Profile::Distributed);
        for fault in Fault::value_variants() {
            let options = parse(&["--faults", &name(fault)]);
            assert!(options.check().is_ok(), "{fault:?}");
        }
    }

    #[test]
    fn a_fault_of_the_other_profile_is_rejected() {
        for (profile, fault) in [("embedded", "mongodb-election"), ("distributed", "disk-full")] {
            let error = parse(&["--profile", profile, "--faults", fault]).check();
            let error = error.expect_err("another profile").to_string();
            assert_eq!(error, format!("the {profile} profile cannot have the fault {fault}"));
        }
        assert!(parse(&["--faults", "disk-full,redis-kill"]).check().is_err());
    }
}
