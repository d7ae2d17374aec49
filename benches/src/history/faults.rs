//! Injects faults, one after the other.

use std::{sync::atomic::Ordering, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    Result,
    clients::Shared,
    engines::Engines,
    options::{Fault, Options},
    private_engines::{CommandFailure, ELECTION_TIMEOUT, PrivateReplicaSet},
    proxy::{Proxy, State},
    record::Record,
    site::{LEASE_MS, Server, Site},
};

/// A fault that was injected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Injected {
    /// The fault.
    pub(crate) fault: Fault,
    /// What it affected.
    pub(crate) target: String,
    /// The number of the server that it affected; `None` for a worker or an engine.
    pub(crate) server: Option<usize>,
    /// When it began, in nanoseconds since the start of the run.
    pub(crate) start: u64,
    /// When it ended: the process is running, or the connections transfer again.
    pub(crate) end: u64,
    /// When all members of the replica set knew what had been acknowledged until the end.
    pub(crate) settled: u64,
}

impl Injected {
    /// Whether the replica set may elect another primary.
    fn is_followed_by_an_election(&self) -> bool {
        let of_a_member = self.target.starts_with("connections to mongodb ");
        of_a_member
            || matches!(
                self.fault,
                Fault::MongodbElection | Fault::MongodbStop | Fault::MongodbPartition
            )
    }
}

/// Marks the responses that may show an older state: those at the time of an election. MongoDB reads
/// what a majority has, as far as the member knows: an old primary does not know what the others have
/// written without it, and a new one does not know what the old one has acknowledged until its own
/// first write is on a majority.
pub(crate) fn mark_stale_reads(history: &mut [Record], faults: &[Injected]) {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    // Members learn from heartbeats what a majority has. They notice lost connections after the fault,
    // and the election is then.
    let (before, after) = (nanos(ELECTION_TIMEOUT), nanos(2 * ELECTION_TIMEOUT));
    for fault in faults.iter().filter(|fault| fault.is_followed_by_an_election()) {
        for record in history.iter_mut() {
            let since = if record.end < fault.start || record.start > fault.settled + after {
                continue;
            } else if record.start < fault.settled {
                fault.start.saturating_sub(before)
            } else {
                fault.end
            };
            record.shows_since = Some(since.min(record.shows_since()));
        }
    }
}

/// Pauses between faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 200..1500;

/// The share of kills that affect all servers and workers.
const KILL_ALL: f64 = 0.2;

/// Injects faults until the run is over.
///
/// # Errors
///
/// If a process cannot be started again.
pub(crate) async fn inject(
    options: &Options,
    site: &mut Site,
    shared: &Shared,
) -> Result<Vec<Injected>> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut injected = Vec::new();
    loop {
        sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
        if shared.is_over.load(Ordering::Relaxed) || options.faults.is_empty() {
            return Ok(injected);
        }
        let fault = options.faults[random.random_range(0..options.faults.len())];
        let start = shared.now();
        let (target, server) = inject_one(fault, site, &mut random).await?;
        let end = shared.now();
        let mut fault = Injected { fault, target, server, start, end, settled: end };
        if fault.is_followed_by_an_election() {
            site.engines()?.mongodb()?.settle().await?;
            fault.settled = shared.now();
        }
        injected.push(fault);
    }
}

/// Injects a fault and ends it. Returns what it affected, and the number of the server.
async fn inject_one(
    fault: Fault,
    site: &mut Site,
    random: &mut StdRng,
) -> Result<(String, Option<usize>)> {
    let short = Duration::from_millis(random.random_range(0..800));
    let long = Duration::from_millis(random.random_range(300..2 * LEASE_MS));
    let nth = random.random_range(0..site.processes());
    let server = Some(nth).filter(|nth| *nth < site.servers.len());
    let name = site.name(nth);
    Ok(match fault {
        Fault::Kill if random.random_bool(KILL_ALL) => {
            (0..site.processes()).for_each(|nth| site.kill(nth));
            sleep(short).await;
            for nth in 0..site.processes() {
                site.restart(nth).await?;
            }
            ("all servers and workers".to_owned(), None)
        }
        Fault::Kill => {
            site.kill(nth);
            sleep(short).await;
            site.restart(nth).await?;
            (name, server)
        }
        Fault::Clock => {
            site.kill(nth);
            site.turn_clock(nth)?;
            site.restart(nth).await?;
            (format!("clock of {name}"), server)
        }
        Fault::Stop => {
            site.set_stopped(nth, true)?;
            sleep(long).await;
            site.set_stopped(nth, false)?;
            (name, server)
        }
        Fault::Cut | Fault::Freeze | Fault::HalfOpen => {
            let mut proxies: Vec<_> = (0..).zip(&site.servers).map(of_server).collect();
            let of_engines = site.engines.as_ref().map_or_else(Vec::new, Engines::proxies);
            proxies.extend(of_engines.into_iter().map(|(name, proxy)| (name, proxy, None)));
            let (name, proxy, server) = proxies.swap_remove(random.random_range(0..proxies.len()));
            let lasting = match fault {
                Fault::Cut => Some((State::Cut, short)),
                Fault::Freeze => Some((State::Frozen, long)),
                _ => None,
            };
            if let Some((state, lasts)) = lasting {
                proxy.set_state(state);
                sleep(lasts).await;
                proxy.set_state(State::Open);
            } else {
                proxy.lose_connections();
            }
            (format!("connections to {name}"), server)
        }
        Fault::DiskFull => {
            let disk = site.disk.as_ref().ok_or("the run has no disk of its own")?;
            disk.fill().await?;
            sleep(long).await;
            disk.free()?;
            ("disk".to_owned(), None)
        }
        Fault::RedisKill
        | Fault::RedisFlush
        | Fault::MysqlRestart
        | Fault::MysqlKill
        | Fault::MongodbElection
        | Fault::MongodbStop
        | Fault::MongodbPartition
        | Fault::MongodbFailpoint => (inject_into_engine(fault, site, random, short).await?, None),
    })
}

