//! Reading all rows of a user, page by page.

use shiori_sdk::{SummaryId, Week};

use super::ResultRecord;

/// The maximum number of diaries in a page.
pub const PAGE_DIARIES: usize = 64;

/// A page of diaries ends after its documents have this many bytes, so that it takes little memory.
pub const PAGE_BYTES: usize = 256 << 10;

/// The maximum number of results in a page.
pub const PAGE_RESULTS: u32 = 32;

/// The rows after a place, in the order of their places.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, P> {
    /// The rows that can be read.
    pub items: Vec<T>,
    /// The number of rows that cannot be read.
    pub unreadable: u64,
    /// The place of the last row; `None` if no rows follow.
    pub next: Option<P>,
}

/// The place of a diary in the order of a user's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiaryPlace(pub(super) u32);

impl DiaryPlace {
    /// A place before all diaries.
    pub fn first() -> Self {
        Self(0)
    }
}

/// The place of a result in the order of a user's weeks, and of the results of one week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultPlace {
    pub(super) start: u32,
    pub(super) generated_at: i64,
    pub(super) id: Vec<u8>,
}

impl ResultPlace {
    /// A place before all results.
    pub fn first() -> Self {
        Self { start: 0, generated_at: i64::MIN, id: Vec::new() }
    }
}

/// The result of a summary, with its week.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// The summary.
    pub id: SummaryId,
    /// The week.
    pub week: Week,
    /// Its result.
    pub result: ResultRecord,
}
