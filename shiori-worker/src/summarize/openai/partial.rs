//! The text of a response that is still arriving.
//!
//! It is separated from the model's thinking as in the complete response ([`thinking::answer`]), but
//! nothing is shown before it is certain that the text has begun. Most models mark where their
//! thinking ends. But the marker that opens it is often part of the prompt's template, so a response
//! without markers may still turn out to be thinking. It is shown from its start if the model is
//! known not to write like that, see [`Knowledge`].

use std::sync::atomic::{AtomicU8, Ordering};

use super::{
    super::MAX_REFLECTION_CHARS,
    answer::{is_shown, is_text, limit, sentence_end},
    config::UnmarkedThinking,
    thinking::{self, Marker, Part},
};

/// What is known about the responses of a model: whether their content may begin with thinking that
/// no marker opens. This depends on the template of the prompt, which is the same for all requests.
#[derive(Debug)]
pub(super) struct Knowledge(AtomicU8);

impl Knowledge {
    const UNKNOWN: u8 = 0;
    const NONE: u8 = 1;
    const SOME: u8 = 2;

    /// What is known before the first response.
    pub(super) fn new(setting: UnmarkedThinking) -> Self {
        Self(AtomicU8::new(match setting {
            UnmarkedThinking::Detect => Self::UNKNOWN,
            UnmarkedThinking::Never => Self::NONE,
        }))
    }

    /// Whether no response has such thinking.
    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::NONE
    }

    /// Learns from a response. One with such thinking outweighs all others.
    pub(super) fn learn(&self, has_unmarked_thinking: bool) {
        let learned = if has_unmarked_thinking { Self::SOME } else { Self::NONE };
        self.0.fetch_max(learned, Ordering::Relaxed);
    }
}

/// The text so far of a response.
pub(super) struct Partial {
    begin: Begin,
    /// Whether what follows may be thinking.
    is_hidden: bool,
    /// The bytes of the response that were read.
    read: usize,
    part: Part,
    /// The text before the last thinking, and after it.
    before: String,
    kept: String,
    /// Whether a marker has opened thinking.
    has_opened: bool,
    has_unmarked_thinking: bool,
    shown: String,
}

/// How a response begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Too little has arrived.
    Unknown,
    /// With words that introduce thinking. Nothing of it is shown.
    Words,
    /// Otherwise: thinking has markers.
    Other,
}

impl Partial {
    /// The text of a response of which nothing has arrived. If `is_trusted`, its content does not
    /// begin with thinking that no marker opens.
    pub(super) fn new(is_trusted: bool) -> Self {
        Self {
            begin: Begin::Unknown,
            is_hidden: !is_trusted,
            read: 0,
            part: Part::Outside,
            before: String::new(),
            kept: String::new(),
            has_opened: false,
            has_unmarked_thinking: false,
            shown: String::new(),
        }
    }

    /// The provider sends the thinking of this response separately.
    pub(super) fn trust(&mut self) {
        if self.part != Part::Thinking {
            self.is_hidden = false;
        }
    }

    /// Whether the thinking ended without having been opened.
    pub(super) fn has_unmarked_thinking(&self) -> bool {
        self.has_unmarked_thinking
    }

    /// The text so far, without a word that may be incomplete.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Reads the response so far, which was extended since the last call.
    pub(super) fn read(&mut self, text: &str) {
        if self.begin == Begin::Unknown {
            self.begin = begin(text);
        }
        if self.begin != Begin::Other {
            return;
        }
        self.read_markers(text);
        // While the model thinks again, the text before remains.
        if !self.is_hidden {
            let is_blank = self.kept.trim_start().is_empty();
            self.shown = visible(if is_blank { &self.before } else { &self.kept });
        }
    }

    fn read_markers(&mut self, text: &str) {
        while let Some(found) = text[self.read..].find(thinking::OPENING) {
            let at = self.read + found;
            self.keep(&text[self.read..at]);
            self.read = at;
            let rest = &text[at..];
            if thinking::is_cut_off(rest) {
                return;
            }
            if let Some((length, marker)) = thinking::marker_at(rest) {
                self.mark(marker, thinking::is_special(rest));
                self.read += length;
            } else {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                self.keep(&rest[..length]);
                self.read += length;
            }
        }
        self.keep(&text[self.read..]);
        self.read = text.len();
    }

    fn keep(&mut self, text: &str) {
        if matches!(self.part, Part::Outside | Part::Answer) {
            self.kept.push_str(text);
        }
    }

