//! Reads what a provider sends, piece by piece or whole, and makes a reflection of it.

use serde::Deserialize;
use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation;

use super::{super::MAX_REFLECTION_CHARS, failure::Failure};
use crate::protocol::TokenUsage;

/// Bytes of an answer. A streamed token takes some 300 bytes, so that thousands of them fit.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A piece of an answer, or a whole one. Nothing but what is needed is read: many servers leave
/// out what the specification demands.
#[derive(Deserialize)]
struct Piece {
    #[serde(default)]
    choices: Vec<Choice>,
    error: Option<Value>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(alias = "message")]
    delta: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    refusal: Option<String>,
}

/// What has been read of an answer.
#[derive(Default)]
pub(super) struct Answer {
    /// Bytes that end no line yet, or all of them where the answer is not streamed.
    pending: Vec<u8>,
    /// The data of the event under way.
    event: String,
    bytes: usize,
    text: String,
    chars: u32,
    refused: bool,
    finish_reason: Option<String>,
    usage: Option<TokenUsage>,
    streamed: bool,
    done: bool,
}

impl Answer {
    /// Nothing yet of an answer of this content type.
    pub(super) fn new(content_type: &str) -> Self {
        let streamed = content_type.to_ascii_lowercase().contains("text/event-stream");
        Self { streamed, ..Self::default() }
    }

