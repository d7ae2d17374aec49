//! Line plots as SVG.

use std::ops::Range;

use plotters::{
    coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged},
    prelude::{
        ChartBuilder, Circle, Color, DrawingAreaErrorKind, IntoDrawingArea, IntoFont, LineSeries,
        PathElement, RGBColor, SVGBackend, ShapeStyle, Text,
    },
    style::{
        IntoTextStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// The width of a plot, in pixels.
pub(crate) const WIDTH: u32 = 720;

/// The height of a plot without its legend, in pixels.
const HEIGHT: u32 = 380;

/// The height of a line of the legend.
const LEGEND_LINE: u32 = 18;

/// Characters of a name that do not fit into half the width.
const LONG_NAME: usize = 42;

/// Font family of all texts: no font is embedded.
const FONT: &str = "system-ui, sans-serif";

const INK: RGBColor = RGBColor(0x33, 0x3a, 0x45);
const GRID: RGBColor = RGBColor(0xe2, 0xe6, 0xeb);
const AXIS: RGBColor = RGBColor(0x9a, 0xa3, 0xaf);

/// Distinguishable for people with any colour vision (Okabe and Ito), in an order in which
/// neighbours differ in lightness, too.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x6b, 0x4c, 0x9a),
    RGBColor(0x4d, 0x4d, 0x4d),
];

/// A plot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plot {
    /// What it shows.
    pub(crate) title: String,
    /// The name and the unit of the horizontal axis.
    pub(crate) x: Axis,
    /// The name and the unit of the vertical axis.
    pub(crate) y: Axis,
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// A vertical line with a text.
    pub(crate) mark: Option<(f64, String)>,
}

/// An axis.
#[derive(Debug, Clone, Default)]
pub(crate) struct Axis {
    /// Its name with the unit.
    pub(crate) name: String,
    /// Whether it is logarithmic.
    pub(crate) is_log: bool,
    /// The values of its ticks; empty for round numbers.
    pub(crate) ticks: Vec<f64>,
    /// Values that it must include.
    pub(crate) include: Vec<f64>,
}

/// One line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// Its name in the legend; empty for the same line as the previous one.
    pub(crate) name: String,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
    /// The low and high ends of the spread, by the same abscissae.
    pub(crate) spread: Vec<(f64, f64)>,
    /// Whether it is dashed.
    pub(crate) is_dashed: bool,
    /// Whether the points are marked.
    pub(crate) has_marks: bool,
    /// The number of its colour.
    pub(crate) colour: usize,
}

impl Axis {
    /// A linear axis that includes 0.
    pub(crate) fn linear(name: &str) -> Self {
        Self { name: name.to_owned(), include: vec![0.0], ..Self::default() }
    }

    /// A logarithmic axis.
    pub(crate) fn log(name: &str) -> Self {
        Self { name: name.to_owned(), is_log: true, ..Self::default() }
    }

