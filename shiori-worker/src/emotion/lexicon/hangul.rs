//! Hangul by its letters. A stem and its conjugations share letters, not syllables: 슬프다 and
//! 슬펐다 part only after the fourth.

/// U+AC00 and the counts of The Unicode Standard, section 3.12.
const FIRST_SYLLABLE: u32 = 0xAC00;
const LEADING: u32 = 0x1100;
const VOWEL: u32 = 0x1161;
const TRAILING: u32 = 0x11A7;
const VOWELS: u32 = 21;
const TRAILINGS: u32 = 28;
const SYLLABLES: u32 = 19 * VOWELS * TRAILINGS;

/// The text in lower case with each Hangul syllable as its two or three letters. Text that comes
/// decomposed (NFD) comes out the same.
pub(super) fn letters(text: &str) -> Vec<char> {
    let mut letters = Vec::with_capacity(text.len());
    for c in text.chars() {
        let index = u32::from(c).wrapping_sub(FIRST_SYLLABLE);
        if index < SYLLABLES {
            let trailing = index % TRAILINGS;
            letters.extend(char::from_u32(LEADING + index / (VOWELS * TRAILINGS)));
            letters.extend(char::from_u32(VOWEL + index / TRAILINGS % VOWELS));
            if trailing > 0 {
                letters.extend(char::from_u32(TRAILING + trailing));
            }
        } else {
            letters.extend(c.to_lowercase());
        }
    }
    letters
}

/// The text of letters, as syllables again.
pub(super) fn composed(letters: &[char]) -> String {
    let mut text = String::new();
    let mut rest = letters;
    let part = |c: Option<&char>, first: u32, count: u32| {
        c.map(|c| u32::from(*c).wrapping_sub(first)).filter(|index| *index < count)
    };
    while let Some((first, others)) = rest.split_first() {
        let leading = part(Some(first), LEADING, 19);
        let vowel = part(others.first(), VOWEL, VOWELS);
        if let (Some(leading), Some(vowel)) = (leading, vowel) {
            let trailing = part(others.get(1), TRAILING, TRAILINGS).filter(|index| *index > 0);
            let index = (leading * VOWELS + vowel) * TRAILINGS + trailing.unwrap_or(0);
            text.extend(char::from_u32(FIRST_SYLLABLE + index));
            rest = &others[if trailing.is_some() { 2 } else { 1 }..];
        } else {
            text.push(*first);
            rest = others;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decomposed_text_has_the_same_letters() {
        let decomposed = "\u{1100}\u{1175}\u{1108}\u{1173}\u{11B7}";
        assert_eq!(letters("기쁨"), letters(decomposed));
        assert_eq!(letters("Glad"), ['g', 'l', 'a', 'd']);
        assert!(letters("슬펐다").starts_with(&letters("슬퍼")));
    }

    proptest! {
        #[test]
        fn letters_compose_to_the_text(text in "[가-힣 a-z0-9😀]{0,40}") {
            prop_assert_eq!(composed(&letters(&text)), text);
        }
    }
}
