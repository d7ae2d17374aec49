//! The server as its users meet it: started for real on a free port, spoken to through the SDK.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod documents;
mod edges;
mod house;
mod leases;
mod models;
mod privacy;
mod proxy;
mod recovery;
mod saves;
mod sessions;

mod stopping;
mod summaries;
mod workers;
