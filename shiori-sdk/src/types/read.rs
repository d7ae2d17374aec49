//! Reading the diaries of many dates.

use serde::{Deserialize, Serialize};

use super::{Date, Diary};

/// The body of `POST /api/diary/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadRequest<D = Date> {
    /// Distinct dates, in any order.
    ///
    /// At least one, and at most [`MAX_READ_DATES`](super::limits::MAX_READ_DATES).
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Vec<Date>, min_items = 1, max_items = 100)
    )]
    pub dates: Vec<D>,
}

/// `data` of the response to `POST /api/diary/read`.
///
/// `Debug` shows no text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadDiaries {
    /// The diaries, by date. Dates without a diary are absent.
    pub diaries: Vec<Diary>,
    /// The dates whose stored diary the server cannot read.
    #[serde(default)]
    pub unreadable: Vec<Date>,
    /// The last dates, which were not read because the response is large.
    #[serde(default)]
    pub rest: Vec<Date>,
}
