//! The lines of an export: everything that a server stores about a user, as NDJSON.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use super::{
    AccountInfo, Date, DayEmotion, DiaryId, Document, DocumentLimits, Draft, SummaryId, Timestamp,
    Version,
};

/// The name of the format, in the first line of an export.
pub const EXPORT_FORMAT: &str = "shiori-export";

/// The version of the format that this version of the crate writes. Later versions of the crate read
/// it, too. New kinds of records and new fields do not change it.
pub const EXPORT_VERSION: u32 = 1;

/// One line of an export: an object whose only field is the kind of the record.
///
/// The first line is the header, followed by the account, the diaries by date, and the reflections
/// by week. The last line is the end. Without it, the export is incomplete.
///
/// `Debug` shows no text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExportRecord {
    /// The format.
    Header(ExportHeader),
    /// The account.
    Account(AccountInfo),
    /// A diary.
    Diary(ExportedDiary),
    /// The result of a weekly summary.
    Reflection(ExportedReflection),
    /// The export is complete.
    End(ExportEnd),
    /// A kind of record that is unknown to this version of the crate.
    Unknown {},
}

/// Unknown kinds are accepted. The derived implementation would reject them.
impl<'de> Deserialize<'de> for ExportRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Line {
            header: Option<ExportHeader>,
            account: Option<AccountInfo>,
            diary: Option<ExportedDiary>,
            reflection: Option<ExportedReflection>,
            end: Option<ExportEnd>,
        }
        let Line { header, account, diary, reflection, end } = Line::deserialize(deserializer)?;
        let record = (header.map(Self::Header))
            .or(account.map(Self::Account))
            .or(diary.map(Self::Diary))
            .or(reflection.map(Self::Reflection))
            .or(end.map(Self::End));
        Ok(record.unwrap_or(Self::Unknown {}))
    }
}

/// The first line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ExportHeader {
    /// The name of the format: `shiori-export`.
    pub format: String,
    /// The version of the format. Readers reject versions that they do not know.
    pub version: u32,
    /// When the export was started.
    pub exported_at: Timestamp,
}

impl ExportHeader {
    /// The header of an export that is started now, in the version of this crate.
    pub fn new(exported_at: Timestamp) -> Self {
        Self { format: EXPORT_FORMAT.to_owned(), version: EXPORT_VERSION, exported_at }
    }

    /// Whether this version of the crate reads the format.
    pub fn is_readable(&self) -> bool {
        self.format == EXPORT_FORMAT && self.version == EXPORT_VERSION
    }
}

/// A diary in an export: one version, as it was stored when the line was written.
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedDiary {
    /// The diary's id.
    pub id: DiaryId,
    /// The date.
    pub date: Date,
    /// The title.
    pub title: String,
    /// The text, byte for byte as it was saved. If its JSON contains line breaks, it is a string
    /// with the JSON, because a line of an export cannot contain any.
    #[serde(serialize_with = "on_one_line", deserialize_with = "document_or_text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = content_schema))]
    pub content: Document,
    /// The version.
    pub version: Version,
    /// Whether it is archived.
    pub is_archived: bool,
    /// When the version was saved.
    pub updated_at: Timestamp,
}

impl ExportedDiary {
    /// Its title and text.
    pub fn into_draft(self) -> Draft {
        Draft { title: self.title, content: self.content }
    }
}

impl fmt::Debug for ExportedDiary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedDiary")
            .field("id", &self.id)
            .field("date", &self.date)
            .field("version", &self.version)
            .field("content", &self.content)
            .field("is_archived", &self.is_archived)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

/// The result of a weekly summary in an export: its text, and the emotion of each day.
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExportedReflection {
    /// The summary that wrote it.
    pub summary_id: SummaryId,
    /// The week's first day.
    pub start: Date,
    /// The week's last day.
    pub end: Date,
    /// The text.
    pub reflection: String,
    /// The engine that wrote the text, e.g. `extractive/1`.
    pub engine: String,
    /// The engine that determined the emotions, e.g. `linear/1`.
    pub emotion_engine: String,
    /// The emotion of each day.
    ///
    /// Days with an unknown emotion are omitted.
    #[serde(deserialize_with = "DayEmotion::deserialize_known")]
    #[cfg_attr(feature = "openapi", schema(max_items = 7))]
    pub emotions: Vec<DayEmotion>,
    /// The days whose text was truncated for the language model because it was too long.
    #[cfg_attr(feature = "openapi", schema(max_items = 7))]
    pub truncated: Vec<Date>,
    /// When it was written.
    pub generated_at: Timestamp,
}

impl fmt::Debug for ExportedReflection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedReflection")
            .field("summary_id", &self.summary_id)
            .field("start", &self.start)
            .field("generated_at", &self.generated_at)
            .finish_non_exhaustive()
    }
}

