//! The statistics of repeated measurements.

/// The median of the repeats, and how far they spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) median: f64,
    /// The lower end.
    pub(crate) low: f64,
    /// The upper end.
    pub(crate) high: f64,
}

impl Spread {
    /// With five or more repeats, the lowest and the highest are outside the spread: on a shared
    /// machine, one of five is often disturbed. `None` without repeats.
    pub(crate) fn of(repeats: &[f64]) -> Option<Self> {
        let mut sorted = repeats.to_vec();
        sorted.sort_by(f64::total_cmp);
        let kept = if sorted.len() >= 5 { &sorted[1..sorted.len() - 1] } else { &sorted[..] };
        Some(Self { median: median(&sorted)?, low: *kept.first()?, high: *kept.last()? })
    }

    /// Whether the two spreads have a value in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// The median of sorted values: the mean of the two in the middle if their number is even.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extremes_of_five_repeats_are_outside_the_spread() {
        let spread = Spread::of(&[3.0, 100.0, 2.0, 1.0, 4.0]);
        assert_eq!(spread, Some(Spread { median: 3.0, low: 2.0, high: 4.0 }));
    }

    #[test]
    fn the_spread_of_few_repeats_has_all_of_them() {
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { median: 2.5, low: 1.0, high: 4.0 }));
        assert_eq!(Spread::of(&[7.0]), Some(Spread { median: 7.0, low: 7.0, high: 7.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn spreads_that_touch_overlap() {
        let spread = |low, high| Spread { median: low, low, high };
        assert!(spread(1.0, 2.0).overlaps(&spread(2.0, 3.0)));
        assert!(spread(1.0, 9.0).overlaps(&spread(2.0, 3.0)));
        assert!(!spread(1.0, 2.0).overlaps(&spread(2.1, 3.0)));
    }
}
