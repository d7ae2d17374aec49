//! The segmentation of text into words, and the equality of texts.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;

/// The unit by which text is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Word,
    Line,
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    White,
    Punctuation,
    /// The start of a text block.
    Break,
    /// A word, a line of code, or a node such as an image.
    Word,
}

/// The composed form (NFC) of a text, which canonically equivalent texts share.
pub(super) fn normalized(text: &str) -> Cow<'_, str> {
    if is_surely_composed(text.as_bytes())
        || text.chars().all(is_always_composed)
        || is_nfc_quick(text.chars()) == IsNormalized::Yes
    {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Whether all characters are below U+0300, Han, Hangul syllables below U+D780, or the symbols from
/// U+1F000, such as emoji. It compares bytes without branches, which is several times faster than
/// decoding the characters.
#[expect(clippy::needless_bitwise_bool, reason = "a branch for each byte would be slower")]
fn is_surely_composed(text: &[u8]) -> bool {
    let is_other = |byte: u8, next: u8| {
        (byte > 0xCB) & (byte < 0xE4)
            | (byte == 0xE4) & (next < 0xB8)
            | (byte == 0xEA) & (next < 0xB0)
            | (byte == 0xED) & (next > 0x9D)
            | (byte > 0xED) & (byte != 0xF0)
            | (byte == 0xF0) & (next != 0x9F)
    };
    let next = text.get(1..).unwrap_or_default();
    text.chunks(64).zip(next.chunks(64)).all(|(bytes, next)| {
        let pairs = bytes.iter().zip(next);
        !pairs.fold(false, |is_found, (byte, next)| is_found | is_other(*byte, *next))
    })
}

/// Whether the character is composed and does not combine with a character before it. For the
/// characters of most texts this is faster than the Unicode tables.
fn is_always_composed(c: char) -> bool {
    matches!(c, ..'\u{300}' | '\u{200D}' | '\u{2010}'..='\u{2027}' | '\u{3001}'..='\u{3029}'
        | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7A3}' | '\u{FE0F}' | '\u{1F000}'..='\u{1FFFF}')
}

/// Splits text into tokens. Their concatenation is the text.
///
/// Words end at white space. Punctuation before, after and within a word is a separate token,
/// unless it has ASCII characters on both sides, as in `10:30`. Scripts that are written without
/// spaces are split at the word boundaries of UAX #29.
pub(super) fn split<'n>(text: &'n str, unit: Unit, mut token: impl FnMut(Sort, &'n str)) {
    if unit == Unit::Line {
        for line in text.split_inclusive('\n') {
            let end = line.strip_suffix('\n').unwrap_or(line);
            for (sort, part) in [(Sort::Word, end), (Sort::White, &line[end.len()..])] {
                if !part.is_empty() {
                    token(sort, part);
                }
            }
        }
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let words = rest.trim_start();
        let (white, _) = rest.split_at(rest.len() - words.len());
        if !white.is_empty() {
            token(Sort::White, white);
        }
        rest =
            split_first_simply(words, &mut token).unwrap_or_else(|| split_first(words, &mut token));
    }
}

/// Splits the first word and the punctuation at its ends, and returns the text after it.
fn split_first<'n>(words: &'n str, token: &mut impl FnMut(Sort, &'n str)) -> &'n str {
    let end = words.find(char::is_whitespace).unwrap_or(words.len());
    let (word, after) = words.split_at(end);
    let opened = word.trim_start_matches(is_punctuation);
    let bare = opened.trim_end_matches(is_punctuation);
    if opened.len() < word.len() {
        token(Sort::Punctuation, &word[..word.len() - opened.len()]);
    }
    split_word(bare, token);
    if bare.len() < opened.len() {
        token(Sort::Punctuation, &opened[bare.len()..]);
    }
    after
}

/// The same as [`split_first`] for most words, but several times faster; `None` for the others.
fn split_first_simply<'n>(
    words: &'n str,
    token: &mut impl FnMut(Sort, &'n str),
) -> Option<&'n str> {
    let (word, rest) = words.split_at(letters(words.as_bytes()));
    let after = rest.trim_start_matches(is_punctuation);
    if word.is_empty() || !after.is_empty() && !after.starts_with(char::is_whitespace) {
        return None;
    }
    token(Sort::Word, word);
    if after.len() < rest.len() {
        token(Sort::Punctuation, &rest[..rest.len() - after.len()]);
    }
    Some(after)
}

/// The length of the text before the first character that is not surely a letter: one of ASCII other
/// than white space and punctuation, or a Hangul syllable below U+D780.
fn letters(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match text[at..] {
            [byte, ..] if byte.is_ascii() && IS_LETTER[usize::from(byte)] => 1,
            [0xEA, 0xB0..=0xBF, _, ..] | [0xEB..=0xEC, _, _, ..] | [0xED, 0x80..=0x9D, _, ..] => 3,
            _ => return at,
        }
    }
}

