use serde::{Deserialize, Serialize};
use shiori_sdk::SummaryId;

/// A hint that a summary waits for a worker. It is all that a queue ever carries; diary text is
/// read from the server, under a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The summary to claim.
    pub summary_id: SummaryId,
    /// Which attempt this is meant to be, from 1 on; for logs only, the row knows better.
    pub attempt: u32,
    /// The W3C `traceparent` of the request, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}
