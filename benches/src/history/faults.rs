//! Injects faults, one after the other.

use std::{sync::atomic::Ordering, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    Result,
    clients::Shared,
    options::{Fault, Options, Profile},
    proxy::{Proxy, State},
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
    let needs_redis = |fault: &Fault| matches!(fault, Fault::RedisKill | Fault::RedisFlush);
    let is_embedded = options.profile() == Profile::Embedded;
    if is_embedded && options.faults.iter().any(needs_redis) {
        return Err("the embedded profile has no Redis".into());
    }
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

/// Injects a fault and ends it. Returns what it affected.
async fn inject_one(
    fault: Fault,
    site: &mut Site,
    random: &mut StdRng,
) -> Result<(String, Option<usize>)> {
    let short = Duration::from_millis(random.random_range(0..800));
    let long = Duration::from_millis(random.random_range(300..2 * LEASE_MS));
    let nth = random.random_range(0..site.servers.len() + site.workers.len());
    match fault {
        Fault::Kill if random.random_bool(KILL_ALL) => {
            site.servers.iter_mut().for_each(Server::kill);
            site.workers.iter_mut().for_each(|worker| *worker = None);
            sleep(short).await;
            for server in &mut site.servers {
                server.restart().await?;
            }
            for nth in 0..site.workers.len() {
                site.restart_worker(nth).await?;
            }
            return Ok(("all servers and workers".to_owned(), None));
        }
        Fault::Kill if nth < site.servers.len() => {
            site.servers[nth].kill();
            sleep(short).await;
            site.servers[nth].restart().await?;
            return Ok((format!("server {nth}"), Some(nth)));
        }
        Fault::Kill => {
            let nth = nth - site.servers.len();
            site.workers[nth] = None;
            sleep(short).await;
            site.restart_worker(nth).await?;
            return Ok((format!("worker {nth}"), None));
        }
        Fault::Stop => {
            let servers = site.servers.len();
            let is_server = nth < servers;
            let process = if is_server {
                site.servers[nth].process.as_ref()
            } else {
                site.workers[nth - servers].as_ref()
            };
            let process = process.ok_or("the process is not running")?;
            process.set_stopped(true)?;
            sleep(long).await;
            process.set_stopped(false)?;
            let name = if is_server {
                format!("server {nth}")
            } else {
                format!("worker {}", nth - servers)
            };
            return Ok((name, is_server.then_some(nth)));
        }
        Fault::Cut | Fault::Freeze => {
            let (state, lasts) = match fault {
                Fault::Cut => (State::Cut, short),
                _ => (State::Frozen, long),
            };
            let nth = random.random_range(0..site.servers.len() + site.engine_proxies.len());
            let (name, proxy, server) = proxy(site, nth);
            proxy.set_state(state);
            sleep(lasts).await;
            proxy.set_state(State::Open);
            return Ok((name, server));
        }
        Fault::RedisKill => {
            let redis = site.redis.as_mut().ok_or("the run has no Redis of its own")?;
            redis.kill();
            sleep(short).await;
            redis.restart().await?;
        }
        Fault::RedisFlush => {
            site.redis.as_ref().ok_or("the run has no Redis of its own")?.flush().await?;
        }
    }
    Ok(("redis".to_owned(), None))
}

/// A proxy of a server or an engine, by its number among all of them.
fn proxy(site: &Site, nth: usize) -> (String, &Proxy, Option<usize>) {
    match nth.checked_sub(site.servers.len()) {
        None => (format!("connections to server {nth}"), &site.servers[nth].proxy, Some(nth)),
        Some(nth) => {
            let (name, proxy) = &site.engine_proxies[nth];
            (format!("connections to {name}"), proxy, None)
        }
    }
}
