//! The contents of a report: each experiment with its plots, tables and what they show.

mod comparison;
mod conflicts;
mod floors;
mod growth;
mod loops;
mod readme;
mod summaries;

use shiori_benches::BLOCKS;

use self::{
    comparison::comparison_section,
    conflicts::conflicts,
    floors::above_the_floor,
    growth::growth,
    loops::{closed_loops, open_loops},
    readme::summary,
    summaries::{enqueue, recovery, text, throughput},
};
pub(crate) use self::{loops::distributions, readme::six_figures};
use crate::{
    compare::Comparison,
    document::Report,
    experiments::{READ, REQUEST, SAVE},
    figures::{Experiment, Figure, Figures, Point},
    plot::{Line, Plot},
    tables::{Table, cell},
};

/// A part of the report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    /// Its title.
    pub(crate) title: String,
    /// What was measured, and how to read it.
    pub(crate) text: String,
    /// Its plots.
    pub(crate) plots: Vec<Plot>,
    /// Its tables.
    pub(crate) tables: Vec<Table>,
}

/// The names of the profiles, in the order of the report.
const PROFILES: [&str; 2] = ["embedded", "distributed"];

const CALLS: [&str; 3] = [READ, SAVE, REQUEST];

/// All sections.
pub(crate) fn sections(report: &Report, compared: Option<(&Report, &Comparison)>) -> Vec<Section> {
    let figures = &report.figures;
    let mut sections = Vec::new();
    if let Some((old, comparison)) = compared {
        sections.push(comparison_section(report, old, comparison));
    }
    sections.extend([
        summary(figures),
        above_the_floor(figures),
        closed_loops(figures),
        open_loops(figures),
        conflicts(figures),
        enqueue(figures),
        throughput(figures),
        text(figures),
        recovery(figures),
        growth(figures),
        merges(figures),
    ]);
    for section in &mut sections {
        section.plots.retain(Plot::has_points);
        section.tables.retain(|table| !table.rows.is_empty());
    }
    sections.retain(|section| !section.plots.is_empty() || !section.tables.is_empty());
    sections
}

fn at(profile: &str, experiment: Experiment, subject: &str, x: impl Into<Option<f64>>) -> Point {
    Point::new(profile, experiment, subject, x)
}

/// The profiles that were measured.
fn profiles(figures: &Figures) -> Vec<&'static str> {
    let is_measured =
        |profile: &&str| figures.figures.iter().any(|it| it.point.profile == **profile);
    PROFILES.into_iter().filter(is_measured).collect()
}

/// The measured values of the independent variable, ascending.
fn values(figures: &Figures, experiment: Experiment) -> Vec<f64> {
    let points = figures.figures.iter().map(|it| &it.point);
    let mut values: Vec<f64> = points
        .filter(|point| point.experiment == experiment)
        .filter_map(|point| point.at)
        .collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// A line over the independent variable, with the spread of each point.
fn curve(
    figures: &Figures,
    name: &str,
    (profile, experiment, subject): (&str, Experiment, &str),
    statistic: &str,
) -> Line {
    let mut line = Line { name: name.to_owned(), has_marks: true, ..Line::default() };
    for x in values(figures, experiment) {
        let figure = figures.get(&at(profile, experiment, subject, x), statistic);
        if let Some(spread) = figure.and_then(Figure::spread) {
            line.points.push((x, spread.median));
            line.spread.push((spread.low, spread.high));
        }
    }
    line
}

fn merges(figures: &Figures) -> Section {
    let head = format!("of {BLOCKS} blocks");
    let mut table = Table::new(1, &[&head, "p50, ms", "p95, ms", "p99, ms"]);
    for figure in figures.of(Experiment::Merge, "p50") {
        let statistics = ["p50", "p95", "p99"].map(|it| cell(figures, &figure.point, it));
        table.row([figure.point.subject.clone()].into_iter().chain(statistics));
    }
    Section {
        title: "Three-way merges".to_owned(),
        text: "Merges of two edited copies of one document, in the SDK, without a server."
            .to_owned(),
        tables: vec![table],
        ..Section::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Better, Unit};

    pub(super) fn figures(entries: &[(&str, Experiment, &str, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (profile, experiment, subject, ms) in entries {
            let x = (*experiment == Experiment::ClosedLoop).then_some(1.0);
            let point = at(profile, *experiment, subject, x);
            figures.add(&point, "p50", Unit::Milliseconds, Better::Lower, *ms);
        }
        figures
    }

    #[test]
    fn a_plot_without_figures_is_omitted() {
        let figures = figures(&[("embedded", Experiment::Floor, crate::floors::EMPTY_TRIP, 0.1)]);
        let report = crate::document::tests::report(figures);
        let sections = sections(&report, None);
        assert!(sections.iter().all(|section| section.plots.is_empty()));
        assert!(sections.iter().any(|section| section.title.contains("floor")));
    }
}
