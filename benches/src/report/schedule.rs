//! The arrivals of an open loop: their times depend on the rate alone, not on the responses.

use std::time::Duration;

/// Arrivals at a fixed rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    per_second: f64,
    count: u32,
}

impl Schedule {
    /// This rate for this time; at least one arrival.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped
    pub(crate) fn new(per_second: f64, lasts: Duration) -> Self {
        let per_second = per_second.max(f64::MIN_POSITIVE);
        let count = (per_second * lasts.as_secs_f64()).round().clamp(1.0, f64::from(u32::MAX));
        Self { per_second, count: count as u32 }
    }

    /// The number of arrivals.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The intended times of the arrivals, from the start of the schedule. Each is computed from its
    /// number, so that rounding does not add up.
    pub(crate) fn arrivals(self) -> impl Iterator<Item = Duration> {
        (0..self.count).map(move |nth| Duration::from_secs_f64(f64::from(nth) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_equally_spaced() {
        let schedule = Schedule::new(4.0, Duration::from_secs(2));
        let arrivals: Vec<_> = schedule.arrivals().map(|at| at.as_millis()).collect();
        assert_eq!(arrivals, [0, 250, 500, 750, 1000, 1250, 1500, 1750]);
        assert_eq!(schedule.count(), 8);
    }

    #[test]
    fn rounding_does_not_add_up() {
        let schedule = Schedule::new(3000.0, Duration::from_secs(100));
        let last = schedule.arrivals().last().expect("arrivals").as_secs_f64();
        assert!((last - 299_999.0 / 3000.0).abs() < 1e-8, "{last}");
    }

    #[test]
    fn a_schedule_has_at_least_one_arrival() {
        for (rate, seconds) in [(0.0, 1), (0.1, 1), (5.0, 0), (-1.0, 1), (f64::NAN, 1)] {
            let schedule = Schedule::new(rate, Duration::from_secs(seconds));
            assert_eq!(schedule.arrivals().collect::<Vec<_>>(), [Duration::ZERO], "{rate}");
        }
    }
}
