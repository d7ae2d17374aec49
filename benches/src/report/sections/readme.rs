//! The figures of the README.

use shiori_benches::contenders;

use super::{Section, at};
use crate::{
    experiments::{PACES, RACE, READ, SAVE, SDK, SUCCESSES, plain},
    figures::{Experiment, Figures, Point, Unit},
    tables::{Table, number},
};

pub(super) fn summary(figures: &Figures) -> Section {
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

#[cfg(test)]
mod tests {
    use super::{super::tests::figures, *};

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
}
