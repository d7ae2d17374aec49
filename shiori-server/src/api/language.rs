//! The language of messages: Korean by default, English when the client prefers it.

use std::future::Future;

use http::{HeaderMap, header::ACCEPT_LANGUAGE};
use tokio::task::futures::TaskLocalFuture;

/// A language that messages are written in.
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

    /// The language that the headers prefer (RFC 9110, section 12.5.4).
    pub(crate) fn preferred(headers: &HeaderMap) -> Self {
        let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let mut best = (0.0, Self::default());
        for range in header.unwrap_or_default().split(',').take(32) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let quality = parts
                .find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok())
                .unwrap_or(1.0);
            let language = match tag.split('-').next().map(str::to_ascii_lowercase).as_deref() {
                Some("ko") => Self::Korean,
                Some("en") => Self::English,
                _ => continue,
            };
            if quality > best.0 {
                best = (quality, language);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_quality_wins_and_korean_is_the_default() {
        for (header, language) in [
            ("", Language::Korean),
            ("fr, de", Language::Korean),
            ("en", Language::English),
            ("en-GB;q=0.8, ko;q=0.9", Language::Korean),
            ("ko;q=0.1, EN-us", Language::English),
            ("en;q=0", Language::Korean),
            ("en;q=NaN;;;", Language::Korean),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, header.parse().expect("a header"));
            assert_eq!(Language::preferred(&headers), language, "{header}");
        }
    }
}
