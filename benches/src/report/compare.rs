//! Which figures of a report are worse than those of an older one, beyond the noise.

use crate::{
    figures::{Better, Experiment, Figure, Figures, Unit},
    statistics::Spread,
};

/// A median must have moved by more than this share of the old one.
const THRESHOLD: f64 = 0.10;

/// Times below this difference are not compared: the resolution of timers and schedulers.
const SMALLEST_MS: f64 = 0.02;

/// Latencies of open loops are compared if their rates differ by at most this share.
const SAME_RATE: f64 = 0.10;

/// Figures with fewer repeats have no spread to judge a change by.
const FEWEST_REPEATS: usize = 3;

/// The rule, for readers of the report.
pub(crate) const RULE: &str = "A figure has changed if its median differs by more than 10 % (and 0.02 ms) \
    and the spreads do not overlap. The spread is the range of the repeats, without the lowest and the \
    highest if there are at least five. Figures with fewer than three repeats are not compared, and \
    latencies of open loops only if their rates differ by at most 10 %. Floors are compared, too, but \
    a slower floor means a slower machine and is not counted.";

/// The result of the comparison of two reports.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Comparison {
    /// Figures that are worse.
    pub(crate) worse: Vec<Change>,
    /// Figures that are better.
    pub(crate) better: Vec<Change>,
    /// Floors that moved in either direction: the machine was not the same.
    pub(crate) floors: Vec<Change>,
    /// The number of figures that have not changed.
    pub(crate) same: usize,
    /// The number of figures that only one report has, or whose conditions differ.
    pub(crate) not_compared: usize,
}

/// A figure that has changed.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    /// What it is.
    pub(crate) what: String,
    /// The unit of both.
    pub(crate) unit: Unit,
    /// Before.
    pub(crate) old: Spread,
    /// Now.
    pub(crate) new: Spread,
}

impl Change {
    /// The new median as a multiple of the old one.
    pub(crate) fn ratio(&self) -> f64 {
        self.new.median / self.old.median
    }
}

impl Comparison {
    /// Compares two reports by [`RULE`].
    pub(crate) fn of(old: &Figures, new: &Figures) -> Self {
        let mut comparison = Self::default();
        for figure in &new.figures {
            if figure.better == Better::Neither {
                continue;
            }
            let before = old.get(&figure.point, &figure.statistic);
            let both = before.filter(|before| {
                let repeats = before.repeats.len().min(figure.repeats.len());
                repeats >= FEWEST_REPEATS && same_conditions(old, new, figure)
            });
            let spreads = both.and_then(|before| Some((before.spread()?, figure.spread()?)));
            let Some((old, new)) = spreads else {
                comparison.not_compared += 1;
                continue;
            };
            let change = || Change { what: name(figure), unit: figure.unit, old, new };
            if !is_beyond_noise(figure.unit, &old, &new) {
                comparison.same += 1;
            } else if figure.point.experiment == Experiment::Floor {
                comparison.floors.push(change());
            } else if (new.median > old.median) == (figure.better == Better::Lower) {
                comparison.worse.push(change());
            } else {
                comparison.better.push(change());
            }
        }
        comparison
    }
}

/// Whether the medians differ by more than the threshold, and the spreads do not overlap.
fn is_beyond_noise(unit: Unit, old: &Spread, new: &Spread) -> bool {
    let moved = (new.median - old.median).abs();
    let smallest = if unit == Unit::Milliseconds { SMALLEST_MS } else { 0.0 };
    moved > (old.median.abs() * THRESHOLD).max(smallest) && !old.overlaps(new)
}

/// Whether an open loop had the same rate; true for other experiments.
fn same_conditions(old: &Figures, new: &Figures, figure: &Figure) -> bool {
    if figure.point.experiment != Experiment::OpenLoop {
        return true;
    }
    let rate = |figures: &Figures| figures.median(&figure.point, "intended rate");
    match (rate(old), rate(new)) {
        (Some(old), Some(new)) => (new - old).abs() <= SAME_RATE * old,
        _ => false,
    }
}

/// The name of a figure, such as `embedded, closed loop: read, 1 client, p50`.
pub(crate) fn name(figure: &Figure) -> String {
    let point = &figure.point;
    let at = point.at.map(|at| format!(", {}", condition(point.experiment, at)));
    format!(
        "{}, {}: {}{}, {}",
        point.profile,
        experiment(point.experiment),
        point.subject,
        at.unwrap_or_default(),
        figure.statistic
    )
}

/// The name of an experiment.
fn experiment(experiment: Experiment) -> &'static str {
    match experiment {
        Experiment::Floor => "floor",
        Experiment::ClosedLoop => "closed loop",
        Experiment::OpenLoop => "open loop",
        Experiment::Race => "saves of one version",
        Experiment::Conflicts => "appends to one day",
        Experiment::Enqueue => "summary requests",
        Experiment::Throughput => "summaries",
        Experiment::Text => "text of summaries",
        Experiment::Recovery => "recovery",
        Experiment::Diaries => "growth of diaries",
        Experiment::Backlog => "queued summaries",
        Experiment::History => "finished summaries of a week",
        Experiment::Merge => "merge",
    }
}

