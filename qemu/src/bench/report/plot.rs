//! Plots as SVG: bars beside each other, and lines over an axis. Colours are classes of the page's style sheet.

use std::fmt::Write as _;

use super::super::table::number;
use super::escape;

const WIDTH: f64 = 860.0;
/// Room for the bars' names, and behind the bars for their values.
const NAMES: f64 = 270.0;
const VALUES: f64 = 130.0;
/// From one bar to the next, and how thick one is.
const STEP: f64 = 30.0;
const THICKNESS: f64 = 18.0;
/// Room for the axis below the bars.
const BELOW: f64 = 40.0;
/// Height of a plot with lines, and the room around its area.
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 116.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 56.0;
/// Colours of the style sheet.
const COLOURS: usize = 6;

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// Each factor of ten (for bytes: of four) is as long as the others.
    Logarithmic,
    /// Each value that there is has a place, at equal distances.
    Steps,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Number,
    Bytes,
}

/// An axis of a plot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
    pub(super) form: Form,
}

/// A bar.
#[derive(Clone, Debug)]
pub(super) struct Bar<'a> {
    pub(super) title: &'a str,
    pub(super) value: f64,
    /// One of Aerie's: it has another colour.
    pub(super) is_own: bool,
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) title: &'a str,
    /// In the order of `x`.
    pub(super) points: Vec<(f64, f64)>,
}

/// Bars on a logarithmic scale, which begins at the power of ten below the smallest.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar<'_>]) -> String {
    let values = || bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0);
    let lowest = values().reduce(f64::min).unwrap_or(1.0).log10();
    let highest = values().reduce(f64::max).unwrap_or(1.0).log10();
    let first = (lowest - 0.3).floor();
    let last = highest.max(first + 1.0);
    let area = WIDTH - NAMES - VALUES;
    let place = |value: f64| NAMES + area * ((value.log10() - first) / (last - first)).max(0.0);
    let bottom = STEP * bars.len() as f64 + 4.0;
    let mut svg = open(title, bottom + BELOW);
    for power in first as i32..=last as i32 {
        let x = place(10f64.powi(power));
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{x:.1}" y1="0" x2="{x:.1}" y2="{bottom:.1}"/><text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 14.0,
            number(10f64.powi(power))
        );
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = STEP * index as f64 + (STEP - THICKNESS) / 2.0;
        let (middle, end) = (y + THICKNESS / 2.0 + 4.5, place(bar.value));
        let class = if bar.is_own { "own" } else { "other" };
        let (name, value) = (escape(bar.title), number(bar.value));
        let _ = write!(
            svg,
            r#"<text class="name" x="{:.1}" y="{middle:.1}" text-anchor="end">{name}</text><rect class="{class}" x="{NAMES:.1}" y="{y:.1}" width="{:.1}" height="{THICKNESS:.1}" rx="2"><title>{name}: {value} {unit}</title></rect><text class="value" x="{:.1}" y="{middle:.1}">{value}</text>"#,
            NAMES - 10.0,
            (end - NAMES).max(1.0),
            end + 8.0,
        );
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{} (logarithmic)</text></svg>"#,
        NAMES + area / 2.0,
        bottom + 34.0,
        escape(unit)
    );
    svg
}

/// Where the values of an axis are on it, as a part of its length.
struct Places {
    scale: Scale,
    low: f64,
    high: f64,
    steps: Vec<f64>,
}

