//! Injects faults, one after the other.

use std::{sync::atomic::Ordering, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    Result,
    clients::Shared,
    options::{Fault, Options},
    private_engines::ELECTION_TIMEOUT,
    proxy::{Proxy, State},
    site::{LEASE_MS, Site},
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
        injected.push(Injected { fault, target, server, start, end: shared.now() });
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
            let proxies = site.engines.as_ref().map_or(0, |engines| engines.proxies.len());
            let (name, proxy, server) =
                proxy(site, random.random_range(0..site.servers.len() + proxies))?;
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
        | Fault::MongodbPartition => (inject_into_engine(fault, site, random, short).await?, None),
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
        Fault::MongodbElection => {
            let mongodb = engines.mongodb()?;
            let primary = mongodb.primary().await?;
            if random.random_bool(0.5) {
                mongodb.step_down(primary).await?;
                mongodb.primary_other_than(Some(primary)).await?;
            } else {
                mongodb.kill(primary);
                // Also before the others notice it.
                sleep(lasts.mul_f64(4.0 * random.random::<f64>())).await;
                mongodb.restart(primary).await?;
                mongodb.primary().await?;
            }
            format!("mongodb {primary}")
        }
        _ => {
            let mongodb = engines.mongodb()?;
            let primary = mongodb.primary().await?;
            mongodb.set_stopped(primary, true)?;
            sleep(ELECTION_TIMEOUT).await;
            let other = mongodb.primary_other_than(Some(primary)).await;
            // The clients write to the other one before this one continues.
            sleep(lasts).await;
            mongodb.set_stopped(primary, false)?;
            other?;
            format!("mongodb {primary}")
        }
    })
}

/// A proxy of a server or an engine, by its number among all of them.
fn proxy(site: &Site, nth: usize) -> Result<(String, &Proxy, Option<usize>)> {
    let Some(of_engine) = nth.checked_sub(site.servers.len()) else {
        return Ok((format!("server {nth}"), &site.servers[nth].proxy, Some(nth)));
    };
    let engines = site.engines.as_ref().ok_or("the embedded profile has no engines")?;
    let (name, proxy) = &engines.proxies[of_engine];
    Ok(((*name).to_owned(), proxy, None))
}
