//! Shortens the texts of a week to the budget of a prompt. Lengths are bytes of JSON.

use std::collections::BTreeSet;

use unicode_segmentation::UnicodeSegmentation;

/// Replaces removed text.
const MARK: &str = "…";

/// Additional bytes of a text in a JSON array: quotes and a comma.
const AROUND_TEXT: usize = 3;

/// A day's texts, shortened to an allowance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) title: String,
    pub(super) texts: Vec<String>,
    pub(super) shortened: bool,
}

/// The maximum for each need such that the sum is at most `available`. Smaller needs are met in
/// full; only larger ones are cut.
pub(super) fn fair_share(needs: &[usize], available: usize) -> usize {
    let mut sorted = needs.to_vec();
    sorted.sort_unstable();
    let mut left = available;
    for (index, need) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - index);
        if *need > share {
            return share;
        }
        left -= need;
    }
    usize::MAX
}

/// The length of a day's texts.
pub(super) fn need(title: &str, texts: &[String]) -> usize {
    let texts: usize = texts.iter().map(|text| json_len(text) + AROUND_TEXT).sum();
    json_len(title) + texts
}

/// The day's texts within this allowance: the title, then the blocks in order.
pub(super) fn fit(title: &str, texts: &[String], allowance: usize) -> Fitted {
    if need(title, texts) <= allowance {
        return Fitted { title: title.to_owned(), texts: texts.to_vec(), shortened: false };
    }
    // The title gets at most half, so that it does not displace the text.
    let title = cut(title, allowance / 2);
    let mut left = allowance - json_len(&title);
    let mut kept = Vec::new();
    for text in texts {
        let Some(room) = left.checked_sub(AROUND_TEXT) else { break };
        let whole = json_len(text) <= room;
        let text = cut(text, room);
        if !text.is_empty() {
            left -= json_len(&text) + AROUND_TEXT;
            kept.push(text);
        }
        if !whole {
            break;
        }
    }
    Fitted { title, texts: kept, shortened: true }
}

/// The text, or the longest prefix that fits together with [`MARK`]: cut at a space, otherwise at a
/// word boundary, otherwise between graphemes. Empty if nothing fits.
fn cut(text: &str, room: usize) -> String {
    if json_len(text) <= room {
        return text.to_owned();
    }
    let Some(room) = room.checked_sub(MARK.len()) else { return String::new() };
    // The end of the last grapheme that is not blank, and of the last one before a blank.
    let (mut end, mut before_blank, mut taken) = (0, 0, 0);
    for (start, grapheme) in text.grapheme_indices(true) {
        if is_blank(grapheme) {
            before_blank = end;
        }
        taken += json_len(grapheme);
        if taken > room {
            break;
        }
        if !is_blank(grapheme) {
            end = start + grapheme.len();
        }
    }
    let end = if before_blank > 0 { before_blank } else { last_word_end(text, end) };
    if end == 0 { String::new() } else { format!("{}{MARK}", &text[..end]) }
}

/// The last end of a word within the first `end` bytes, which contain a space only at their start;
/// `end` if there is none.
fn last_word_end(text: &str, end: usize) -> usize {
    let first = text.grapheme_indices(true).find(|(_, grapheme)| !is_blank(grapheme));
    let first = first.map_or(end, |(at, _)| at);
    // A word may end within a grapheme, so the position must be a boundary of both.
    let graphemes: BTreeSet<usize> = text[..end].grapheme_indices(true).map(|(at, _)| at).collect();
    let words = text.split_word_bound_indices().map(|(at, _)| at);
    let ends = words.take_while(|at| *at <= end);
    ends.filter(|at| *at > first && (*at == end || graphemes.contains(at))).last().unwrap_or(end)
}

/// Whether the grapheme is a space, with or without combining marks.
fn is_blank(grapheme: &str) -> bool {
    grapheme.starts_with(char::is_whitespace)
}

/// Length of the text within a JSON string, in bytes, as [`json`] writes it.
pub(super) fn json_len(text: &str) -> usize {
    let len = |c| match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '<' | '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    };
    text.chars().map(len).sum()
}

/// JSON without any `<`, so that the data cannot contain its delimiters.
pub(super) fn json(value: &serde_json::Value) -> String {
    // In JSON, `<` occurs only within strings.
    value.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_largest_needs_are_cut() {
        assert_eq!(fair_share(&[10, 20, 30], 60), usize::MAX);
        assert_eq!(fair_share(&[10, 20, 300], 60), 30);
        assert_eq!(fair_share(&[10, 200, 300], 60), 25);
        assert_eq!(fair_share(&[], 0), usize::MAX);
    }

    #[test]
    fn a_text_is_cut_at_a_space() {
        assert_eq!(cut("강가를 오래 걸었다", 100), "강가를 오래 걸었다");
        assert_eq!(cut("강가를 오래 걸었다", 20), "강가를 오래…");
        assert_eq!(cut("강가를 오래 걸었다", 19), "강가를 오래…");
        assert_eq!(cut("강가를 오래 걸었다", 18), "강가를…");
        assert_eq!(cut("강가를걸었다", 12), "강가를…", "without a space");
        assert_eq!(cut(" \u{301} 가나다", 10), " \u{301} 가…", "a space with a combining mark");
        assert_eq!(cut("👨‍👩‍👧", 10), "", "a grapheme is not split");
    }

    fn words() -> impl Strategy<Value = String> {
        prop_oneof!["[가-힣a-z ,.!<\"\n]{0,300}", "\\PC{0,80}", "[👍🏽👨\u{200d}👩e\u{301} ]{0,60}",]
    }

    proptest! {
        #[test]
        fn computed_lengths_equal_those_of_the_json(text in "\\PC*|[\\x00-\\x20<\"a]*") {
            let written = json(&serde_json::json!(text));
            prop_assert_eq!(written.len(), json_len(&text) + 2);
            prop_assert!(!written.contains('<'));
            prop_assert_eq!(serde_json::from_str::<String>(&written).ok(), Some(text));
        }

        #[test]
        fn shares_do_not_exceed_the_available_bytes(
            needs in prop::collection::vec(0_usize..1000, 1..9), available in 0_usize..4000,
        ) {
            let share = fair_share(&needs, available);
            let total: usize = needs.iter().map(|need| *need.min(&share)).sum();
            prop_assert!(total <= available);
            // Only a remainder that cannot be divided is left unused.
            let all: usize = needs.iter().sum();
            prop_assert!(total == all || total + needs.len() > available);
        }

        #[test]
        fn a_cut_text_is_a_prefix_of_whole_graphemes(text in words(), room in 0_usize..400) {
            let short = cut(&text, room);
            prop_assert!(json_len(&short) <= room);
            if let Some(head) = short.strip_suffix(MARK).filter(|_| short != text) {
                prop_assert!(text.starts_with(head));
                let between = text.grapheme_indices(true).any(|(at, _)| at == head.len());
                prop_assert!(between, "{:?} of {:?}", head, text);
                let mut solid = head.graphemes(true).skip_while(|grapheme| is_blank(grapheme));
                let spaced = solid.any(is_blank);
                prop_assert!(!spaced || is_blank(&text[head.len()..]), "a word was cut");
            } else {
                prop_assert!(short == text || short.is_empty());
            }
        }

        #[test]
        fn a_day_fits_its_allowance(
            title in words(), texts in prop::collection::vec(words(), 0..6), room in 0_usize..900,
        ) {
            let fitted = fit(&title, &texts, room);
            prop_assert!(need(&fitted.title, &fitted.texts) <= room);
            prop_assert_eq!(fitted.shortened, need(&title, &texts) > room);
        }
    }
}
