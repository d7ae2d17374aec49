//! ProseMirror/TipTap documents, kept byte for byte.

mod limits;
mod markdown;
#[cfg(feature = "openapi")]
mod schema;
mod text;

use std::{collections::BTreeMap, error::Error, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

pub use limits::DocumentLimits;

/// Maximum JSON nesting that is parsed into a tree, independent of [`DocumentLimits`]. It bounds
/// the stack. A document at the default limits needs about 200 levels.
const MAX_JSON_NESTING: usize = 384;

/// The text of a diary: a ProseMirror (TipTap) document, kept byte for byte.
///
/// It keeps the JSON byte for byte. Unknown node types, marks and attributes pass through
/// unchanged, and so do the order of keys and the spelling of numbers.
///
/// ```
/// use shiori_sdk::Document;
///
/// let mut document = Document::from_text("비가 왔다.\n우산이 없었다.");
/// document.push_paragraph("그래도 좋았다.");
/// assert_eq!(document.block_texts(), ["비가 왔다.", "우산이 없었다.", "그래도 좋았다."]);
/// ```
///
/// Two documents are equal if their JSON values are equal; the order of keys does not matter.
/// `Debug` shows only the size.
#[derive(Clone)]
pub struct Document(Box<RawValue>);

impl Document {
    /// A document without text: one empty paragraph, because editors need at least one block.
    pub fn empty() -> Self {
        Self::from_text("")
    }

    /// One paragraph for each line of the text. A blank line is an empty paragraph, and so is an
    /// empty text.
    pub fn from_text(text: &str) -> Self {
        let mut blocks: Vec<Value> = text.lines().map(paragraph).collect();
        if blocks.is_empty() {
            blocks.push(paragraph(""));
        }
        Self::from_blocks(&blocks)
    }

    /// A document without any block, which editors do not accept. It is the common base of two
    /// documents that were written independently.
    #[cfg(feature = "client")]
    pub(crate) fn without_blocks() -> Self {
        Self::from_blocks(&[])
    }

    /// Parses a JSON text under the default [`DocumentLimits`].
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if the text is not JSON, not a document, or exceeds the limits.
    pub fn from_json(json: &str) -> Result<Self, DocumentError> {
        Self::from_json_within(json, &DocumentLimits::default())
    }

    /// Parses a JSON text under these limits.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if the text is not JSON, not a document, or exceeds the limits.
    pub fn from_json_within(json: &str, limits: &DocumentLimits) -> Result<Self, DocumentError> {
        limits.check(json)?;
        let raw: Box<RawValue> = serde_json::from_str(json).map_err(|_| DocumentError::NotJson)?;
        Ok(Self(raw))
    }

    /// Converts a JSON value under the default [`DocumentLimits`].
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if the value is not a document or exceeds the limits.
    pub fn from_value(value: &Value) -> Result<Self, DocumentError> {
        Self::from_json(&value.to_string())
    }

    /// The JSON text, byte for byte.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// The JSON value.
    pub fn to_value(&self) -> Value {
        parse(self.as_json()).unwrap_or(Value::Null)
    }

    /// Checks the shape and the limits, which a deserialised document may not meet.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if it is not a document or exceeds the limits.
    pub fn check(&self, limits: &DocumentLimits) -> Result<(), DocumentError> {
        limits.check(self.as_json())
    }

    /// Adds a paragraph at the end. The bytes of the other blocks do not change. In an
    /// [empty](Self::empty) document it replaces the empty paragraph.
    pub fn push_paragraph(&mut self, text: &str) {
        self.push_raw(&paragraph(text));
    }

    /// Adds a block node at the end. The bytes of the other blocks do not change. In an
    /// [empty](Self::empty) document it replaces the empty paragraph.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] if the block is not a node, or the document would exceed the default
    /// limits. The document is then unchanged.
    pub fn push_block(&mut self, block: &Value) -> Result<(), DocumentError> {
        let mut extended = self.clone();
        extended.push_raw(block);
        extended.check(&DocumentLimits::default())?;
        *self = extended;
        Ok(())
    }

    /// The text of each block that contains text, in reading order. Paragraphs, headings, list
    /// items, quotes and code are separate blocks. A hard break within a block is a line feed.
    ///
    /// The text of a node without content is the first of its attributes `text`, `label`, `latex`,
    /// `emoji`, `alt`, `title`, `shortName` and `data-name`, otherwise the `name` of an emoji or
    /// the `id` of a mention. A node of an unknown type is part of a line if a sibling is text, a
    /// break, a mention or an emoji.
    pub fn block_texts(&self) -> Vec<String> {
        text::of_blocks(&self.to_value())
    }

    /// The document as Markdown: [CommonMark](https://spec.commonmark.org/0.31.2/) with the tables,
    /// task lists and strikethrough of [GitHub](https://github.github.com/gfm/). It has no line feed
    /// at the end.
    ///
    /// Characters with a meaning in Markdown are escaped. A node of an unknown type keeps its text,
    /// and an unknown mark is omitted. Where Markdown has no form, HTML is used: for underlined and
    /// highlighted text, sub- and superscript, breaks in headings and tables, and marks at places
    /// where a delimiter would not be recognised. Empty paragraphs, colours, alignment and the
    /// merged cells of a table are lost. A link or image whose address a browser might run as a
    /// script is written as its text.
    ///
    /// ```
    /// # use shiori_sdk::Document;
    /// let document = Document::from_json(
    ///     r#"{"type": "doc", "content": [
    ///         {"type": "heading", "attrs": {"level": 2}, "content": [{"type": "text", "text": "장보기"}]},
    ///         {"type": "taskList", "content": [
    ///             {"type": "taskItem", "attrs": {"checked": true}, "content": [
    ///                 {"type": "paragraph", "content": [{"type": "text", "text": "우유 2*1"}]}
    ///             ]}
    ///         ]}
    ///     ]}"#,
    /// )?;
    /// assert_eq!(document.to_markdown(), "## 장보기\n\n- [x] 우유 2\\*1");
    /// # Ok::<_, shiori_sdk::DocumentError>(())
    /// ```
    pub fn to_markdown(&self) -> String {
        markdown::of(&self.to_value(), markdown::Form::Markdown)
    }

    /// The document as text without markup, with a blank line between blocks and no line feed at the
    /// end. List items keep their marker or number, tasks their state, quotes a `> ` on each line,
    /// and links their address in parentheses.
    ///
    /// ```
    /// # use shiori_sdk::Document;
    /// let document = Document::from_text("비가 왔다.\n우산이 없었다.");
    /// assert_eq!(document.to_plain_text(), "비가 왔다.\n\n우산이 없었다.");
    /// ```
    pub fn to_plain_text(&self) -> String {
        markdown::of(&self.to_value(), markdown::Form::Plain)
    }

    /// Whether no block has any text.
    pub fn is_blank(&self) -> bool {
        self.block_texts().is_empty()
    }

    fn from_blocks(blocks: &[Value]) -> Self {
        Self(raw(&json!({"type": "doc", "content": blocks})))
    }

    fn push_raw(&mut self, block: &Value) {
        let mut fields = self.fields().unwrap_or_default();
        let mut blocks: Vec<&RawValue> = fields
            .get("content")
            .and_then(|content| serde_json::from_str(content.get()).ok())
            .unwrap_or_default();
        if let [only] = blocks[..]
            && Self::value_of(only.get()) == Some(paragraph(""))
        {
            blocks.clear();
        }
        let block = raw(block);
        blocks.push(&block);
        let content = raw(&blocks);
        fields.insert("content".to_owned(), &content);
        *self = Self::from_fields(&fields);
    }

    /// The fields of the outermost node, each byte for byte; `None` if a key is not valid text.
    pub(crate) fn fields(&self) -> Option<BTreeMap<String, &RawValue>> {
        serde_json::from_str(self.as_json()).ok()
    }

    /// The document with these fields, byte for byte.
    pub(crate) fn from_fields(fields: &BTreeMap<String, &RawValue>) -> Self {
        Self(raw(fields))
    }

    /// The value of a part of a document; `None` if [`to_value`](Self::to_value) could not parse it
    /// either.
    pub(crate) fn value_of(part: &str) -> Option<Value> {
        parse(part).ok()
    }
}

fn paragraph(text: &str) -> Value {
    if text.is_empty() {
        json!({"type": "paragraph"})
    } else {
        json!({"type": "paragraph", "content": [{"type": "text", "text": text}]})
    }
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("JSON values with string keys serialise")
}

/// Parses JSON that may nest deeper than `serde_json`'s own limit of 128: a document at the default
/// limits does.
fn parse(json: &str) -> serde_json::Result<Value> {
    if nesting(json) > MAX_JSON_NESTING {
        return Err(de::Error::custom("nested too deeply"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.disable_recursion_limit();
    let value = Value::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// How deeply arrays and objects nest. It does not recurse.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl Default for Document {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        let parse = |document: &Self| parse(document.as_json()).ok();
        self.as_json() == other.as_json()
            || parse(self).is_some_and(|value| parse(other) == Some(value))
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.as_json().len())
    }
}

impl Serialize for Document {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Accepts a JSON object whose nesting is bounded. The limits of a document are checked by the
/// server.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('{') {
            return Err(de::Error::custom("a document is an object"));
        }
        if nesting(raw.get()) > MAX_JSON_NESTING {
            return Err(de::Error::custom("the document nests too deeply"));
        }
        Ok(Self(raw))
    }
}

