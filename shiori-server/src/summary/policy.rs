use std::time::Duration;

use shiori_sdk::{
    backoff::Backoff,
    limits::{MAX_SUMMARIES_PER_DAY, MAX_UNFINISHED_SUMMARIES},
};
use shiori_worker::Patience;

use crate::store::SummaryQuota;

/// Limits and durations of summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SummaryPolicy {
    /// How long a lease is valid without a heartbeat. Default 30 s.
    pub lease: Duration,
    /// Maximum attempts of a summary. Default 5.
    pub max_attempts: u32,
    /// Days of the week that need a diary, 1 to 7. Default 7.
    pub required_days: u32,
    /// Maximum unfinished summaries of one user. Default 32.
    pub max_unfinished: u32,
    /// Maximum summaries that one user requests within one day in UTC, also with `force`; `None` if
    /// there is no limit. A response with an existing summary does not count. Default 200.
    pub max_per_day: Option<u32>,
    /// How long after a summary is due the dispatcher begins to check that the queue has its hint,
    /// and the shortest interval between two checks. Default 10 s.
    pub hint_timeout: Duration,
    /// The longest pause before the first retry; it doubles with every attempt. Default 2 s.
    pub first_backoff: Duration,
    /// How long after its request a summary waits for the language model; afterwards its next
    /// attempt is the last. Workers may be configured with another value. Default 15 min.
    pub llm_patience: Patience,
    /// The longest pause before any retry, unless the failure has a longer `Retry-After`. Default 5
    /// min.
    pub max_backoff: Duration,
}

impl Default for SummaryPolicy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            max_attempts: 5,
            required_days: 7,
            max_unfinished: MAX_UNFINISHED_SUMMARIES,
            max_per_day: Some(MAX_SUMMARIES_PER_DAY),
            hint_timeout: Duration::from_secs(10),
            first_backoff: Duration::from_secs(2),
            max_backoff: Duration::from_secs(300),
            llm_patience: Patience::default(),
        }
    }
}

impl SummaryPolicy {
    /// The summaries that one user may request.
    pub(crate) fn quota(&self) -> SummaryQuota {
        SummaryQuota { unfinished: self.max_unfinished, per_day: self.max_per_day }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.first_backoff, self.max_backoff)
    }
}
