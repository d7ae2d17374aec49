use std::env;

use shiori_sdk::Client;
use shiori_server::{Config, Server};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Result;

/// The server of an example.
#[derive(Debug)]
pub struct Service {
    url: String,
    embedded: Option<Embedded>,
}

/// A server in this process, with temporary data.
#[derive(Debug)]
struct Embedded {
    server: Server,
    shutdown: CancellationToken,
    data_dir: TempDir,
}

impl Service {
    /// The server at `SHIORI_URL`; without that variable, an embedded server in this process, on a
    /// free port and with a temporary directory.
    ///
    /// # Errors
    ///
    /// If the embedded server cannot start.
    pub async fn start_or_connect() -> Result<Self> {
        if let Ok(url) = env::var("SHIORI_URL") {
            return Ok(Self { url, embedded: None });
        }
        let data_dir = tempfile::tempdir()?;
        let config = Config::embedded(data_dir.path())?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shutdown = CancellationToken::new();
        let server = Server::start(config, listener, shutdown.clone()).await?;
        let url = server.url();
        Ok(Self { url, embedded: Some(Embedded { server, shutdown, data_dir }) })
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it runs in this process.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Creates a new account.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub async fn sign_up(&self) -> Result<Person> {
        let person = Person {
            url: self.url.clone(),
            email: format!("haru-{}@example.com", Uuid::new_v4().simple()),
            password: format!("{}-Haru!1", Uuid::new_v4().simple()),
        };
        let client = Client::builder(&self.url).build()?;
        client.auth().signup(&person.email, &person.password, "하루").await?;
        Ok(person)
    }

    /// The user of an existing account.
    pub fn person(&self, email: String, password: String) -> Person {
        Person { url: self.url.clone(), email, password }
    }

    /// Stops the server if it runs in this process, and removes its data.
    ///
    /// # Errors
    ///
    /// If the server did not shut down gracefully, or its directory cannot be removed.
    pub async fn stop(self) -> Result<()> {
        if let Some(Embedded { server, shutdown, data_dir }) = self.embedded {
            shutdown.cancel();
            server.stopped().await?;
            data_dir.close()?;
        }
        Ok(())
    }
}

/// The user of an account, with any number of devices. It has no `Debug` because it contains a
/// password.
#[allow(missing_debug_implementations)]
pub struct Person {
    url: String,
    email: String,
    password: String,
}

impl Person {
    /// The e-mail address and the password, for a login in another process.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.email, &self.password)
    }

    /// Signs a device in. Each device has its own client and session.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub async fn sign_in(&self, device: &str) -> Result<Client> {
        let client = Client::builder(&self.url).user_agent(device).build()?;
        client.auth().login(&self.email, &self.password).await?;
        Ok(client)
    }

    /// Deletes the account, on a device that is signed in.
    ///
    /// # Errors
    ///
    /// If the request fails.
    pub async fn delete_account(&self, device: &Client) -> Result {
        Ok(device.account().delete(&self.password).await?)
    }
}
