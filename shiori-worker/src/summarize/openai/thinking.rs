//! Removes the thinking that language models output with their answer.
//!
//! Most servers return it in a separate field. Servers that do not support a model's format leave
//! it in the text, with the model's markers. The opening marker is often missing, because it is
//! part of the prompt's template:
//!
//! | markers | models |
//! |---|---|
//! | `<think>…</think>` | `DeepSeek`, Qwen, GLM, `MiniMax`, Nemotron, Phi |
//! | `<thought>…</thought>`, `<thinking>`, `<reasoning>` | EXAONE, and models that are prompted so |
//! | `<seed:think>…</seed:think>` | Seed-OSS |
//! | `<longcat_think>…</longcat_think>` | `LongCat` |
//! | `<think_fast>…</think_fast>`, `<think_faster>` | K2 |
//! | `[THINK]…[/THINK]` | Magistral |
//! | `◁think▷…◁/think▷` | Kimi |
//! | `<\|channel\|>analysis<\|message\|>…<\|end\|>`, `<\|channel\|>final<\|message\|>…` | gpt-oss |
//! | `<\|START_THINKING\|>…<\|END_THINKING\|><\|START_RESPONSE\|>…<\|END_RESPONSE\|>` | Command A |
//! | `<\|begin_of_thought\|>…<\|end_of_thought\|>`, `<\|begin_of_solution\|>…` | Sky-T1, `OpenThinker` |
//! | `<\|inner_prefix\|>…<\|inner_suffix\|>` | Apertus |
//! | `<unused94>thought…<unused95>` | `MedGemma` |
//! | `<think>…</think><answer>…</answer>` | Hunyuan, and models trained like `DeepSeek-R1` |
//! | `Here is my thought process: … Here is my response: …` | Granite |
//! | `analysis…assistantfinal…` | gpt-oss, where the server drops its special tokens |

/// The longest marker that is recognised, in bytes.
const MAX_MARKER_BYTES: usize = 64;

/// The first characters of markers.
pub(super) const OPENING: [char; 3] = ['<', '[', '◁'];

/// Words that introduce thinking at the beginning of a text, and those that end it, in lower case.
const INTRODUCTIONS: [(&str, &str); 3] = [
    ("here is my thought process:", "here is my response:"),
    ("here's my thought process:", "here's my response:"),
    ("thinking...", "...done thinking."),
];

/// The length of the longest introduction.
pub(super) const MAX_INTRODUCTION_BYTES: usize = 32;

/// The words that introduce thinking at the beginning of a text, in lower case.
pub(super) fn introductions() -> impl Iterator<Item = &'static str> {
    INTRODUCTIONS.into_iter().map(|(start, _)| start)
}

/// Names of elements that contain thinking.
const THOUGHTS: [&str; 24] = [
    "think",
    "thinking",
    "thinks",
    "thought",
    "thoughts",
    "thought_process",
    "thinking_process",
    "reason",
    "reasoning",
    "reasoning_process",
    "reasoning_content",
    "analysis",
    "scratchpad",
    "cot",
    "chain_of_thought",
    "inner_monologue",
    "monologue",
    "musing",
    "cot_budget_reflect",
    "longcat_think",
    "think_fast",
    "think_faster",
    "reflection",
    "antthinking",
];

/// Names of elements that contain the answer.
const ANSWERS: [&str; 7] =
    ["answer", "final_answer", "final", "response", "solution", "output", "result"];

/// The meaning of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    ThinkingStarts,
    ThinkingEnds,
    AnswerStarts,
    AnswerEnds,
    /// An empty element, or a special token of the model's template that is not relevant here.
    Ignored,
}

/// The part that the text at the current position belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Outside all markers.
    Outside,
    Thinking,
    Answer,
    /// After the end of the answer.
    After,
}

