//! The server as its users meet it: started for real on a free port, spoken to through the SDK.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod documents;
mod edges;
mod house;
mod leases;
mod privacy;
mod recovery;
mod saves;
mod sessions;
mod slow;
mod stopping;
mod summaries;
