//! A real server on a free port with its own data directory. Each test has one.

use std::path::Path;

use shiori_sdk::Client;
use shiori_server::{Config, HashCost, Server, WorkerMode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    fixtures::{PASSWORD, fresh_email, new_client},
    test_log::test_log,
};

/// A running server with its own data directory.
pub struct TestServer {
    server: Server,
    shutdown: CancellationToken,
    dir: TempDir,
}

impl TestServer {
    /// The default embedded configuration with cheap password hashes.
    pub async fn start() -> Self {
        Self::with_config(|_| {}).await
    }

    /// Without a worker; the test calls the internal API.
    pub async fn without_worker() -> Self {
        Self::with_config(|config| config.worker = WorkerMode::None).await
    }

    pub async fn with_config(change: impl FnOnce(&mut Config)) -> Self {
        test_log();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::embedded(dir.path()).unwrap();
        config.hash_cost = HashCost::MINIMAL;
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await.unwrap();
        Self { server, shutdown, dir }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The base URL of the internal listener.
    pub fn internal_url(&self) -> String {
        format!("http://{}", self.server.internal_addr())
    }

    pub fn addr(&self) -> std::net::SocketAddr {
        self.server.addr()
    }

    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// The token of the internal API.
    pub fn internal_token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("internal.secret")).unwrap()
    }

    /// A signed-in client of a new user, and the e-mail address.
    pub async fn sign_up(&self) -> (Client, String) {
        let email = fresh_email();
        let client = new_client(&self.url());
        client.auth().signup(&email, PASSWORD, "시오리").await.unwrap();
        client.auth().login(&email, PASSWORD).await.unwrap();
        (client, email)
    }

    /// A signed-in client of a new user.
    pub async fn client(&self) -> Client {
        self.sign_up().await.0
    }

    /// Stops the server. Fails if a request is aborted.
    pub async fn stop(self) {
        self.stop_and_keep().await;
    }

    /// Stops the server, and returns its data directory.
    pub async fn stop_and_keep(self) -> TempDir {
        self.shutdown.cancel();
        self.server.stopped().await.unwrap();
        self.dir
    }
}

/// Makes a server use a database that other servers of the test use, too. A server locks the name of
/// its file, so each of them has another link to it.
pub fn share_database(config: &mut Config, file: &Path) {
    let link = file.with_extension(uuid::Uuid::new_v4().simple().to_string());
    std::os::unix::fs::symlink(file, &link).unwrap();
    config.database_url = format!("sqlite:{}", link.display()).into();
}
