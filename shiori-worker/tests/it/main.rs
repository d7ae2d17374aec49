//! The worker at the wire: its client and its runner against a server that misbehaves on purpose.
//! With an honest one the worker is tested in the server's crate.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod desk;
#[cfg(feature = "openai")]
mod openai;
mod runner;
mod server_api;
