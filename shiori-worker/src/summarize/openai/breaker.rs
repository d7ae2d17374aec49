//! A circuit breaker: after repeated failures, requests to the provider are suspended for a while.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::super::Availability;

/// When requests to a failing provider are suspended.
#[derive(Debug, Clone)]
pub struct BreakerConfig {
    /// Consecutive failures, over all jobs, that open the circuit breaker. Default 5. Responses that
    /// concern one job only, such as a refusal or a rate limit, do not count.
    pub failures: u32,
    /// How long requests are suspended; then one probe request decides for all. Default 30 s; at
    /// most 24 h.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30) }
    }
}

/// The circuit breaker of one provider, shared by all requests.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Counts phase changes. Requests admitted in an earlier phase do not affect this one.
    generation: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// Permission for one request. If it is dropped without [`BreakerPermit::record`], it counts
/// neither as a success nor as a failure.
#[derive(Debug)]
pub(super) struct BreakerPermit<'a> {
    breaker: &'a Breaker,
    generation: u64,
    acquired: Instant,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        let state = State { generation: 0, phase: Phase::Closed { failures: 0 } };
        Self { config, state: Mutex::new(state) }
    }

    /// How long requests are still suspended; zero if they are not.
    pub(super) fn open_for(&self, now: Instant) -> Duration {
        match self.state().phase {
            Phase::Closed { .. } => Duration::ZERO,
            Phase::Open { until } => until.saturating_duration_since(now),
            // The pause if the probe fails.
            Phase::Probing => self.config.open_for,
        }
    }

    /// Whether a request would be sent now.
    pub(super) fn availability(&self, now: Instant) -> Availability {
        let phase = self.state().phase;
        match phase {
            Phase::Closed { .. } => Availability::Ready,
            Phase::Open { until } if until <= now => Availability::Probe,
            Phase::Open { until } => Availability::Suspended(until.saturating_duration_since(now)),
            Phase::Probing => Availability::Suspended(self.config.open_for),
        }
    }

    /// Permission for a request, or how long requests are still suspended.
    pub(super) fn try_acquire(&self, now: Instant) -> Result<BreakerPermit<'_>, Duration> {
        let open_for = self.open_for(now);
        let mut state = self.state();
        match state.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if until <= now => state.enter(Phase::Probing),
            Phase::Open { .. } | Phase::Probing => {
                return Err(open_for.max(Duration::from_millis(1)));
            }
        }
        Ok(BreakerPermit { breaker: self, generation: state.generation, acquired: now })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.generation += 1;
        self.phase = phase;
    }
}

impl BreakerPermit<'_> {
    /// Records whether the request succeeded.
    pub(super) fn record(self, succeeded: bool, now: Instant) {
        let config = &self.breaker.config;
        let mut state = self.breaker.state();
        if state.generation != self.generation {
            return;
        }
        let failures = match state.phase {
            Phase::Closed { failures } => failures,
            Phase::Probing => config.failures,
            Phase::Open { .. } => return,
        };
        if succeeded {
            if matches!(state.phase, Phase::Probing) {
                tracing::info!("the language model has recovered, requests are resumed");
                state.enter(Phase::Closed { failures: 0 });
            } else {
                state.phase = Phase::Closed { failures: 0 };
            }
        } else if failures.saturating_add(1) >= config.failures {
            let pause_ms = config.open_for.as_millis();
            tracing::warn!(pause_ms, "the language model keeps failing, requests are suspended");
            state.enter(Phase::Open { until: now + config.open_for });
        } else {
            state.phase = Phase::Closed { failures: failures + 1 };
        }
    }
}

impl Drop for BreakerPermit<'_> {
    /// If a probe is cancelled, the next request is the probe. After `record`, the generation or
    /// the phase has changed.
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if state.generation == self.generation && matches!(state.phase, Phase::Probing) {
            state.enter(Phase::Open { until: self.acquired });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn open(now: Instant) -> Breaker {
        let breaker = Breaker::new(BreakerConfig::default());
        for _ in 0..5 {
            breaker.try_acquire(now).expect("closed").record(false, now);
        }
        breaker
    }

    #[test]
    fn the_breaker_opens_only_after_consecutive_failures() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerConfig::default());
        for succeeded in [false, false, false, false, true, false, false, false, false] {
            breaker.try_acquire(now).expect("closed").record(succeeded, now);
        }
        assert_eq!(breaker.open_for(now), Duration::ZERO);
        breaker.try_acquire(now).expect("closed").record(false, now);
        assert_eq!(breaker.open_for(now), PAUSE);
        assert_eq!(breaker.try_acquire(now + SECOND).expect_err("open"), Duration::from_secs(29));
    }

    #[test]
    fn only_one_probe_is_sent_at_a_time() {
        let now = Instant::now();
        let breaker = open(now);
        let later = now + PAUSE;
        let probe = breaker.try_acquire(later).expect("the probe");
        assert_eq!(breaker.try_acquire(later).expect_err("one probe at a time"), PAUSE);
        probe.record(false, later + SECOND);
        assert_eq!(
            breaker.try_acquire(later + SECOND).expect_err("the breaker is open again"),
            PAUSE
        );
        let later = later + SECOND + PAUSE;
        breaker.try_acquire(later).expect("the next probe").record(true, later);
        for _ in 0..4 {
            breaker.try_acquire(later).expect("closed").record(false, later);
        }
        assert!(breaker.try_acquire(later).is_ok(), "the count starts at zero");
    }

    #[test]
    fn after_a_cancelled_probe_the_next_request_is_the_probe() {
        let now = Instant::now();
        let breaker = open(now);
        let later = now + PAUSE;
        drop(breaker.try_acquire(later).expect("the probe"));
        breaker.try_acquire(later).expect("the next").record(true, later);
        assert_eq!(breaker.open_for(later), Duration::ZERO);
    }

    #[test]
    fn requests_of_an_earlier_phase_are_ignored() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerConfig::default());
        let [slow, slower] = [(); 2].map(|()| breaker.try_acquire(now).expect("closed"));
        for _ in 0..5 {
            breaker.try_acquire(now).expect("closed").record(false, now);
        }
        slow.record(true, now);
        assert_eq!(breaker.open_for(now), PAUSE);
        let later = now + PAUSE;
        breaker.try_acquire(later).expect("the probe").record(true, later);
        slower.record(false, later);
        assert_eq!(breaker.open_for(later), Duration::ZERO);
    }
}