/// The last line of an export. The counts are those of the lines before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct ExportEnd {
    /// The number of diaries.
    pub diaries: u64,
    /// The number of reflections.
    pub reflections: u64,
    /// The number of emotions in the reflections.
    pub emotions: u64,
    /// The number of stored diaries and reflections that the server could not read, and that are
    /// missing.
    pub unreadable: u64,
}

impl ExportEnd {
    /// Counts a record.
    pub fn count(&mut self, record: &ExportRecord) {
        match record {
            ExportRecord::Diary(_) => self.diaries += 1,
            ExportRecord::Reflection(reflection) => {
                self.reflections += 1;
                self.emotions += reflection.emotions.len() as u64;
            }
            _ => {}
        }
    }
}

/// Only white space between tokens can contain a line break: in a string it is escaped.
fn on_one_line<S: Serializer>(document: &Document, serializer: S) -> Result<S::Ok, S::Error> {
    if document.as_json().contains(['\n', '\r']) {
        serializer.serialize_str(document.as_json())
    } else {
        document.serialize(serializer)
    }
}

#[cfg(feature = "openapi")]
fn content_schema() -> utoipa::openapi::Schema {
    use utoipa::{
        ToSchema,
        openapi::{ObjectBuilder, OneOfBuilder, Ref, Type},
    };

    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .content_media_type("application/json")
        .description(Some("The document as JSON with line breaks."));
    OneOfBuilder::new()
        .item(Ref::from_schema_name(Document::name()))
        .item(text)
        .description(Some("The text, byte for byte as it was saved."))
        .into()
}

fn document_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
    /// The server that stored the document checked its own limits.
    const LIMITS: DocumentLimits = DocumentLimits { max_depth: usize::MAX, max_nodes: usize::MAX };

    let raw = Box::<RawValue>::deserialize(deserializer)?;
    if !raw.get().starts_with('"') {
        // Without a copy of the error's text, which may quote the document.
        let document = serde_json::from_str(raw.get());
        return document.map_err(|_| de::Error::custom("not a document"));
    }
    let text: Cow<'_, str> =
        serde_json::from_str(raw.get()).map_err(|_| de::Error::custom("not a document"))?;
    Document::from_json_within(&text, &LIMITS).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn diary(content: &str) -> ExportedDiary {
        ExportedDiary {
            id: DiaryId::from_bytes([7; 16]),
            date: Date::new(2026, 2, 16).expect("a date"),
            title: "제목\n둘째 줄".to_owned(),
            content: Document::from_json(content).expect("a document"),
            version: Version::new(3),
            is_archived: true,
            updated_at: Timestamp::from_millis(1_771_200_000_000),
        }
    }

    #[test]
    fn a_document_round_trips_byte_for_byte_on_one_line() {
        for content in [
            r#"{ "zz":1.0, "type":"doc", "content":[{"type":"x","attrs":{"n":1e2}}]}"#,
            "{\n  \"type\": \"doc\",\r\n  \"content\": [{\"type\": \"text\", \"text\": \"\\n\"}]\n}",
        ] {
            let record = ExportRecord::Diary(diary(content));
            let line = serde_json::to_string(&record).expect("JSON");
            assert!(!line.contains(['\n', '\r']), "{line}");
            let read: ExportRecord = serde_json::from_str(&line).expect("a record");
            let ExportRecord::Diary(read) = read else { panic!("expected a diary: {read:?}") };
            assert_eq!(read.content.as_json(), content);
            assert_eq!(read, diary(content));
            assert!(!format!("{read:?}").contains("제목"));
        }
    }

    #[test]
    fn records_of_later_versions_are_readable() {
        let read = |value| serde_json::from_value::<ExportRecord>(value).expect("readable");
        assert_eq!(read(json!({ "photo": { "url": "x" } })), ExportRecord::Unknown {});
        let header = json!({ "header": { "format": "shiori-export", "version": 1,
            "exported_at": "2026-02-16T00:00:00Z", "added_later": [] } });
        let ExportRecord::Header(header) = read(header) else { panic!("expected a header") };
        assert!(header.is_readable());
        let end = read(json!({ "end": { "diaries": 2, "photos": 7 } }));
        assert_eq!(end, ExportRecord::End(ExportEnd { diaries: 2, ..ExportEnd::default() }));
    }

    #[test]
    fn content_that_is_not_a_document_is_rejected_without_quoting_it() {
        let line = |content: &str| {
            let line = serde_json::to_string(&ExportRecord::Diary(diary(r#"{"type":"doc"}"#)));
            line.expect("JSON").replace(r#"{"type":"doc"}"#, content)
        };
        serde_json::from_str::<ExportRecord>(&line(r#"{"type":"doc"}"#)).expect("readable");
        for content in ["3", r#""비밀""#, r#""{\"type\":\"비밀\"}""#, r#"["비밀"]"#] {
            let error = serde_json::from_str::<ExportRecord>(&line(content)).expect_err(content);
            assert!(!error.to_string().contains("비밀"), "{error}");
        }
    }
}
