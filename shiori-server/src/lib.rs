//! The Shiori diary server: of all concurrent saves of one version exactly one succeeds, and weekly
//! summaries are written in the background.
//!
//! The binary, the tests, the examples and the benches use [`Server::start`]. A program can embed
//! the server in the same way:
//!
//! ```
//! use shiori_server::{Config, Server};
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let data_dir = directory.path();
//! let shutdown = CancellationToken::new();
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let server = Server::start(Config::embedded(data_dir)?, listener, shutdown.clone()).await?;
//! println!("listening at {}", server.url());
//!
//! shutdown.cancel();
//! server.stopped().await?;
//! # Ok(())
//! # }
//! ```

mod account_tasks;
mod api;
mod app;
mod auth;
mod changes;
mod config;
mod diary_writes;
mod dispatcher;
mod failpoint;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod in_process_worker;
mod listener;
mod metrics;
mod occasional;
mod overload;
mod profile;
#[cfg(feature = "distributed")]
mod relay;
mod secrets;
mod server;
#[cfg(all(test, feature = "embedded"))]
mod simulation;
mod slots;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod summary;
mod throttle;
mod users;

pub use auth::HashCost;
pub use config::{
    Config, ConfigError, ConnectionPolicy, InvalidNetwork, InvalidOrigin, Limits, Network, Origin,
    OverloadPolicy, SessionPolicy, Settings, SignUpMode, SignUpPolicy, SignUps, WorkerMode,
};
pub use listener::raise_descriptor_limit;
#[cfg(feature = "embedded")]
pub use profile::{BackupError, back_up};
pub use profile::{ProfileError, migrate};
pub use server::{ServeError, Server, StartError};
pub use shiori_worker::{LogFormat, Secret, SecretFileError};
pub use store::{DiaryQuota, HistoryPolicy, StoreError, ThrottlePolicy};
pub use summary::SummaryPolicy;
pub use users::{Users, UsersError};
