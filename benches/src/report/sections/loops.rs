//! Closed and open loops.

use super::{CALLS, Section, at, curve, profiles, values};
use crate::{
    experiments::{READ, SAVE},
    figures::{Experiment, Figures},
    plot::{Axis, Line, Plot},
    tables::{Table, cell, whole},
};

pub(super) fn closed_loops(figures: &Figures) -> Section {
    let mut table = Table::new(
        2,
        &[
            "profile",
            "call",
            "clients",
            "p50, ms",
            "p95, ms",
            "p99, ms",
            "calls per second",
            "server CPU per call, µs",
            "errors",
        ],
    );
    let ticks = values(figures, Experiment::ClosedLoop);
    for profile in profiles(figures) {
        for call in CALLS {
            for clients in &ticks {
                let point = at(profile, Experiment::ClosedLoop, call, *clients);
                if figures.get(&point, "p50").is_none() {
                    continue;
                }
                let statistics = ["p50", "p95", "p99", "rate", "server CPU", "errors"];
                let head = [profile.to_owned(), call.to_owned(), whole(*clients)];
                table.row(head.into_iter().chain(statistics.map(|it| cell(figures, &point, it))));
            }
        }
    }
    let mut lines = Vec::new();
    for (profile, is_dashed) in profiles(figures).into_iter().zip([false, true]) {
        for (call, colour) in [READ, SAVE].into_iter().zip(0..) {
            let name = format!("{profile}: {call}");
            let curve = curve(figures, &name, (profile, Experiment::ClosedLoop, call), "rate");
            lines.push(Line { is_dashed, colour, ..curve });
        }
    }
    let plot = Plot {
        title: "Throughput over requests in flight".to_owned(),
        x: Axis { ticks, ..Axis::log("concurrent clients, each with one request in flight") },
        y: Axis::linear("calls per second"),
        lines,
        mark: None,
    };
    Section {
        title: "Closed loops: throughput over requests in flight".to_owned(),
        text: "Each client sends its next call when the previous one has returned. So a slow response delays \
            the following calls, and percentiles of a closed loop look better than those that users see; the \
            next section has those."
            .to_owned(),
        plots: vec![plot],
        tables: vec![table],
    }
}

pub(super) fn open_loops(figures: &Figures) -> Section {
    let mut table = Table::new(
        2,
        &[
            "profile",
            "call",
            "% of the peak",
            "calls per second",
            "p50, ms",
            "p95, ms",
            "p99, ms",
            "closed loop, 1 client: p50, ms",
            "p99, ms",
            "errors",
            "generator late, p99, ms",
        ],
    );
    let profiles = profiles(figures);
    for profile in &profiles {
        for call in CALLS {
            let closed = at(profile, Experiment::ClosedLoop, call, 1.0);
            for percent in values(figures, Experiment::OpenLoop) {
                let point = at(profile, Experiment::OpenLoop, call, percent);
                let of = |statistic| cell(figures, &point, statistic);
                let rate = figures.median(&point, "intended rate");
                table.row([
                    (*profile).to_owned(),
                    call.to_owned(),
                    whole(percent),
                    rate.map_or_else(|| "–".to_owned(), whole),
                    of("p50"),
                    of("p95"),
                    of("p99"),
                    cell(figures, &closed, "p50"),
                    cell(figures, &closed, "p99"),
                    of("errors"),
                    of("generator lateness p99"),
                ]);
            }
        }
    }
    Section {
        title: "Open loops: latency at a fixed rate".to_owned(),
        text: "Calls arrive at a fixed rate, at 50 % and 80 % of the highest rate of the closed loops, whether \
            earlier ones have returned or not. Each is timed from its intended start, so the time that it \
            waited behind slower ones is included (no coordinated omission). The last column is the error of \
            the load generator itself: how late it sent a call. The curves have the calls of all repeats and \
            end at the 99.9th percentile."
            .to_owned(),
        plots: profiles.into_iter().map(|profile| distributions(figures, profile)).collect(),
        tables: vec![table],
    }
}

/// The cumulative distributions of one profile: open loops at 80 % of the peak, and closed loops.
pub(crate) fn distributions(figures: &Figures, profile: &str) -> Plot {
    let mut lines = Vec::new();
    for (call, colour) in CALLS.into_iter().zip(0..) {
        for (experiment, x, name, is_dashed) in [
            (Experiment::OpenLoop, 80.0, "open loop, 80 % of the peak", false),
            (Experiment::ClosedLoop, 1.0, "closed loop, one client", true),
        ] {
            let point = at(profile, experiment, call, x);
            let found = figures.distributions.iter().find(|it| it.point == point);
            lines.extend(found.map(|distribution| Line {
                name: format!("{call}: {name}"),
                points:
                    distribution.points.iter().map(|(ms, share)| (*ms, share * 100.0)).collect(),
                is_dashed,
                colour,
                ..Line::default()
            }));
        }
    }
    Plot {
        title: format!("Latency of the three calls, {profile} profile"),
        x: Axis::log("milliseconds (logarithmic)"),
        y: Axis {
            ticks: vec![0.0, 25.0, 50.0, 75.0, 90.0, 99.0],
            ..Axis::linear("% of calls that took no longer")
        },
        lines,
        mark: None,
    }
}
