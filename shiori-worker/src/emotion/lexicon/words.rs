//! Splits a text into sentences of normalised words.
//!
//! Hangul is decomposed into its letters, so that a stem is a prefix of its conjugated forms (슬ㅍ of
//! 슬프다, 슬퍼서 and 슬펐다) and composed and decomposed text are equal.

use std::iter;

/// A sentence: the text between two sentence ends.
#[derive(Default)]
pub(in crate::emotion) struct Sentence {
    /// Its words, decomposed and in lower case. [`PAUSE`] represents punctuation between them. An
    /// emoji is a word, and so is a run of bare letters such as ㅋㅋ.
    pub(in crate::emotion) words: Vec<String>,
    /// The number of exclamation marks at its end.
    pub(in crate::emotion) exclamations: u32,
    /// The number of question marks at its end.
    pub(in crate::emotion) questions: u32,
}

/// The word that represents punctuation within a sentence.
pub(super) const PAUSE: &str = ",";

/// The sentences of a text, one at a time.
pub(in crate::emotion) fn sentences(text: &str) -> impl Iterator<Item = Sentence> {
    let mut letters = text.chars().flat_map(char::to_lowercase).peekable();
    iter::from_fn(move || {
        letters.peek()?;
        let mut sentence = Sentence::default();
        let mut last = Kind::Space;
        while let Some(&letter) = letters.peek() {
            let kind = Kind::of(letter);
            if last == Kind::End && kind != Kind::End {
                break;
            }
            letters.next();
            match kind {
                // A mark belongs to the character before it. It is not a word and does not end one.
                Kind::Mark => continue,
                Kind::Space => {}
                Kind::End => {
                    sentence.exclamations += u32::from(matches!(letter, '!' | '！'));
                    sentence.questions += u32::from(matches!(letter, '?' | '？'));
                }
                Kind::Pause => sentence.words.push(PAUSE.to_owned()),
                _ => {
                    if kind != last || kind == Kind::Symbol {
                        sentence.words.push(String::new());
                    }
                    if let Some(word) = sentence.words.last_mut() {
                        push_decomposed(word, letter);
                    }
                }
            }
            last = kind;
        }
        Some(sentence)
    })
}

/// Converts a form of the table to the spelling of [`Sentence::words`]. A bare consonant after a
/// syllable is the initial of the next one: 슬ㅍ is a prefix of 슬퍼.
pub(super) fn decomposed(form: &str) -> String {
    let mut word = String::new();
    let mut after_syllable = false;
    for letter in form.chars() {
        match INITIALS.iter().position(|initial| *initial == letter) {
            Some(index) if after_syllable => word.push(nth(INITIAL, index)),
            _ => push_decomposed(&mut word, letter),
        }
        after_syllable |= Kind::of(letter) == Kind::Hangul;
    }
    word
}

/// The class of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Hangul,
    BareLetter,
    Alphabet,
    Symbol,
    Mark,
    Pause,
    End,
}

impl Kind {
    fn of(letter: char) -> Self {
        match letter {
            '.' | '!' | '?' | '…' | '\n' | '。' | '！' | '？' => Self::End,
            '가'..='힣' | '\u{1100}'..='\u{11ff}' => Self::Hangul,
            '\u{3131}'..='\u{318e}' => Self::BareLetter,
            '\'' | '’' => Self::Alphabet,
            // Variation selectors, the zero-width joiner, skin tones and combining accents.
            '\u{fe00}'..='\u{fe0f}'
            | '\u{200d}'
            | '\u{1f3fb}'..='\u{1f3ff}'
            | '\u{300}'..='\u{36f}' => Self::Mark,
            '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}' => {
                Self::Symbol
            }
            _ if letter.is_alphanumeric() => Self::Alphabet,
            _ if letter.is_whitespace() => Self::Space,
            _ => Self::Pause,
        }
    }
}

/// The first letters of the blocks that Unicode decomposes Hangul into.
const INITIAL: char = '\u{1100}';
const VOWEL: char = '\u{1161}';
const FINAL: char = '\u{11a7}';

/// The bare consonants in the order of the block of [`INITIAL`].
const INITIALS: [char; 19] = [
    'ㄱ', 'ㄲ', 'ㄴ', 'ㄷ', 'ㄸ', 'ㄹ', 'ㅁ', 'ㅂ', 'ㅃ', 'ㅅ', 'ㅆ', 'ㅇ', 'ㅈ', 'ㅉ', 'ㅊ', 'ㅋ',
    'ㅌ', 'ㅍ', 'ㅎ',
];

fn push_decomposed(word: &mut String, letter: char) {
    const VOWELS: usize = 21;
    const FINALS: usize = 28;
    match letter {
        '가'..='힣' => {
            let syllable = letter as usize - '가' as usize;
            word.push(nth(INITIAL, syllable / (VOWELS * FINALS)));
            word.push(nth(VOWEL, syllable / FINALS % VOWELS));
            if !syllable.is_multiple_of(FINALS) {
                word.push(nth(FINAL, syllable % FINALS));
            }
        }
        '’' => word.push('\''),
        _ => word.push(letter),
    }
}

/// The character `index` places after `first`, which is a Hangul letter.
fn nth(first: char, index: usize) -> char {
    u32::try_from(index).ok().and_then(|i| char::from_u32(first as u32 + i)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<(Vec<String>, u32)> {
        sentences(text).map(|sentence| (sentence.words, sentence.exclamations)).collect()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| decomposed(word)).collect()
    }

    #[test]
    fn text_is_split_into_sentences_and_words() {
        assert_eq!(split(""), []);
        assert_eq!(
            split("좋아ㅋㅋ, 진짜!! It’s OK.\n👍🏽❤\u{fe0f}끝"),
            [
                (words(&["좋아", "ㅋㅋ", PAUSE, "진짜"]), 2),
                (words(&["it's", "ok"]), 0),
                (words(&["👍", "❤", "끝"]), 0),
            ]
        );
    }

    #[test]
    fn decomposed_syllables_share_the_letters_of_their_stem() {
        for (form, stem) in [("슬퍼", "슬ㅍ"), ("무서워", "무서ㅇ"), ("놀랐", "놀라"), ("젊", "저")]
        {
            assert!(decomposed(form).starts_with(&decomposed(stem)), "{form} {stem}");
        }
        // Final and initial consonants are different code points.
        assert!(!decomposed("무성").starts_with(&decomposed("무서ㅇ")));
        assert_eq!(decomposed("ㅋㅋ"), "ㅋㅋ");
        assert_eq!(decomposed("힣"), "\u{1112}\u{1175}\u{11c2}");
        assert_eq!(decomposed("가"), "\u{1100}\u{1161}");
    }
}