/// A text is not a document or exceeds the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// The text is not valid JSON, or contains a lone surrogate.
    NotJson,
    /// The JSON does not have the shape of a document: nested objects with a `type` each, the
    /// outermost being `doc`.
    NotADocument,
    /// It nests deeper than `limit` nodes.
    TooDeep {
        /// The limit, in nodes, counting the outermost.
        limit: usize,
    },
    /// It has more than `limit` nodes.
    TooManyNodes {
        /// The limit, in nodes.
        limit: usize,
    },
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("the document is not valid JSON"),
            Self::NotADocument => f.write_str("the JSON is not a ProseMirror document"),
            Self::TooDeep { limit } => write!(f, "the document nests deeper than {limit} nodes"),
            Self::TooManyNodes { limit } => write!(f, "the document has more than {limit} nodes"),
        }
    }
}

impl Error for DocumentError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_byte_for_byte() {
        let json = r#"{ "zeta":1.0, "type":"doc","content":[ {"type":"callout","attrs":{"b":1e2,"a":12345678901234567890123}} ]}"#;
        let document = Document::from_json(json).expect("a document");
        assert_eq!(document.as_json(), json);
        let wire = serde_json::to_string(&document).expect("serialises");
        assert_eq!(wire, json);
        let back: Document = serde_json::from_str(&wire).expect("parses");
        assert_eq!(back.as_json(), json);
    }

    #[test]
    fn a_pushed_paragraph_does_not_change_the_bytes_of_other_blocks() {
        let block = r#"{"type":"x-unknown","attrs":{"z":1.50,"a":null}}"#;
        let mut document =
            Document::from_json(&format!(r#"{{"type":"doc","content":[{block}]}}"#)).expect("ok");
        document.push_paragraph("끝");
        assert!(document.as_json().contains(block), "{}", document.as_json());
        assert_eq!(document.block_texts(), ["끝"]);
        assert_eq!(document.push_block(&json!(3)), Err(DocumentError::NotADocument));
        assert_eq!(document.block_texts(), ["끝"]);
    }

    #[test]
    fn deep_nesting_is_rejected_without_overflowing_the_stack() {
        let json =
            format!("{{\"type\":\"doc\",\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(serde_json::from_str::<Document>(&json).is_err());
        assert!(matches!(Document::from_json(&json), Err(DocumentError::TooDeep { .. })));
    }

    #[test]
    fn the_first_block_replaces_the_paragraph_of_an_empty_document() {
        assert_eq!(Document::empty(), Document::from_text(""));
        assert_eq!(Document::empty().to_value()["content"], json!([{"type": "paragraph"}]));
        let mut document = Document::empty();
        document.push_paragraph("하나");
        document.push_paragraph("");
        document.push_block(&json!({"type": "horizontalRule"})).expect("a block");
        assert_eq!(
            document.to_value()["content"],
            json!([paragraph("하나"), {"type": "paragraph"}, {"type": "horizontalRule"}])
        );
    }

    #[test]
    fn documents_with_equal_values_are_equal() {
        let one = Document::from_json(r#"{"type":"doc","a":1}"#).expect("ok");
        let two = Document::from_json(r#"{"a":1,"type":"doc"}"#).expect("ok");
        assert_eq!(one, two);
        assert_ne!(one, Document::empty());
    }

    #[test]
    fn documents_that_cannot_be_parsed_into_a_tree_are_compared_by_bytes() {
        let document = |escape: &str| -> Document {
            serde_json::from_str(&format!(r#"{{"type":"doc","a":"\\u{escape}"}}"#)).expect("ok")
        };
        assert_eq!(document("d800"), document("d800"));
        assert_ne!(document("d800"), document("d801"));
    }
}
