//! The limits of the API. These are the defaults of a server, which can be configured with others,
//! and the limits of `testing::FakeShiori`. For the limits of a password see
//! [`Password`](super::Password), for those of a document
//! [`DocumentLimits`](super::DocumentLimits).

use std::time::Duration;

/// Maximum size of a request body, in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Maximum bytes (UTF-8) of a nickname or title for each permitted character. A character is an
/// extended grapheme cluster (UAX #29) of the text in NFC, which may consist of any number of code
/// points; the longest emoji has 35 bytes. Not configurable.
pub const MAX_BYTES_PER_CHAR: usize = 40;

/// Maximum length of a nickname, in characters (extended grapheme clusters after NFC). Not
/// configurable.
pub const MAX_NICKNAME_CHARS: usize = 30;

/// Maximum length of a title, in characters (extended grapheme clusters after NFC).
pub const MAX_TITLE_CHARS: usize = 50;

/// Number of a date's latest saves that a server recognises if they are repeated, also after the
/// diary was deleted. Not configurable.
pub const REMEMBERED_SAVES: usize = 64;

/// Maximum length of a range in a query, in days.
pub const MAX_RANGE_DAYS: u32 = 366;

/// Maximum number of dates in a response with versions, so that it has about 64 KiB: those of eleven
/// years. Not configurable.
pub const MAX_VERSIONS: u32 = 4096;

/// Maximum number of dates in a request that reads many diaries. Not configurable.
pub const MAX_READ_DATES: usize = 100;

/// A response with many diaries ends when their documents have this many bytes as JSON: 1 MiB. It has
/// at least one diary. Not configurable.
pub const MAX_READ_BYTES: usize = 1024 * 1024;

/// Maximum length of a range of emotions, in days: ten years. Not configurable.
pub const MAX_EMOTION_DAYS: u32 = 3_653;

/// Maximum time that a long-poll waits for a change of a summary.
pub const MAX_LONG_POLL: Duration = Duration::from_secs(30);

/// Maximum number of unfinished summaries per user.
pub const MAX_UNFINISHED_SUMMARIES: u32 = 32;

/// Maximum number of summaries that a user can request within one day in UTC, also with `force`. A
/// response with an existing summary does not count.
pub const MAX_SUMMARIES_PER_DAY: u32 = 200;

/// Maximum number of diaries per user: one for every day of a century.
pub const MAX_DIARIES: u64 = 36_525;

/// Maximum size of all diaries of a user, in bytes of their documents as JSON: 1 GiB.
pub const MAX_DIARY_BYTES: u64 = 1 << 30;

/// The size of all diaries of a user is compared with [`MAX_DIARY_BYTES`] when a date gets a diary,
/// and when a diary grows across a multiple of this number of bytes. Not configurable.
pub const QUOTA_STEP_BYTES: u64 = 32 * 1024;

/// Age of a text from which a save keeps the text that it replaces, also if the same session has saved
/// it. Not configurable.
pub const REVISION_AGE: Duration = Duration::from_secs(10 * 60);

/// Maximum number of revisions of one date.
pub const MAX_REVISIONS: u32 = 50;

/// Time after which a revision is deleted.
pub const REVISION_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Time after which an access token expires.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(15 * 60);

/// Time after which a session expires unless it is refreshed.
pub const SESSION_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Time in which a refresh may be repeated with the old token, in case its response was lost, until
/// one of the new tokens is used.
pub const REFRESH_REPEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// Time in which a refresh may be repeated with the old token although the new tokens are used,
/// because a copy of the request may be late.
pub const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// Maximum number of failed logins for one e-mail address within [`LOGIN_WINDOW`].
pub const MAX_LOGIN_ATTEMPTS: u32 = 10;

/// The time in which failed logins are counted, starting with the first.
pub const LOGIN_WINDOW: Duration = Duration::from_secs(5 * 60);
