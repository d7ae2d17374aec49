//! The labels of the metrics. Each has few values, which are constants or the routes of the API.

use prometheus_client::encoding::EncodeLabelSet;
use shiori_sdk::ErrorCode;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) method: &'static str,
    /// The template of the route, or `unmatched`.
    pub(super) route: String,
    pub(super) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    kind: &'static str,
}

impl KindLabels {
    pub(super) fn of(kind: impl Into<&'static str>) -> Self {
        Self { kind: kind.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: &'static str,
}

impl OutcomeLabels {
    pub(super) fn of(outcome: impl Into<&'static str>) -> Self {
        Self { outcome: outcome.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ErrorLabels {
    error: String,
}

impl ErrorLabels {
    /// `error` must be one of few.
    pub(super) fn new(error: &ErrorCode) -> Self {
        Self { error: error.to_string() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StatusLabels {
    pub(super) status: &'static str,
}

/// Declares the values of a label.
macro_rules! label_values {
    ($(#[$attribute:meta])* $name:ident { $($(#[$of_value:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$of_value])* $value),+
        }

        impl $name {
            /// All values.
            pub(super) const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$value => $text),+
                }
            }
        }
    };
}

label_values! {
    /// The outcome of a save.
    SaveOutcomeLabel {
        Saved = "saved",
        /// A repeated save, which was already applied.
        Replayed = "replayed",
        Conflict = "conflict",
        QuotaExceeded = "quota_exceeded",
        /// The store was unavailable, or could not read the diary.
        Error = "error",
    }
}

label_values! {
    /// How an attempt of a worker ended.
    AttemptOutcome {
        Completed = "completed",
        /// It failed, and the summary is queued again.
        Requeued = "requeued",
        /// It failed, and so did the summary.
        Failed = "failed",
        /// Its lease expired, or its worker stopped and released it.
        Lost = "lost",
        /// The user cancelled the summary.
        Cancelled = "cancelled",
    }
}

label_values! {
    /// A kind of requests that may be refused because too many are in progress.
    RefusedKind {
        /// Requests that are handled immediately.
        Requests = "requests",
        /// Long-polls.
        Waits = "waits",
        /// Requests of workers.
        Workers = "workers",
    }
}

label_values! {
    /// A request that stays open.
    WaitKind {
        LongPoll = "long_poll",
        /// The event stream of a summary.
        SummaryStream = "summary_stream",
        /// The event stream of all changes.
        ChangeStream = "change_stream",
    }
}
