//! Summaries: requests, throughput, their texts, and recovery.

use super::{Section, at, curve, profiles, values};
use crate::{
    experiments::{
        BESIDE, CAUGHT_UP, FAILED, FIRST_WORD, IN_FLIGHT, KILL, LATENCY_BESIDE, LEASE, LONGEST,
        LOST, MODEL_LATENCY, PACES, RECOVERY_RATE, SUMMARIES, SUMMARY_RATE, WHOLE,
    },
    figures::{Experiment, Figures, Timeline, Unit},
    plot::{Axis, Line, Plot},
    tables::{Table, cell, number, whole},
};

pub(super) fn enqueue(figures: &Figures) -> Section {
    let mut table = Table::new(
        2,
        &[
            "profile",
            "the model responds",
            "concurrent requests",
            "p50, ms",
            "p95, ms",
            "p99, ms",
            "errors",
        ],
    );
    let counts = values(figures, Experiment::Enqueue);
    let mut plots = Vec::new();
    for profile in profiles(figures) {
        let mut lines = Vec::new();
        for (pace, colour) in PACES.into_iter().zip(0..) {
            for count in &counts {
                let point = at(profile, Experiment::Enqueue, pace.name(), *count);
                let head = [profile.to_owned(), pace.name().to_owned(), whole(*count)];
                let statistics = ["p50", "p95", "p99", "errors"];
                table.row(head.into_iter().chain(statistics.map(|it| cell(figures, &point, it))));
            }
            let name = format!("the model responds {}", pace.name());
            let source = (profile, Experiment::Enqueue, pace.name());
            lines.push(Line { colour, ..curve(figures, &name, source, "p50") });
        }
        plots.push(Plot {
            title: format!("Summary requests by the latency of the model ({profile})"),
            x: Axis { ticks: counts.clone(), ..Axis::log("concurrent summary requests") },
            y: Axis::log("p50 of one request, milliseconds"),
            lines,
            mark: None,
        });
    }
    Section {
        title: "Summary requests while the language model is slow".to_owned(),
        text: "A summary request returns before any model is called. The lines should coincide; with a model \
            that responds immediately, the worker uses the same cores and the same database at the same time."
            .to_owned(),
        plots,
        tables: vec![table],
    }
}

pub(super) fn throughput(figures: &Figures) -> Section {
    let mut table = Table::new(
        1,
        &[
            "profile",
            "in flight",
            "ideal, per second",
            "summaries per second",
            "% of the ideal",
            "errors",
        ],
    );
    let counts = values(figures, Experiment::Throughput);
    let ideal = |count: f64| count / MODEL_LATENCY.as_secs_f64();
    let mut lines = vec![Line {
        name: "ideal: in flight ÷ latency of the model".to_owned(),
        points: counts.iter().map(|count| (*count, ideal(*count))).collect(),
        is_dashed: true,
        colour: 7,
        ..Line::default()
    }];
    for (profile, colour) in profiles(figures).into_iter().zip(0..) {
        for count in &counts {
            let point = at(profile, Experiment::Throughput, SUMMARIES, *count);
            let share = figures.median(&point, "rate").map(|rate| rate / ideal(*count) * 100.0);
            table.row([
                profile.to_owned(),
                whole(*count),
                whole(ideal(*count)),
                cell(figures, &point, "rate"),
                share.map_or_else(|| "–".to_owned(), |share| number(Unit::Percent, share)),
                cell(figures, &point, "errors"),
            ]);
        }
        let source = (profile, Experiment::Throughput, SUMMARIES);
        lines.push(Line { colour, ..curve(figures, profile, source, "rate") });
    }
    Section {
        title: "Summaries per second over summaries in flight".to_owned(),
        text: format!(
            "One worker, with a language model at an OpenAI-compatible endpoint that takes {} s for each \
             summary. The first wave is not counted.",
            MODEL_LATENCY.as_secs()
        ),
        plots: vec![Plot {
            title: "Summaries per second of one worker".to_owned(),
            x: Axis { ticks: counts, ..Axis::log("summaries in flight") },
            y: Axis::log("summaries per second (logarithmic)"),
            lines,
            mark: None,
        }],
        tables: vec![table],
    }
}

pub(super) fn text(figures: &Figures) -> Section {
    if figures.of(Experiment::Text, "p50").next().is_none() {
        return Section::default();
    }
    let mut words = Table::new(2, &["profile", "from the request until", "p50, ms", "p95, ms"]);
    let mut beside = Table::new(
        2,
        &[
            "profile",
            "",
            "p50 of a request, ms",
            "p95, ms",
            "p99, ms",
            "summaries per second",
            "failed summaries",
        ],
    );
    for profile in profiles(figures) {
        for subject in [FIRST_WORD, WHOLE] {
            let point = at(profile, Experiment::Text, subject, None);
            let cells = ["p50", "p95"].map(|it| cell(figures, &point, it));
            words.row([profile.to_owned(), subject.to_owned()].into_iter().chain(cells));
        }
        for (subject, _) in BESIDE {
            let point = at(profile, Experiment::Text, subject, f64::from(IN_FLIGHT));
            let statistics = ["p50", "p95", "p99", SUMMARY_RATE, FAILED];
            let cells = statistics.map(|it| cell(figures, &point, it));
            beside.row([profile.to_owned(), subject.to_owned()].into_iter().chain(cells));
        }
    }
    Section {
        title: "The text of running summaries".to_owned(),
        text: format!(
            "First, four summaries at a time are watched while the language model writes ten words a second for \
             10 s. Then {IN_FLIGHT} summaries are in flight, each of which takes {} s, and others are requested: \
             while the model only thinks, so that no text is shown, and while it writes the text.",
            LATENCY_BESIDE.as_secs()
        ),
        tables: vec![words, beside],
        ..Section::default()
    }
}

pub(super) fn recovery(figures: &Figures) -> Section {
    let mut table = Table::new(
        1,
        &[
            "profile",
            "time until all earlier summaries had finished, ms",
            "longest time of a summary, ms",
            "not finished",
        ],
    );
    for profile in profiles(figures) {
        let point = at(profile, Experiment::Recovery, KILL, None);
        let statistics = [CAUGHT_UP, LONGEST, LOST];
        let cells = statistics.map(|it| cell(figures, &point, it));
        table.row([profile.to_owned()].into_iter().chain(cells));
    }
    let mut lines = Vec::new();
    for (Timeline { point, repeats, .. }, colour) in figures.timelines.iter().zip(0..) {
        let what = if point.profile == "embedded" {
            "embedded: the server with its worker is killed and restarted"
        } else {
            "distributed: one of two workers is killed"
        };
        for (repeat, nth) in repeats.iter().zip(0..) {
            let name = if nth == 0 { what.to_owned() } else { String::new() };
            lines.push(Line { name, points: repeat.clone(), colour, ..Line::default() });
        }
    }
    Section {
        title: "Recovery after a kill".to_owned(),
        text: format!(
            "{RECOVERY_RATE} summaries per second are requested for 8 s while the language model takes 0.5 s; \
             after 3 s, a worker is killed (SIGKILL). Its summaries are requeued when their leases expire, \
             after {} s here (30 s by default). Each line is one repeat.",
            LEASE.as_secs()
        ),
        plots: vec![Plot {
            title: "Unfinished summaries over time".to_owned(),
            x: Axis::linear("seconds since the first request"),
            y: Axis::linear("summaries requested and not finished"),
            lines,
            mark: figures.timelines.first().map(|it| (it.killed_at, "kill".to_owned())),
        }],
        tables: vec![table],
    }
}
