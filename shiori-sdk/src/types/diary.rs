use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

use super::{
    Date, DiaryId, Document, Emotion, SaveId, SummaryStatus, Timestamp,
    emotion::deserialize_if_known,
    text::{Size, is_control},
};

/// The version of one date's diary: a number that grows by one with every change. It also grows
/// across deletions, so that two texts never have the same version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64, examples(3)))]
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

/// The title and content of a diary. `Debug` shows only their sizes.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Draft {
    /// The title, at most [`MAX_TITLE_CHARS`](super::MAX_TITLE_CHARS) characters.
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

wire_enum! {
    /// The status of the newest weekly summary that covers a diary.
    pub enum DiarySummaryStatus {
        /// No summary was requested.
        None = "none",
        /// It is queued or running.
        Pending = "pending",
        /// It has read the current version of the diary.
        Completed = "completed",
        /// It failed.
        Failed = "failed",
        /// The diary was saved after the summary had read it.
        Stale = "stale",
    }
}

impl DiarySummaryStatus {
    /// The status of a diary whose newest summary has this status. `is_current` states whether that
    /// summary has read the current version of the diary.
    pub fn covered_by(summary: SummaryStatus, is_current: bool) -> Self {
        match summary {
            SummaryStatus::Queued | SummaryStatus::Running => Self::Pending,
            SummaryStatus::Completed if is_current => Self::Completed,
            SummaryStatus::Completed => Self::Stale,
            SummaryStatus::Failed => Self::Failed,
            SummaryStatus::Cancelled => Self::None,
            SummaryStatus::Unknown => Self::Unknown,
        }
    }
}

/// The current version of one date's diary.
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diary {
    /// The diary's id.
    pub id: DiaryId,
    /// The date.
    pub date: Date,
    /// The title.
    #[cfg_attr(feature = "openapi", schema(value_type = Title))]
    pub title: String,
    /// The text, byte for byte as it was saved.
    pub content: Document,
    /// The version that the next save must expect.
    pub version: Version,
    /// Whether it is archived.
    pub is_archived: bool,
    /// When this version was saved.
    pub updated_at: Timestamp,
    /// The day's emotion according to the last completed summary; null if it has none.
    ///
    /// `None` also if it is unknown to this version of the crate.
    #[serde(default, deserialize_with = "deserialize_if_known")]
    pub emotion: Option<Emotion>,
    /// The status of the newest summary that covers the date. Null if the server could not read the
    /// summaries for this response; `emotion` is then null as well.
    ///
    /// A date without a summary has [`DiarySummaryStatus::None`].
    #[serde(default)]
    pub summary_status: Option<DiarySummaryStatus>,
    /// The entity tag of the diary. It is opaque and changes with the id, version, summary status and
    /// emotion. Absent if the server could not read the summaries.
    ///
    /// It is for `Diaries::get_if_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub etag: Option<String>,
}

impl Diary {
    /// Title and content, to change and save them.
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

/// `data` of the response to `GET /api/diary/{date}`: a diary, or nulls if the date has none.
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayView {
    /// The diary's id; null if the date has no diary.
    pub id: Option<DiaryId>,
    /// The requested date.
    pub date: Date,
    /// The title; null if the date has no diary.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Title>))]
    pub title: Option<String>,
    /// The text; null if the date has no diary.
    pub content: Option<Document>,
    /// The version; null if the date has no diary.
    pub version: Option<Version>,
    /// Whether it is archived.
    pub is_archived: bool,
    /// When this version was saved; null if the date has no diary.
    pub updated_at: Option<Timestamp>,
    /// The day's emotion according to the last completed summary; null if it has none.
    ///
    /// `None` also if it is unknown to this version of the crate.
    #[serde(default, deserialize_with = "deserialize_if_known")]
    pub emotion: Option<Emotion>,
    /// The status of the newest summary that covers the date. Null if the server could not read the
    /// summaries for this response; `emotion` is then null as well.
    ///
    /// A date without a summary has [`DiarySummaryStatus::None`].
    #[serde(default)]
    pub summary_status: Option<DiarySummaryStatus>,
    /// The value of the response's `ETag`; absent if the date has no diary or the server could not
    /// read the summaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub etag: Option<String>,
}

impl DayView {
    /// The view of a date without a diary.
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
            summary_status: Some(DiarySummaryStatus::None),
            etag: None,
        }
    }

    /// The diary; `None` if the date has none.
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
            etag: self.etag,
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
            etag: diary.etag,
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