    /// The transitions are those of [`thinking::answer`].
    fn mark(&mut self, marker: Marker, is_special: bool) {
        self.part = match (marker, self.part) {
            (Marker::ThinkingStarts, Part::Thinking) => Part::Thinking,
            (Marker::ThinkingStarts, _) => {
                self.has_opened = true;
                let outside = std::mem::take(&mut self.kept);
                if std::mem::replace(&mut self.is_hidden, true) {
                    // It may be thinking, too.
                    self.before.clear();
                } else {
                    if !outside.trim().is_empty() {
                        self.before = outside;
                    }
                    self.shown = visible(&self.before);
                }
                Part::Thinking
            }
            (Marker::ThinkingEnds, Part::Thinking) => {
                self.is_hidden = false;
                Part::Outside
            }
            (Marker::ThinkingEnds, _) => {
                self.has_unmarked_thinking |= !self.has_opened;
                self.is_hidden = false;
                self.restart();
                Part::Outside
            }
            (Marker::AnswerStarts, _) => {
                // While a model thinks, it may write the name of an element, but not a token.
                self.is_hidden &= !is_special;
                self.restart();
                Part::Answer
            }
            (Marker::AnswerEnds, Part::Answer) => Part::After,
            (Marker::AnswerEnds | Marker::Ignored, part) => part,
        };
    }

    fn restart(&mut self) {
        self.before.clear();
        self.kept.clear();
    }
}

/// How a response of which this much has arrived begins.
fn begin(text: &str) -> Begin {
    let text = text.trim_start();
    let head = text.floor_char_boundary(thinking::MAX_INTRODUCTION_BYTES);
    let lower = text[..head].to_ascii_lowercase();
    let introductions = || thinking::introductions().chain(["analysis", "assistantfinal"]);
    if introductions().any(|words| lower.starts_with(words)) {
        Begin::Words
    } else if introductions().any(|words| words.starts_with(&lower)) {
        Begin::Unknown
    } else {
        Begin::Other
    }
}

/// The longest beginning of the reflection that is certain if this is the beginning of the answer:
/// its complete words, and later its complete sentences, because a reflection that is too long is
/// cut after a sentence.
fn visible(answer: &str) -> String {
    // More is not needed, because a longer reflection is cut.
    const MAX_CHARS: usize = MAX_REFLECTION_CHARS + 100;
    let answer = answer.trim_start();
    let clean: String = answer.chars().take(MAX_CHARS).filter(|c| is_shown(*c)).collect();
    let clean = clean.trim_start();
    let words = &clean[..clean.rfind(char::is_whitespace).unwrap_or(0)];
    let end = if within_half(words) {
        words.len()
    } else {
        let sentences = sentence_end(words, limit(words, MAX_REFLECTION_CHARS)).unwrap_or(0);
        let ends = words.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
        let half = ends.take_while(|end| within_half(&words[..*end])).last().unwrap_or(0);
        sentences.max(half)
    };
    let shown = words[..end].trim_end();
    if is_text(shown) { shown.to_owned() } else { String::new() }
}