/// The answer without thinking and markers, trimmed; empty if the text is only thinking.
///
/// The answer is the text after the thinking; if there is none, the text before it. If thinking
/// ends without having been opened, all text before is thinking. Thinking without an end extends to
/// the end of the text.
pub(super) fn answer(text: &str) -> String {
    let mut rest = without_plain_thinking(text);
    // The text before the last thinking, and after it.
    let (mut before, mut kept) = (String::new(), String::new());
    let mut part = Part::Outside;
    while let Some((at, length, marker)) = next_marker(rest) {
        if matches!(part, Part::Outside | Part::Answer) {
            kept.push_str(&rest[..at]);
        }
        rest = &rest[at + length..];
        part = match (marker, part) {
            (Marker::ThinkingStarts, _) => {
                // Taken also if it is blank, so that it is not read again at each marker.
                let outside = std::mem::take(&mut kept);
                if !outside.trim().is_empty() {
                    before = outside;
                }
                Part::Thinking
            }
            (Marker::ThinkingEnds, Part::Thinking) => Part::Outside,
            (Marker::ThinkingEnds | Marker::AnswerStarts, _) => {
                before.clear();
                kept.clear();
                if marker == Marker::AnswerStarts { Part::Answer } else { Part::Outside }
            }
            (Marker::AnswerEnds, Part::Answer) => Part::After,
            (Marker::AnswerEnds | Marker::Ignored, part) => part,
        };
    }
    if matches!(part, Part::Outside | Part::Answer) {
        kept.push_str(rest);
    }
    let answer = if kept.trim().is_empty() { before } else { kept };
    answer.trim().to_owned()
}

/// The text without thinking that is only marked by words.
fn without_plain_thinking(text: &str) -> &str {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    // Converting ASCII letters to lower case keeps all positions.
    let after = |mark: &str| lower.rfind(mark).map(|at| &text[at + mark.len()..]);
    for (start, end) in INTRODUCTIONS {
        if lower.starts_with(start) {
            return after(end).unwrap_or_default();
        }
    }
    // The channels of gpt-oss without their special tokens.
    if let Some(rest) = text.strip_prefix("analysis") {
        let answer = after("assistantfinal");
        if rest.starts_with(|c: char| !c.is_whitespace() && !c.is_ascii_punctuation()) {
            return answer.unwrap_or_default();
        }
        // This may also be an answer that begins with the word.
        return answer.unwrap_or(text);
    }
    text.strip_prefix("assistantfinal").unwrap_or(text)
}

/// The position, length and meaning of the next marker.
fn next_marker(text: &str) -> Option<(usize, usize, Marker)> {
    let starts = text.char_indices().filter(|(_, c)| OPENING.contains(c));
    let mut markers = starts.filter_map(|(at, _)| {
        let (length, marker) = marker_at(&text[at..])?;
        Some((at, length, marker))
    });
    markers.next()
}

/// The last character of a marker with this first character.
fn closing(open: char) -> char {
    match open {
        '<' => '>',
        '[' => ']',
        _ => '▷',
    }
}

/// Whether the text begins like a marker and ends before it is certain which one it is, if it is one.
pub(super) fn is_cut_off(text: &str) -> bool {
    let Some(open) = text.chars().next() else { return false };
    let close = closing(open);
    let inner = &text[open.len_utf8()..];
    let end = inner
        .char_indices()
        .find(|(at, c)| *c == close || matches!(c, '<' | '\n') || *at > MAX_MARKER_BYTES);
    let Some((at, end)) = end else { return true };
    let length = open.len_utf8() + at + end.len_utf8();
    let is_channel = end == close && is_special(text) && name(&inner[..at]) == "channel";
    is_channel && text.len() < length + MAX_HEADER_BYTES && !text[length..].contains(MESSAGE)
}

/// Whether the text begins with a special token of a model's template, in ASCII or in the characters
/// of `DeepSeek`.
pub(super) fn is_special(text: &str) -> bool {
    text.starts_with("<|") || text.starts_with("<｜")
}

/// The name in a marker.
fn name(inner: &str) -> &str {
    inner.trim_matches(|c: char| matches!(c, '|' | '｜') || c.is_whitespace())
}