impl Places {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.clone().filter(|value| *value > 0.0);
        let high = values.clone().fold(0.0, f64::max);
        let mut steps: Vec<f64> = values.collect();
        steps.sort_by(f64::total_cmp);
        steps.dedup();
        let (low, high) = match scale {
            Scale::Logarithmic => {
                let low = positive.fold(f64::INFINITY, f64::min).min(high.max(1.0));
                (low, high.max(low * 1.5))
            }
            Scale::Linear | Scale::Steps => (0.0, if high > 0.0 { high } else { 1.0 }),
        };
        Self {
            scale,
            low,
            high,
            steps,
        }
    }

    /// Rounds the ends to powers of ten, or beyond the largest value.
    fn rounded(mut self) -> Self {
        match self.scale {
            Scale::Logarithmic => {
                self.low = 10f64.powf(self.low.log10().floor());
                self.high = 10f64.powf(self.high.log10().ceil());
            }
            Scale::Linear => {
                let step = nice_step(self.high);
                self.high = (self.high / step).ceil() * step;
            }
            Scale::Steps => {}
        }
        self
    }

    fn part(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value / self.high,
            Scale::Logarithmic => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
            Scale::Steps => {
                let at = self.steps.iter().position(|step| *step >= value).unwrap_or(0);
                (at as f64 + 0.5) / self.steps.len().max(1) as f64
            }
        }
    }

    fn ticks(&self, form: Form) -> Vec<f64> {
        let powers = |base: f64| {
            let first = self.low.log(base).round() as i32;
            let last = self.high.log(base).round() as i32;
            let powers = (first..=last).map(|power| base.powi(power));
            powers
                .filter(|tick| *tick >= self.low * 0.99 && *tick <= self.high * 1.01)
                .collect()
        };
        match (self.scale, form) {
            (Scale::Steps, _) => self.steps.clone(),
            (Scale::Logarithmic, Form::Bytes) => powers(4.0),
            (Scale::Logarithmic, Form::Number) => powers(10.0),
            (Scale::Linear, _) => {
                let step = nice_step(self.high);
                (0..=(self.high / step).round() as u32)
                    .map(|index| f64::from(index) * step)
                    .collect()
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides the axis into about five.
fn nice_step(high: f64) -> f64 {
    let rough = high / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= rough);
    step.unwrap_or(10.0) * power
}

/// Lines with their points, and a legend above.
pub(super) fn lines(title: &str, x: Axis, y: Axis, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let across = Places::new(x.scale, points().map(|point| point.0));
    let up = Places::new(y.scale, points().map(|point| point.1)).rounded();
    let legend = 22.0 * lines.len() as f64;
    let (top, bottom) = (TOP + legend, HEIGHT + legend - BOTTOM);
    let at_x = |value| LEFT + 14.0 + (WIDTH - LEFT - RIGHT - 28.0) * across.part(value);
    let at_y = |value| bottom - (bottom - top) * up.part(value);
    let mut svg = open(title, HEIGHT + legend);
    for tick in up.ticks(y.form) {
        let place = at_y(tick);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" y1="{place:.1}" x2="{:.1}" y2="{place:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            LEFT - 8.0,
            place + 4.0,
            written(tick, y.form)
        );
    }
    for tick in across.ticks(x.form) {
        let place = at_x(tick);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{place:.1}" y1="{bottom:.1}" x2="{place:.1}" y2="{:.1}"/><text class="tick" x="{place:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 5.0,
            bottom + 18.0,
            written(tick, x.form)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="axis" transform="translate(14 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        LEFT.midpoint(WIDTH - RIGHT),
        bottom + 42.0,
        escape(x.label),
        top.midpoint(bottom),
        escape(y.label)
    );
    for (index, line) in lines.iter().enumerate() {
        let colour = index % COLOURS;
        let row = TOP + 22.0 * index as f64;
        draw(&mut svg, line, colour, &at_x, &at_y, |value| {
            written(value, x.form)
        });
        let _ = write!(
            svg,
            r#"<rect class="fill{colour}" x="{LEFT}" y="{:.1}" width="14" height="4"/><text class="name" x="{:.1}" y="{row:.1}">{}</text>"#,
            row - 6.0,
            LEFT + 22.0,
            escape(line.title)
        );
    }
    svg.push_str("</svg>");
    svg
}

fn draw(
    svg: &mut String,
    line: &Line<'_>,
    colour: usize,
    at_x: &impl Fn(f64) -> f64,
    at_y: &impl Fn(f64) -> f64,
    x_text: impl Fn(f64) -> String,
) {
    let places: Vec<_> = line
        .points
        .iter()
        .map(|&(x, y)| format!("{:.1},{:.1}", at_x(x), at_y(y)))
        .collect();
    let _ = write!(
        svg,
        r#"<polyline class="line{colour}" points="{}"/>"#,
        places.join(" ")
    );
    for &(x, y) in &line.points {
        let _ = write!(
            svg,
            r#"<circle class="fill{colour}" cx="{:.1}" cy="{:.1}" r="3.5"><title>{}, {}: {}</title></circle>"#,
            at_x(x),
            at_y(y),
            escape(line.title),
            x_text(x),
            number(y)
        );
    }
}

fn open(title: &str, height: f64) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{0}"><title>{0}</title>"#,
        escape(title)
    )
}

fn written(value: f64, form: Form) -> String {
    match form {
        Form::Number => number(value),
        Form::Bytes => bytes(value),
    }
}

/// A size with the largest unit that leaves a number of at least one.
fn bytes(value: f64) -> String {
    let units = [("MiB", 1024.0 * 1024.0), ("KiB", 1024.0)];
    match units.into_iter().find(|(_, size)| value >= *size) {
        Some((unit, size)) => format!("{} {unit}", number(value / size)),
        None if value == 0.0 => "0".to_owned(),
        None => format!("{} B", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_well_formed;
    use super::*;

    const COUNT: Axis = Axis {
        label: "requests & more",
        scale: Scale::Linear,
        form: Form::Number,
    };
    const SIZE: Axis = Axis {
        label: "dirtied heap",
        scale: Scale::Logarithmic,
        form: Form::Bytes,
    };

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = bars(
            "a <b>",
            "instructions",
            &[
                Bar {
                    title: "Aerie & co",
                    value: 1_000.0,
                    is_own: true,
                },
                Bar {
                    title: "Linux",
                    value: 100_000.0,
                    is_own: false,
                },
            ],
        );
        assert_well_formed(&svg);
        assert!(svg.contains("Aerie &amp; co") && svg.contains("100,000"), "{svg}");
        let widths: Vec<f64> = svg
            .split("<rect")
            .skip(1)
            .map(|rect| {
                let width = rect.split_once("width=\"").unwrap().1;
                width.split_once('"').unwrap().0.parse().unwrap()
            })
            .collect();
        // From 100: one decade, and three.
        assert!((widths[1] / widths[0] - 3.0).abs() < 0.01, "{widths:?}");
    }

    #[test]
    fn bars_of_nothing_and_of_zero_are_drawn() {
        assert_well_formed(&bars("none", "KiB", &[]));
        let zero = Bar {
            title: "nothing",
            value: 0.0,
            is_own: true,
        };
        let svg = bars("zero", "KiB", &[zero]);
        assert_well_formed(&svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn lines_stay_in_the_plot_on_every_scale() {
        for scale in [Scale::Linear, Scale::Logarithmic, Scale::Steps] {
            let axis = Axis { scale, ..COUNT };
            let line = Line {
                title: "one",
                points: vec![(0.0, 0.0), (1.0, 5.0), (1024.0, 1e6)],
            };
            let svg = lines("plot", axis, axis, &[line]);
            assert_well_formed(&svg);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{scale:?}: {svg}");
            for circle in svg.split("<circle").skip(1) {
                let value = |name: &str| -> f64 {
                    let text = circle.split_once(name).unwrap().1;
                    text.split_once('"').unwrap().0.parse().unwrap()
                };
                assert!((LEFT..=WIDTH).contains(&value("cx=\"")), "{scale:?}: {circle}");
                assert!((0.0..=HEIGHT).contains(&value("cy=\"")), "{scale:?}: {circle}");
            }
        }
        assert_well_formed(&lines("nothing", COUNT, SIZE, &[]));
    }

    #[test]
    fn sizes_have_ticks_in_their_units() {
        let places = Places::new(Scale::Logarithmic, [1048576.0, 67108864.0].into_iter());
        let ticks: Vec<_> = places.ticks(Form::Bytes).into_iter().map(bytes).collect();
        assert_eq!(ticks, ["1 MiB", "4 MiB", "16 MiB", "64 MiB"]);
        assert_eq!(bytes(100.0 * 1024.0), "100 KiB");
        assert_eq!(bytes(0.0), "0");
        assert_eq!(bytes(12.0), "12 B");
        assert_eq!(nice_step(2.0), 0.5);
        assert_eq!(nice_step(9_000.0), 2_000.0);
    }
}
