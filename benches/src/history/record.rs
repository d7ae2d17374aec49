//! A history: what each client called and when, and what it received.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use shiori_sdk::{Date, SummaryStatus};
use uuid::Uuid;

/// One call of a client and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The client that called.
    pub(crate) client: u32,
    /// When it sent the request, in nanoseconds since the start of the run.
    pub(crate) start: u64,
    /// When it had received the response or gave up, in nanoseconds since the start of the run.
    pub(crate) end: u64,
    /// The call.
    pub(crate) call: Call,
    /// What the client received.
    pub(crate) outcome: Outcome,
    /// The earliest time whose state the response may show, if it is before `start`, in nanoseconds
    /// since the start of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shows_since: Option<u64>,
}

/// What a client calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Saves a diary.
    Save {
        /// The date.
        date: Date,
        /// The version to replace; `None` if the date should have no diary.
        expected: Option<u64>,
        /// The id that all attempts of this save share.
        save_id: Option<Uuid>,
        /// The number that title and content contain. All attempts of one save share it, and no
        /// other save has it.
        text: u64,
    },
    /// Deletes a diary.
    Delete {
        /// The date.
        date: Date,
        /// The version to delete.
        expected: u64,
    },
    /// Archives or restores a diary.
    Archive {
        /// The date.
        date: Date,
        /// The version to replace.
        expected: u64,
        /// Whether it is archived.
        archived: bool,
    },
    /// Reads the diary of a date.
    Read {
        /// The date.
        date: Date,
    },
    /// Lists the diaries from `start` to `end`.
    List {
        /// The first date.
        start: Date,
        /// The last date.
        end: Date,
    },
    /// Lists the versions from `start` to `end`, also those of deletions.
    Versions {
        /// The first date.
        start: Date,
        /// The last date.
        end: Date,
    },
    /// Requests the summary of a week.
    Request {
        /// The first day of the week.
        week: Date,
        /// Whether a finished summary is not returned.
        force: bool,
    },
    /// Reads a summary.
    Look {
        /// The summary.
        summary: Uuid,
    },
    /// Cancels a summary.
    Cancel {
        /// The summary.
        summary: Uuid,
    },
}

/// What a client received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The diary was saved.
    Saved {
        /// The version that the save created.
        version: u64,
        /// Whether the date had no diary.
        created: bool,
        /// Whether the save had been applied by an earlier request.
        replayed: bool,
        /// The time of the save, in milliseconds since the epoch.
        updated_at: i64,
    },
    /// The diary was archived or restored, with this version.
    Archived(u64),
    /// The diary was deleted.
    Deleted,
    /// The version was not the expected one; this is the current diary.
    Conflict(Option<Seen>),
    /// The date has no diary, or the summary does not exist.
    NotFound,
    /// The diary of the date.
    Diary(Option<Seen>),
    /// The diaries or versions of a range.
    Dates(Vec<(Date, Seen)>),
    /// The summary was accepted: this one, or an unfinished one of the same week.
    Accepted(Uuid),
    /// The week has this completed summary.
    Completed(Uuid),
    /// The state of a summary.
    Summary(SeenSummary),
    /// The summary was cancelled.
    Cancelled,
    /// The summary has a final status and cannot be cancelled.
    AlreadyFinal,
    /// The call was rejected with this status, and certainly had no effect.
    Rejected(u16),
    /// The call may have had its effect, may have it later, or never: a time-out, a 5xx status, or a
    /// closed connection.
    Indeterminate,
}

/// A version of a diary as a response shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The version.
    pub(crate) version: u64,
    /// Whether it is archived.
    pub(crate) archived: bool,
    /// Whether it is a deletion.
    pub(crate) deleted: bool,
    /// The number in the title; `None` if the response has no title.
    pub(crate) title: Option<u64>,
    /// The number in the content; `None` if the response has no content.
    pub(crate) content: Option<u64>,
}

impl Seen {
    /// The number of the text, if the response has one.
    pub(crate) fn text(&self) -> Option<u64> {
        self.content.or(self.title)
    }
}

/// A state of a summary as a response shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenSummary {
    /// The status.
    pub(crate) status: SummaryStatus,
    /// The revision.
    pub(crate) revision: u64,
    /// The progress of the current attempt: the number of the phase, and the characters written.
    pub(crate) progress: Option<(u8, u32)>,
    /// The reflection, which differs for each run of the model; or the reason of a failure.
    pub(crate) result: Option<String>,
}

impl Record {
    /// The earliest time whose state the response may show.
    pub(crate) fn shows_since(&self) -> u64 {
        self.shows_since.unwrap_or(self.start)
    }
}

impl Call {
    /// A short name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Save { save_id: Some(_), .. } => "save with id",
            Self::Save { save_id: None, .. } => "save without id",
            Self::Delete { .. } => "delete",
            Self::Archive { .. } => "archive",
            Self::Read { .. } => "read",
            Self::List { .. } => "list",
            Self::Versions { .. } => "versions",
            Self::Request { .. } => "request summary",
            Self::Look { .. } => "read summary",
            Self::Cancel { .. } => "cancel summary",
        }
    }

    /// The dates of the diaries that the call concerns; `None` if it concerns a summary.
    pub(crate) fn dates(&self) -> Option<RangeInclusive<Date>> {
        match *self {
            Self::Save { date, .. }
            | Self::Delete { date, .. }
            | Self::Archive { date, .. }
            | Self::Read { date } => Some(date..=date),
            Self::List { start, end } | Self::Versions { start, end } => Some(start..=end),
            Self::Request { .. } | Self::Look { .. } | Self::Cancel { .. } => None,
        }
    }
}

impl Outcome {
    /// Whether the client knows the effect of the call.
    pub(crate) fn is_definite(&self) -> bool {
        *self != Self::Indeterminate
    }

    /// A short name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Saved { replayed: true, .. } => "replayed",
            Self::Conflict(_) | Self::AlreadyFinal => "conflict",
            Self::NotFound => "not found",
            Self::Rejected(_) => "rejected",
            Self::Indeterminate => "indeterminate",
            _ => "ok",
        }
    }
}
