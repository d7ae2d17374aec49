//! The timeline of a run as SVG: calls per second by outcome, the faults below them, and the anomalies.

use plotters::{
    prelude::{
        ChartBuilder, Color, IntoDrawingArea, IntoFont, LineSeries, PathElement, RGBColor,
        Rectangle, SVGBackend, Text, WHITE,
    },
    style::IntoTextStyle,
};

use crate::{Result, anomaly::Anomaly, faults::Injected, record::Record};

/// Width and height of the picture, in pixels.
const SIZE: (u32, u32) = (960, 420);

/// Font family of all texts: no font is embedded.
const FONT: &str = "system-ui, sans-serif";

/// The length of a step of the lines, in nanoseconds.
const STEP: u64 = 500_000_000;

/// Steps of a second.
const STEPS_PER_SECOND: f64 = 2.0;

const INK: RGBColor = RGBColor(0x33, 0x3a, 0x45);
const DEFINITE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const INDETERMINATE: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const FAULT: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const ANOMALY: RGBColor = RGBColor(0xcc, 0x00, 0x33);

/// The timeline of a run.
///
/// # Errors
///
/// If it cannot be drawn.
pub(crate) fn svg(
    history: &[Record],
    faults: &[Injected],
    anomalies: &[Anomaly],
) -> Result<String> {
    let mut svg = String::new();
    draw(&mut svg, history, faults, anomalies).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    history: &[Record],
    faults: &[Injected],
    anomalies: &[Anomaly],
) -> Result<(), Box<dyn std::error::Error>> {
    let end = seconds(history.iter().map(|record| record.end).max().unwrap_or(0)).max(1.0);
    let definite = rates(history, end, true);
    let indeterminate = rates(history, end, false);
    let most = definite.iter().chain(&indeterminate).map(|(_, rate)| *rate).fold(1.0, f64::max);
    let mut lanes: Vec<&str> = faults.iter().map(|fault| fault.target.as_str()).collect();
    lanes.sort_unstable();
    lanes.dedup();
    // The lanes of the faults are below 0.
    let lane_height = most / 8.0;
    let lane = |target: &str| {
        let nth = lanes.iter().position(|lane| *lane == target).unwrap_or(0);
        #[allow(clippy::cast_precision_loss)] // a few lanes
        let below = -(nth as f64 + 1.0) * lane_height;
        below
    };
    #[allow(clippy::cast_precision_loss)] // a few lanes
    let low = -(lanes.len() as f64 + 0.5) * lane_height;

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: i32, colour: &RGBColor| {
        (FONT, size).into_font().color(colour).into_text_style(&root)
    };
    let mut chart = ChartBuilder::on(&root)
        .caption("calls per second", text(15, &INK))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..end, low..most * 1.05)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .x_desc("seconds")
        .label_style(text(12, &INK))
        .y_label_formatter(&|rate| if *rate < 0.0 { String::new() } else { format!("{rate:.0}") })
        .draw()?;
    for (points, colour) in [(definite, DEFINITE), (indeterminate, INDETERMINATE)] {
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    chart.draw_series(faults.iter().map(|fault| {
        let bottom = lane(&fault.target);
        let (from, until) = (seconds(fault.start), seconds(fault.end));
        // At least as wide as it can be seen.
        let until = until.max(from + end / 400.0);
        Rectangle::new([(from, bottom), (until, bottom + lane_height * 0.7)], FAULT.filled())
    }))?;
    chart.draw_series(lanes.iter().map(|target| {
        let at = (end / 200.0, lane(target) + lane_height * 0.7);
        Text::new((*target).to_owned(), at, text(11, &INK))
    }))?;
    chart.draw_series(anomalies.iter().map(|anomaly| {
        let at = seconds(anomaly.at);
        PathElement::new([(at, low), (at, most)], ANOMALY.stroke_width(1))
    }))?;
    let legend = [
        ("definite", DEFINITE),
        ("indeterminate", INDETERMINATE),
        ("fault", FAULT),
        ("anomaly", ANOMALY),
    ];
    for ((name, colour), nth) in legend.into_iter().zip(0..) {
        root.draw(&Text::new(name.to_owned(), (560 + nth * 95, 14), text(13, &colour)))?;
    }
    root.present()?;
    Ok(())
}

/// Calls per second in each step, with or without a definite outcome, by the time of the response.
fn rates(history: &[Record], end: f64, is_definite: bool) -> Vec<(f64, f64)> {
    let mut steps: Vec<u32> = Vec::new();
    for record in history.iter().filter(|record| record.outcome.is_definite() == is_definite) {
        let step = usize::try_from(record.end / STEP).unwrap_or(usize::MAX);
        if step >= steps.len() {
            steps.resize(step + 1, 0);
        }
        steps[step] += 1;
    }
    let rates = steps.iter().zip(0_u32..);
    let rates = rates.map(|(count, nth)| {
        ((f64::from(nth) + 0.5) / STEPS_PER_SECOND, f64::from(*count) * STEPS_PER_SECOND)
    });
    rates.filter(|(at, _)| *at <= end).collect()
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