    /// Takes the next bytes, wherever they were parted.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len();
        if self.bytes > MAX_BYTES {
            return Err(Failure::endless());
        }
        if !self.streamed {
            self.pending.extend_from_slice(bytes);
            return Ok(());
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.pending);
            self.line(&line)?;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the provider has said that there is no more.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the model has said its last word, although the provider may say more.
    pub(super) fn is_finished(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// Characters so far.
    pub(super) fn chars(&self) -> u32 {
        self.chars
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let line = std::str::from_utf8(line).map_err(|_| Failure::unreadable())?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return self.dispatch();
        }
        // Comments and other fields are there to keep a connection alive.
        if let Some(data) = line.strip_prefix("data:") {
            if !self.event.is_empty() {
                self.event.push('\n');
            }
            self.event.push_str(data.strip_prefix(' ').unwrap_or(data));
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Result<(), Failure> {
        let event = std::mem::take(&mut self.event);
        match event.trim() {
            "" => Ok(()),
            "[DONE]" => {
                self.done = true;
                Ok(())
            }
            data => self.piece(data.as_bytes()),
        }
    }

    fn piece(&mut self, json: &[u8]) -> Result<(), Failure> {
        let piece: Piece = serde_json::from_slice(json).map_err(|_| Failure::unreadable())?;
        if let Some(error) = &piece.error {
            return Err(Failure::of_error(error));
        }
        // Comes last, and is not worth an answer if it is not what it should be.
        if let Some(usage) = piece.usage {
            self.usage = serde_json::from_value(usage).ok().or(self.usage);
        }
        let Some(choice) = piece.choices.into_iter().next() else { return Ok(()) };
        if let Some(said) = choice.delta {
            let content = said.content.unwrap_or_default();
            self.chars =
                self.chars.saturating_add(content.chars().count().try_into().unwrap_or(u32::MAX));
            self.text.push_str(&content);
            self.refused |= said.refusal.is_some_and(|refusal| !refusal.is_empty());
        }
        if choice.finish_reason.is_some() {
            self.finish_reason = choice.finish_reason;
        }
        Ok(())
    }

    /// The reflection, once everything is there, and what it took.
    pub(super) fn reflection(mut self) -> Result<(String, Option<TokenUsage>), Failure> {
        if self.streamed {
            // The last event may come without its empty line.
            let line = std::mem::take(&mut self.pending);
            if !self.done && !self.is_finished() {
                self.line(&line)?;
                self.dispatch()?;
            }
            if !self.done && !self.is_finished() {
                return Err(Failure::broken_off());
            }
        } else {
            let whole = std::mem::take(&mut self.pending);
            self.piece(&whole)?;
        }
        let reason = self.finish_reason.as_deref();
        if reason == Some("content_filter") {
            return Err(Failure::filtered());
        }
        if self.refused {
            return Err(Failure::declined());
        }
        let text = tidy(&self.text, reason == Some("length")).ok_or_else(Failure::empty)?;
        Ok((text, self.usage))
    }
}

/// The text of an answer within [`MAX_REFLECTION_CHARS`]; `None` if there is none. One that broke
/// off, or is too long, ends with its last whole sentence.
fn tidy(text: &str, broke_off: bool) -> Option<String> {
    let text = text.trim();
    // Some local models think aloud first.
    let text = match text.strip_prefix("<think>") {
        Some(thoughts) => thoughts.split_once("</think>")?.1.trim(),
        None => text,
    };
    if text.is_empty() {
        return None;
    }
    let fits = text.chars().count() <= MAX_REFLECTION_CHARS;
    if fits && !broke_off {
        return Some(text.to_owned());
    }
    let limit = |chars| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    let end = sentence_end(text, limit(MAX_REFLECTION_CHARS));
    // A sentence's end near the beginning would throw away most of what was said.
    if let Some(end) = end.filter(|end| *end > limit(MAX_REFLECTION_CHARS) / 2) {
        return Some(text[..end].to_owned());
    }
    let room = limit(MAX_REFLECTION_CHARS - 1);
    let whole = text.grapheme_indices(true).map(|(at, grapheme)| at + grapheme.len());
    let head = &text[..whole.take_while(|end| *end <= room).last().unwrap_or(0)];
    let word_end = head.rfind(char::is_whitespace).unwrap_or(head.len());
    let head = head[..word_end].trim_end();
    if head.is_empty() { None } else { Some(format!("{head}…")) }
}

/// Where the last sentence that ends within the first `limit` bytes ends.
fn sentence_end(text: &str, limit: usize) -> Option<usize> {
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

    fn streamed(bytes: &[u8], parted: usize) -> Result<String, Failure> {
        let mut answer = Answer::new("text/event-stream; charset=utf-8");
        for part in bytes.chunks(parted) {
            answer.push(part)?;
        }
        answer.reflection().map(|(text, _)| text)
    }

    const STREAM: &str = ": hello\r\n\r\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\
        \"content\":\"\"}}]}\n\nevent: x\ndata:{\"choices\":[{\"delta\":{\"content\":\"한 주가 \"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"지났어요. \"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";

    #[test]
    fn a_stream_may_be_parted_anywhere() {
        for parted in 1..STREAM.len() {
            let text = streamed(STREAM.as_bytes(), parted).expect("an answer");
            assert_eq!(text, "한 주가 지났어요.");
        }
    }

    #[test]
    fn a_stream_without_its_end_is_cut_off() {
        let text = STREAM.split_once(",\"finish_reason\"").expect("it is there").0;
        let failure = streamed(text.as_bytes(), 9).expect_err("cut off");
        assert!(failure.error.retryable && failure.provider_unwell);
        let all_said = STREAM.split_once("data: [DONE]").expect("it is there").0;
        assert!(streamed(all_said.as_bytes(), 9).is_ok(), "the last word was said");
    }

    #[test]
    fn an_answer_has_an_end() {
        let mut answer = Answer::new("text/event-stream");
        let comment = [b':'; 1 << 14];
        let failure = (0..1000).find_map(|_| answer.push(&comment).err()).expect("it is stopped");
        assert!(failure.error.retryable);
    }

    #[test]
    fn an_error_may_come_in_the_stream() {
        let error =
            "data: {\"error\":{\"message\":\"secret\",\"code\":\"insufficient_quota\"}}\n\n";
        assert!(!streamed(error.as_bytes(), 99).expect_err("an error").error.retryable);
        let error = "data: {\"error\":\"secret\"}\n\n";
        let error = streamed(error.as_bytes(), 99).expect_err("an error").error;
        assert!(error.retryable && !error.message.contains("secret"));
    }

    #[test]
    fn what_is_too_long_ends_with_a_sentence_or_a_word() {
        let sentence = "오늘도 강가를 천천히 걸었어요. ";
        let text = tidy(&sentence.repeat(60), false).expect("a text");
        assert!(text.chars().count() <= 500 && text.chars().count() > 480);
        assert!(text.ends_with("걸었어요."));
        let text = tidy(&"끝나지않는 문장이 ".repeat(100), false).expect("a text");
        assert!(text.ends_with("끝나지않는…") || text.ends_with("문장이…"), "{text}");
        assert!(text.chars().count() <= 500);
        assert_eq!(tidy(&"가".repeat(600), false).map(|text| text.chars().count()), Some(500));
    }

    #[test]
    fn what_broke_off_ends_with_a_sentence() {
        assert_eq!(
            tidy("월요일은 맑았어요. 화요일에", true).as_deref(),
            Some("월요일은 맑았어요.")
        );
        assert_eq!(tidy("“정말?” 하고 웃었", true).as_deref(), Some("“정말?” 하고…"));
        assert_eq!(tidy("다 했어요!", true).as_deref(), Some("다 했어요!"));
        assert_eq!(tidy("기온은 3.5도였", true).as_deref(), Some("기온은…"));
    }

    #[test]
    fn thoughts_are_left_out() {
        let text = "<think>무엇을 쓸까</think>\n잘 지낸 한 주였어요.";
        assert_eq!(tidy(text, false).as_deref(), Some("잘 지낸 한 주였어요."));
        assert_eq!(tidy("<think>무엇을 쓸까", true), None);
        assert_eq!(tidy(" \n", false), None);
    }

    proptest! {
        #[test]
        fn tidied_text_is_a_beginning_within_the_limit(
            text in "[가-힣a-z .!?\"👍🏽\n]{0,900}", broke_off: bool,
        ) {
            if let Some(short) = tidy(&text, broke_off) {
                prop_assert!(short.chars().count() <= MAX_REFLECTION_CHARS);
                let head = short.strip_suffix('…').unwrap_or(&short);
                prop_assert!(text.trim().starts_with(head));
            }
        }

        #[test]
        fn nothing_that_is_sent_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = streamed(&bytes, 7);
            let mut whole = Answer::new("application/json");
            let _ = whole.push(&bytes);
            let _ = whole.reflection();
        }
    }
}
