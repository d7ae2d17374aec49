//! Properties that hold for any input: the bodies of the fuzz targets in `fuzz/` that concern this
//! crate. `scripts/fuzz.sh` runs them on generated inputs, and the tests on the committed corpora.
//!
//! Each function panics if a property does not hold.

#![allow(clippy::missing_panics_doc)]

use shiori_sdk::{Timestamp, backoff::parse_retry_after};

use super::{
    super::MAX_REFLECTION_CHARS,
    answer::{Answer, changes_direction, is_shown},
    failure::{self, Failure},
    thinking,
};
use crate::protocol::TokenUsage;

/// Reads the response of a language model: the size of its chunks, with the highest bit set if it
/// is not streamed, and the body. The reflection does not depend on the chunks, and is a text that
/// can be stored and shown.
pub fn model_answer(input: &[u8]) {
    let [chunk_len, body @ ..] = input else { return };
    let content_type =
        if *chunk_len < 128 { "text/event-stream; charset=utf-8" } else { "application/json" };
    let read = |chunk_len: usize| {
        reflection(content_type, body.chunks(chunk_len))
            .map_err(|failure| (failure.error.kind, failure.error.message, failure.is_outage))
    };
    let answer = read(1);
    assert_eq!(read(usize::from(*chunk_len % 128).max(1)), answer);
    assert_eq!(read(body.len().max(1)), answer);
    if let Ok((text, _)) = answer {
        assert!(text.chars().count() <= MAX_REFLECTION_CHARS);
        assert_eq!(text.trim(), text);
        assert!(text.contains(|c: char| c.is_alphanumeric() && c != '\u{3164}'), "{text:?}");
        let is_unsafe = |c: char| c != '\n' && c.is_control() || changes_direction(c);
        assert!(!text.contains(is_unsafe), "{text:?}");
    }
    without_thinking(&String::from_utf8_lossy(body));
}

/// The reflection in a response that arrives in these chunks, as the summariser reads it.
fn reflection<'a>(
    content_type: &str,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> Result<(String, Option<TokenUsage>), Failure> {
    let mut answer = Answer::new(content_type, false);
    for chunk in chunks {
        answer.push(chunk)?;
        let partial = answer.partial_text();
        assert!(partial.chars().count() <= MAX_REFLECTION_CHARS);
        assert!(partial.chars().all(is_shown), "{partial:?}");
        if answer.is_done() {
            break;
        }
    }
    answer.reflection()
}

fn without_thinking(text: &str) {
    let answer = thinking::answer(text);
    assert!(answer.len() <= text.len());
    assert_eq!(answer.trim(), answer);
    let lower = text.trim().to_ascii_lowercase();
    let is_plain = ["here", "thinking", "analysis", "assistant"];
    if !text.contains(['<', '[', '◁']) && !is_plain.iter().any(|word| lower.starts_with(word)) {
        assert_eq!(answer, text.trim());
    }
}

/// Parses a `Retry-After` header of a provider: eight bytes of the current time, and the value.
pub fn retry_after(input: &[u8]) {
    let Some((now, value)) = input.split_first_chunk() else { return };
    let Ok(value) = std::str::from_utf8(value) else { return };
    let now = Timestamp::from_millis(i64::from_be_bytes(*now));
    let wait = failure::retry_after(value, now);
    assert_eq!(wait, parse_retry_after(value, now).map(|wait| wait.min(failure::MAX_WAIT)));
}

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::{replay::replay, *};

    #[test]
    fn the_corpora_of_the_fuzz_targets_pass() {
        replay("model_answer", model_answer);
        replay("retry_after", retry_after);
    }
}
