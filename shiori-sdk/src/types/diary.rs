use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Date, DiaryId, Document, Emotion, SaveId, Timestamp, emotion::known_label};

/// Characters (Unicode scalar values, not bytes) that a title may have, unless the server is
/// set otherwise.
pub const MAX_TITLE_CHARS: usize = 50;

/// How many of a diary's latest saves a server recognises when they are sent again.
pub const REMEMBERED_SAVES: usize = 64;

/// Counts the saves of one date's diary. It only ever grows, over deletions too, so that a
/// version never means two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64))]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    /// The version with this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a person writes: title and content. `Debug` shows their sizes only.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Draft {
    /// The title, at most [`MAX_TITLE_CHARS`] characters.
    pub title: String,
    /// The text.
    pub content: Document,
}

impl Draft {
    /// A draft with this title and content.
    pub fn new(title: impl Into<String>, content: Document) -> Self {
        Self { title: title.into(), content }
    }
}

impl From<&Diary> for Draft {
    fn from(diary: &Diary) -> Self {
        diary.to_draft()
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("title_chars", &self.title.chars().count())
            .field("content", &self.content)
            .finish()
    }
}

/// Where a day stands in the weekly summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiarySummaryStatus {
    /// No summary was asked for.
    None,
    /// One is on its way.
    Pending,
    /// One has read the diary as it stands.
    Completed,
    /// The last one failed.
    Failed,
    /// The diary was saved after the summary had read it.
    Stale,
    /// A status of a newer server that this version does not know.
    #[serde(other)]
    Unknown,
}

/// One date's diary as it stands. `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diary {
    /// Names the diary.
    pub id: DiaryId,
    /// The day it belongs to.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The text, to the letter as it was saved.
    pub content: Document,
    /// The version to name when saving over it.
    pub version: Version,
    /// Whether the person has put it away.
    pub is_archived: bool,
    /// When this version was saved.
    pub updated_at: Timestamp,
    /// The emotion the last summary tagged the day with.
    #[serde(default, deserialize_with = "known_label")]
    pub emotion: Option<Emotion>,
    /// Where the day stands in the weekly summaries.
    pub summary_status: DiarySummaryStatus,
}

impl Diary {
    /// Title and content, to be changed and saved.
    pub fn to_draft(&self) -> Draft {
        Draft { title: self.title.clone(), content: self.content.clone() }
    }
}

impl fmt::Debug for Diary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diary")
            .field("id", &self.id)
            .field("date", &self.date)
            .field("version", &self.version)
            .field("content", &self.content)
            .field("is_archived", &self.is_archived)
            .field("updated_at", &self.updated_at)
            .field("summary_status", &self.summary_status)
            .finish_non_exhaustive()
    }
}

/// The answer of `GET /api/diary/{date}`: a diary, or nulls where there is none. `Debug` shows no
/// text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayView {
    /// Names the diary.
    pub id: Option<DiaryId>,
    /// The day that was asked for.
    pub date: Date,
    /// The title.
    pub title: Option<String>,
    /// The text; null when there is no diary.
    pub content: Option<Document>,
    /// The version; null when there is no diary.
    pub version: Option<Version>,
    /// Whether the person has put it away.
    pub is_archived: bool,
    /// When this version was saved.
    pub updated_at: Option<Timestamp>,
    /// The emotion the last summary tagged the day with.
    #[serde(default, deserialize_with = "known_label")]
    pub emotion: Option<Emotion>,
    /// Where the day stands in the weekly summaries.
    pub summary_status: DiarySummaryStatus,
}

impl DayView {
    /// The view of a day without a diary.
    pub fn absent(date: Date) -> Self {
        Self {
            id: None,
            date,
            title: None,
            content: None,
            version: None,
            is_archived: false,
            updated_at: None,
            emotion: None,
            summary_status: DiarySummaryStatus::None,
        }
    }

