use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::Title;
use super::{Date, Document, Draft, Timestamp, Version};

/// An element of the list of a date's revisions: a revision without its content.
///
/// `Debug` shows no title.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevisionEntry {
    /// The version that the diary had with this text.
    pub version: Version,
    /// The title.
    #[cfg_attr(feature = "openapi", schema(value_type = Title))]
    pub title: String,
    /// The size of the content as JSON, in bytes.
    pub bytes: u64,
    /// When the text was saved.
    pub saved_at: Timestamp,
    /// When the text was replaced or deleted.
    pub replaced_at: Timestamp,
}

impl fmt::Debug for RevisionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevisionEntry")
            .field("version", &self.version)
            .field("bytes", &self.bytes)
            .field("saved_at", &self.saved_at)
            .field("replaced_at", &self.replaced_at)
            .finish_non_exhaustive()
    }
}

/// A text of a diary that a save or a deletion has replaced.
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiaryRevision {
    /// The date.
    pub date: Date,
    /// The version that the diary had with this text.
    pub version: Version,
    /// The title.
    #[cfg_attr(feature = "openapi", schema(value_type = Title))]
    pub title: String,
    /// The text, byte for byte as it was saved.
    pub content: Document,
    /// When the text was saved.
    pub saved_at: Timestamp,
    /// When the text was replaced or deleted.
    pub replaced_at: Timestamp,
}

impl DiaryRevision {
    /// Title and content, to save them again.
    pub fn to_draft(&self) -> Draft {
        Draft { title: self.title.clone(), content: self.content.clone() }
    }
}

impl fmt::Debug for DiaryRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiaryRevision")
            .field("date", &self.date)
            .field("version", &self.version)
            .field("content", &self.content)
            .field("saved_at", &self.saved_at)
            .field("replaced_at", &self.replaced_at)
            .finish_non_exhaustive()
    }
}
