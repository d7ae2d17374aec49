use serde::{Deserialize, Serialize};

wire_enum! {
    /// A limit of what one user may store or request.
    pub enum Quota {
        /// The number of diaries.
        Diaries = "diaries",
        /// The size of all diaries, in bytes of their documents as JSON.
        DiaryBytes = "diary_bytes",
        /// The number of summaries that are requested within one day in UTC.
        SummariesPerDay = "summaries_per_day",
    }
}

/// `data` of `quota_exceeded`: the quota that the request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaExceeded {
    /// The quota.
    pub quota: Quota,
    /// Its value on this server: a number of diaries, bytes or summaries.
    pub limit: u64,
}
