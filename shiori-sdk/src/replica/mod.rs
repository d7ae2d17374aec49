//! Diaries on the device, synchronised with the server.
//!
//! The state of a date and its steps have no I/O. A [`Record`](record::Record) is all that a replica stores of one date. Each step takes the stored
//! record and returns the one to store instead, in one atomic write:
//!
//! | event | step |
//! |---|---|
//! | a local change | [`Record::write`](record::Record::write) |
//! | before a request | [`Record::begin`](record::Record::begin): the record has the request, so it is stored before the request is sent |
//! | its response | [`Record::settle`](record::Record::settle) |
//! | the diary, or its deletion, as the server listed or sent it | [`Record::learn`](record::Record::learn) |
//!
//! A crash before a write repeats the step, and a crash after it continues with the next one. A
//! request without a response is repeated unchanged, with the same id, until its result is known.
//! Until then, nothing else is sent for the date, and what the server has is not learned, so the
//! base of the pending draft does not change.

mod background;
mod days;
mod edit;
mod entry;
mod event;
mod exchange;
mod handle;
mod memory_store;
mod note;
mod reconcile;
mod record;
mod redb_store;
mod round;
mod send;
#[cfg(test)]
mod simulation;
mod store;
#[cfg(test)]
mod store_contract;
#[cfg(test)]
mod tests;

pub use entry::{ReplicaDiary, ReplicaEntry};
pub use event::{ReplicaEvent, ReplicaEvents};
pub use handle::{Replica, ReplicaBuilder, UnsentChanges};
pub use memory_store::MemoryStore;
pub use note::{ConflictCause, ConflictNote};
pub use record::{DateStatus, Rejection};
pub use redb_store::RedbStore;
pub use store::{ReplicaStore, StoreError, StoredDay};