    /// The diary, if there is one.
    pub fn into_diary(self) -> Option<Diary> {
        Some(Diary {
            id: self.id?,
            date: self.date,
            title: self.title?,
            content: self.content?,
            version: self.version?,
            is_archived: self.is_archived,
            updated_at: self.updated_at?,
            emotion: self.emotion,
            summary_status: self.summary_status,
        })
    }
}

impl From<Diary> for DayView {
    fn from(diary: Diary) -> Self {
        Self {
            id: Some(diary.id),
            date: diary.date,
            title: Some(diary.title),
            content: Some(diary.content),
            version: Some(diary.version),
            is_archived: diary.is_archived,
            updated_at: Some(diary.updated_at),
            emotion: diary.emotion,
            summary_status: diary.summary_status,
        }
    }
}

impl fmt::Debug for DayView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DayView")
            .field("date", &self.date)
            .field("version", &self.version)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// One line of a listing: a diary without its content. `Debug` shows no title.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiaryEntry {
    /// The day it belongs to.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The version to name when saving over it.
    pub version: Version,
    /// Where the day stands in the weekly summaries.
    pub summary_status: DiarySummaryStatus,
    /// Whether the person has put it away.
    pub is_archived: bool,
    /// When this version was saved.
    pub updated_at: Timestamp,
    /// The emotion the last summary tagged the day with.
    #[serde(default, deserialize_with = "known_label")]
    pub emotion: Option<Emotion>,
}

impl fmt::Debug for DiaryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiaryEntry")
            .field("date", &self.date)
            .field("version", &self.version)
            .field("summary_status", &self.summary_status)
            .field("is_archived", &self.is_archived)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

/// The body of `POST /api/diary/{date}`. `Debug` shows no text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SaveRequest {
    /// The title, at most [`MAX_TITLE_CHARS`] characters.
    pub title: Title,
    /// The text: a ProseMirror document, kept to the letter.
    pub content: Document,
    /// The version that is saved over; null for "I believe there is none yet".
    #[serde(default)]
    pub version: Option<Version>,
    /// Names this logical save over all its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_id: Option<SaveId>,
}

/// A title on its way to the server. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, max_length = 50))]
#[serde(transparent)]
pub struct Title(pub String);

impl fmt::Debug for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Title({} chars)", self.0.chars().count())
    }
}

/// The answer to a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SaveReceipt {
    /// Names the diary.
    pub id: DiaryId,
    /// The version that this save became.
    pub version: Version,
    /// When it was saved.
    pub updated_at: Timestamp,
    /// Whether the server had already applied this `save_id` and only repeats its answer.
    #[serde(default)]
    pub replayed: bool,
}

/// `data` of a 409 `diary_conflict`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictBody {
    /// The diary as it stands; null when it was deleted meanwhile.
    pub current: Option<Diary>,
}

/// The body of `POST /api/diary/{date}/archive`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveRequest {
    /// Whether the diary is to be put away.
    pub archived: bool,
    /// The version as last seen.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_text() {
        let diary = Diary {
            id: DiaryId::new(),
            date: Date::new(2026, 2, 16).expect("real"),
            title: "비밀 제목".into(),
            content: Document::from_text("비밀 내용"),
            version: Version::new(3),
            is_archived: false,
            updated_at: Timestamp::UNIX_EPOCH,
            emotion: None,
            summary_status: DiarySummaryStatus::None,
        };
        let draft = diary.to_draft();
        let request = SaveRequest {
            title: Title(diary.title.clone()),
            content: diary.content.clone(),
            version: None,
            save_id: None,
        };
        let conflict = ConflictBody { current: Some(diary.clone()) };
        let view = DayView::from(diary.clone());
        let shown = format!("{diary:?}{draft:?}{request:?}{conflict:?}{view:?}");
        assert!(!shown.contains("비밀"), "{shown}");
        assert_eq!(view.into_diary(), Some(diary));
    }
}
