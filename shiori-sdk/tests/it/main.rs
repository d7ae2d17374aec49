//! Tests of the client with injected faults. The tests with the real server are in the server's
//! crate.
#![cfg(feature = "client")]
#![allow(missing_docs, unreachable_pub)]
#![allow(
    clippy::format_collect,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    clippy::unwrap_used
)]

#[cfg(feature = "blocking")]
mod blocking;
mod cancellation;
mod conflicts;
#[cfg(feature = "testing")]
mod exports;
mod hooks;
mod hostile_servers;
#[cfg(all(feature = "replica", feature = "testing"))]
mod replica;
#[cfg(feature = "testing")]
mod resumed_saves;
mod scripted_server;
mod sessions;
#[cfg(feature = "testing")]
mod testing;
mod token_store;
mod transport;
mod waiting;
#[cfg(feature = "testing")]
mod watching;
