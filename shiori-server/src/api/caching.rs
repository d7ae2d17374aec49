//! Caching by clients: entity tags and cache headers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, IF_NONE_MATCH, VARY},
};
use sha2::{Digest, Sha256};
use shiori_sdk::{DiaryId, DiarySummaryStatus, Emotion, Version, VersionPage};

/// Bytes of a tag's hash, enough to exclude collisions.
const TAG_BYTES: usize = 16;

/// Marks a response of a user's route, whose errors may contain the user's data, too: only the user's
/// own client caches it, and revalidates it before each use. It depends on the user and the language.
pub(super) fn mark_personal(headers: &mut HeaderMap) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.append(VARY, HeaderValue::from_static("authorization, accept-language"));
}

/// Marks a response that must not be stored.
pub(super) fn mark_not_stored(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The strong validator (RFC 9110, section 8.8) of a diary with its annotations. It is a hash, so
/// that all servers compute the same tag and clients treat it as opaque.
pub(super) fn etag(
    id: DiaryId,
    version: Version,
    status: DiarySummaryStatus,
    emotion: Option<Emotion>,
) -> String {
    let digest = Sha256::new()
        .chain_update(id.as_bytes())
        .chain_update(version.get().to_be_bytes())
        .chain_update(status.as_str())
        // Separates the status from the next part.
        .chain_update([0])
        .chain_update(emotion.map_or("", Emotion::korean))
        .finalize();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..TAG_BYTES]))
}

/// The strong validator of a page of versions. Like [`etag`], all servers compute the same one.
pub(super) fn versions_etag(page: &VersionPage) -> String {
    let mut hash = Sha256::new();
    for version in &page.versions {
        let flags = [u8::from(version.is_archived), u8::from(version.is_deleted)];
        hash.update(version.date.as_number().to_be_bytes());
        hash.update(version.version.get().to_be_bytes());
        hash.update(flags);
    }
    if let Some(next) = page.next {
        // Shorter than a version, so it is none.
        hash.update(next.as_number().to_be_bytes());
    }
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..TAG_BYTES]))
}

/// Whether `If-None-Match` matches: it is `*`, or contains this tag by weak comparison (RFC 9110,
/// section 13.1.2), in any line and at any position.
pub(super) fn is_known(headers: &HeaderMap, etag: Option<&str>) -> bool {
    let mut lines = headers.get_all(IF_NONE_MATCH).iter().map(|line| line.as_bytes().trim_ascii());
    lines.any(|line| line == b"*" || etag.is_some_and(|etag| lists(line, etag.as_bytes())))
}

/// Whether a list of entity tags contains this one. A malformed tag and everything after it are
/// ignored.
fn lists(mut line: &[u8], etag: &[u8]) -> bool {
    loop {
        line = line.trim_ascii_start();
        while let Some(rest) = line.strip_prefix(b",") {
            line = rest.trim_ascii_start();
        }
        let tag = line.strip_prefix(b"W/").unwrap_or(line);
        let Some(opaque) = tag.strip_prefix(b"\"") else { return false };
        let Some(length) = opaque.iter().position(|byte| *byte == b'"') else { return false };
        let (found, rest) = tag.split_at(length + 2);
        line = rest.trim_ascii_start();
        if !line.is_empty() && !line.starts_with(b",") {
            return false;
        }
        if found == etag {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use shiori_sdk::{Date, DateVersion};

    use super::*;

    #[test]
    fn a_tag_changes_with_each_of_its_parts() {
        let mut tags = HashSet::new();
        let mut count = 0;
        for id in [DiaryId::from_bytes([1; 16]), DiaryId::from_bytes([2; 16])] {
            for version in [1, 2, 256] {
                for status in ["none", "pending", "completed", "failed", "stale"] {
                    for emotion in [None, Some(Emotion::Fear), Some(Emotion::Happiness)] {
                        let tag = etag(id, Version::new(version), status.into(), emotion);
                        assert_eq!(tag.len(), 24, "{tag}");
                        tags.insert(tag);
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(tags.len(), count);
    }

    /// Clients cache tags across restarts and upgrades of the server.
    #[test]
    fn a_tag_does_not_depend_on_the_server() {
        let id = DiaryId::from_bytes([7; 16]);
        let tag = etag(id, Version::new(3), DiarySummaryStatus::Completed, Some(Emotion::Sadness));
        assert_eq!(tag, "\"jgCrgw4pH6pSpnuNOQ0QSQ\"");
    }

    #[test]
    fn a_tag_of_versions_changes_with_each_of_them() {
        let version = |day, number, is_archived, is_deleted| DateVersion {
            date: Date::new(2026, 2, day).expect("a date"),
            version: Version::new(number),
            is_archived,
            is_deleted,
        };
        let first = version(1, 1, false, false);
        let mut tags = HashSet::new();
        let lists = [
            vec![],
            vec![first],
            vec![version(2, 1, false, false)],
            vec![version(1, 2, false, false)],
            vec![version(1, 1, true, false)],
            vec![version(1, 1, false, true)],
            vec![first, version(2, 1, false, false)],
        ];
        for versions in &lists {
            for next in [None, Date::new(2026, 3, 1).ok(), Date::new(2026, 3, 2).ok()] {
                tags.insert(versions_etag(&VersionPage { versions: versions.clone(), next }));
            }
        }
        assert_eq!(tags.len(), 3 * lists.len());
        let page = VersionPage { versions: vec![first], next: None };
        assert_eq!(
            versions_etag(&page),
            "\"6Q8TZ5eKCHN2db7C2JjQfw\"",
            "clients cache tags across restarts"
        );
    }

    #[test]
    fn a_tag_is_found_in_every_valid_header() {
        let known = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, HeaderValue::from_bytes(line).expect("a header"));
            }
            is_known(&headers, Some("\"a\""))
        };
        for lines in [
            &[&b"\"a\""[..]][..],
            &[b"W/\"a\""],
            &[b" \"b\" , \"a\""],
            &[b"\"b\",W/\"a\",\"c\""],
            &[b", ,\"a\""],
            &[b"\"x,y\", \"a\""],
            &[b"\"\xed\x95\x9c\", \"a\""],
            &[b"\"b\"", b"\"a\""],
            &[b"*"],
            &[b" * "],
        ] {
            assert!(known(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[&b""[..]],
            &[b"a"],
            &[b"\"A\""],
            &[b"\"b\""],
            &[b"\"a"],
            &[b"w/\"a\""],
            &[b"\"b\"\"a\""],
            &[b"\"a\"x"],
            &[b"\"a\" \"b\""],
            &[b"\"b, \"a\""],
            &[b"\"b\", *"],
            &[b"\"**\""],
        ] {
            assert!(!known(lines), "{lines:?}");
        }
    }

    #[test]
    fn without_a_tag_only_the_asterisk_matches() {
        let headers =
            |value| HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
        assert!(is_known(&headers("*"), None));
        assert!(!is_known(&headers("\"a\""), None));
        assert!(!is_known(&headers("\"\""), None));
    }
}
