//! A summary's life: a pure state machine over one row, and the service that moves rows through
//! it by compare-and-swap.

mod job;
mod policy;
#[cfg(feature = "distributed")]
mod relay;

mod service;
mod wakeups;

pub use job::{Completion, Lease, LeaseLost, NotClaimable, SummaryFinal, SummaryJob};
pub use policy::SummaryPolicy;
#[cfg(feature = "distributed")]
pub(crate) use relay::Relay;
pub(crate) use service::{Annotations, Requested, Summaries, SummariesParts, SummaryError};
pub(crate) use wakeups::{Waiter, Wakeups};