    /// A value in the coordinates of the plot, in which every axis is linear.
    fn place(&self, value: f64) -> f64 {
        if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    /// The lowest and the highest value to show, in the coordinates of the plot.
    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let shown = values.chain(self.include.iter().copied()).chain(self.ticks.iter().copied());
        let shown = shown.filter(|value| value.is_finite() && (!self.is_log || *value > 0.0));
        let (low, high) = shown
            .map(|value| self.place(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| {
                (low.min(at), high.max(at))
            });
        if low > high {
            return (0.0, 1.0);
        }
        let margin = ((high - low) * 0.04).max(if self.is_log { 0.02 } else { 1e-9 });
        // Counts and times are not negative.
        let starts_at_zero = !self.is_log && low.abs() < f64::EPSILON;
        (if starts_at_zero { low } else { low - margin }, high + margin)
    }

    /// The ticks within a range of the plot's coordinates, as values.
    fn ticks(&self, (low, high): (f64, f64)) -> Vec<f64> {
        if !self.ticks.is_empty() {
            return self.ticks.clone();
        }
        if self.is_log { log_ticks(low, high) } else { linear_ticks(low, high) }
    }
}

/// The coordinates of an axis for plotters: linear, with labels at the ticks only.
struct Scale {
    range: (f64, f64),
    ticks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation)] // pixels
    fn map(&self, value: &f64, (begin, end): (i32, i32)) -> i32 {
        let (low, high) = self.range;
        let share = (value - low) / (high - low);
        begin + (share * f64::from(end - begin)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light points would have lines without labels.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.0..self.range.1
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, five to ten of them.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 6.0;
    if !rough.is_finite() || rough <= 0.0 {
        return vec![low];
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil();
    (0..20).map(|n| (first + f64::from(n)) * step).take_while(|tick| *tick <= high).collect()
}

/// Powers of ten, with 2 and 5 times them if the range is short.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let within = |value: &f64| (low..=high).contains(&value.log10());
    let ticks_of = |steps: &'static [f64]| -> Vec<f64> {
        #[allow(clippy::cast_possible_truncation)] // exponents of a plot
        let powers = (low.floor() as i32)..=(high.ceil() as i32);
        powers
            .flat_map(|power| steps.iter().map(move |n| n * 10_f64.powi(power)))
            .filter(within)
            .collect()
    };
    let decades = high - low;
    if decades > 3.0 {
        ticks_of(&[1.0])
    } else if decades > 0.7 {
        ticks_of(&[1.0, 2.0, 5.0])
    } else {
        ticks_of(&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
    }
}

/// A number with as many digits as a reader of an axis needs.
pub(crate) fn label(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1_000_000.0 {
        format!("{} M", short(value / 1_000_000.0))
    } else if magnitude >= 10_000.0 {
        format!("{} k", short(value / 1000.0))
    } else {
        short(value)
    }
}

/// At most three significant digits after a leading zero, without trailing zeros.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        magnitude if magnitude >= 100.0 => 0,
        magnitude if magnitude >= 10.0 => 1,
        magnitude if magnitude >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

impl Plot {
    /// The plot as an SVG element.
    ///
    /// # Errors
    ///
    /// If plotters cannot draw it.
    pub(crate) fn to_svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let drawn = self.draw(&mut svg);
        drawn.map_err(|error| format!("could not draw \"{}\": {error}", self.title))?;
        // Scales with the page, and is read by screen readers.
        let head = format!(r#"<svg role="img" aria-label="{}" "#, escape(&self.title));
        Ok(svg.replacen("<svg ", &head, 1))
    }

    /// Whether there is anything to show.
    pub(crate) fn has_points(&self) -> bool {
        self.lines.iter().any(|line| !line.points.is_empty())
    }

    /// The columns of the legend: one if a name is long.
    fn columns(&self) -> usize {
        if self.named().any(|line| line.name.chars().count() > LONG_NAME) { 1 } else { 2 }
    }

    fn named(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.name.is_empty())
    }

    fn draw(&self, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let spread = || self.lines.iter().flat_map(|line| line.spread.iter().copied());
        let x_range = self.x.range(points().map(|(x, _)| x));
        let y_range = self
            .y
            .range(points().map(|(_, y)| y).chain(spread().flat_map(|(low, high)| [low, high])));
        let rows = u32::try_from(self.named().count().div_ceil(self.columns())).unwrap_or(0);
        let size = (WIDTH, HEIGHT + rows * LEGEND_LINE);
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        root.fill(&RGBColor(255, 255, 255))?;
        let title = text_style(21, HPos::Left, true);
        root.draw(&Text::new(self.title.clone(), (14, 12), title))?;
        self.draw_legend(&root)?;

        let top = 44 + rows * LEGEND_LINE;
        let (_, plotted) = root.split_vertically(top);
        let tick =
            |axis: &Axis, range| axis.ticks(range).iter().map(|at| axis.place(*at)).collect();
        let x_ticks: Vec<f64> = tick(&self.x, x_range);
        let y_ticks: Vec<f64> = tick(&self.y, y_range);
        let mut chart = ChartBuilder::on(&plotted)
            .margin_left(14)
            .margin_right(24)
            .margin_bottom(8)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(
                Scale { range: x_range, ticks: x_ticks },
                Scale { range: y_range, ticks: y_ticks },
            )?;
        let value = |axis: &Axis, at: f64| if axis.is_log { 10_f64.powf(at) } else { at };
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(RGBColor(255, 255, 255).mix(0.0))
            .axis_style(AXIS)
            .label_style((FONT, 15).into_font().color(&INK))
            .axis_desc_style((FONT, 16).into_font().color(&INK))
            .x_desc(&self.x.name)
            .y_desc(&self.y.name)
            .x_label_formatter(&|at| label(value(&self.x, *at)))
            .y_label_formatter(&|at| label(value(&self.y, *at)))
            .draw()?;
        for line in &self.lines {
            let style = line.style();
            let place = |(x, y): &(f64, f64)| (self.x.place(*x), self.y.place(*y).max(y_range.0));
            let placed: Vec<_> = line.points.iter().map(place).collect();
            for ((x, _), (low, high)) in line.points.iter().zip(&line.spread) {
                let ends = [place(&(*x, *low)), place(&(*x, *high))];
                chart.draw_series([PathElement::new(
                    ends,
                    line.colour().mix(0.45).stroke_width(4),
                )])?;
            }
            if line.is_dashed {
                chart.draw_series(plotters::series::DashedLineSeries::new(
                    placed.clone(),
                    6,
                    4,
                    style,
                ))?;
            } else {
                chart.draw_series(LineSeries::new(placed.clone(), style))?;
            }
            if line.has_marks {
                let marks = placed.iter().map(|at| Circle::new(*at, 4, line.colour().filled()));
                chart.draw_series(marks)?;
            }
        }
        if let Some((at, text)) = &self.mark {
            let at = self.x.place(*at);
            let style = INK.stroke_width(1);
            chart.draw_series([PathElement::new([(at, y_range.0), (at, y_range.1)], style)])?;
            let note = text_style(15, HPos::Left, false);
            let y = y_range.1 - (y_range.1 - y_range.0) * 0.02;
            chart.draw_series([Text::new(format!(" {text}"), (at, y), note)])?;
        }
        root.present()
    }

    /// Below the title.
    fn draw_legend<DB: plotters::prelude::DrawingBackend>(
        &self,
        root: &plotters::prelude::DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let columns = i32::try_from(self.columns()).unwrap_or(1);
        let column = i32::try_from(WIDTH / 2).unwrap_or(0) - 8;
        let height = i32::try_from(LEGEND_LINE).unwrap_or(0);
        for (line, nth) in self.named().zip(0..) {
            let (x, y) = (16 + (nth % columns) * column, 50 + (nth / columns) * height);
            for dash in 0..if line.is_dashed { 3 } else { 1 } {
                let (from, to) =
                    if line.is_dashed { (x + dash * 10, x + dash * 10 + 6) } else { (x, x + 26) };
                root.draw(&PathElement::new([(from, y), (to, y)], line.style()))?;
            }
            if line.has_marks {
                root.draw(&Circle::new((x + 13, y), 4, line.colour().filled()))?;
            }
            let name = text_style(15, HPos::Left, false).pos(Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(line.name.clone(), (x + 34, y), name))?;
        }
        Ok(())
    }
}

