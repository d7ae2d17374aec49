//! Deadlines from durations that the caller chose, up to `Duration::MAX`.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The latest deadline. 30 years, like the "far future" of tokio.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The deadline this long from now, at most 30 years. A plain addition panics on overflow.
pub(crate) fn after(timeout: Duration) -> Instant {
    // Cannot overflow: an `Instant` has at least 64 bits for nanoseconds, which is 584 years.
    Instant::now() + timeout.min(FAR_FUTURE)
}

/// Sleeps this long, at most 30 years.
pub(crate) async fn sleep(pause: Duration) {
    sleep_until(after(pause)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_overflows_a_deadline() {
        let now = Instant::now();
        for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::MAX / 3] {
            let deadline = after(timeout);
            assert!(deadline >= now + FAR_FUTURE);
            // The timer rounds deadlines up, so a later instant must be representable.
            assert!(deadline.checked_add(FAR_FUTURE).is_some());
        }
        assert!(after(Duration::from_secs(1)) < now + Duration::from_secs(60));
    }
}
