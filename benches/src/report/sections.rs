//! The contents of a report: each experiment with its plots, tables and what they show.

use std::fmt::Write;

use shiori_benches::{BLOCKS, contenders};

use crate::{
    compare::{Change, Comparison, RULE},
    document::Report,
    experiments::{
        CAUGHT_UP, GAVE_UP, IDLE_CPU, KILL, LEASE, LONGEST, LOST, MODEL_LATENCY, PACES, RACE, READ,
        RECOVERY_RATE, REJECTED, REQUEST, SAVE, SAVES_PER_SUCCESS, SDK, SUCCESSES, SUMMARIES,
        plain,
    },
    figures::{Experiment, Figure, Figures, Point, Timeline, Unit},
    floors,
    plot::{Axis, Line, Plot},
    tables::{Table, cell, figure_cell, number, spread_cell, unit_name, whole},
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

/// A row of the table in the README.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReadmeRow {
    /// What it is.
    pub(crate) name: &'static str,
    /// The same in Korean.
    pub(crate) korean_name: &'static str,
    /// The figure.
    pub(crate) value: String,
    /// The figure in Korean.
    pub(crate) korean_value: String,
}

/// The rows of the table in the README.
pub(crate) fn six_figures(figures: &Figures) -> [ReadmeRow; 6] {
    let embedded = |experiment, subject, x| at("embedded", experiment, subject, x);
    let row = |name, korean_name, point: &Point| {
        let value = figures.median(point, "p50").map_or_else(|| "–".to_owned(), time);
        let korean_value = value.replace(" ms", "ms").replace(" s", "초");
        ReadmeRow { name, korean_name, value, korean_value }
    };
    let closed = |call| embedded(Experiment::ClosedLoop, call, 1.0);
    let race_point = embedded(Experiment::Race, RACE, 128.0);
    let mut race = row(
        "128 concurrent saves of one version: successes, and time until all responses, p50",
        "같은 버전에 대한 동시 저장 128건: 성공한 수, 모두 응답받기까지의 시간 p50",
        &race_point,
    );
    let successes = figures.median(&race_point, SUCCESSES);
    let successes = successes.map_or_else(|| "–".to_owned(), |count| number(Unit::Number, count));
    race.value = format!("{successes} (the others receive 409), {}", race.value);
    race.korean_value = format!("{successes}건(나머지는 409), {}", race.korean_value);
    let shiori = contenders().last().map(|it| plain(it.name)).unwrap_or_default();
    let mut merge = row(
        "three-way merge of two documents of 200 blocks, p50",
        "블록 200개짜리 문서의 3-way 병합 p50",
        &at(SDK, Experiment::Merge, merge_name(figures), None),
    );
    merge.value.push_str(" (12 blocks changed on each side)");
    merge.korean_value.push_str("(양쪽에서 각각 12블록 변경)");
    [
        row("a save through the SDK, p50", "SDK를 통한 저장 p50", &closed(SAVE)),
        row("a read through the SDK, p50", "SDK를 통한 읽기 p50", &closed(READ)),
        race,
        row(
            "128 devices append to one day concurrently: time until all lines are saved, p50",
            "기기 128대가 하루의 일기에 동시에 한 줄씩 추가: 모두 저장되기까지의 시간 p50",
            &embedded(Experiment::Conflicts, &shiori, 128.0),
        ),
        row(
            "8 concurrent summary requests while the language model takes 10 s: time of one, p50",
            "언어 모델이 10초 걸리는 동안 동시 요약 요청 8건의 응답 시간 p50",
            &embedded(Experiment::Enqueue, PACES[1].name(), 8.0),
        ),
        merge,
    ]
}

/// The first merge: few changes on each side.
fn merge_name(figures: &Figures) -> &str {
    figures.of(Experiment::Merge, "p50").next().map_or("", |figure| figure.point.subject.as_str())
}