impl Line {
    fn colour(&self) -> RGBColor {
        COLOURS[self.colour % COLOURS.len()]
    }

    fn style(&self) -> ShapeStyle {
        self.colour().stroke_width(2)
    }
}

fn text_style(size: i32, side: HPos, is_bold: bool) -> TextStyle<'static> {
    let font = (FONT, size).into_font();
    let font = if is_bold { font.style(plotters::style::FontStyle::Bold) } else { font };
    font.color(&INK).pos(Pos::new(side, VPos::Top)).into_text_style(&(WIDTH, HEIGHT))
}

/// A text in HTML or in an attribute.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(linear_ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(linear_ticks(0.0, 0.0), [0.0]);
        assert_eq!(log_ticks(-1.0, 1.0), [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(log_ticks(3.0, 7.0), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert!(log_ticks(0.0, 0.2).len() >= 2);
    }

    #[test]
    fn labels_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (0.1 + 0.2, "0.3"),
            (1.5, "1.5"),
            (250.0, "250"),
            (2000.0, "2000"),
            (100_000.0, "100 k"),
            (10_000_000.0, "10 M"),
        ] {
            assert_eq!(label(value), text);
        }
    }

    #[test]
    fn a_plot_has_its_texts_and_no_others() {
        let line = |name: &str| Line {
            name: name.to_owned(),
            points: vec![(1.0, 0.5), (10.0, 2.0)],
            spread: vec![(0.4, 0.6), (1.0, 3.0)],
            has_marks: true,
            ..Line::default()
        };
        let plot = Plot {
            title: "Reads & saves <1>".to_owned(),
            x: Axis::log("clients"),
            y: Axis::linear("milliseconds"),
            lines: vec![line("embedded"), Line { is_dashed: true, ..line("distributed") }],
            mark: Some((5.0, "killed".to_owned())),
        };
        let svg = plot.to_svg().expect("drawn");
        for text in ["Reads &amp; saves &lt;1&gt;", "clients", "milliseconds", "embedded", "killed"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert!(svg.starts_with("<svg role=\"img\""));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_plot_without_points_is_empty() {
        let plot = Plot { lines: vec![Line::default()], ..Plot::default() };
        assert!(plot.to_svg().expect("drawn").contains("</svg>"));
    }
}
