//! Reads the response of a provider, streamed or whole, and extracts the reflection.

use serde::Deserialize;
use serde_json::Value;
use shiori_sdk::sse::{EventError, EventReader};
use unicode_segmentation::UnicodeSegmentation;

use super::{super::MAX_REFLECTION_CHARS, failure::Failure, partial::Partial, thinking};
use crate::protocol::TokenUsage;

/// Maximum size of a response. A streamed token takes about 300 bytes, so thousands of them fit.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A chunk of a streamed response, or a whole response. All fields are optional, because many
/// servers omit fields that the specification requires.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<Value>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
    refusal: Option<String>,
    /// The model's thinking, which is not read. These are the names that servers use for it.
    reasoning_content: Option<Value>,
    reasoning: Option<Value>,
    thinking: Option<Value>,
}

impl Message {
    /// Whether the provider separates the thinking from the content.
    fn has_separate_thinking(&self) -> bool {
        let is_thinking = |value: &Value| match value {
            Value::String(text) => !text.is_empty(),
            Value::Array(parts) => !parts.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => false,
        };
        let fields = [&self.reasoning_content, &self.reasoning, &self.thinking];
        let is_part =
            |part: &ContentPart| matches!(part.kind.as_deref(), Some("thinking" | "reasoning"));
        fields.into_iter().flatten().any(is_thinking)
            || matches!(&self.content, Some(Content::Parts(parts)) if parts.iter().any(is_part))
    }
}

/// A text, or parts of it. Some servers send the model's thinking as a separate part.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
}

impl Content {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => {
                let is_text = |part: &ContentPart| {
                    matches!(part.kind.as_deref(), None | Some("text" | "output_text"))
                };
                parts.into_iter().filter(is_text).filter_map(|part| part.text).collect()
            }
        }
    }
}

/// A response that is being read.
pub(super) struct Answer {
    body: Body,
    /// Bytes received.
    bytes: usize,
    text: String,
    partial: Partial,
    chars: u32,
    refused: bool,
    finish_reason: Option<String>,
    usage: Option<TokenUsage>,
    /// The provider sent `[DONE]`.
    done: bool,
}

/// The part of the body that is not parsed yet.
enum Body {
    Streamed(EventReader),
    Whole(Vec<u8>),
}

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        match error {
            EventError::TooLarge => Self::too_large(),
            _ => Self::invalid(),
        }
    }
}

impl Answer {
    /// A reader of a response with this content type. If `is_trusted`, the model is known not to
    /// begin its content with thinking that no marker opens.
    pub(super) fn new(content_type: &str, is_trusted: bool) -> Self {
        let is_streamed = content_type.to_ascii_lowercase().contains("text/event-stream");
        let body = if is_streamed {
            Body::Streamed(EventReader::new(MAX_BYTES))
        } else {
            Body::Whole(Vec::new())
        };
        Self {
            body,
            bytes: 0,
            text: String::new(),
            partial: Partial::new(is_trusted),
            chars: 0,
            refused: false,
            finish_reason: None,
            usage: None,
            done: false,
        }
    }

