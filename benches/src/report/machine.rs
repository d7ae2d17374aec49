//! The machine, the versions and the commit of a run.

use std::{fs, process::Command, thread};

use mongodb::bson::doc;
use serde::{Deserialize, Serialize};
use shiori_benches::{EngineUrls, processor};
use sqlx::{Connection, MySqlConnection};

use crate::Result;

/// The machine, and what else it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The name of the processor.
    pub(crate) processor: String,
    /// The memory, in MiB.
    pub(crate) memory_mib: u64,
    /// The operating system and its version.
    pub(crate) system: String,
    /// The load average of the minute before the run: processes that ran or wanted to.
    pub(crate) load_before: f64,
    /// The share of CPU time that the hypervisor gave to other machines during the run, in percent.
    pub(crate) stolen_percent: f64,
}

impl Machine {
    /// Describes this machine at the start of a run.
    pub(crate) fn describe() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let memory_kib = read("/proc/meminfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok()
            })
            .unwrap_or(0_u64);
        let load = read("/proc/loadavg");
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: processor(),
            memory_mib: memory_kib / 1024,
            system: format!(
                "{} {}",
                std::env::consts::OS,
                // Without the name of a distribution's build.
                read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or_default()
            ),
            load_before: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            stolen_percent: 0.0,
        }
    }
}

/// The times of all CPUs since boot: all of it, and the part that was stolen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTimes {
    total: u64,
    stolen: u64,
}

impl CpuTimes {
    /// The times until now; zero on systems without `/proc`.
    pub(crate) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The first line has the ticks in user, nice, system, idle, iowait, irq, softirq and steal.
    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        Self { total: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The share that was stolen since then, in percent.
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    pub(crate) fn stolen_percent_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        if total == 0 { 0.0 } else { 100.0 * stolen as f64 / total as f64 }
    }
}

/// The CPU time of a process, in microseconds; 0 on systems without `/proc`.
pub(crate) fn cpu_micros(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    parse_cpu_micros(&stat)
}

/// Fields 14 and 15 have the ticks in user and system mode. The second field is a name in
/// parentheses that may contain spaces. A tick is 10 ms (`USER_HZ`).
fn parse_cpu_micros(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000
}

/// The commit of the project, with `, modified` if tracked files differ from it.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let package = env!("CARGO_MANIFEST_DIR");
        let output = Command::new("git").arg("-C").arg(package).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}, modified"),
    }
}

/// The versions of Shiori, the compiler and the engines.
///
/// # Errors
///
/// If an engine does not respond.
pub(crate) async fn versions(engines: Option<&EngineUrls>) -> Result<Vec<(String, String)>> {
    let compiler = Command::new("rustc").arg("--version").output();
    let compiler = compiler.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().replace("rustc ", ""),
    );
    let build = if cfg!(debug_assertions) { "development" } else { "release" };
    let mut versions = vec![
        ("Shiori", format!("{}, {build} build", env!("CARGO_PKG_VERSION"))),
        ("rustc", compiler),
        ("SQLite", rusqlite::version().to_owned()),
    ];
    if let Some(urls) = engines {
        let mut mysql = MySqlConnection::connect(&urls.mysql).await?;
        let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut mysql).await?;
        versions.push(("MySQL or MariaDB", version));
        let mongodb = mongodb::Client::with_uri_str(&urls.mongodb).await?;
        let info = mongodb.database("admin").run_command(doc! { "buildInfo": 1 }).await?;
        versions.push(("MongoDB", info.get_str("version")?.to_owned()));
        let redis = redis::Client::open(urls.redis.as_str())?;
        let mut redis = redis.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        versions.push(("Redis", version.unwrap_or("unknown").to_owned()));
    }
    Ok(versions.into_iter().map(|(name, version)| (name.to_owned(), version)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_after_the_name() {
        let stat = "7 (a (b) 1 2) S 1 7 7 0 -1 4194560 100 0 0 0 250 30 5 6 20 0 9 0 100 0 0";
        assert_eq!(parse_cpu_micros(stat), 2_800_000);
        assert_eq!(parse_cpu_micros(""), 0);
    }

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let at = |line: &str| CpuTimes::parse(line);
        let earlier = at("cpu  100 0 100 800 0 0 0 10 5 0\ncpu0 1 1");
        let later = at("cpu  150 0 100 830 0 0 0 30 5 0");
        assert!((later.stolen_percent_since(earlier) - 20.0).abs() < 1e-9);
        assert!(at("").stolen_percent_since(at("")).abs() < f64::EPSILON);
    }
}
