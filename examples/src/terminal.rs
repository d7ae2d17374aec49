//! Text in terminal columns. A Hangul syllable is as wide as two Latin letters.

use std::{
    env,
    io::{self, IsTerminal},
};

use shiori_sdk::Emotion;
use unicode_width::UnicodeWidthStr;

/// The width of a text in columns.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Pads the text with spaces to this many columns. Longer text is not changed.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The text on one line of at most this many columns; truncated text ends with `…`.
pub fn fit(text: &str, columns: usize) -> String {
    let line = text.replace('\n', " ");
    if width(&line) <= columns {
        return line;
    }
    let mut cut = String::new();
    for char in line.chars() {
        let longer = format!("{cut}{char}");
        if width(&longer) + 1 > columns {
            break;
        }
        cut = longer;
    }
    format!("{}…", cut.trim_end())
}

/// Breaks the text at spaces into lines of at most this many columns. A longer word is not broken.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && width(&line) + 1 + width(word) > columns {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// A bar of this many columns, filled to this share, 0 to 1. A share above 0 fills at least one
/// column.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
// The share is clamped to 0..=1, and the number of columns is exact in f64.
pub fn bar(share: f64, columns: usize) -> String {
    let share = share.clamp(0.0, 1.0);
    let filled = (share * columns as f64).round() as usize;
    let filled = if share > 0.0 { filled.max(1) } else { 0 };
    format!("{}{}", "█".repeat(filled), "░".repeat(columns - filled))
}

/// The capabilities of standard output.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    interactive: bool,
    colour: bool,
}

impl Terminal {
    /// Detects whether standard output is a terminal. A terminal has colours unless `NO_COLOR` is
    /// set (<https://no-color.org>).
    pub fn detect() -> Self {
        let interactive = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { interactive, colour: interactive && !refused }
    }

    /// Whether a line can be overwritten.
    pub fn is_interactive(self) -> bool {
        self.interactive
    }

    /// The text in bold, if standard output supports it.
    pub fn bold(self, text: &str) -> String {
        self.paint(text, "1")
    }

    /// The text in the colour of an emotion, if standard output supports it.
    pub fn emotion(self, text: &str, emotion: Emotion) -> String {
        let colour = match emotion {
            Emotion::Fear => "35",
            Emotion::Surprise => "33",
            Emotion::Anger => "31",
            Emotion::Sadness => "34",
            Emotion::Neutral => "37",
            Emotion::Happiness => "32",
            Emotion::Disgust => "36",
        };
        self.paint(text, colour)
    }

    fn paint(self, text: &str, sgr: &str) -> String {
        if self.colour { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangul_and_emoji_are_two_columns_wide() {
        assert_eq!(width("월 Mon"), 6);
        assert_eq!(width("🍜"), 2);
        assert_eq!(pad("중립", 6), "중립  ");
        assert_eq!(pad("happiness", 3), "happiness");
    }

    #[test]
    fn text_is_wrapped_at_spaces_without_losing_words() {
        let text = "비가 와서 오래 걸었다.\n떡볶이를 먹었다.";
        let lines = wrap(text, 12);
        assert_eq!(lines, ["비가 와서", "오래 걸었다.", "떡볶이를", "먹었다."]);
        assert_eq!(wrap("아주긴한낱말", 4), ["아주긴한낱말"]);
        assert_eq!(fit("오래 걸었다", 8), "오래 걸…");
        assert_eq!(fit("오래\n걸었다", 11), "오래 걸었다");
    }

    #[test]
    fn a_bar_has_the_requested_width() {
        for share in [f64::NAN, -1.0, 0.0, 0.001, 0.5, 1.0, 7.0] {
            assert_eq!(bar(share, 10).chars().count(), 10, "{share}");
        }
        assert_eq!(bar(0.001, 4), "█░░░");
        assert_eq!(bar(0.5, 4), "██░░");
    }
}
