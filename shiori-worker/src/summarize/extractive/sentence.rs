//! Splits blocks into sentences.

use shiori_sdk::Date;

use crate::summarize::WeekText;

/// Maximum sentences of one day. Of a longer day, the first and last sentences are used, which
/// often state the topic. It bounds the work of the ranking.
const MAX_PER_DAY: usize = 40;

/// Maximum characters of a sentence. A longer one is cut after a word.
const MAX_CHARS: usize = 300;

/// A candidate for a quote.
#[derive(Clone)]
pub(super) struct Sentence {
    /// The day it was written.
    pub(super) date: Date,
    /// The text, an unchanged part of the diary.
    pub(super) text: String,
    /// The confidence of the day's emotion; 0 for a neutral day.
    pub(super) salience: f64,
    /// Whether it is from the diary's text, not from its title.
    pub(super) in_body: bool,
}

/// The sentences of a week, day by day in reading order.
pub(super) fn of_week(week: &WeekText) -> Vec<Sentence> {
    let mut all = Vec::new();
    for day in &week.days {
        let salience = match day.emotion.label {
            shiori_sdk::Emotion::Neutral => 0.0,
            _ => day.emotion.confidence,
        };
        let of = |text: &str, in_body| -> Vec<Sentence> {
            let sentence =
                |text: &str| Sentence { date: day.date, text: text.to_owned(), salience, in_body };
            split(text).into_iter().map(sentence).collect()
        };
        let mut sentences: Vec<_> = day.blocks.iter().flat_map(|block| of(block, true)).collect();
        if sentences.is_empty() {
            sentences = of(&day.title, false);
        }
        if sentences.len() > MAX_PER_DAY {
            let tail = sentences.split_off(sentences.len() - MAX_PER_DAY / 2);
            sentences.truncate(MAX_PER_DAY / 2);
            sentences.extend(tail);
        }
        all.extend(sentences);
    }
    all
}

/// Splits a text at line feeds, after full-width sentence marks, and after other sentence marks if
/// a space or the end follows. This excludes marks within numbers, addresses and ellipses.
fn split(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if !matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '~') {
                continue;
            }
            // Closing quotes and further marks belong to the sentence.
            let mut end = at + c.len_utf8();
            let mut speech = false;
            while let Some((next, mark)) = chars.peek().copied() {
                if !matches!(
                    mark,
                    '.' | '!'
                        | '?'
                        | '…'
                        | '。'
                        | '！'
                        | '？'
                        | '~'
                        | '"'
                        | '\''
                        | '”'
                        | '’'
                        | ')'
                        | '」'
                ) {
                    break;
                }
                speech |= matches!(mark, '"' | '\'' | '”' | '’' | '」');
                end = next + mark.len_utf8();
                chars.next();
            }
            // Chinese and Japanese have no space after a sentence mark.
            let is_wide = line[start..end].ends_with(['。', '！', '？']);
            let ends = is_wide || chars.peek().is_none_or(|(_, next)| next.is_whitespace());
            // After direct speech, the sentence continues with the speaker.
            let goes_on = speech && chars.peek().is_some();
            if ends && !goes_on && !is_abbreviation(&line[start..end]) {
                sentences.push(&line[start..end]);
                start = end;
            }
        }
        sentences.push(&line[start..]);
    }
    let trimmed = sentences.into_iter().map(|sentence| cut(sentence.trim()));
    trimmed.filter(|sentence| sentence.chars().any(|c| !c.is_whitespace())).collect()
}

/// Whether the text ends with an initial, a number of a list or a title, not with a sentence.
fn is_abbreviation(text: &str) -> bool {
    let last = text.split_whitespace().next_back().unwrap_or_default();
    let stem = last.trim_end_matches('.');
    if stem.len() == last.len() {
        return false;
    }
    let numbering = !stem.is_empty() && stem.chars().all(|c| c.is_ascii_digit());
    let initial = stem.len() == 1 && stem.chars().all(|c| c.is_ascii_uppercase());
    (numbering && text.trim() == last)
        || initial
        || matches!(stem, "Mr" | "Mrs" | "Ms" | "Dr" | "St" | "e.g" | "i.e")
}

/// The beginning of a sentence that is too long, cut after a word.
fn cut(sentence: &str) -> &str {
    let Some((end, _)) = sentence.char_indices().nth(MAX_CHARS) else { return sentence };
    let head = &sentence[..end];
    head.rfind(char::is_whitespace).map_or(head, |space| head[..space].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_after_sentence_marks() {
        for (text, expected) in [
            ("비가 왔다. 우산이 없었다!", vec!["비가 왔다.", "우산이 없었다!"]),
            ("정말?! 그래...  좋았다", vec!["정말?!", "그래...", "좋았다"]),
            ("기온은 3.5도였다.", vec!["기온은 3.5도였다."]),
            ("https://example.com/a.b?c=1 을 봤다.", vec!["https://example.com/a.b?c=1 을 봤다."]),
            ("“괜찮아?” 하고 물었다.", vec!["“괜찮아?” 하고 물었다."]),
            ("첫 줄\n둘째 줄", vec!["첫 줄", "둘째 줄"]),
            ("1. 우유\n2. 빵", vec!["1. 우유", "2. 빵"]),
            ("I met Dr. Kim. He was kind.", vec!["I met Dr. Kim.", "He was kind."]),
            ("川沿いを歩いた。楽しかった！", vec!["川沿いを歩いた。", "楽しかった！"]),
            ("  \n \n", vec![]),
            ("😀", vec!["😀"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn a_sentence_that_is_too_long_is_cut_after_a_word() {
        let long = "단어 ".repeat(500);
        let sentences = split(&long);
        assert_eq!(sentences.len(), 1);
        assert!(sentences[0].chars().count() <= MAX_CHARS && sentences[0].ends_with("단어"));
        assert_eq!(split(&"가".repeat(1000))[0].chars().count(), MAX_CHARS);
    }
}