/// The marker that the text starts with, and its length.
pub(super) fn marker_at(text: &str) -> Option<(usize, Marker)> {
    let open = text.chars().next()?;
    let close = closing(open);
    let inner = &text[open.len_utf8()..];
    let end = inner.char_indices().find(|(at, c)| *c == close || *at > MAX_MARKER_BYTES)?;
    let inner = inner.get(..end.0).filter(|inner| !inner.contains(['<', '\n']))?;
    if end.1 != close {
        return None;
    }
    let length = open.len_utf8() + inner.len() + close.len_utf8();
    let is_special = inner.starts_with(['|', '｜']) && inner.len() > 1;
    let name = name(inner);
    let is_end = name.starts_with('/');
    let is_empty = name.ends_with('/') && !is_end;
    let name = name.trim_matches('/').trim().to_ascii_lowercase().replace(['-', ' '], "_");
    if is_special && name == "channel" {
        return Some(channel(text, length));
    }
    let marker = meaning(&name, is_end);
    match marker {
        Some(_) if is_empty => Some((length, Marker::Ignored)),
        // Square brackets are common in diaries, and models use them only to mark thinking.
        Some(Marker::AnswerStarts | Marker::AnswerEnds | Marker::Ignored) if open == '[' => None,
        Some(marker) => Some((length, marker)),
        None if is_special => Some((length, Marker::Ignored)),
        None => None,
    }
}

/// The end of the header of a channel.
const MESSAGE: &str = "<|message|>";

/// The longest header of a channel after its first token, in bytes.
const MAX_HEADER_BYTES: usize = MAX_MARKER_BYTES + MESSAGE.len();

/// The header of a channel: `<|channel|>` and the channel's name up to `<|message|>`.
fn channel(text: &str, length: usize) -> (usize, Marker) {
    // Not further, so that the time for a text of many headers is linear.
    let reach = text.floor_char_boundary(length + MAX_HEADER_BYTES);
    let header = text[length..reach].find(MESSAGE);
    let name = header.map_or(&text[length..], |end| &text[length..length + end]);
    let is_final = name.trim_start().starts_with("final");
    let length = header.map_or(length, |end| length + end + MESSAGE.len());
    (length, if is_final { Marker::AnswerStarts } else { Marker::ThinkingStarts })
}

