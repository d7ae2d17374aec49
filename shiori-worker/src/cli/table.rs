//! Text in the columns of a terminal, where a Hangul syllable is as wide as two Latin letters.

use shiori_sdk::Emotion;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with spaces after it up to this many columns. Longer text stays as it is.
pub(super) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// The text on one line of at most this many columns, with `…` where it was cut. What would steer
/// the terminal becomes a space.
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

/// Both names of an emotion, as wide as those of any other.
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
