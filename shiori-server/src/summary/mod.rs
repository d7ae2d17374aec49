//! A summary's life: a pure state machine over one row, and the service that moves rows through
//! it by compare-and-swap.

mod policy;
mod row;
mod service;
mod wakeups;

pub use policy::SummaryPolicy;
pub use row::{Completion, Lease, LeaseLost, NotClaimable, Row, SummaryFinal};
pub(crate) use service::{Annotations, Requested, Summaries, SummariesParts, SummaryError};
pub(crate) use wakeups::{Waiter, Wakeups};
