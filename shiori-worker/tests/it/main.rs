//! The worker's client and runner against a fake server and fake providers with injected failures.
//! The tests with a real server are in the server's crate.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[cfg(feature = "models")]
mod fake_server_api;
#[cfg(feature = "openai")]
mod hostile_providers;
#[cfg(feature = "openai")]
mod metrics;
#[cfg(feature = "openai")]
mod openai;
#[cfg(feature = "models")]
mod runner;
mod server_api;
