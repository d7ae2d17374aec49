//! The client against faults on the wire. The real server, and what only it can prove, is tested
//! in the server's crate.
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
mod keeping;
mod script;
mod sessions;
#[cfg(feature = "testing")]
mod testing;
mod transport;
mod waiting;