    /// Adds the next bytes. They may be split at any position.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len();
        if self.bytes > MAX_BYTES {
            return Err(Failure::too_large());
        }
        if let Body::Whole(body) = &mut self.body {
            body.extend_from_slice(bytes);
            return Ok(());
        }
        // Line by line, so that nothing after the end is read, wherever the bytes are split.
        for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.read_events(line)?;
            if self.done {
                break;
            }
        }
        Ok(())
    }

    fn read_events(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Body::Streamed(reader) = &mut self.body else { return Ok(()) };
        for event in reader.push(bytes)? {
            self.event(&event)?;
        }
        Ok(())
    }

    /// Whether the provider has ended the stream.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the model has finished the text. The usage may still follow.
    pub(super) fn is_finished(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// Characters so far.
    pub(super) fn chars(&self) -> u32 {
        self.chars
    }

    /// The text so far without the model's thinking; empty before it is certain that the text has
    /// begun.
    pub(super) fn partial_text(&self) -> &str {
        self.partial.shown()
    }

    /// Whether the content began with thinking that no marker opens; `None` if that is uncertain.
    pub(super) fn has_unmarked_thinking(&self) -> Option<bool> {
        let is_complete = self.finish_reason.as_deref() == Some("stop");
        let has_thinking = self.partial.has_unmarked_thinking();
        (has_thinking || is_complete && !self.text.is_empty()).then_some(has_thinking)
    }

    fn event(&mut self, data: &str) -> Result<(), Failure> {
        match data.trim() {
            "" => Ok(()),
            "[DONE]" => {
                self.done = true;
                Ok(())
            }
            data => self.chunk(data.as_bytes()),
        }
    }

    fn chunk(&mut self, json: &[u8]) -> Result<(), Failure> {
        let chunk: Chunk = serde_json::from_slice(json).map_err(|_| Failure::invalid())?;
        if let Some(error) = &chunk.error {
            return Err(Failure::of_error(error));
        }
        // Invalid usage is ignored, because the text may still be usable.
        if let Some(usage) = chunk.usage {
            self.usage = serde_json::from_value(usage).ok().or(self.usage);
        }
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(()) };
        if let Some(message) = choice.delta {
            if message.has_separate_thinking() {
                self.partial.trust();
            }
            let content = message.content.map(Content::into_text).unwrap_or_default();
            self.chars =
                self.chars.saturating_add(content.chars().count().try_into().unwrap_or(u32::MAX));
            self.text.push_str(&content);
            if matches!(self.body, Body::Streamed(_)) {
                self.partial.read(&self.text);
            }
            self.refused |= message.refusal.is_some_and(|refusal| !refusal.is_empty());
        }
        if choice.finish_reason.is_some() {
            self.finish_reason = choice.finish_reason;
        }
        Ok(())
    }

    /// The reflection and the token usage, once the whole response has been read.
    pub(super) fn reflection(mut self) -> Result<(String, Option<TokenUsage>), Failure> {
        match &mut self.body {
            Body::Streamed(_) if self.done || self.finish_reason.is_some() => {}
            Body::Streamed(_) => {
                // The blank line that ends the last event may be missing.
                self.read_events(b"\n\n")?;
                if !self.done && !self.is_finished() {
                    return Err(Failure::interrupted());
                }
            }
            Body::Whole(body) => {
                let body = std::mem::take(body);
                self.chunk(&body)?;
            }
        }
        let reason = self.finish_reason.as_deref();
        if reason == Some("content_filter") {
            return Err(Failure::filtered());
        }
        if self.refused {
            return Err(Failure::declined());
        }
        let text = clean(&self.text, reason == Some("length")).ok_or_else(Failure::empty)?;
        Ok((text, self.usage))
    }
}

/// Whether a character changes the direction of the text around it (Unicode UAX #9).
pub(super) fn changes_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character of a response is kept in a reflection.
pub(super) fn is_shown(c: char) -> bool {
    c == '\n' || !(c.is_control() || changes_direction(c))
}

/// Whether the text has a letter or digit.
pub(super) fn is_text(text: &str) -> bool {
    // The Hangul filler is a letter, but invisible.
    text.contains(|c: char| c.is_alphanumeric() && c != '\u{3164}')
}

/// The text within [`MAX_REFLECTION_CHARS`], without the model's thinking and control characters;
/// `None` if it has no letter or digit. A text that is incomplete or too long is cut after its last
/// complete sentence.
pub(super) fn clean(text: &str, is_incomplete: bool) -> Option<String> {
    let mut text = thinking::answer(text);
    text.retain(is_shown);
    let text = within_limit(text.trim(), is_incomplete);
    is_text(&text).then_some(text)
}

