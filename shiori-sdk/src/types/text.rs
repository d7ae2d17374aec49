//! How names and titles are measured, and which characters they may contain.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::limits::MAX_BYTES_PER_CHAR;

/// The size of a text against a limit in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Fits,
    TooManyCharacters,
    TooManyBytes,
}

impl Size {
    /// Characters are extended grapheme clusters (UAX #29) after NFC, so that an emoji of several
    /// code points and a decomposed syllable each count as one. A cluster may have any number of
    /// code points, so bytes are bounded as well.
    pub(super) fn of(text: &str, max_chars: usize) -> Self {
        // Checked first, to bound the work of normalising.
        if text.len() > max_chars.saturating_mul(MAX_BYTES_PER_CHAR) {
            Self::TooManyBytes
        } else if text.len() > max_chars && characters(text) > max_chars {
            Self::TooManyCharacters
        } else {
            Self::Fits
        }
    }
}

fn characters(text: &str) -> usize {
    text.nfc().collect::<String>().graphemes(true).count()
}

/// Whether a character is not permitted in a line of text: control characters (category Cc), and
/// the separators of lines and paragraphs.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether a character is invisible: white space, the default ignorable code points (Unicode 16,
/// `DerivedCoreProperties.txt`), which include the direction controls, and a few others.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        // Interlinear annotation anchors, the blank Braille pattern, the null notehead.
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{2800}' | '\u{1d159}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_character_is_a_grapheme_cluster() {
        for (text, expected) in [
            ("", 0),
            ("abc", 3),
            ("한글", 2),
            ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", 2),
            ("e\u{301}", 1),
            ("👨‍👩‍👧‍👦", 1),
            ("🧑🏻‍❤️‍💋‍🧑🏼", 1),
            ("🇰🇷🇯🇵", 2),
            ("1️⃣", 1),
            ("க்ஷி", 2),
            ("क्षि", 1),
            ("\r\n", 1),
        ] {
            assert_eq!(characters(text), expected, "{text}");
        }
    }

    #[test]
    fn the_byte_limit_admits_any_emoji() {
        let longest = "🧑🏻‍❤️‍💋‍🧑🏼";
        assert!(longest.len() <= MAX_BYTES_PER_CHAR);
        assert_eq!(Size::of(&longest.repeat(50), 50), Size::Fits);
        assert_eq!(Size::of(&longest.repeat(51), 50), Size::TooManyCharacters);
        let stacked = format!("e{}", "\u{301}".repeat(1000));
        assert_eq!(characters(&stacked), 1);
        assert_eq!(Size::of(&stacked, 50), Size::TooManyBytes);
        assert_eq!(Size::of(&"x".repeat(1 << 20), usize::MAX), Size::Fits);
    }

    proptest! {
        /// The normal form of a text makes no difference.
        #[test]
        fn both_normal_forms_have_the_same_number_of_characters(text in "\\PC{0,40}") {
            let (composed, decomposed): (String, String) = (text.nfc().collect(), text.nfd().collect());
            prop_assert_eq!(characters(&composed), characters(&text));
            prop_assert_eq!(characters(&decomposed), characters(&text));
        }
    }
}
