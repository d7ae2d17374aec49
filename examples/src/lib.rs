//! Code that the examples share: a server, a week of diaries, and text in columns.
//!
//! Programs that use Shiori do not need it. It keeps the examples short.

mod service;
pub mod terminal;

use shiori_sdk::{Date, Draft, Week};

pub use service::{Person, Service};

/// The result of an example; any error ends it.
pub type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The diaries of `examples/data/`, Monday to Sunday, as an editor sends them.
const DAYS: [&str; Week::DAYS] = [
    include_str!("../data/monday.json"),
    include_str!("../data/tuesday.json"),
    include_str!("../data/wednesday.json"),
    include_str!("../data/thursday.json"),
    include_str!("../data/friday.json"),
    include_str!("../data/saturday.json"),
    include_str!("../data/sunday.json"),
];

/// A realistic week: seven diaries of one person, in TipTap's document format, from Monday
/// 6 April to Sunday 12 April 2026.
///
/// # Errors
///
/// If a file of `examples/data/` is not a draft.
pub fn a_week() -> Result<(Week, Vec<(Date, Draft)>)> {
    let week = Week::containing(Date::new(2026, 4, 6)?);
    let draft = |(date, json)| Ok((date, serde_json::from_str(json)?));
    let days: Result<_> = week.dates().zip(DAYS).map(draft).collect();
    Ok((week, days?))
}

/// The example in the project's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_has_seven_diaries_with_text() {
        let (week, days) = a_week().expect("the data are drafts");
        assert!(days.iter().map(|(date, _)| *date).eq(week.dates()));
        for (date, draft) in days {
            assert!(!draft.title.is_empty(), "{date}");
            assert!(draft.content.block_texts().len() > 5, "{date}");
        }
    }
}