/// The value of the independent variable with its name.
fn condition(experiment: Experiment, at: f64) -> String {
    match experiment {
        Experiment::ClosedLoop if at <= 1.0 => "1 client".to_owned(),
        Experiment::ClosedLoop => format!("{at} clients"),
        Experiment::OpenLoop => format!("{at} % of the peak"),
        Experiment::Race | Experiment::Conflicts => format!("{at} writers"),
        Experiment::Enqueue => format!("{at} concurrent"),
        Experiment::Throughput | Experiment::Text => format!("{at} in flight"),
        Experiment::Diaries => format!("{at} diaries"),
        Experiment::Backlog => format!("{at} queued"),
        Experiment::History => format!("{at} finished"),
        Experiment::Floor | Experiment::Recovery | Experiment::Merge => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Point;

    fn figures(experiment: Experiment, better: Better, repeats: &[f64]) -> Figures {
        let mut figures = Figures::default();
        let point = Point::new("embedded", experiment, "read", 1.0);
        for value in repeats {
            figures.add(&point, "p50", Unit::Milliseconds, better, *value);
        }
        figures
    }

    fn compared(better: Better, old: &[f64], new: &[f64]) -> Comparison {
        let figures = |repeats| figures(Experiment::ClosedLoop, better, repeats);
        Comparison::of(&figures(old), &figures(new))
    }

    #[test]
    fn a_change_within_the_spread_is_noise() {
        // 20 % slower in the median, but the third of the new values is as fast as the old ones.
        let found = compared(Better::Lower, &[1.0, 1.0, 1.1], &[1.2, 1.3, 1.1]);
        assert_eq!((found.same, found.worse.len()), (1, 0));
    }

    #[test]
    fn a_small_change_is_noise() {
        let found = compared(Better::Lower, &[1.0, 1.0, 1.0], &[1.09, 1.09, 1.09]);
        assert_eq!((found.same, found.worse.len()), (1, 0));
        let found = compared(Better::Lower, &[0.002; 3], &[0.01; 3]);
        assert_eq!((found.same, found.worse.len()), (1, 0));
    }

    #[test]
    fn a_change_beyond_the_spread_has_a_direction() {
        let (low, high) = ([1.0, 1.1, 1.05], [1.3, 1.25, 1.4]);
        assert_eq!(compared(Better::Lower, &low, &high).worse.len(), 1);
        assert_eq!(compared(Better::Lower, &high, &low).better.len(), 1);
        assert_eq!(compared(Better::Higher, &low, &high).better.len(), 1);
        assert_eq!(compared(Better::Higher, &high, &low).worse.len(), 1);
        assert_eq!(compared(Better::Neither, &low, &high), Comparison::default());
    }

    #[test]
    fn one_outlier_of_five_hides_no_change() {
        let found = compared(Better::Lower, &[1.0, 1.0, 1.0, 1.0, 9.0], &[2.0; 5]);
        assert_eq!(found.worse.len(), 1);
    }

    #[test]
    fn figures_with_few_repeats_are_not_compared() {
        let found = compared(Better::Lower, &[1.0; 2], &[9.0; 5]);
        assert_eq!((found.worse.len(), found.not_compared), (0, 1));
    }

    #[test]
    fn errors_that_are_new_are_worse() {
        assert_eq!(compared(Better::Lower, &[0.0; 3], &[4.0; 3]).worse.len(), 1);
    }

    #[test]
    fn a_slower_floor_is_the_machine() {
        let floor = |repeats: &[f64]| figures(Experiment::Floor, Better::Lower, repeats);
        let found = Comparison::of(&floor(&[1.0; 5]), &floor(&[2.0; 5]));
        assert_eq!((found.worse.len(), found.floors.len()), (0, 1));
    }

    #[test]
    fn open_loops_with_different_rates_are_not_compared() {
        let open = |rate: f64, latency: f64| {
            let mut figures = figures(Experiment::OpenLoop, Better::Lower, &[latency; 3]);
            let point = figures.figures[0].point.clone();
            figures.add(&point, "intended rate", Unit::PerSecond, Better::Neither, rate);
            figures
        };
        let found = Comparison::of(&open(100.0, 1.0), &open(300.0, 2.0));
        assert_eq!((found.worse.len(), found.not_compared), (0, 1));
        let found = Comparison::of(&open(100.0, 1.0), &open(105.0, 2.0));
        assert_eq!((found.worse.len(), found.not_compared), (1, 0));
    }

    #[test]
    fn a_figure_without_a_predecessor_is_not_compared() {
        let new = figures(Experiment::ClosedLoop, Better::Lower, &[1.0]);
        assert_eq!(Comparison::of(&Figures::default(), &new).not_compared, 1);
    }

    #[test]
    fn a_name_has_the_condition() {
        let figures = figures(Experiment::ClosedLoop, Better::Lower, &[1.0]);
        assert_eq!(name(&figures.figures[0]), "embedded, closed loop: read, 1 client, p50");
    }
}
