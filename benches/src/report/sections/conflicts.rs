//! Concurrent writers of one day.

use shiori_benches::contenders;

use super::{Section, at, curve, profiles, values};
use crate::{
    experiments::{GAVE_UP, RACE, REJECTED, SAVES_PER_SUCCESS, SUCCESSES, plain},
    figures::{Experiment, Figures},
    plot::{Axis, Line, Plot},
    tables::{Table, cell, whole},
};

pub(super) fn conflicts(figures: &Figures) -> Section {
    let mut race = Table::new(
        1,
        &[
            "profile",
            "concurrent saves of one version",
            "successes per round",
            "time until all responses, p50, ms",
        ],
    );
    let mut appends = Table::new(
        2,
        &[
            "profile",
            "policy",
            "writers",
            "saves per success",
            "rejected, % of saves",
            "gave up, % of writers",
            "time until all are done, p50, ms",
        ],
    );
    let writers = values(figures, Experiment::Conflicts);
    let mut plots = Vec::new();
    for profile in profiles(figures) {
        for count in &writers {
            let point = at(profile, Experiment::Race, RACE, *count);
            race.row([
                profile.to_owned(),
                whole(*count),
                cell(figures, &point, SUCCESSES),
                cell(figures, &point, "p50"),
            ]);
        }
        let mut saves = Vec::new();
        let mut times = Vec::new();
        for (contender, colour) in contenders().iter().rev().zip(0..) {
            let policy = plain(contender.name);
            for count in &writers {
                let point = at(profile, Experiment::Conflicts, &policy, *count);
                let head = [profile.to_owned(), policy.clone(), whole(*count)];
                let statistics = [SAVES_PER_SUCCESS, REJECTED, GAVE_UP, "p50"];
                appends.row(head.into_iter().chain(statistics.map(|it| cell(figures, &point, it))));
            }
            let source = (profile, Experiment::Conflicts, policy.as_str());
            saves.push(Line { colour, ..curve(figures, &policy, source, SAVES_PER_SUCCESS) });
            times.push(Line { colour, ..curve(figures, &policy, source, "p50") });
        }
        let x = || Axis { ticks: writers.clone(), ..Axis::log("concurrent writers of one day") };
        plots.push(Plot {
            title: format!("Saves per successful append, by policy ({profile})"),
            x: x(),
            y: Axis::log("saves per success (logarithmic)"),
            lines: saves,
            mark: None,
        });
        plots.push(Plot {
            title: format!("Time until all writers are done, by policy ({profile})"),
            x: x(),
            y: Axis::log("milliseconds (logarithmic)"),
            lines: times,
            mark: None,
        });
    }
    Section {
        title: "Conflicts over the number of writers".to_owned(),
        text: "Of concurrent saves of one version exactly one succeeds. Below, writers append a line to the \
            same new day at once and repeat rejected saves under different policies. A policy that needs few \
            saves may be slow, and one that is fast may give up: read both plots with the column \"gave up\"."
            .to_owned(),
        plots,
        tables: vec![race, appends],
    }
}
