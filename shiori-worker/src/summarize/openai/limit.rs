//! How many requests, and how many tokens, a provider lets one ask for in a minute.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use tokio::time::{Instant, sleep};

/// The limits of one provider, shared by all jobs of the process.
#[derive(Debug)]
pub(super) struct Limits {
    requests: Option<Limit>,
    tokens: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    bucket: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Nanos>>,
    burst: NonZeroU32,
}

/// The runtime's time, so that a test can move it.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

impl Limits {
    pub(super) fn new(
        requests_per_minute: Option<NonZeroU32>,
        tokens_per_minute: Option<NonZeroU32>,
    ) -> Self {
        Self {
            requests: requests_per_minute.map(Limit::new),
            tokens: tokens_per_minute.map(Limit::new),
        }
    }

    /// Waits until a request of so many tokens may be made. One that is larger than what may ever
    /// come at once counts as that much.
    pub(super) async fn wait(&self, tokens: u32) {
        if let Some(requests) = &self.requests {
            requests.wait(1).await;
        }
        if let Some(limit) = &self.tokens {
            limit.wait(tokens).await;
        }
    }
}

impl Limit {
    fn new(per_minute: NonZeroU32) -> Self {
        // A whole minute's worth at once, and as much again while it fills up, would be twice what
        // the provider allows.
        let burst = NonZeroU32::new(per_minute.get() / 6).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let bucket = RateLimiter::direct_with_clock(quota, TokioClock(Instant::now()));
        Self { bucket, burst }
    }

    async fn wait(&self, cells: u32) {
        let cells = NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN).min(self.burst);
        loop {
            // More than the burst would be an error, and is never asked for.
            let Ok(Err(not_until)) = self.bucket.check_n(cells) else { return };
            let wait = not_until.wait_time_from(self.bucket.clock().now());
            // The runtime's timers tick in milliseconds.
            sleep(wait.max(Duration::from_millis(1))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_holds_what_it_may_and_the_rest_waits() {
        let limits = Limits::new(NonZeroU32::new(60), None);
        let started = Instant::now();
        for _ in 0..10 {
            limits.wait(1_000_000).await;
        }
        assert!(started.elapsed() < Duration::from_millis(100), "a sixth may come at once");
        for _ in 0..50 {
            limits.wait(1_000_000).await;
        }
        let took = started.elapsed();
        assert!((49..=51).contains(&took.as_secs()), "one a second from there on: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_counted_and_one_that_is_too_large_goes_alone() {
        let limits = Limits::new(None, NonZeroU32::new(60_000));
        let started = Instant::now();
        limits.wait(10_000).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        limits.wait(5_000).await;
        assert!((5..=6).contains(&started.elapsed().as_secs()));
        limits.wait(4_000_000).await;
        assert!((15..=16).contains(&started.elapsed().as_secs()));
    }
}