/// The length of this many characters in bytes; of the whole text if it has less.
pub(super) fn limit(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

/// The text, cut if it is incomplete or too long.
fn within_limit(text: &str, is_incomplete: bool) -> String {
    let fits = text.chars().count() <= MAX_REFLECTION_CHARS;
    if fits && !is_incomplete {
        return text.to_owned();
    }
    let limit = |chars| limit(text, chars);
    let end = sentence_end(text, limit(MAX_REFLECTION_CHARS));
    // Cutting in the first half would discard most of the text.
    if let Some(end) = end.filter(|end| *end > limit(MAX_REFLECTION_CHARS) / 2) {
        return text[..end].to_owned();
    }
    let room = limit(MAX_REFLECTION_CHARS - 1);
    let whole = text.grapheme_indices(true).map(|(at, grapheme)| at + grapheme.len());
    let head = &text[..whole.take_while(|end| *end <= room).last().unwrap_or(0)];
    let word_end = head.rfind(char::is_whitespace).unwrap_or(head.len());
    format!("{}…", head[..word_end].trim_end())
}

/// The end of the last sentence that is complete within the first `limit` bytes.
pub(super) fn sentence_end(text: &str, limit: usize) -> Option<usize> {
    let mut last = None;
    let mut after_mark = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if at > limit {
            break;
        }
        match c {
            '.' | '!' | '?' | '…' | '。' | '！' | '？' => after_mark = Some(at + c.len_utf8()),
            '"' | '\'' | '”' | '’' | '」' | '』' | ')' if after_mark.is_some() => {
                after_mark = Some(at + c.len_utf8());
            }
            c if c.is_whitespace() => last = after_mark.take().filter(|end| *end <= limit).or(last),
            _ => after_mark = None,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(bytes: &[u8], chunk_len: usize) -> Result<String, Failure> {
        let mut answer = Answer::new("text/event-stream; charset=utf-8", false);
        for chunk in bytes.chunks(chunk_len) {
            answer.push(chunk)?;
        }
        answer.reflection().map(|(text, _)| text)
    }

    const STREAM: &str = ": hello\r\n\r\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\
        \"content\":\"\"}}]}\n\nevent: x\ndata:{\"choices\":[{\"delta\":{\"content\":\"한 주가 \"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"지났어요. \"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";

    #[test]
    fn a_stream_may_be_split_anywhere() {
        for chunk_len in 1..STREAM.len() {
            let text = streamed(STREAM.as_bytes(), chunk_len).expect("a complete stream");
            assert_eq!(text, "한 주가 지났어요.");
        }
    }

    #[test]
    fn nothing_after_the_end_of_a_stream_is_read() {
        for rest in ["data: {\"error\":\"late\"}\n\n", "data: no JSON\n\n", "data: x"] {
            let stream = [STREAM, rest].concat();
            let mut answer = Answer::new("text/event-stream", false);
            answer.push(stream.as_bytes()).expect("a complete stream");
            assert!(answer.is_done());
            assert_eq!(answer.reflection().expect("a text").0, "한 주가 지났어요.");
        }
    }

    #[test]
    fn a_stream_without_an_end_is_interrupted() {
        let text = STREAM.split_once(",\"finish_reason\"").expect("a finish reason").0;
        let failure = streamed(text.as_bytes(), 9).expect_err("interrupted");
        assert!(failure.error.retryable && failure.is_outage);
        let finished = STREAM.split_once("data: [DONE]").expect("an end mark").0;
        assert!(streamed(finished.as_bytes(), 9).is_ok(), "the text was finished");
    }

    #[test]
    fn the_blank_line_after_the_last_event_may_be_missing() {
        let unterminated = STREAM.split_once("\n\ndata: {\"choices\":[],").expect("usage").0;
        assert!(unterminated.ends_with("\"stop\"}]}"), "{unterminated}");
        for end in ["", "\r", "\n", "\r\n"] {
            let text = streamed(format!("{unterminated}{end}").as_bytes(), 9);
            assert_eq!(text.expect("finished"), "한 주가 지났어요.", "{end:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_an_invalid_response() {
        let failure = streamed(b"data: \xff\n\n", 9).expect_err("not UTF-8");
        assert_eq!(failure.error.message, Failure::invalid().error.message);
    }

    #[test]
    fn a_response_has_a_maximum_size() {
        let mut answer = Answer::new("text/event-stream", false);
        let comment = [b':'; 1 << 14];
        let failure = (0..1000).find_map(|_| answer.push(&comment).err()).expect("too large");
        assert_eq!(failure.error.message, Failure::too_large().error.message);
    }

    #[test]
    fn an_error_object_in_the_stream_is_a_failure() {
        let error =
            "data: {\"error\":{\"message\":\"secret\",\"code\":\"insufficient_quota\"}}\n\n";
        assert!(!streamed(error.as_bytes(), 99).expect_err("an error").error.retryable);
        let error = "data: {\"error\":\"secret\"}\n\n";
        let error = streamed(error.as_bytes(), 99).expect_err("an error").error;
        assert!(error.retryable && !error.message.contains("secret"));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_after_a_sentence_or_a_word() {
        let sentence = "오늘도 강가를 천천히 걸었어요. ";
        let text = clean(&sentence.repeat(60), false).expect("a text");
        assert!(text.chars().count() <= 500 && text.chars().count() > 480);
        assert!(text.ends_with("걸었어요."));
        let text = clean(&"끝나지않는 문장이 ".repeat(100), false).expect("a text");
        assert!(text.ends_with("끝나지않는…") || text.ends_with("문장이…"), "{text}");
        assert!(text.chars().count() <= 500);
        assert_eq!(clean(&"가".repeat(600), false).map(|text| text.chars().count()), Some(500));
    }

    #[test]
    fn an_incomplete_text_is_cut_after_a_sentence() {
        assert_eq!(
            clean("월요일은 맑았어요. 화요일에", true).as_deref(),
            Some("월요일은 맑았어요.")
        );
        assert_eq!(clean("“정말?” 하고 웃었", true).as_deref(), Some("“정말?” 하고…"));
        assert_eq!(clean("다 했어요!", true).as_deref(), Some("다 했어요!"));
        assert_eq!(clean("기온은 3.5도였", true).as_deref(), Some("기온은…"));
    }

    #[test]
    fn parts_that_are_not_text_are_omitted() {
        let body = r#"{"choices":[{"message":{"content":[
            {"type":"thinking","thinking":[{"type":"text","text":"무엇을 쓸까"}]},
            {"type":"text","text":"잘 지낸 "},{"text":"한 주였어요."}]},"finish_reason":"stop"}]}"#;
        let mut answer = Answer::new("application/json", false);
        answer.push(body.as_bytes()).expect("small");
        assert_eq!(answer.reflection().expect("a text").0, "잘 지낸 한 주였어요.");
    }

    fn delta(delta: &str) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n")
    }

    #[test]
    fn separate_thinking_makes_the_content_certain() {
        let content = delta(r#"{"content":"조용한 한 "}"#);
        for (thinking, expected) in [
            (delta(r#"{"reasoning_content":"무엇을 쓸까"}"#), "조용한 한"),
            (delta(r#"{"reasoning":"무엇을 쓸까","content":""}"#), "조용한 한"),
            (delta(r#"{"thinking":[{"text":"무엇을"}],"content":null}"#), "조용한 한"),
            (delta(r#"{"content":[{"type":"thinking","thinking":[]}]}"#), "조용한 한"),
            (delta(r#"{"reasoning_content":"","reasoning":null}"#), ""),
            (String::new(), ""),
        ] {
            let mut answer = Answer::new("text/event-stream", false);
            answer.push(thinking.as_bytes()).expect("small");
            assert_eq!(answer.partial_text(), "");
            answer.push(content.as_bytes()).expect("small");
            assert_eq!(answer.partial_text(), expected, "{thinking}");
        }
    }

    #[test]
    fn a_complete_response_shows_whether_a_marker_opens_the_thinking() {
        let finished = |content: &str, reason: &str| {
            let delta = delta(&format!(r#"{{"content":"{content}"}}"#));
            let end = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
            let mut answer = Answer::new("text/event-stream", false);
            answer.push(format!("{delta}data: {end}\n\n").as_bytes()).expect("small");
            answer.has_unmarked_thinking()
        };
        assert_eq!(finished("조용한 한 주", "stop"), Some(false));
        assert_eq!(finished("<think>a</think>조용한 한 주", "stop"), Some(false));
        assert_eq!(finished("조용한", "length"), None);
        assert_eq!(finished("", "stop"), None);
        assert_eq!(finished("a</think>조용한 한 주", "length"), Some(true));
    }

    #[test]
    fn an_answer_has_letters_and_no_control_characters() {
        for text in [
            "",
            " \n",
            "\u{200b}",
            "\u{3164}",
            "\u{2800}",
            "\u{202e}\u{202d}",
            "\0\u{1}",
            "...",
            "**",
        ] {
            assert_eq!(clean(text, false), None, "{text:?}");
        }
        let cut = format!("{}가", "—".repeat(600));
        assert_eq!(clean(&cut, false), None, "the letter is after the cut");
        let text = "잘 지낸\u{1b} 한\n\u{202e}주였어요.\0";
        assert_eq!(clean(text, false).as_deref(), Some("잘 지낸 한\n주였어요."));
    }

    #[test]
    fn reasoning_is_removed() {
        let text = "<think>무엇을 쓸까</think>\n잘 지낸 한 주였어요.";
        assert_eq!(clean(text, false).as_deref(), Some("잘 지낸 한 주였어요."));
        assert_eq!(clean("<think>무엇을 쓸까", true), None);
        let text = "무엇을 쓸까</think>\n잘 지낸 한 주였어요.";
        assert_eq!(clean(text, false).as_deref(), Some("잘 지낸 한 주였어요."));
        assert_eq!(clean("무엇을 쓸까</think>", false), None, "an answer that is only thinking");
        assert_eq!(clean(" \n", false), None);
    }

    proptest! {
        #[test]
        fn clean_text_is_a_prefix_within_the_limit(
            text in "[가-힣a-z .!?\"👍🏽\n]{0,900}", is_incomplete: bool,
        ) {
            if let Some(short) = clean(&text, is_incomplete) {
                prop_assert!(short.chars().count() <= MAX_REFLECTION_CHARS);
                let head = short.strip_suffix('…').unwrap_or(&short);
                prop_assert!(text.trim().starts_with(head));
            }
        }

        #[test]
        fn no_response_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = streamed(&bytes, 7);
            let mut whole = Answer::new("application/json", false);
            let _ = whole.push(&bytes);
            let _ = whole.reflection();
        }
    }
}
