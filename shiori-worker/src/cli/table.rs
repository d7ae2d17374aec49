//! Text in terminal columns. A Hangul syllable is as wide as two Latin letters.

use shiori_sdk::Emotion;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Pads the text with spaces to this many columns. Longer text is not changed.
pub(super) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// The text on one line of at most this many columns; truncated text ends with `…`. Control
/// characters are replaced by spaces.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.width() <= columns {
        return line;
    }
    let mut width = 1;
    let cut = line.chars().take_while(|letter| {
        width += letter.width().unwrap_or_default();
        width <= columns
    });
    format!("{}…", cut.collect::<String>().trim_end())
}

/// Both names of an emotion, padded to the width of the longest.
pub(super) fn names(emotion: Emotion) -> String {
    pad(&format!("{emotion} {}", emotion.english()), "행복 happiness".width())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangul_is_two_columns_wide() {
        assert_eq!(pad("중립", 6), "중립  ");
        assert_eq!(pad("happiness", 3), "happiness");
        assert_eq!(fit("오래 걸었다", 8), "오래 걸…");
        assert_eq!(fit("오래\n걸었다\u{1b}[2J", 20), "오래 걸었다 [2J");
        assert!(Emotion::ALL.iter().all(|e| names(*e).width() == names(Emotion::Fear).width()));
    }
}
