//! What a checker finds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A violation of a guarantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anomaly {
    /// Which guarantee.
    pub(crate) kind: AnomalyKind,
    /// The date or the summary.
    pub(crate) subject: String,
    /// When the response had been received that shows it, in nanoseconds since the start of the run.
    pub(crate) at: u64,
    /// What contradicts each other.
    pub(crate) details: String,
}

/// The kinds of anomalies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AnomalyKind {
    /// An acknowledged or read version is gone: all later responses show an older one.
    LostWrite,
    /// One version has two writes or two states.
    DoubledVersion,
    /// A version that no write can have created.
    Gap,
    /// A read returned a version older than one that was known before it began.
    StaleRead,
    /// A read returned a version whose write began after the read had ended.
    FutureRead,
    /// A version was acknowledged before the write of an older one began.
    OutOfOrder,
    /// A conflict shows a state that was not current during the call, or the expected version.
    ConflictWithoutCause,
    /// A write was applied although its precondition was not met.
    PreconditionIgnored,
    /// A repeated save did not receive the first response.
    ReplayDiffers,
    /// A deleted or replaced text is back.
    Resurrected,
    /// Title and content are of different saves.
    TornWrite,
    /// A text that no save can have written.
    Phantom,
    /// An accepted summary has no final status after the run.
    SummaryNeverFinal,
    /// An accepted summary does not exist.
    SummaryLost,
    /// A summary changed after it had its final status.
    FinalSummaryChanged,
    /// The revision or the progress of a summary went back.
    ProgressBackwards,
    /// A week had two unfinished summaries at the same time.
    DoubledSummary,
}

impl AnomalyKind {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LostWrite => "lost-write",
            Self::DoubledVersion => "doubled-version",
            Self::Gap => "gap",
            Self::StaleRead => "stale-read",
            Self::FutureRead => "future-read",
            Self::OutOfOrder => "out-of-order",
            Self::ConflictWithoutCause => "conflict-without-cause",
            Self::PreconditionIgnored => "precondition-ignored",
            Self::ReplayDiffers => "replay-differs",
            Self::Resurrected => "resurrected",
            Self::TornWrite => "torn-write",
            Self::Phantom => "phantom",
            Self::SummaryNeverFinal => "summary-never-final",
            Self::SummaryLost => "summary-lost",
            Self::FinalSummaryChanged => "final-summary-changed",
            Self::ProgressBackwards => "progress-backwards",
            Self::DoubledSummary => "doubled-summary",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at / 1_000_000;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let Self { kind, subject, details, .. } = self;
        write!(f, "{seconds}.{millis:03} s: {} of {subject}: {details}", kind.name())
    }
}
