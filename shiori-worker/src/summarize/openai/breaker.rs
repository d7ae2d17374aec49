//! Leaves a provider that fails alone for a while.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When a provider that fails is left alone.
#[derive(Debug, Clone)]
pub struct BreakerConfig {
    /// Failures in a row, over all jobs, after which it is not asked any more. Default 5. Answers
    /// that concern one job alone, such as a refusal or a rate limit, are none.
    pub failures: u32,
    /// How long it is left alone; then one job tries it for all. Default 30 s.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30) }
    }
}

/// One for all requests to a provider.
#[derive(Debug)]
pub(super) struct Breaker {
    rules: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Counts the phases; what was admitted in an earlier one has no say in this one.
    era: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// Leave to ask the provider. Dropped unsettled, it has learned nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    era: u64,
    admitted: Instant,
}

impl Breaker {
    pub(super) fn new(rules: BreakerConfig) -> Self {
        Self { rules, state: Mutex::new(State { era: 0, phase: Phase::Closed { failures: 0 } }) }
    }

    /// How long it would be refused; zero if it is not.
    pub(super) fn refused_for(&self, now: Instant) -> Duration {
        match self.state().phase {
            Phase::Closed { .. } => Duration::ZERO,
            Phase::Open { until } => until.saturating_duration_since(now),
            // Should the probe fail, it will be this long.
            Phase::Probing => self.rules.open_for,
        }
    }

    /// Leave to ask, or how long there is none.
    pub(super) fn admit(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let refused_for = self.refused_for(now);
        let mut state = self.state();
        match state.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if until <= now => state.turn(Phase::Probing),
            Phase::Open { .. } | Phase::Probing => {
                return Err(refused_for.max(Duration::from_millis(1)));
            }
        }
        Ok(Pass { breaker: self, era: state.era, admitted: now })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, phase: Phase) {
        self.era += 1;
        self.phase = phase;
    }
}

impl Pass<'_> {
    /// Says whether the provider was well.
    pub(super) fn settle(self, well: bool, now: Instant) {
        let rules = &self.breaker.rules;
        let mut state = self.breaker.state();
        if state.era != self.era {
            return;
        }
        let failures = match state.phase {
            Phase::Closed { failures } => failures,
            Phase::Probing => rules.failures,
            Phase::Open { .. } => return,
        };
        if well {
            if matches!(state.phase, Phase::Probing) {
                tracing::info!("the language model is asked again");
                state.turn(Phase::Closed { failures: 0 });
            } else {
                state.phase = Phase::Closed { failures: 0 };
            }
        } else if failures.saturating_add(1) >= rules.failures {
            let pause_ms = rules.open_for.as_millis();
            tracing::warn!(pause_ms, "the language model keeps failing and is left alone");
            state.turn(Phase::Open { until: now + rules.open_for });
        } else {
            state.phase = Phase::Closed { failures: failures + 1 };
        }
    }
}

impl Drop for Pass<'_> {
    /// A probe that was cut off lets the next one try. After settling the era is over, or the
    /// phase is not the probe's.
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if state.era == self.era && matches!(state.phase, Phase::Probing) {
            state.turn(Phase::Open { until: self.admitted });
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
            breaker.admit(now).expect("closed").settle(false, now);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerConfig::default());
        for well in [false, false, false, false, true, false, false, false, false] {
            breaker.admit(now).expect("closed").settle(well, now);
        }
        assert_eq!(breaker.refused_for(now), Duration::ZERO);
        breaker.admit(now).expect("closed").settle(false, now);
        assert_eq!(breaker.refused_for(now), PAUSE);
        assert_eq!(breaker.admit(now + SECOND).expect_err("open"), Duration::from_secs(29));
    }

    #[test]
    fn one_probe_decides_for_all() {
        let now = Instant::now();
        let breaker = open(now);
        let later = now + PAUSE;
        let probe = breaker.admit(later).expect("the probe");
        assert_eq!(breaker.admit(later).expect_err("one is enough"), PAUSE);
        probe.settle(false, later + SECOND);
        assert_eq!(breaker.admit(later + SECOND).expect_err("open again"), PAUSE);
        let later = later + SECOND + PAUSE;
        breaker.admit(later).expect("the next probe").settle(true, later);
        for _ in 0..4 {
            breaker.admit(later).expect("closed").settle(false, later);
        }
        assert!(breaker.admit(later).is_ok(), "the count begins anew");
    }

    #[test]
    fn a_probe_that_is_cut_off_lets_the_next_one_try() {
        let now = Instant::now();
        let breaker = open(now);
        let later = now + PAUSE;
        drop(breaker.admit(later).expect("the probe"));
        breaker.admit(later).expect("the next").settle(true, later);
        assert_eq!(breaker.refused_for(later), Duration::ZERO);
    }

    #[test]
    fn what_was_asked_before_has_no_say_later() {
        let now = Instant::now();
        let breaker = Breaker::new(BreakerConfig::default());
        let [slow, slower] = [(); 2].map(|()| breaker.admit(now).expect("closed"));
        for _ in 0..5 {
            breaker.admit(now).expect("closed").settle(false, now);
        }
        slow.settle(true, now);
        assert_eq!(breaker.refused_for(now), PAUSE);
        let later = now + PAUSE;
        breaker.admit(later).expect("the probe").settle(true, later);
        slower.settle(false, later);
        assert_eq!(breaker.refused_for(later), Duration::ZERO);
    }
}
