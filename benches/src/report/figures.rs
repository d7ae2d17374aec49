//! The figures of a report: each is one number, measured several times.

use serde::{Deserialize, Serialize};

use crate::{load::Sample, statistics::Spread};

/// What was measured, under which condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// `embedded`, `distributed`, or `sdk` for what needs no server.
    pub(crate) profile: String,
    /// The experiment.
    pub(crate) experiment: Experiment,
    /// The call, the policy or the model.
    pub(crate) subject: String,
    /// The independent variable of the experiment.
    pub(crate) at: Option<f64>,
}

/// The experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Experiment {
    /// What the machine and the engines need without Shiori.
    Floor,
    /// Each client waits for its response; over the number of clients.
    ClosedLoop,
    /// Calls arrive at a fixed rate; over the percentage of the peak.
    OpenLoop,
    /// Concurrent saves of one version; over the number of writers.
    Race,
    /// Concurrent appends to one day under a conflict policy; over the number of writers.
    Conflicts,
    /// Summary requests while the language model is slow; over the number of concurrent requests.
    Enqueue,
    /// Summaries per second; over the summaries in flight.
    Throughput,
    /// The text of running summaries; over the summaries in flight.
    Text,
    /// A worker is killed.
    Recovery,
    /// Calls over the number of diaries.
    Diaries,
    /// Calls and an idle server over the number of queued summaries.
    Backlog,
    /// Calls over the number of finished summaries of the week.
    History,
    /// Three-way merges.
    Merge,
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Events per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Percent; of a core, if it is CPU time.
    #[serde(rename = "%")]
    Percent,
    /// Microseconds of CPU time.
    #[serde(rename = "µs of CPU")]
    CpuMicros,
    /// A count or a ratio.
    #[serde(rename = "1")]
    Number,
}

/// Whether a low or a high value is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    /// A low value is good.
    Lower,
    /// A high value is good.
    Higher,
    /// The value describes the measurement and is not compared.
    Neither,
}

/// One number, measured several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) point: Point,
    /// The statistic of it, such as `p50`.
    pub(crate) statistic: String,
    /// Its unit.
    pub(crate) unit: Unit,
    /// Which direction is good.
    pub(crate) better: Better,
    /// The values, in the order of measurement.
    pub(crate) repeats: Vec<f64>,
}

impl Figure {
    /// The median and the spread of the repeats.
    pub(crate) fn spread(&self) -> Option<Spread> {
        Spread::of(&self.repeats)
    }
}

/// The cumulative distribution of the times of all repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) point: Point,
    /// Milliseconds, and the share of the calls that took no longer.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What happened in an experiment over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) point: Point,
    /// The time of the kill, in seconds from the start.
    pub(crate) killed_at: f64,
    /// For each repeat, seconds from the start and the number of unfinished summaries.
    pub(crate) repeats: Vec<Vec<(f64, f64)>>,
}

/// All figures of a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The numbers.
    #[allow(clippy::struct_field_names)] // the name in the file
    pub(crate) figures: Vec<Figure>,
    /// The distributions of times.
    pub(crate) distributions: Vec<Distribution>,
    /// What happened over time.
    pub(crate) timelines: Vec<Timeline>,
}

impl Point {
    /// A point.
    pub(crate) fn new(
        profile: &str,
        experiment: Experiment,
        subject: &str,
        at: impl Into<Option<f64>>,
    ) -> Self {
        let (profile, subject) = (profile.to_owned(), subject.to_owned());
        Self { profile, experiment, subject, at: at.into() }
    }
}

impl Figures {
    /// Adds a repeat of a figure.
    pub(crate) fn add(
        &mut self,
        point: &Point,
        statistic: &str,
        unit: Unit,
        better: Better,
        value: f64,
    ) {
        let same = |figure: &&mut Figure| figure.point == *point && figure.statistic == statistic;
        if let Some(figure) = self.figures.iter_mut().find(same) {
            figure.repeats.push(value);
            return;
        }
        self.figures.push(Figure {
            point: point.clone(),
            statistic: statistic.to_owned(),
            unit,
            better,
            repeats: vec![value],
        });
    }

    /// Adds a repeat of a loop: percentiles, rate and errors.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub(crate) fn add_sample(&mut self, point: &Point, sample: &Sample) {
        for (statistic, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            let time = sample.quantile_ms(quantile);
            self.add(point, statistic, Unit::Milliseconds, Better::Lower, time);
        }
        let rate_is_result =
            matches!(point.experiment, Experiment::ClosedLoop | Experiment::Throughput);
        let better = if rate_is_result { Better::Higher } else { Better::Neither };
        self.add(point, "rate", Unit::PerSecond, better, sample.per_second());
        self.add(point, "calls", Unit::Number, Better::Neither, sample.count() as f64);
        self.add(point, "errors", Unit::Number, Better::Lower, sample.errors as f64);
    }

    /// The figure of a point.
    pub(crate) fn get(&self, point: &Point, statistic: &str) -> Option<&Figure> {
        let same = |figure: &&Figure| figure.point == *point && figure.statistic == statistic;
        self.figures.iter().find(same)
    }

    /// The median of a figure.
    pub(crate) fn median(&self, point: &Point, statistic: &str) -> Option<f64> {
        Some(self.get(point, statistic)?.spread()?.median)
    }

    /// The figures of one experiment and statistic, in the order of measurement.
    pub(crate) fn of<'a>(
        &'a self,
        experiment: Experiment,
        statistic: &'a str,
    ) -> impl Iterator<Item = &'a Figure> {
        self.figures
            .iter()
            .filter(move |it| it.point.experiment == experiment && it.statistic == statistic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_one_point_are_one_figure() {
        let mut figures = Figures::default();
        let point = |at| Point::new("embedded", Experiment::ClosedLoop, "read", at);
        for (at, value) in [(1.0, 5.0), (8.0, 7.0), (1.0, 6.0)] {
            figures.add(&point(at), "p50", Unit::Milliseconds, Better::Lower, value);
        }
        assert_eq!(
            figures.get(&point(1.0), "p50").map(|it| it.repeats.clone()),
            Some(vec![5.0, 6.0])
        );
        assert_eq!(figures.median(&point(8.0), "p50"), Some(7.0));
        assert_eq!(figures.get(&point(1.0), "p99"), None);
        assert_eq!(figures.of(Experiment::ClosedLoop, "p50").count(), 2);
    }
}