/// Whether these words are at most half of any reflection that is cut, in bytes: all further
/// characters of the first [`MAX_REFLECTION_CHARS`] may have one byte. Less is never kept.
fn within_half(words: &str) -> bool {
    words.len() + words.chars().count() <= MAX_REFLECTION_CHARS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{answer::clean, thinking::tests::PAIRS},
        *,
    };

    /// Each text that is shown while the response arrives in pieces of this many characters.
    fn shown(response: &str, is_trusted: bool, piece: usize) -> Vec<String> {
        let mut partial = Partial::new(is_trusted);
        let ends = response.char_indices().map(|(at, _)| at).skip(1).step_by(piece);
        let mut texts = Vec::new();
        for end in ends.chain([response.len()]) {
            partial.read(&response[..end]);
            texts.push(partial.shown().to_owned());
        }
        texts.dedup();
        texts
    }

    const TEXT: &str = "비가 왔지만 마음은 맑은 한 주였어요.\n\n참 잘했어요. ";

    #[test]
    fn words_are_shown_when_they_are_complete() {
        assert_eq!(
            shown("조용한 한 주였어요. ", true, 1),
            ["", "조용한", "조용한 한", "조용한 한 주였어요."]
        );
        assert_eq!(shown("조용한 한 주였어요.", false, 1), [""], "it may be thinking");
        assert_eq!(shown("\u{202e}... \u{1b}조용한 한", true, 1), ["", "... 조용한"]);
    }

    #[test]
    fn thinking_is_not_shown_in_any_format() {
        for format in [
            "<think>\n</think>\n\n{}",
            "musing</think>{}",
            "musing <think> tags</think>{}",
            "<think>about <think> tags</think> {}",
            "<think>a <answer> b </answer></think>{}",
            "<think>a</think><answer>{}</answer>",
            "<think>a</think>\n<answer>\n{}\n</answer>\nDone with it.",
            "<|START_THINKING|>a b<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
            "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>{}<|end_of_solution|>",
            "<|channel|>analysis<|message|>a b<|end|><|start|>assistant<|channel|>commentary\
             <|message|>b c<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
        ] {
            let response = format.replace("{}", TEXT);
            for piece in [1, 2, 7] {
                let texts = shown(&response, false, piece);
                assert_eq!(texts.last().map(String::as_str), Some(TEXT.trim()), "{format}");
                assert!(texts.iter().all(|text| TEXT.starts_with(text)), "{format} {texts:?}");
            }
        }
    }

    #[test]
    fn what_only_words_introduce_is_not_shown() {
        for response in [
            "Here is my thought process: a b c. Here is my response: 조용한 한 주였어요. ",
            "Thinking...\na b c\n...done thinking.\n\n조용한 한 주였어요. ",
            "analysisThe user wants a text.assistantfinal조용한 한 주였어요. ",
            "<think>a b c",
        ] {
            for is_trusted in [false, true] {
                assert_eq!(shown(response, is_trusted, 1), [""], "{response}");
            }
        }
        assert_eq!(
            shown("Here is my week. It", true, 1).last().map(String::as_str),
            Some("Here is my week.")
        );
    }

    /// The model thinks although it is trusted not to: its thinking is withdrawn.
    #[test]
    fn unmarked_thinking_is_withdrawn_and_remembered() {
        let knowledge = Knowledge::new(UnmarkedThinking::Detect);
        assert!(!knowledge.is_none());
        knowledge.learn(false);
        assert!(knowledge.is_none());
        let mut partial = Partial::new(knowledge.is_none());
        partial.read("a b c ");
        assert_eq!(partial.shown(), "a b c");
        partial.read("a b c </think>");
        assert_eq!((partial.shown(), partial.has_unmarked_thinking()), ("", true));
        knowledge.learn(true);
        knowledge.learn(false);
        assert!(!knowledge.is_none());
    }

    #[test]
    fn a_text_before_more_thinking_remains() {
        let mut partial = Partial::new(true);
        partial.read("조용한 한 주였어요. \n<think>was that good");
        assert_eq!(partial.shown(), "조용한 한 주였어요.");
        partial.read("조용한 한 주였어요. \n<think>was that good</think> ");
        assert_eq!(
            (partial.shown(), partial.has_unmarked_thinking()),
            ("조용한 한 주였어요.", false)
        );
        partial.read("조용한 한 주였어요. \n<think>was that good</think> 새로운 글이 ");
        assert_eq!(partial.shown(), "새로운 글이");
    }

    #[test]
    fn separate_thinking_makes_the_content_certain() {
        let mut partial = Partial::new(false);
        partial.trust();
        partial.read("조용한 한 ");
        assert_eq!(partial.shown(), "조용한 한");
        partial.read("조용한 한 <think>");
        partial.trust();
        partial.read("조용한 한 <think>a b ");
        assert_eq!(partial.shown(), "조용한 한");
    }

    /// Words in Hangul. The thinking has Latin letters, so none of them may be shown.
    fn text(max_words: usize) -> impl Strategy<Value = String> {
        let word = "[가-힣]{1,6}(👍🏽)?[.!?…,]{0,2}[ \n]{1,2}";
        prop::collection::vec(word, 1..max_words).prop_map(|words| words.concat())
    }

    proptest! {
        /// In any format, for any chunks: what is shown is a beginning of the reflection.
        #[test]
        fn what_is_shown_is_a_beginning_of_the_reflection(
            thoughts in prop::collection::vec("[a-z]{1,9}( [a-z]{1,9}){0,9}[.\n]", 0..3),
            text in text(260),
            pair in prop::sample::select(&PAIRS[..]),
            is_opened: bool,
            is_trusted: bool,
            piece in 1_usize..40,
        ) {
            let (open, close) = pair;
            // Trusted responses have no thinking that is not opened.
            let is_opened = is_opened || is_trusted || open.starts_with("Here");
            let mut response = String::new();
            for (nth, thought) in thoughts.iter().enumerate() {
                response.push_str(if is_opened || nth > 0 { open } else { "" });
                response.push_str(thought);
                response.push_str(close);
            }
            response.push_str(&text);
            let reflection = clean(&response, false);
            let texts = shown(&response, is_trusted, piece);
            for shown in &texts {
                prop_assert!(!shown.contains(|c: char| c.is_ascii_alphabetic()), "{shown}");
                let is_beginning = reflection.as_ref().is_some_and(|text| text.starts_with(shown));
                prop_assert!(shown.is_empty() || is_beginning, "{shown:?} {reflection:?}");
            }
            // All but the last word of a short text is shown, unless its beginning may be thinking.
            let is_certain = if thoughts.is_empty() { is_trusted } else { !open.starts_with("Here") };
            if is_certain && within_half(&text) && is_text(&text) {
                prop_assert_eq!(texts.last().map(String::as_str), Some(text.trim()));
            }
        }

        /// Nothing is shown of any response that cannot be shown as a reflection.
        #[test]
        fn what_is_shown_can_be_shown(
            response in "(\\PC|\n|\u{1b}|<think>|</think>|<\\|channel\\|>|final|<\\|message\\|>|<answer>|<| ){0,60}",
            is_trusted: bool,
        ) {
            for text in shown(&response, is_trusted, 1) {
                prop_assert!(text.chars().all(is_shown));
                prop_assert!(text.is_empty() || is_text(&text));
                prop_assert_eq!(text.trim(), &text);
            }
        }
    }
}
