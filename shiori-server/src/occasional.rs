use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Limits how often an event is logged.
#[derive(Debug)]
pub(crate) struct Occasional {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reported_at: Option<Instant>,
    unreported: u64,
}

impl Occasional {
    /// An event is reported immediately, and then at most once per interval.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::default() }
    }

    /// Counts the event. If it should be logged now, returns how often it has occurred since it was
    /// last logged.
    pub(crate) fn report(&self) -> Option<u64> {
        self.report_at(Instant::now())
    }

    fn report_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unreported += 1;
        if state.reported_at.is_some_and(|reported| now.duration_since(reported) < self.interval) {
            return None;
        }
        state.reported_at = Some(now);
        Some(std::mem::take(&mut state.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_reported_once_per_interval_with_its_count() {
        let interval = Duration::from_secs(10);
        let (event, start) = (Occasional::new(interval), Instant::now());
        assert_eq!(event.report_at(start), Some(1));
        for _ in 0..3 {
            assert_eq!(event.report_at(start + interval / 2), None);
        }
        assert_eq!(event.report_at(start + interval), Some(4));
        assert_eq!(event.report_at(start + interval), None);
    }
}
