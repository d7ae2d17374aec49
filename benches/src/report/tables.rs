//! Tables, as Markdown and as HTML.

use std::fmt::Write;

use crate::{
    figures::{Figure, Figures, Point, Unit},
    plot::escape,
    statistics::Spread,
};

/// A table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    /// The names of the columns.
    pub(crate) head: Vec<String>,
    /// The number of columns with texts, which come first. The others have numbers.
    pub(crate) texts: usize,
    /// The rows.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns, of which the first ones have texts.
    pub(crate) fn new(texts: usize, head: &[&str]) -> Self {
        let head = head.iter().map(|name| (*name).to_owned()).collect();
        Self { head, texts, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut markdown = line(&self.head);
        for column in 0..self.head.len() {
            markdown.push_str(if column < self.texts { "|---" } else { "|---:" });
        }
        markdown.push_str("|\n");
        markdown.extend(self.rows.iter().map(|row| line(row)));
        markdown
    }

    /// The table in HTML.
    pub(crate) fn to_html(&self) -> String {
        let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
        let class = |column: usize| if column < self.texts { "" } else { " class=\"n\"" };
        for (column, name) in self.head.iter().enumerate() {
            let _ = write!(html, "<th{}>{}</th>", class(column), escape(name));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let _ = write!(html, "<td{}>{}</td>", class(column), escape(cell));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

/// The median with the spread of a figure, such as `0.67 (0.65–0.70)`; a dash without it.
pub(crate) fn cell(figures: &Figures, point: &Point, statistic: &str) -> String {
    figures.get(point, statistic).map_or_else(|| "–".to_owned(), figure_cell)
}

/// As [`cell`], of a figure.
pub(crate) fn figure_cell(figure: &Figure) -> String {
    figure.spread().map_or_else(|| "–".to_owned(), |spread| spread_cell(figure.unit, &spread))
}

/// The median with the ends of the spread, if they differ in the shown digits.
pub(crate) fn spread_cell(unit: Unit, spread: &Spread) -> String {
    let [median, low, high] = [spread.median, spread.low, spread.high].map(|at| number(unit, at));
    if low == high { median } else { format!("{median} ({low}–{high})") }
}

/// A number with three significant digits, and at least whole.
pub(crate) fn number(unit: Unit, value: f64) -> String {
    let digits = match value.abs() {
        magnitude if magnitude >= 100.0 => 0,
        magnitude if magnitude >= 10.0 => 1,
        magnitude if magnitude >= 1.0 || unit == Unit::Percent => 2,
        magnitude if magnitude >= 0.0005 => 3,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if unit == Unit::Number && text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// A whole number with its thousands separated.
pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + 4);
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The unit as it is shown in the head of a column.
pub(crate) fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::PerSecond => "/s",
        Unit::Percent => "%",
        Unit::CpuMicros => "µs",
        Unit::Number => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_same_cells_in_both_formats() {
        let mut table = Table::new(1, &["call", "p50, ms"]);
        table.row(["a | b <c>".to_owned(), "1.0".to_owned()]);
        assert_eq!(table.to_markdown(), "| call | p50, ms |\n|---|---:|\n| a \\| b <c> | 1.0 |\n");
        let html = table.to_html();
        assert!(html.contains("<td>a | b &lt;c&gt;</td><td class=\"n\">1.0</td>"), "{html}");
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        for (unit, value, text) in [
            (Unit::Milliseconds, 0.6789, "0.679"),
            (Unit::Milliseconds, 13.97, "14.0"),
            (Unit::PerSecond, 2241.7, "2242"),
            (Unit::Number, 0.0, "0"),
            (Unit::Number, 1.0, "1"),
            (Unit::Percent, 0.25, "0.25"),
        ] {
            assert_eq!(number(unit, value), text);
        }
        assert_eq!(whole(1_234_567.0), "1,234,567");
        assert_eq!(whole(999.0), "999");
    }

    #[test]
    fn a_spread_is_shown_if_it_is_visible() {
        let spread = |low, high| Spread { median: 1.0, low, high };
        assert_eq!(spread_cell(Unit::Milliseconds, &spread(0.9, 1.2)), "1.00 (0.900–1.20)");
        assert_eq!(spread_cell(Unit::Milliseconds, &spread(1.001, 1.002)), "1.00");
    }
}
