//! When to repeat a request: exponential backoff with jitter, and the `Retry-After` header.
//!
//! The SDK, the server and the worker use both. The functions are pure: the caller passes the
//! random number and the current time.

use std::time::Duration;

use crate::types::Timestamp;

/// The longest accepted wait of a `Retry-After` header: 24 hours. Longer values are clamped, so
/// that a header can neither overflow a clock nor block a caller indefinitely.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Exponential backoff with full jitter: each pause is uniform between zero and a ceiling that
/// doubles with every attempt.
///
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
///
/// ```
/// use std::time::Duration;
/// use shiori_sdk::backoff::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// assert_eq!(backoff.pause(1, 1.0), Duration::from_millis(100));
/// assert_eq!(backoff.pause(3, 0.5), Duration::from_millis(200));
/// assert_eq!(backoff.pause(1000, 1.0), Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// A backoff whose first ceiling is `first`, and whose ceiling never exceeds `max`.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// The pause after this failed attempt, counted from 1. `random` is uniform in `0.0..=1.0`;
    /// values outside are clamped, and NaN counts as 1.
    pub fn pause(self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max);
        scale(ceiling, random)
    }
}

/// Parses the value of a `Retry-After` header: seconds, or an HTTP date (RFC 9110, section 10.2.3).
/// Returns the time to wait, at most [`MAX_RETRY_AFTER`]; zero for a date in the past; `None` for
/// any other value.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit into a u64 exceeds the clamp, too.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        Timestamp::from(httpdate::parse_http_date(value).ok()?).duration_since(now)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A share, 0 to 1, of a duration. `mul_f64` would panic on an overflow.
pub(crate) fn scale(duration: Duration, share: f64) -> Duration {
    let share = if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) };
    // A rounding error may lift the product above `Duration::MAX`.
    Duration::try_from_secs_f64(duration.as_secs_f64() * share).unwrap_or(duration).min(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wait(value: &str, now_seconds: i64) -> Option<u64> {
        let now = Timestamp::from_millis(now_seconds * 1000);
        parse_retry_after(value, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_reads_seconds_and_http_dates() {
        assert_eq!(wait("7", 0), Some(7));
        assert_eq!(wait(" 7 ", 0), Some(7));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(wait(date, 784_111_777 - 90), Some(90));
        assert_eq!(wait(date, 784_111_777 + 90), Some(0));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777 - 1), Some(1));
        assert_eq!(wait("Sun Nov  6 08:49:37 1994", 784_111_777 - 1), Some(1));
    }

    #[test]
    fn retry_after_is_clamped_to_a_day() {
        for long in ["86401", "18446744073709551615", "99999999999999999999999999"] {
            assert_eq!(wait(long, 0), Some(86_400), "{long}");
        }
        assert_eq!(wait("Tue, 31 Dec 2199 23:59:59 GMT", 0), Some(86_400));
    }

    #[test]
    fn invalid_values_of_retry_after_are_ignored() {
        for odd in
            ["", "soon", "-1", "+3", "1.5", "Sun, 31 Feb 1994 08:49:37 GMT", "06 Nov 1994 25:00"]
        {
            assert_eq!(wait(odd, 0), None, "{odd}");
        }
    }

    fn duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
            (0_u64..100_000).prop_map(Duration::from_millis),
        ]
    }

    proptest! {
        #[test]
        fn a_pause_never_panics_and_never_exceeds_its_ceiling(
            first in duration(), max in duration(), attempt: u32, random: f64,
        ) {
            let backoff = Backoff::new(first, max);
            let pause = backoff.pause(attempt, random);
            prop_assert!(pause <= max);
            prop_assert!(attempt > 1 || pause <= first);
        }

        #[test]
        fn the_ceiling_doubles_up_to_the_maximum(attempt in 1_u32..12) {
            let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
            let expected = Duration::from_millis(100 * (1 << (attempt - 1))).min(Duration::from_secs(5));
            prop_assert_eq!(backoff.pause(attempt, 1.0), expected);
        }

        #[test]
        fn parsing_never_panics_and_never_exceeds_the_clamp(value in "\\PC{0,40}|[0-9]{1,40}", now: i64) {
            let wait = parse_retry_after(&value, Timestamp::from_millis(now));
            prop_assert!(wait.unwrap_or_default() <= MAX_RETRY_AFTER);
        }
    }
}
