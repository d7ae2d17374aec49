//! The processes of a run: servers behind proxies, workers and engines.

use shiori_benches::{
    FakeClock, Surroundings,
    process::{LanguageModel, Process, ServerSetup, WorkerSetup},
};
use tempfile::TempDir;

use crate::{
    Result,
    engines::{Engines, authority},
    options::{Fault, Options, Profile},
    proxy::Proxy,
    small_disk::SmallDisk,
};

/// The lease of a summary. Short, so that leases expire during a run.
pub(crate) const LEASE_MS: u64 = 3000;

/// The longest time that the language model takes.
const MODEL_MS: u64 = 2000;

/// Summaries that a worker processes at the same time: several times those that the clients request in
/// the time that the model takes, so that none waits for long after a fault.
const IN_FLIGHT: usize = 256;

/// Servers and workers of the distributed profile.
const EACH: usize = 2;

/// How far the clocks of processes are from that of the machine, in seconds.
pub(crate) const CLOCK_OFFSET_S: i32 = 40;

/// The processes of a run. All end when this is dropped.
pub(crate) struct Site {
    /// The servers.
    pub(crate) servers: Vec<Server>,
    /// The engines of the distributed profile.
    pub(crate) engines: Option<Engines>,
    /// The disk of the embedded server, if it can become full.
    pub(crate) disk: Option<SmallDisk>,
    workers: Vec<Worker>,
    worker: WorkerSetup,
    /// The data of the servers, removed at the end.
    dirs: Vec<TempDir>,
}

/// A server behind a proxy.
pub(crate) struct Server {
    /// The proxy that clients and workers call.
    pub(crate) proxy: Proxy,
    /// The process; `None` while it is not running.
    process: Option<Process>,
    setup: ServerSetup,
    surroundings: Surroundings,
}

/// A worker of the distributed profile. It calls the server of the same number.
struct Worker {
    /// The process; `None` while it is not running.
    process: Option<Process>,
    surroundings: Surroundings,
}

impl Server {
    /// The URL of its proxy.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }
}

impl Site {
    /// Starts all processes.
    ///
    /// # Errors
    ///
    /// If one does not start.
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let worker = WorkerSetup { model: LanguageModel::Distinct(MODEL_MS), in_flight: IN_FLIGHT };
        let mut site = Self {
            servers: Vec::new(),
            engines: None,
            disk: None,
            workers: Vec::new(),
            worker,
            dirs: Vec::new(),
        };
        let clock = if options.has(&[Fault::Clock]) { Some(FakeClock::new()?) } else { None };
        // Neighbours, and each worker and its server, are twice the offset apart.
        let surroundings = |nth: usize| Surroundings {
            clock: clock.as_ref().map(|clock| {
                clock.with_offset(if nth.is_multiple_of(2) {
                    -CLOCK_OFFSET_S
                } else {
                    CLOCK_OFFSET_S
                })
            }),
            mounts_of: None,
        };
        let is_distributed = options.profile() == Profile::Distributed;
        if is_distributed {
            site.engines = Some(Engines::open(options).await?);
        }
        for nth in 0..if is_distributed { EACH } else { 1 } {
            let dir = tempfile::tempdir()?;
            let mut surroundings = surroundings(nth);
            if options.has(&[Fault::DiskFull]) {
                let disk = SmallDisk::mount(dir.path()).await?;
                surroundings.mounts_of = Some(disk.holder());
                site.disk = Some(disk);
            }
            site.start_server(dir, surroundings).await?;
        }
        if is_distributed {
            for nth in 0..EACH {
                site.workers.push(Worker { process: None, surroundings: surroundings(nth + 1) });
                site.restart(EACH + nth).await?;
            }
        }
        Ok(site)
    }

    async fn start_server(&mut self, dir: TempDir, surroundings: Surroundings) -> Result<()> {
        let setup = ServerSetup {
            dir: dir.path().to_owned(),
            port: 0,
            engines: self.engines.as_ref().map(|engines| engines.urls().clone()),
            worker: Some(self.worker.clone()),
            lease_ms: Some(LEASE_MS),
        };
        self.dirs.push(dir);
        let process = Process::server_in(&surroundings, &setup).await?;
        let proxy = Proxy::start(authority(process.url())).await?;
        self.servers.push(Server { proxy, process: Some(process), setup, surroundings });
        Ok(())
    }

    /// The number of servers and workers. The servers have the first numbers.
    pub(crate) fn processes(&self) -> usize {
        self.servers.len() + self.workers.len()
    }

    /// The name of a server or worker.
    pub(crate) fn name(&self, nth: usize) -> String {
        match nth.checked_sub(self.servers.len()) {
            None => format!("server {nth}"),
            Some(nth) => format!("worker {nth}"),
        }
    }

    /// Kills a server or worker, if it is running.
    pub(crate) fn kill(&mut self, nth: usize) {
        match nth.checked_sub(self.servers.len()) {
            None => self.servers[nth].process = None,
            Some(nth) => self.workers[nth].process = None,
        }
    }

    /// Starts a server or worker again, a server on any port.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) async fn restart(&mut self, nth: usize) -> Result<()> {
        let Some(nth) = nth.checked_sub(self.servers.len()) else {
            let server = &mut self.servers[nth];
            let process = Process::server_in(&server.surroundings, &server.setup).await?;
            server.proxy.set_target(authority(process.url()));
            server.process = Some(process);
            return Ok(());
        };
        let engines = self.engines.as_ref().ok_or("the embedded profile has no worker process")?;
        let server = self.servers[nth % self.servers.len()].url();
        let surroundings = &self.workers[nth].surroundings;
        let process = Process::worker_in(surroundings, &server, engines.urls(), &self.worker);
        self.workers[nth].process = Some(process.await?);
        Ok(())
    }

    /// Stops a server or worker (SIGSTOP), or continues it (SIGCONT).
    ///
    /// # Errors
    ///
    /// If it is not running.
    pub(crate) fn set_stopped(&self, nth: usize, stopped: bool) -> Result<()> {
        let process = match nth.checked_sub(self.servers.len()) {
            None => &self.servers[nth].process,
            Some(nth) => &self.workers[nth].process,
        };
        process.as_ref().ok_or("the process is not running")?.set_stopped(stopped)
    }

    /// A clock that was behind will be ahead when this server or worker is started again, and the
    /// reverse. Returns its new offset in seconds.
    ///
    /// # Errors
    ///
    /// If it has the clock of the machine.
    pub(crate) fn turn_clock(&mut self, nth: usize) -> Result<i32> {
        let surroundings = match nth.checked_sub(self.servers.len()) {
            None => &mut self.servers[nth].surroundings,
            Some(nth) => &mut self.workers[nth].surroundings,
        };
        let clock = surroundings.clock.as_mut().ok_or("the process has the machine's clock")?;
        *clock = clock.with_offset(-clock.offset_s());
        Ok(clock.offset_s())
    }

    /// The engines.
    ///
    /// # Errors
    ///
    /// In the embedded profile.
    pub(crate) fn engines(&mut self) -> Result<&mut Engines> {
        Ok(self.engines.as_mut().ok_or("the embedded profile has no engines")?)
    }

    /// Ends all processes and removes all data.
    pub(crate) async fn close(mut self) {
        self.workers.clear();
        self.servers.clear();
        if let Some(engines) = self.engines.take() {
            engines.close().await;
        }
    }
}
