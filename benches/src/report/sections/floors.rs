//! Calls beside their physical floors.

use super::{CALLS, Section, at, profiles};
use crate::{
    experiments::{READ, SAVE},
    figures::{Experiment, Figures, Unit},
    floors,
    tables::{Table, cell, figure_cell, number},
};

pub(super) fn above_the_floor(figures: &Figures) -> Section {
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

#[cfg(test)]
mod tests {
    use super::{super::tests::figures, *};
    use crate::experiments::REQUEST;

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
}
