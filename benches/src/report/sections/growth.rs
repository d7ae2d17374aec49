//! Calls over the sizes of the stores.

use super::{CALLS, Section, at, curve, profiles, values};
use crate::{
    experiments::{IDLE_CPU, READ, SAVE},
    figures::{Experiment, Figures},
    plot::{Axis, Line, Plot},
    tables::{Table, cell, whole},
};

pub(super) fn growth(figures: &Figures) -> Section {
    let mut tables = Vec::new();
    let mut plots = Vec::new();
    for (experiment, calls, what, title) in [
        (
            Experiment::Diaries,
            &[READ, SAVE][..],
            "diaries of other users",
            "Latency over the number of diaries",
        ),
        (
            Experiment::Backlog,
            &CALLS,
            "queued summaries without a worker",
            "Latency over the number of queued summaries",
        ),
        (
            Experiment::History,
            &[READ],
            "finished summaries of the week",
            "A read over the finished summaries of its week",
        ),
    ] {
        let counts = values(figures, experiment);
        let Some(smallest) = counts.first().copied() else { continue };
        let mut table =
            Table::new(2, &["profile", "call", what, "p50, ms", "p99, ms", "times the smallest"]);
        let mut lines = Vec::new();
        for (profile, is_dashed) in profiles(figures).into_iter().zip([false, true]) {
            for (call, colour) in calls.iter().zip(0..) {
                let median = |count| figures.median(&at(profile, experiment, call, count), "p50");
                for count in &counts {
                    let point = at(profile, experiment, call, *count);
                    let times =
                        median(*count).zip(median(smallest)).map(|(here, first)| here / first);
                    table.row([
                        profile.to_owned(),
                        (*call).to_owned(),
                        whole(*count),
                        cell(figures, &point, "p50"),
                        cell(figures, &point, "p99"),
                        times.map_or_else(|| "–".to_owned(), |times| format!("{times:.2}")),
                    ]);
                }
                let name = format!("{profile}: {call}");
                let curve = curve(figures, &name, (profile, experiment, call), "p50");
                lines.push(Line { is_dashed, colour, ..curve });
            }
        }
        let x = Axis { ticks: counts, ..Axis::log(&format!("{what} (logarithmic)")) };
        let y = Axis::linear("p50, milliseconds");
        plots.push(Plot { title: title.to_owned(), x, y, lines, mark: None });
        tables.push(table);
    }
    let queued = values(figures, Experiment::Backlog);
    let mut idle = Table::new(
        1,
        &["profile", "queued summaries", "CPU of a server without requests, % of a core"],
    );
    let mut lines = Vec::new();
    for (profile, colour) in profiles(figures).into_iter().zip(0..) {
        for count in &queued {
            let point = at(profile, Experiment::Backlog, "server", *count);
            idle.row([profile.to_owned(), whole(*count), cell(figures, &point, IDLE_CPU)]);
        }
        let source = (profile, Experiment::Backlog, "server");
        lines.push(Line { colour, ..curve(figures, profile, source, IDLE_CPU) });
    }
    tables.push(idle);
    plots.push(Plot {
        title: "What an idle backlog costs".to_owned(),
        x: Axis { ticks: queued, ..Axis::log("queued summaries without a worker (logarithmic)") },
        y: Axis::linear("CPU of the server, % of a core"),
        lines,
        mark: None,
    });
    Section {
        title: "Growth".to_owned(),
        text: "A generator fills the stores, then one client calls. The sizes of this section are small \
            unless the report was run with --growth, which measures 10,000,000 diaries and 1,000,000 queued \
            summaries."
            .to_owned(),
        plots,
        tables,
    }
}
