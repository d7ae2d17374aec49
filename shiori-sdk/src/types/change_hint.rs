//! The events of `GET /api/diary/events`.

use serde::{Deserialize, Serialize};

use super::{Date, Revision, SummaryId, SummaryStatus, Version};

/// A hint that something of the user has changed. It contains no text. Hints may be repeated, may
/// arrive in another order than the changes, and may be lost; [`Resync`](Self::Resync) then follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeHint {
    /// Hints may have been lost, or the stream begins: compare the versions.
    Resync,
    /// A diary has changed.
    Diary(DiaryHint),
    /// The status of a summary has changed.
    Summary(SummaryHint),
    /// A kind that is unknown to this version of the crate.
    #[serde(other)]
    Unknown,
}

impl ChangeHint {
    /// The kind on the wire, which is also the name of the event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resync => "resync",
            Self::Diary(_) => "diary",
            Self::Summary(_) => "summary",
            Self::Unknown => "unknown",
        }
    }
}

/// A change of a diary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiaryHint {
    /// The date.
    pub date: Date,
    /// The version that the change has created.
    pub version: Version,
    /// The change.
    pub change: DiaryChange,
}

wire_enum! {
    /// How a diary has changed.
    pub enum DiaryChange {
        /// It was saved.
        Saved = "saved",
        /// It was archived.
        Archived = "archived",
        /// It was restored from the archive.
        Restored = "restored",
        /// It was deleted.
        Deleted = "deleted",
    }
}

/// A change of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryHint {
    /// The summary.
    pub id: SummaryId,
    /// Its new status.
    pub status: SummaryStatus,
    /// Its new revision.
    pub revision: Revision,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hint_is_an_object_with_its_kind() {
        let date = Date::new(2026, 2, 16).expect("a date");
        let (version, id) = (Version::new(3), SummaryId::new());
        for (hint, expected) in [
            (ChangeHint::Resync, json!({"kind": "resync"})),
            (
                ChangeHint::Diary(DiaryHint { date, version, change: DiaryChange::Archived }),
                json!({"kind": "diary", "date": "20260216", "version": 3, "change": "archived"}),
            ),
            (
                ChangeHint::Summary(SummaryHint {
                    id,
                    status: SummaryStatus::Running,
                    revision: Revision::new(2),
                }),
                json!({"kind": "summary", "id": id, "status": "running", "revision": 2}),
            ),
        ] {
            assert_eq!(json!(hint), expected);
            assert_eq!(expected["kind"], hint.kind());
            assert_eq!(serde_json::from_value::<ChangeHint>(expected).expect("valid"), hint);
        }
    }

    #[test]
    fn unknown_kinds_changes_and_fields_are_accepted() {
        let read = |value| serde_json::from_value::<ChangeHint>(value).expect("valid");
        assert_eq!(read(json!({"kind": "photo", "id": 7})), ChangeHint::Unknown);
        assert_eq!(read(json!({"kind": "resync", "since": 7})), ChangeHint::Resync);
        let renamed =
            json!({"kind": "diary", "date": "20260216", "version": 3, "change": "moved", "to": 1});
        let ChangeHint::Diary(hint) = read(renamed) else { panic!("not a diary") };
        assert_eq!(hint.change, DiaryChange::Unknown);
    }
}
