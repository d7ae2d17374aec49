use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use shiori_sdk::Client;
use shiori_server::{Config, HashCost, Server};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use crate::{Model, Pace};

/// Everybody's.
pub const PASSWORD: &str = "bench-pass-1";

/// The runtime that client and embedded server run on: one thread for each core.
///
/// # Panics
///
/// When the system gives no threads.
pub fn runtime() -> Runtime {
    Runtime::new().expect("the system gives threads")
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
    /// Whether `SHIORI_URL` names a server. Its models are its own.
    pub fn is_given() -> bool {
        std::env::var_os("SHIORI_URL").is_some()
    }

    /// The server, with a language model of this pace if it is embedded.
    ///
    /// # Panics
    ///
    /// When an embedded server cannot be started.
    pub async fn open(pace: Pace) -> Self {
        if let Ok(url) = std::env::var("SHIORI_URL") {
            return Self { url, embedded: None };
        }
        Self::embedded(|config| config.pipeline = Model::pipeline(pace)).await
    }

    /// An embedded server, with what else its configuration is to be.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn embedded(configure: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::embedded(dir.path()).expect("it can be written to");
        // What is measured is neither how passwords are hashed nor how many requests one may make.
        config.hash_cost = HashCost::MINIMAL;
        config.summaries.required_days = 1;
        config.summaries.max_unfinished = u32::MAX;
        config.drain_timeout = Duration::from_secs(2);
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await.expect("started");
        Self { url: server.url(), embedded: Some(Embedded { server, shutdown, _dir: dir }) }
    }

    /// The server's base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new person's client, signed in.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub async fn person(&self) -> Client {
        self.person_with_email().await.0
    }

    /// A new person's client, signed in, and the email to sign in with once more.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub async fn person_with_email(&self) -> (Client, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let email = format!("bench-{}-{count}@example.com", process::id());
        let client = Client::builder(&self.url).build().expect("a URL");
        client.auth().signup(&email, PASSWORD, "bench").await.expect("signed up");
        client.auth().login(&email, PASSWORD).await.expect("signed in");
        (client, email)
    }

    /// Stops the server if it is embedded. What it has not finished is not missed.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.shutdown.cancel();
            let _ = embedded.server.stopped().await;
        }
    }
}