/// An element of a list of diaries: a diary without its content.
///
/// `Debug` shows no title.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiaryEntry {
    /// The date.
    pub date: Date,
    /// The title.
    #[cfg_attr(feature = "openapi", schema(value_type = Title))]
    pub title: String,
    /// The version that the next save must expect.
    pub version: Version,
    /// The status of the newest summary that covers the date. Null if the server could not read the
    /// summaries for this response; `emotion` is then null as well.
    ///
    /// A date without a summary has [`DiarySummaryStatus::None`].
    #[serde(default)]
    pub summary_status: Option<DiarySummaryStatus>,
    /// Whether it is archived.
    pub is_archived: bool,
    /// When this version was saved.
    pub updated_at: Timestamp,
    /// The day's emotion according to the last completed summary; null if it has none.
    ///
    /// `None` also if it is unknown to this version of the crate.
    #[serde(default, deserialize_with = "deserialize_if_known")]
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

/// The body of `POST /api/diary/{date}`.
///
/// `Debug` shows no text.
///
/// A server reads the content as raw JSON (`SaveRequest<Box<RawValue>>`) and parses it under its
/// own limits.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SaveRequest<C = Document> {
    /// The title.
    ///
    /// At most [`MAX_TITLE_CHARS`](super::MAX_TITLE_CHARS) characters.
    pub title: Title,
    /// The text: a ProseMirror document, stored byte for byte.
    pub content: C,
    /// The expected current version; null if no diary is expected.
    #[serde(default)]
    pub version: Option<Version>,
    /// Identifies this save across repeated requests, so that it is applied once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_id: Option<SaveId>,
    /// Whether the replaced text becomes a revision even if the same session has saved it in the last
    /// 10 minutes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_replaced: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde requires
fn is_false(value: &bool) -> bool {
    !value
}

impl<C> fmt::Debug for SaveRequest<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaveRequest")
            .field("title", &self.title)
            .field("version", &self.version)
            .field("save_id", &self.save_id)
            .finish_non_exhaustive()
    }
}

/// Checks the rule for titles: at most `max_chars` characters as users see them (extended grapheme
/// clusters after NFC), with at most [`MAX_BYTES_PER_CHAR`](super::limits::MAX_BYTES_PER_CHAR)
/// bytes each on average; no control characters, U+2028 or U+2029. A title may be empty. The
/// default limit of a server is [`MAX_TITLE_CHARS`](super::MAX_TITLE_CHARS).
///
/// # Errors
///
/// [`InvalidTitle`] if the title breaks the rule.
pub fn check_title(title: &str, max_chars: usize) -> Result<(), InvalidTitle> {
    match Size::of(title, max_chars) {
        Size::TooManyCharacters => Err(InvalidTitle::TooManyCharacters),
        Size::TooManyBytes => Err(InvalidTitle::TooManyBytes),
        Size::Fits if title.contains(is_control) => Err(InvalidTitle::ControlCharacter),
        Size::Fits => Ok(()),
    }
}

/// A title breaks the rule of [`check_title`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTitle {
    /// It has too many characters.
    TooManyCharacters,
    /// It has too many bytes for the permitted number of characters.
    TooManyBytes,
    /// It contains a control character.
    ControlCharacter,
}

impl fmt::Display for InvalidTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyCharacters => "the title has too many characters",
            Self::TooManyBytes => "the title has too many bytes",
            Self::ControlCharacter => "the title contains a control character",
        })
    }
}

