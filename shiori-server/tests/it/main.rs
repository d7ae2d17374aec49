//! The server as its users meet it: started for real on a free port, spoken to through the SDK.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod conformance;
mod distributed;
mod documents;
mod edges;
mod house;
mod leases;
mod llm;
mod models;
mod privacy;
mod process;
mod providers;
mod proxy;
mod recovery;
mod saves;
mod sessions;
mod stopping;
mod summaries;
mod town;
mod workers;
