//! A summary's life: a pure state machine over one row, and the service that moves rows through
//! it by compare-and-swap.

mod policy;
#[cfg(feature = "distributed")]
mod relay;
mod row;
mod service;
mod wakeups;

pub use policy::SummaryPolicy;
#[cfg(feature = "distributed")]
pub(crate) use relay::Relay;
pub use row::{Completion, Lease, LeaseLost, NotClaimable, Row, SummaryFinal};
pub(crate) use service::{Annotations, Requested, Summaries, SummariesParts, SummaryError};
pub(crate) use wakeups::{Waiter, Wakeups};
