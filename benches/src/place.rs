use std::{
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use shiori_sdk::Client;
use shiori_server::{Config, DiaryQuota, HashCost, Server};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use crate::{Model, Pace};

/// The password of every user.
pub const PASSWORD: &str = "bench-pass-1";

/// The runtime of the client and the embedded server, with one thread per core.
///
/// # Panics
///
/// If the system cannot start threads.
pub fn runtime() -> Runtime {
    Runtime::new().expect("the system can start threads")
}

/// The configuration of a server to measure, with its data in this directory.
///
/// # Panics
///
/// If the directory is not writable.
pub fn configuration(dir: &Path) -> Config {
    let mut config = Config::embedded(dir).expect("a writable directory");
    // Password hashing and request limits are not part of the measurements.
    config.hash_cost = HashCost::MINIMAL;
    config.sign_ups.throttle.attempts = u32::MAX;
    config.summaries.required_days = 1;
    config.summaries.max_unfinished = u32::MAX;
    config.summaries.max_per_day = None;
    config.limits.diaries = DiaryQuota::default();
    config.drain_timeout = Duration::from_secs(2);
    config
}

/// A server to measure: the one at `SHIORI_URL`, or an embedded one in a temporary directory.
#[derive(Debug)]
pub struct Place {
    url: String,
    embedded: Option<Embedded>,
}

#[derive(Debug)]
struct Embedded {
    server: Server,
    shutdown: CancellationToken,
    _dir: TempDir,
}

impl Place {
    /// Whether `SHIORI_URL` is set. That server uses its own models.
    pub fn is_given() -> bool {
        std::env::var_os("SHIORI_URL").is_some()
    }

    /// The server. An embedded one has a language model with this speed.
    ///
    /// # Panics
    ///
    /// If an embedded server cannot be started.
    pub async fn open(pace: Pace) -> Self {
        if let Ok(url) = std::env::var("SHIORI_URL") {
            return Self::at(url);
        }
        Self::embedded(|config| config.pipeline = Model::pipeline(pace)).await
    }

    /// A server that was started elsewhere, at this base URL.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), embedded: None }
    }

    /// An embedded server with a changed configuration.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub async fn embedded(configure: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = configuration(dir.path());
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await.expect("started");
        Self { url: server.url(), embedded: Some(Embedded { server, shutdown, _dir: dir }) }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A signed-in client of a new user.
    ///
    /// # Panics
    ///
    /// If the server does not respond.
    pub async fn person(&self) -> Client {
        self.person_with_email().await.0
    }

    /// A signed-in client of a new user, and the e-mail address for further logins.
    ///
    /// # Panics
    ///
    /// If the server does not respond.
    pub async fn person_with_email(&self) -> (Client, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let email = format!("bench-{}-{count}@example.com", process::id());
        let client = Client::builder(&self.url).build().expect("a URL");
        client.auth().signup(&email, PASSWORD, "bench").await.expect("signed up");
        client.auth().login(&email, PASSWORD).await.expect("signed in");
        (client, email)
    }

    /// Stops the server if it is embedded, without finishing its summaries.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.shutdown.cancel();
            let _ = embedded.server.stopped().await;
        }
    }
}
