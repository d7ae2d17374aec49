//! Rate limits: requests and tokens per minute.

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

/// The runtime's time, which tests can advance.
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

    /// Waits until a request of this many tokens may be sent. A request that exceeds the burst counts
    /// as the burst.
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
        // A burst of a whole minute's quota, followed by a minute of refills, would be twice the
        // permitted rate.
        let burst = NonZeroU32::new(per_minute.get() / 6).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let bucket = RateLimiter::direct_with_clock(quota, TokioClock(Instant::now()));
        Self { bucket, burst }
    }

    async fn wait(&self, cells: u32) {
        let cells = NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN).min(self.burst);
        loop {
            // The outer error means that there are more cells than the burst, which `min` above
            // excludes.
            let Ok(Err(not_until)) = self.bucket.check_n(cells) else { return };
            let wait = not_until.wait_time_from(self.bucket.clock().now());
            // The runtime's timers have a resolution of a millisecond.
            sleep(wait.max(Duration::from_millis(1))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_limit_wait() {
        let limits = Limits::new(NonZeroU32::new(60), None);
        let started = Instant::now();
        for _ in 0..10 {
            limits.wait(1_000_000).await;
        }
        assert!(started.elapsed() < Duration::from_millis(100), "the burst is a sixth");
        for _ in 0..50 {
            limits.wait(1_000_000).await;
        }
        let took = started.elapsed();
        assert!((49..=51).contains(&took.as_secs()), "one per second afterwards: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_larger_than_the_burst_counts_as_the_burst() {
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