/// Whether a character of ASCII is neither white space nor punctuation.
static IS_LETTER: [bool; 128] = {
    let mut is_letter = [true; 128];
    let mut byte: u8 = 0;
    while byte < 128 {
        is_letter[byte as usize] = !is_punctuation(byte as char) && !(byte as char).is_whitespace();
        byte += 1;
    }
    is_letter
};

/// Splits text without white space in it and without punctuation at its ends.
fn split_word<'n>(word: &'n str, token: &mut impl FnMut(Sort, &'n str)) {
    if word.is_ascii() {
        if !word.is_empty() {
            token(Sort::Word, word);
        }
        return;
    }
    if word.contains(is_unspaced) {
        for part in word.split_word_bounds() {
            let is_word = !part.chars().all(is_punctuation);
            token(if is_word { Sort::Word } else { Sort::Punctuation }, part);
        }
        return;
    }
    let mut rest = word;
    while let Some(start) = sentence_end(rest) {
        let (before, after) = rest.split_at(start);
        let end = after.find(|c| !is_punctuation(c)).unwrap_or(after.len());
        token(Sort::Word, before);
        token(Sort::Punctuation, &after[..end]);
        rest = &after[end..];
    }
    token(Sort::Word, rest);
}

/// The start of punctuation within a word that does not have ASCII characters on both sides.
fn sentence_end(word: &str) -> Option<usize> {
    word.match_indices(is_punctuation).map(|(start, _)| start).find(|&start| {
        let before = word[..start].chars().next_back();
        let after = word[start..].chars().find(|&c| !is_punctuation(c));
        before.is_some_and(|c| !is_punctuation(c))
            && [before, after].into_iter().flatten().any(|c| !c.is_ascii())
    })
}

const fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | '!' | '?' | ';' | ':' | '…' | '~' | '(' | ')' | '[' | ']' | '"' | '\''
            | '“'..='”' | '‘'..='’' | '«' | '»' | '、' | '。' | '，' | '．' | '！' | '？' | '：' | '；'
            | '・' | '「'..='』' | '《' | '》' | '（' | '）'
    )
}

/// Whether the character belongs to a script that is written without spaces: Thai, Lao, Burmese,
/// Khmer, Kana or Han.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
            | '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30FF}'
            | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFF}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::char::canonical_combining_class;

    use super::*;

    fn tokens(text: &str) -> Vec<&str> {
        let mut tokens = Vec::new();
        split(text, Unit::Word, |_, part| tokens.push(part));
        assert_eq!(tokens.concat(), text);
        tokens
    }

    #[test]
    fn words_end_at_space_and_at_punctuation() {
        assert_eq!(tokens("비가 왔다."), ["비가", " ", "왔다", "."]);
        assert_eq!(tokens("(\"10:30\")"), ["(\"", "10:30", "\")"]);
        assert_eq!(tokens("...?"), ["...?"]);
        assert_eq!(tokens("https://a.example/b?c"), ["https://a.example/b?c"]);
        assert_eq!(tokens("왔다.우산이…없다"), ["왔다", ".", "우산이", "…", "없다"]);
        assert_eq!(tokens("3.5킬로"), ["3.5킬로"]);
        assert_eq!(tokens(" 🌧 \n"), [" ", "🌧", " \n"]);
    }

    #[test]
    fn scripts_without_spaces_are_split_into_words_too() {
        assert_eq!(tokens("雨が降った。傘"), ["雨", "が", "降", "っ", "た", "。", "傘"]);
        assert_eq!(tokens("カレーを食べた"), ["カレー", "を", "食", "べ", "た"]);
    }

    proptest! {
        #[test]
        fn words_of_any_characters_are_split_alike(
            text in "[ \\t\u{3000}a0'.,!…~。가힟힠\u{1107}日ーé🌧]{0,12}",
        ) {
            let mut tokens = Vec::new();
            let mut rest = text.trim_start();
            while !rest.is_empty() {
                let simply = split_first_simply(rest, &mut |sort, part| tokens.push((sort, part)));
                let mut others = Vec::new();
                let after = split_first(rest, &mut |sort, part| others.push((sort, part)));
                if let Some(simply) = simply {
                    prop_assert_eq!(simply, after);
                    prop_assert_eq!(&tokens, &others);
                }
                tokens.clear();
                rest = after.trim_start();
            }
        }
    }

    #[test]
    fn common_words_are_split_simply() {
        for text in ["비가 왔다", "왔다.", "왔다…\n", "it's", "10"] {
            let rest = split_first_simply(text, &mut |_, _| {});
            assert_eq!(rest.is_some(), text != "it's", "{text}");
        }
    }

    #[test]
    fn characters_that_need_no_tables_are_composed_and_do_not_combine() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            if is_always_composed(c) || is_surely_composed(text.as_bytes()) {
                assert_eq!(is_nfc_quick([c].into_iter()), IsNormalized::Yes, "{c:?}");
                assert_eq!(canonical_combining_class(c), 0, "{c:?}");
            }
        }
    }

    #[test]
    fn equivalent_spellings_are_equal() {
        assert_eq!(normalized("\u{1107}\u{1175}가"), "비가");
        assert!(matches!(normalized("비가 café"), Cow::Borrowed(_)));
    }
}
