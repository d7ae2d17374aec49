//! The language of messages: Korean by default, English if the client prefers it.

use std::{cmp::Reverse, future::Future};

use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use tokio::task::futures::TaskLocalFuture;

/// A language of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Language {
    #[default]
    Korean,
    English,
}

tokio::task_local! {
    static LANGUAGE: Language;
}

impl Language {
    /// The language of the request that the current task handles.
    pub(crate) fn current() -> Self {
        LANGUAGE.try_with(|language| *language).unwrap_or_default()
    }

    /// Runs a future with this language.
    pub(crate) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        LANGUAGE.scope(self, future)
    }

    /// Runs a closure with this language.
    pub(crate) fn in_scope<T>(self, f: impl FnOnce() -> T) -> T {
        LANGUAGE.sync_scope(self, f)
    }

    /// The language that the headers prefer (RFC 9110, section 12.5.4). With equal weights it is the
    /// first in the header; if neither is acceptable, it is Korean.
    pub(crate) fn preferred(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let ranges = lines.flat_map(|line| line.split(',')).take(MAX_RANGES);
        let (mut korean, mut english, mut any) = (None, None, None);
        for (position, range) in ranges.enumerate() {
            let Some((tag, weight)) = weighted(range) else { continue };
            let (primary, is_narrower) =
                tag.split_once('-').map_or((tag, false), |(primary, _)| (primary, true));
            let rating = Some(Rating { weight, position: Reverse(position) });
            let slot = match primary {
                // A weight of zero for a dialect does not exclude the language.
                _ if is_narrower && weight == 0 => continue,
                tag if tag.eq_ignore_ascii_case("ko") => &mut korean,
                tag if tag.eq_ignore_ascii_case("en") => &mut english,
                "*" => &mut any,
                _ => continue,
            };
            *slot = rating.max(*slot);
        }
        // The asterisk matches every language that is not in the header.
        let (korean, english) = (korean.or(any), english.or(any));
        let is_excluded = |rating: Option<Rating>| rating.is_some_and(|rating| rating.weight == 0);
        match (is_excluded(korean), is_excluded(english)) {
            (true, false) => Self::English,
            (false, false) if english > korean => Self::English,
            _ => Self::Korean,
        }
    }
}

/// The maximum number of language ranges that are read.
const MAX_RANGES: usize = 32;

/// The preference for a language. Greater values are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rating {
    /// In thousandths.
    weight: u16,
    position: Reverse<usize>,
}

/// A language range and its weight in thousandths; `None` if the weight is malformed.
fn weighted(range: &str) -> Option<(&str, u16)> {
    let Some((tag, weight)) = range.split_once(';') else { return Some((range.trim(), 1000)) };
    let (name, value) = weight.trim().split_once('=')?;
    name.eq_ignore_ascii_case("q").then_some((tag.trim(), thousandths(value)?))
}

/// A `qvalue` (RFC 9110, section 12.4.2): 0 to 1 with at most three decimals.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = decimals.bytes().chain([b'0'; 3]).take(3);
    let fraction = fraction.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(lines: &[&str]) -> Language {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_LANGUAGE, line.parse().expect("a header"));
        }
        Language::preferred(&headers)
    }

    #[test]
    fn the_highest_weight_is_preferred_and_korean_is_the_default() {
        for (header, language) in [
            ("", Language::Korean),
            ("fr, de", Language::Korean),
            ("*", Language::Korean),
            ("en", Language::English),
            ("en-GB;q=0.8, ko;q=0.9", Language::Korean),
            ("ko;q=0.1, EN-us", Language::English),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Korean),
            ("en-US,en;q=0.9,ko-KR;q=0.8,ko;q=0.7", Language::English),
            ("ko;q=0.9, en;q=0.901", Language::English),
            ("ko ; Q=0.2 , en ; q=0.3", Language::English),
            // With equal weights, the first one.
            ("en, ko", Language::English),
            ("ko, en", Language::Korean),
            ("*;q=0.5, en;q=0.5", Language::Korean),
            ("en;q=0.5, *;q=0.5", Language::English),
        ] {
            assert_eq!(preferred(&[header]), language, "{header}");
        }
        assert_eq!(preferred(&["ko;q=0.5", "en"]), Language::English);
    }

    #[test]
    fn an_asterisk_matches_every_other_language() {
        for (header, language) in [
            ("*;q=0.5, ko;q=0", Language::English),
            ("ko;q=0, *", Language::English),
            ("fr, ko;q=0.1, *;q=0.5", Language::English),
            ("fr, ko;q=0.6, *;q=0.5", Language::Korean),
            ("en;q=0, *", Language::Korean),
            ("en;q=0.1, *;q=0.5", Language::Korean),
            ("en;q=0.1, *;q=0", Language::English),
        ] {
            assert_eq!(preferred(&[header]), language, "{header}");
        }
    }

    #[test]
    fn a_weight_of_zero_excludes_a_language() {
        for (header, language) in [
            ("ko;q=0", Language::English),
            ("ko;q=0.000, fr", Language::English),
            ("en;q=0", Language::Korean),
            ("ko;q=0, en;q=0", Language::Korean),
            ("*;q=0", Language::Korean),
            // A weight of zero for a dialect does not exclude the language.
            ("ko-KP;q=0", Language::Korean),
            ("ko-KP;q=0, ko", Language::Korean),
        ] {
            assert_eq!(preferred(&[header]), language, "{header}");
        }
    }

    #[test]
    fn a_range_with_a_malformed_weight_is_ignored() {
        for weight in ["q=NaN", "q=1.001", "q=2", "q=-1", "q=0.1234", "q=", "q=.5", "q", "level=1"]
        {
            let header = format!("en;{weight}, ko;q=0.001");
            assert_eq!(preferred(&[&header]), Language::Korean, "{header}");
        }
        assert_eq!(preferred(&["en;q=1.000;;;"]), Language::Korean);
        assert_eq!(preferred(&["en;q=1.000, ko;q=1."]), Language::English);
    }
}
