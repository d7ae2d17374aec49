//! A profile that is set up for a measurement: a server process, its worker, and its stores.

use shiori_benches::{
    Engines, Place, Surroundings,
    process::{Process, ServerSetup, WorkerSetup},
};
use tempfile::TempDir;

use crate::Result;

/// A profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// SQLite, with the worker in the server.
    Embedded,
    /// MySQL or MariaDB, MongoDB and Redis, with a worker process.
    Distributed,
}

impl Profile {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Distributed => "distributed",
        }
    }

    /// The embedded profile, and the distributed one if its engines are given.
    pub(crate) fn available() -> Vec<Self> {
        let mut profiles = vec![Self::Embedded];
        profiles.extend(Engines::are_given().then_some(Self::Distributed));
        profiles
    }
}

/// A running server with private, empty stores.
#[derive(Debug)]
pub(crate) struct Site {
    /// The server, for clients.
    pub(crate) place: Place,
    /// The server's process.
    pub(crate) server: Process,
    /// The workers' processes, in the distributed profile.
    pub(crate) workers: Vec<Process>,
    /// The setup of the server, to start it again.
    pub(crate) setup: ServerSetup,
    engines: Option<Engines>,
    /// The data of the server, removed at the end.
    _dir: TempDir,
}

impl Site {
    /// Starts a server of this profile, with this number of workers if a worker is given. The
    /// embedded profile has one worker, in the server.
    ///
    /// # Errors
    ///
    /// If a process does not start.
    pub(crate) async fn open(
        profile: Profile,
        worker: Option<&WorkerSetup>,
        workers: usize,
        lease_ms: Option<u64>,
    ) -> Result<Self> {
        let engines = match profile {
            Profile::Embedded => None,
            Profile::Distributed => Some(Engines::open().await),
        };
        let dir = tempfile::tempdir()?;
        let mut setup = ServerSetup {
            dir: dir.path().to_owned(),
            port: 0,
            engines: engines.as_ref().map(|engines| engines.urls().clone()),
            worker: worker.cloned(),
            lease_ms,
        };
        let server = Process::server(&setup).await?;
        let port = server.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        setup.port = port.ok_or("the server's URL has no port")?;
        let mut site = Self {
            place: Place::at(server.url()),
            server,
            workers: Vec::new(),
            setup,
            engines,
            _dir: dir,
        };
        if let (Some(worker), Some(urls)) = (worker, site.setup.engines.clone()) {
            for _ in 0..workers {
                let url = site.server.url();
                let process =
                    Process::worker_in(&Surroundings::default(), url, &urls, worker).await?;
                site.workers.push(process);
            }
        }
        Ok(site)
    }

    /// Ends the processes and removes all data.
    pub(crate) async fn close(mut self) {
        self.workers.clear();
        self.server.kill();
        if let Some(engines) = self.engines {
            engines.drop_all().await;
        }
    }
}
