//! The processes of a run: servers behind proxies, workers and engines.

use shiori_benches::{
    EngineUrls, Engines,
    process::{LanguageModel, Process, ServerSetup, WorkerSetup},
};
use tempfile::TempDir;

use crate::{
    Result,
    options::{Fault, Options, Profile},
    private_redis::PrivateRedis,
    proxy::Proxy,
};

/// The lease of a summary. Short, so that leases expire during a run.
pub(crate) const LEASE_MS: u64 = 3000;

/// The longest time that the language model takes.
const MODEL_MS: u64 = 2000;

/// Summaries that a worker processes at the same time.
const IN_FLIGHT: usize = 16;

/// Servers and workers of the distributed profile.
const EACH: usize = 2;

/// The processes of a run. All end when this is dropped.
pub(crate) struct Site {
    /// The servers.
    pub(crate) servers: Vec<Server>,
    /// The workers of the distributed profile. `None` while one is not running.
    pub(crate) workers: Vec<Option<Process>>,
    /// Proxies of the engines, with their names.
    pub(crate) engine_proxies: Vec<(&'static str, Proxy)>,
    /// The Redis that this run has started.
    pub(crate) redis: Option<PrivateRedis>,
    urls: Option<EngineUrls>,
    worker: WorkerSetup,
    engines: Option<Engines>,
    /// The data of the servers, removed at the end.
    dirs: Vec<TempDir>,
}

/// A server behind a proxy.
pub(crate) struct Server {
    /// The proxy that clients and workers call.
    pub(crate) proxy: Proxy,
    /// The process; `None` while it is not running.
    pub(crate) process: Option<Process>,
    setup: ServerSetup,
}

impl Server {
    async fn start(setup: ServerSetup) -> Result<Self> {
        let process = Process::server(&setup).await?;
        let proxy = Proxy::start(authority(process.url())).await?;
        Ok(Self { proxy, process: Some(process), setup })
    }

    /// The URL of its proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// Kills the process, if it is running.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the process again, on any port.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let process = Process::server(&self.setup).await?;
        self.proxy.set_target(authority(process.url()));
        self.process = Some(process);
        Ok(())
    }
}

impl Site {
    /// Starts all processes.
    ///
    /// # Errors
    ///
    /// If one does not start, or the engines are not given.
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let worker = WorkerSetup { model: LanguageModel::Distinct(MODEL_MS), in_flight: IN_FLIGHT };
        let mut site = Self {
            servers: Vec::new(),
            workers: Vec::new(),
            engine_proxies: Vec::new(),
            redis: None,
            urls: None,
            worker,
            engines: None,
            dirs: Vec::new(),
        };
        if options.profile() == Profile::Distributed {
            site.open_engines(options).await?;
        }
        let count = if site.urls.is_some() { EACH } else { 1 };
        for _ in 0..count {
            let dir = tempfile::tempdir()?;
            let setup = ServerSetup {
                dir: dir.path().to_owned(),
                port: 0,
                engines: site.urls.clone(),
                worker: Some(site.worker.clone()),
                lease_ms: Some(LEASE_MS),
            };
            site.dirs.push(dir);
            site.servers.push(Server::start(setup).await?);
        }
        if site.urls.is_some() {
            site.workers = (0..EACH).map(|_| None).collect();
        }
        for nth in 0..site.workers.len() {
            site.restart_worker(nth).await?;
        }
        Ok(site)
    }

    async fn open_engines(&mut self, options: &Options) -> Result<()> {
        if !Engines::are_given() {
            return Err("the distributed profile needs the URLs of its engines".into());
        }
        let engines = Engines::open().await;
        let mut urls = engines.urls().clone();
        self.engines = Some(engines);
        if options.has(Fault::RedisKill) || options.has(Fault::RedisFlush) {
            let redis = PrivateRedis::start().await?;
            urls.redis = redis.url();
            self.redis = Some(redis);
        }
        if options.has(Fault::Cut) || options.has(Fault::Freeze) {
            for (name, url) in [
                ("mysql", &mut urls.mysql),
                ("mongodb", &mut urls.mongodb),
                ("redis", &mut urls.redis),
            ] {
                let target = authority(url).to_owned();
                let proxy = Proxy::start(&target).await?;
                *url = url.replacen(&target, &proxy.address().to_string(), 1);
                self.engine_proxies.push((name, proxy));
            }
            // Otherwise, the driver would discover the members of the replica set and bypass the proxy.
            let base = urls.mongodb.split('?').next().unwrap_or_default();
            urls.mongodb = format!("{base}?directConnection=true");
        }
        self.urls = Some(urls);
        Ok(())
    }

    /// Starts a worker again. It calls the server of the same number.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart_worker(&mut self, nth: usize) -> Result<()> {
        let urls = self.urls.as_ref().ok_or("the embedded profile has no worker process")?;
        let server = self.servers[nth % self.servers.len()].url();
        self.workers[nth] = Some(Process::worker(&server, urls, &self.worker).await?);
        Ok(())
    }

    /// Ends all processes and removes all data.
    pub(crate) async fn close(mut self) {
        self.workers.clear();
        self.servers.clear();
        if let Some(engines) = self.engines.take() {
            engines.drop_all().await;
        }
    }
}

/// The host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_has_no_password() {
        for url in ["mysql://u:p@h:1/a", "mongodb://h:1/a?b=c", "http://h:1", "redis://h:1/"] {
            assert_eq!(authority(url), "h:1");
        }
    }
}