/// The meaning of an element of this name.
fn meaning(name: &str, is_end: bool) -> Option<Marker> {
    let starts = |is_end| if is_end { Marker::ThinkingEnds } else { Marker::ThinkingStarts };
    let answers = |is_end| if is_end { Marker::AnswerEnds } else { Marker::AnswerStarts };
    match name {
        "inner_prefix" | "unused94" => return Some(Marker::ThinkingStarts),
        "inner_suffix" | "unused95" => return Some(Marker::ThinkingEnds),
        // These tokens end a message of any channel.
        "return" | "call" => return Some(Marker::AnswerEnds),
        _ => {}
    }
    // A namespace, as in `seed:think`.
    let name = name.rsplit(':').next().unwrap_or(name);
    // Special tokens for start and end, as in `begin_of_thought` and `END_THINKING`.
    let with_prefix = |prefixes: [&str; 3]| {
        prefixes.iter().find_map(|prefix| name.strip_prefix(prefix).filter(|name| !name.is_empty()))
    };
    let (name, is_end) = match with_prefix(["begin_of_", "start_of_", "start_"]) {
        Some(name) => (name, false),
        None => match with_prefix(["end_of_", "end_", "stop_"]) {
            Some(name) => (name, true),
            None => (name, is_end),
        },
    };
    if THOUGHTS.contains(&name) {
        Some(starts(is_end))
    } else if ANSWERS.contains(&name) {
        Some(answers(is_end))
    } else {
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = "비가 왔지만 마음은 맑은 한 주였어요.\n\n참 잘했어요.";

    /// The markers around thinking, as the models write them.
    pub(in super::super) const PAIRS: [(&str, &str); 20] = [
        ("<think>", "</think>"),
        ("<Think>\n", "\n</THINK>\n"),
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),
        ("<reasoning>", "</reasoning>"),
        ("<analysis>", "</analysis>"),
        ("<longcat_think>", "</longcat_think>"),
        ("<think_faster>", "</think_faster>"),
        ("<reflection>", "</reflection>"),
        ("<antThinking>", "</antThinking>"),
        ("<seed:think>", "</seed:think>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|think|>", "<|/think|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<unused94>thought\n", "<unused95>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("Here is my thought process:", "Here is my response:"),
    ];

    #[test]
    fn the_formats_of_known_models_are_removed() {
        for text in [
            "<think>\n</think>\n\n{}",
            "<think/>{}",
            "musing</think>{}",
            "musing <think> tags</think>{}",
            "<think>about <think> tags</think> and more</think>{}",
            "<think>a</think><answer>{}</answer>",
            "<think>a</think>\n<answer>\n{}\n</answer>\nDone.",
            "musing <answer>{}</answer>",
            "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
            "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>{}<|end_of_solution|>",
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary\
             <|message|>b<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
            "<|channel|>final <|constrain|>text<|message|>{}",
            "analysisThe user wants a text.assistantfinal{}",
            "analysis The user wants a text.\n\nassistantfinal\n{}",
            "{}<|im_end|>",
            "{}<｜end▁of▁sentence｜>",
            "{}\n<think>was that good?</think>",
            "{}\n<think>was that good?",
            "Thinking...\nmusing\n...done thinking.\n\n{}",
        ] {
            assert_eq!(answer(&text.replace("{}", ANSWER)), ANSWER, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_only_thinking_has_no_answer() {
        for text in [
            "<think>musing",
            "<think>musing</think>",
            "musing</think>  \n",
            "[THINK]musing",
            "<|channel|>analysis<|message|>musing",
            "<|channel|>analysis",
            "analysisThe user wants a text.",
            "Here is my thought process: musing",
            "<answer></answer>",
            "<|im_end|>",
        ] {
            assert_eq!(answer(text), "", "{text}");
        }
    }

    #[test]
    fn other_brackets_are_text() {
        for text in [
            "I < you > they, and <b>bold</b> [sic] [1]",
            "화요일에는 <리틀 포레스트>를 봤어요. [결말] ◁◁▷▷",
            "Analysis of the week: it was good.",
            "analysis of the week",
            "<",
            "[",
            "<|",
            "<>",
        ] {
            assert_eq!(answer(text), text, "{text}");
        }
    }

    /// If the time were quadratic, it would take a minute.
    #[test]
    fn the_time_for_many_markers_is_linear() {
        const LEN: usize = 1024 * 1024;
        let channels = "<|channel|>".repeat(LEN / 11);
        assert_eq!(answer(&channels), "");
        let blank = " ".repeat(LEN / 2);
        let thoughts = format!("<think></think>{blank}{}", "<think>".repeat(LEN / 14));
        assert_eq!(answer(&thoughts), "");
    }

    /// Text without markers.
    fn plain() -> impl Strategy<Value = String> {
        "[가-힣a-zA-Z0-9 .,!?\n「」👍🏽]{1,120}".prop_filter("not blank", |text| {
            let plain = text.trim();
            !plain.is_empty() && without_plain_thinking(plain) == plain
        })
    }

    proptest! {
        /// The thinking is removed with or without the opening marker.
        #[test]
        fn only_the_answer_is_left(
            thoughts in prop::collection::vec(plain(), 1..4),
            text in plain(),
            pair in prop::sample::select(&PAIRS[..]),
            is_opened: bool,
        ) {
            let (open, close) = pair;
            let mut written = String::new();
            for (nth, thought) in thoughts.iter().enumerate() {
                let is_plain = open.starts_with("Here");
                let opens = is_opened || nth > 0 || is_plain;
                written.push_str(if opens { open } else { "" });
                written.push_str(thought);
                written.push_str(close);
            }
            written.push_str(&text);
            prop_assert_eq!(answer(&written), text.trim());
            let unfinished = format!("{open}{}", thoughts[0]);
            prop_assert_eq!(answer(&unfinished), "");
        }

        #[test]
        fn a_text_without_markers_is_kept(text in plain()) {
            prop_assert_eq!(answer(&text), text.trim());
        }

        #[test]
        fn no_text_panics_or_keeps_a_marker(
            text in "(\\PC|<think>|</think>|<\\|channel\\|>|final|<\\|message\\|>|\\[THINK\\]|◁|▷|<answer>|<){0,40}",
        ) {
            let kept = answer(&text);
            prop_assert!(kept.len() <= text.len());
        }
    }
}
