//! Integration tests: a real server on a free port, used through the SDK.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod accounts;
mod backup;
mod clocks;
mod conformance;
mod connections;
mod deletion;
mod distributed;
mod documents;
mod edges;
mod exports;
mod fake_llm;
mod fake_model;
mod faults;
mod fixtures;
mod leases;
mod openapi;
mod overload;
mod privacy;
mod process;
mod providers;
mod proxy;
mod quotas;
mod raw_client;
mod recovery;
mod saves;
mod sessions;
mod stopping;
mod summaries;
mod test_cluster;
mod test_server;
mod timeouts;
mod unreadable;
mod unreadable_rows;
mod users;
mod workers;
