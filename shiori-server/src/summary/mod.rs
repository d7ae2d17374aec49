//! Summaries: a pure state machine over one job, and the service that moves jobs through it by
//! compare-and-swap.

mod annotations;
mod hints;
mod job;
mod leases;
mod policy;
mod service;
mod wakeups;

pub use annotations::Annotations;
pub(crate) use hints::HintCheck;
pub use job::{
    AttemptFailure, Completion, Lease, LeaseLost, NotClaimable, SummaryFinal, SummaryJob,
};
pub use policy::SummaryPolicy;
pub(crate) use service::{
    Known, MAX_OFFERS, Requested, Summaries, SummariesParts, SummaryError, View,
};
pub(crate) use wakeups::{Waiter, Wakeups};