/// As `inject_one`, for the faults of engines.
async fn inject_into_engine(
    fault: Fault,
    site: &mut Site,
    random: &mut StdRng,
    lasts: Duration,
) -> Result<String> {
    let engines = site.engines()?;
    Ok(match fault {
        Fault::RedisFlush => {
            engines.redis()?.flush().await?;
            "redis".to_owned()
        }
        Fault::RedisKill => {
            let redis = engines.redis()?;
            redis.kill();
            sleep(lasts).await;
            redis.restart().await?;
            "redis".to_owned()
        }
        Fault::MysqlRestart | Fault::MysqlKill => {
            let mariadb = engines.mariadb()?;
            if fault == Fault::MysqlKill {
                mariadb.kill();
            } else {
                mariadb.terminate().await?;
            }
            sleep(lasts).await;
            mariadb.restart().await?;
            "mysql".to_owned()
        }
        _ => inject_into_mongodb(fault, engines.mongodb()?, random, lasts).await?,
    })
}

/// As `inject_one`, for the faults of MongoDB.
async fn inject_into_mongodb(
    fault: Fault,
    mongodb: &mut PrivateReplicaSet,
    random: &mut StdRng,
    lasts: Duration,
) -> Result<String> {
    if fault == Fault::MongodbFailpoint {
        let how = CommandFailure::ALL[random.random_range(0..CommandFailure::ALL.len())];
        mongodb.fail_commands(Some(how)).await?;
        sleep(lasts * 4).await;
        mongodb.fail_commands(None).await?;
        return Ok(format!("commands of mongodb: {how:?}").to_lowercase());
    }
    let primary = mongodb.primary().await?;
    let mut what = "";
    match fault {
        Fault::MongodbElection if random.random_bool(0.5) => {
            mongodb.step_down(primary).await?;
            mongodb.primary_other_than(Some(primary)).await?;
        }
        Fault::MongodbElection => {
            mongodb.kill(primary);
            // Also before the others notice it.
            sleep(lasts.mul_f64(4.0 * random.random::<f64>())).await;
            mongodb.restart(primary).await?;
            mongodb.primary().await?;
        }
        Fault::MongodbStop => {
            mongodb.set_stopped(primary, true)?;
            sleep(ELECTION_TIMEOUT).await;
            let other = mongodb.primary_other_than(Some(primary)).await;
            // The clients write to the other one before this one continues.
            sleep(lasts).await;
            mongodb.set_stopped(primary, false)?;
            other?;
        }
        _ => {
            let state = if random.random_bool(0.5) { State::Cut } else { State::Frozen };
            let keeps_clients = random.random_bool(0.5);
            what = if keeps_clients { " with its clients" } else { "" };
            mongodb.set_link_to_members(primary, state);
            if !keeps_clients {
                mongodb.set_link_to_clients(primary, state);
            }
            let other = mongodb.primary_other_than(Some(primary)).await;
            sleep(lasts).await;
            mongodb.set_link_to_members(primary, State::Open);
            mongodb.set_link_to_clients(primary, State::Open);
            other?;
        }
    }
    Ok(format!("mongodb {primary}{what}"))
}

/// The proxy of a server, with its name and its number.
fn of_server((nth, server): (usize, &Server)) -> (String, &Proxy, Option<usize>) {
    (format!("server {nth}"), &server.proxy, Some(nth))
}