impl Error for InvalidTitle {}

/// The title in a [`SaveRequest`].
///
/// `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        value_type = String,
        description = "The title of a diary: one line of at most 50 characters as users see them \
                       (extended grapheme clusters after NFC), in at most 2000 bytes of UTF-8. It may \
                       be empty.",
        max_length = 2000,
        examples("할머니 집"),
    )
)]
#[serde(transparent)]
pub struct Title(pub String);

impl fmt::Debug for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Title({} chars)", self.0.chars().count())
    }
}

/// `data` of the response to a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SaveReceipt {
    /// The diary's id.
    pub id: DiaryId,
    /// The version that this save created.
    pub version: Version,
    /// When it was saved.
    pub updated_at: Timestamp,
    /// Whether the server had already applied this `save_id` and repeats the first response.
    #[serde(default)]
    pub replayed: bool,
}

/// `data` of a 409 `diary_conflict`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictBody {
    /// The current diary; null if the date has none.
    pub current: Option<Diary>,
}

/// The body of `POST /api/diary/{date}/archive`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveRequest {
    /// Whether to archive the diary, or to restore it.
    pub archived: bool,
    /// The expected current version.
    pub version: Version,
}

/// `data` of the response to `POST /api/diary/{date}/archive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveReceipt {
    /// The new version.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn json() -> serde_json::Value {
        json!({
            "id": DiaryId::new(), "date": "20260216", "title": "제목",
            "content": {"type": "doc", "content": []}, "version": 3, "is_archived": false,
            "updated_at": "2026-02-16T00:00:00.000Z", "emotion": "행복", "summary_status": "stale",
        })
    }

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
            summary_status: Some(DiarySummaryStatus::None),
            etag: Some("\"abc\"".to_owned()),
        };
        let draft = diary.to_draft();
        let request = SaveRequest {
            title: Title(diary.title.clone()),
            content: diary.content.clone(),
            version: None,
            save_id: None,
            keep_replaced: false,
        };
        let conflict = ConflictBody { current: Some(diary.clone()) };
        let view = DayView::from(diary.clone());
        let shown = format!("{diary:?}{draft:?}{request:?}{conflict:?}{view:?}");
        assert!(!shown.contains("비밀"), "{shown}");
        assert_eq!(view.into_diary(), Some(diary));
    }

    #[test]
    fn a_diary_of_a_newer_server_decodes() {
        fn check<T: DeserializeOwned>(
            parts: fn(T) -> (Option<Emotion>, Option<DiarySummaryStatus>),
        ) {
            for (field, value, expected) in [
                (
                    "added_later",
                    json!({"of": ["any", "type"]}),
                    (Some(Emotion::Happiness), "stale"),
                ),
                ("emotion", json!("희망"), (None, "stale")),
                ("emotion", json!(null), (None, "stale")),
                ("summary_status", json!("archived"), (Some(Emotion::Happiness), "unknown")),
            ] {
                let mut body = json();
                body[field] = value;
                let (emotion, status) = parts(serde_json::from_value(body).expect(field));
                let status = status.map(DiarySummaryStatus::as_str);
                assert_eq!((emotion, status), (expected.0, Some(expected.1)), "{field}");
            }
            let mut body = json();
            body.as_object_mut().expect("an object").remove("emotion");
            assert_eq!(parts(serde_json::from_value(body.clone()).expect("no emotion")).0, None);
            body["summary_status"] = json!(null);
            let unknown = parts(serde_json::from_value(body.clone()).expect("no status"));
            assert_eq!(unknown, (None, None));
            body.as_object_mut().expect("an object").remove("summary_status");
            assert_eq!(parts(serde_json::from_value(body).expect("no status")), (None, None));
        }
        check(|diary: Diary| (diary.emotion, diary.summary_status));
        check(|view: DayView| (view.emotion, view.summary_status));
        check(|entry: DiaryEntry| (entry.emotion, entry.summary_status));
    }
}