/// A time with its unit and two significant digits.
fn time(ms: f64) -> String {
    let (value, unit) = if ms >= 500.0 { (ms / 1000.0, "s") } else { (ms, "ms") };
    let digits = match value {
        value if value >= 10.0 => 0,
        value if value >= 1.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

fn summary(figures: &Figures) -> Section {
    let mut table = Table::new(1, &["embedded profile", "median"]);
    for ReadmeRow { name, value, .. } in six_figures(figures) {
        table.row([name.to_owned(), value]);
    }
    Section {
        title: "Six figures".to_owned(),
        text: "The figures of the project's README, from this run.".to_owned(),
        tables: vec![table],
        ..Section::default()
    }
}

/// The parts of a call's floor.
fn floor_of(profile: &str, call: &str, figures: &Figures) -> (String, Option<f64>) {
    let median = |floor: &str| figures.median(&at(profile, Experiment::Floor, floor, None), "p50");
    let trip = median(floors::EMPTY_TRIP);
    if profile == "embedded" {
        return if call == READ {
            ("empty trip".to_owned(), trip)
        } else {
            let floor = trip.zip(median(floors::COMMIT)).map(|(trip, commit)| trip + commit);
            ("empty trip + durable commit".to_owned(), floor)
        };
    }
    let parts: &[&str] = match call {
        READ => {
            // The engines are asked at the same time, so the slowest one counts.
            let engines = [floors::FIND, floors::HGET, floors::SELECT];
            let measured = engines.into_iter().filter_map(|engine| Some((engine, median(engine)?)));
            let slowest = measured.max_by(|a, b| a.1.total_cmp(&b.1));
            let name = slowest.map_or("engine", |(engine, _)| engine);
            let floor = trip.zip(slowest).map(|(trip, (_, slowest))| trip + slowest);
            return (format!("empty trip + slowest engine ({name})"), floor);
        }
        SAVE => &[floors::FIND_AND_UPDATE],
        _ => &[floors::INSERT, floors::ZADD],
    };
    let sum =
        parts.iter().try_fold(trip.unwrap_or_default(), |sum, part| Some(sum + median(part)?));
    (format!("empty trip + {}", parts.join(" + ")), sum.filter(|_| trip.is_some()))
}

fn above_the_floor(figures: &Figures) -> Section {
    let mut calls = Table::new(
        3,
        &["profile", "call", "its floor", "floor, ms", "call, p50, ms", "times the floor"],
    );
    let mut floors = Table::new(2, &["profile", "floor", "p50, ms", "p95, ms", "p99, ms"]);
    for profile in profiles(figures) {
        for call in CALLS {
            let (parts, floor) = floor_of(profile, call, figures);
            let point = at(profile, Experiment::ClosedLoop, call, 1.0);
            let ratio = figures.median(&point, "p50").zip(floor).map(|(call, floor)| call / floor);
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
            calls.row([
                profile.to_owned(),
                call.to_owned(),
                parts,
                or_dash(floor.map(|floor| number(Unit::Milliseconds, floor))),
                cell(figures, &point, "p50"),
                or_dash(ratio.map(|ratio| format!("{ratio:.2}"))),
            ]);
        }
        for figure in figures.of(Experiment::Floor, "p50").filter(|it| it.point.profile == profile)
        {
            floors.row([
                profile.to_owned(),
                figure.point.subject.clone(),
                figure_cell(figure),
                cell(figures, &figure.point, "p95"),
                cell(figures, &figure.point, "p99"),
            ]);
        }
    }
    Section {
        title: "Calls beside their physical floor".to_owned(),
        text: "One client, one call at a time. The floor of a call is what the same machine needs for it \
            without Shiori, measured in the same run: an empty trip (GET /healthz through the HTTP client of \
            the SDK), and the statements of the bare drivers. The texts have 3 KiB."
            .to_owned(),
        tables: vec![calls, floors],
        ..Section::default()
    }
}

fn closed_loops(figures: &Figures) -> Section {
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

fn open_loops(figures: &Figures) -> Section {
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

fn conflicts(figures: &Figures) -> Section {
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

fn enqueue(figures: &Figures) -> Section {
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

fn throughput(figures: &Figures) -> Section {
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

fn recovery(figures: &Figures) -> Section {
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

fn growth(figures: &Figures) -> Section {
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

fn comparison_section(report: &Report, old: &Report, comparison: &Comparison) -> Section {
    let Comparison { worse, better, floors, same, not_compared } = comparison;
    let mut text = format!(
        "This report ({}) beside an older one ({}). {} figures are worse, {} are better, {same} have not changed, \
         and {not_compared} are not compared. {RULE}",
        report.commit,
        old.commit,
        worse.len(),
        better.len(),
    );
    if !floors.is_empty() {
        let count = floors.len();
        let _ = write!(
            text,
            " {count} floors changed, so the machine was not the same during both runs."
        );
    }
    if report.machine.processor != old.machine.processor
        || report.machine.cores != old.machine.cores
    {
        text.push_str(" The machines differ: the comparison says little.");
    }
    let mut table = Table::new(2, &["", "figure", "before", "now", "now ÷ before"]);
    for (verdict, changes) in [("worse", worse), ("better", better), ("floor", floors)] {
        for change in changes {
            table.row(
                [verdict.to_owned(), change.what.clone()].into_iter().chain(change_cells(change)),
            );
        }
    }
    Section {
        title: "Compared with an older report".to_owned(),
        text,
        tables: vec![table],
        ..Section::default()
    }
}

fn change_cells(change: &Change) -> [String; 3] {
    let unit = unit_name(change.unit);
    let with_unit =
        |spread| format!("{} {unit}", spread_cell(change.unit, spread)).trim_end().to_owned();
    let ratio = change.ratio();
    let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "–".to_owned() };
    [with_unit(&change.old), with_unit(&change.new), ratio]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Better;

    fn figures(entries: &[(&str, Experiment, &str, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (profile, experiment, subject, ms) in entries {
            let x = (*experiment == Experiment::ClosedLoop).then_some(1.0);
            let point = at(profile, *experiment, subject, x);
            figures.add(&point, "p50", Unit::Milliseconds, Better::Lower, *ms);
        }
        figures
    }

    #[test]
    fn the_floor_of_a_distributed_read_is_the_slowest_engine() {
        let floor = |name, ms| ("distributed", Experiment::Floor, name, ms);
        let figures = figures(&[
            floor(floors::EMPTY_TRIP, 0.25),
            floor(floors::FIND, 0.5),
            floor(floors::HGET, 0.125),
            floor(floors::SELECT, 0.25),
            floor(floors::INSERT, 1.0),
            floor(floors::ZADD, 0.125),
        ]);
        let read = floor_of("distributed", READ, &figures);
        assert_eq!(read, ("empty trip + slowest engine (MongoDB: findOne)".to_owned(), Some(0.75)));
        assert_eq!(floor_of("distributed", REQUEST, &figures).1, Some(1.375));
        assert_eq!(floor_of("distributed", SAVE, &figures).1, None, "not measured");
    }

    #[test]
    fn the_figures_of_the_readme_are_medians_with_units() {
        let figures = figures(&[
            ("embedded", Experiment::ClosedLoop, SAVE, 0.6712),
            ("embedded", Experiment::ClosedLoop, READ, 0.45),
        ]);
        let [save, read, race, ..] = six_figures(&figures);
        assert_eq!((save.value.as_str(), save.korean_value.as_str()), ("0.67 ms", "0.67ms"));
        assert_eq!(read.value, "0.45 ms");
        assert_eq!(race.value, "– (the others receive 409), –", "not measured");
        for (ms, text) in [(13.97, "14 ms"), (2.04, "2.0 ms"), (867.1, "0.87 s"), (1234.0, "1.2 s")]
        {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn a_plot_without_figures_is_omitted() {
        let figures = figures(&[("embedded", Experiment::Floor, floors::EMPTY_TRIP, 0.1)]);
        let report = crate::document::tests::report(figures);
        let sections = sections(&report, None);
        assert!(sections.iter().all(|section| section.plots.is_empty()));
        assert!(sections.iter().any(|section| section.title.contains("floor")));
    }
}
