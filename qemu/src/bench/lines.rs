//! What the guests print: a line of JSON behind a mark for each figure, or for each point of a line in a plot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Marks the lines of the Aerie guest: `BENCH {"name": …, "unit": …, "value": …}`, or with `series`, `line` and `x` in
/// place of the name.
const BENCH_MARK: &str = "BENCH {";
/// Marks the lines of the Linux guest: `PEER {"name": …, "ticks": …, "ns": …}`.
const PEER_MARK: &str = "PEER {";

/// A line of a guest. Instructions and nanoseconds of the Aerie guest are one value, as the emulator makes them so.
#[derive(Debug, Deserialize)]
struct Line {
    name: Option<String>,
    #[serde(flatten)]
    place: Option<Place>,
    value: Option<f64>,
    ticks: Option<f64>,
    ns: Option<f64>,
    kib: Option<f64>,
}

/// Where a point belongs.
#[derive(Debug, Deserialize)]
struct Place {
    series: String,
    line: String,
    x: f64,
}

/// A point of a plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Point {
    /// The plot.
    pub(super) series: String,
    /// The line in the plot.
    pub(super) line: String,
    /// The place on the line.
    pub(super) x: f64,
    /// The value there.
    pub(super) y: f64,
}

/// What a guest measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Values {
    /// Figures by name.
    pub(super) figures: BTreeMap<String, f64>,
    /// Points of plots.
    pub(super) points: Vec<Point>,
}

impl Values {
    /// A figure.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// Adds what another run measured.
    pub(super) fn extend(&mut self, others: Values) {
        self.figures.extend(others.figures);
        self.points.extend(others.points);
    }

    /// Keeps the smaller value of each figure and point.
    pub(super) fn keep_better(&mut self, others: Values) {
        for (name, other) in others.figures {
            let value = self.figures.entry(name).or_insert(other);
            *value = value.min(other);
        }
        for other in others.points {
            let is_same = |point: &&mut Point| {
                point.series == other.series && point.line == other.line && point.x == other.x
            };
            match self.points.iter_mut().find(is_same) {
                Some(point) => point.y = point.y.min(other.y),
                None => self.points.push(other),
            }
        }
    }
}

/// Reads what a guest printed: instructions if they were counted, else nanoseconds. Programs that both guests run print the
/// same in both.
///
/// # Errors
/// The text of a marked line that is no figure.
pub(super) fn read(console: &str, is_counted: bool) -> Result<Values, String> {
    let mut values = Values::default();
    for line in marked(console)? {
        let time = if is_counted { line.ticks } else { line.ns };
        let Some(value) = line.value.or(line.kib).or(time) else {
            continue;
        };
        if let Some(name) = line.name {
            values.figures.insert(name, value);
        } else if let Some(Place { series, line, x }) = line.place {
            values.points.push(Point {
                series,
                line,
                x,
                y: value,
            });
        }
    }
    Ok(values)
}

fn marked(console: &str) -> Result<Vec<Line>, String> {
    let texts = console.lines().filter_map(|line| {
        [BENCH_MARK, PEER_MARK]
            .iter()
            .find_map(|mark| Some(&line[line.find(mark)? + mark.len() - 1..]))
    });
    texts
        .map(|text| serde_json::from_str(text.trim()).map_err(|error| format!("{text}: {error}")))
        .collect()
}

/// Throughput of a benchmark client in invocations a second, from the raw arrays between its output markers.
///
/// # Errors
/// What is missing or wrong.
pub(super) fn throughput(console: &str) -> Result<f64, String> {
    #[derive(Deserialize)]
    struct Thread {
        invocation: Times,
    }
    #[derive(Deserialize)]
    struct Times {
        start: Vec<f64>,
        end: Vec<f64>,
    }
    let behind = console
        .split_once("====   OUTPUT   ====")
        .ok_or("no figures in the client's output")?
        .1;
    let json = behind
        .split_once("==== END OUTPUT ====")
        .ok_or("the client's figures do not end")?
        .0;
    let threads: Vec<Thread> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let times = || threads.iter().map(|thread| &thread.invocation);
    let first = times()
        .flat_map(|times| &times.start)
        .copied()
        .fold(f64::INFINITY, f64::min);
    let last = times().flat_map(|times| &times.end).copied().fold(0.0, f64::max);
    let count: usize = times().map(|times| times.end.len()).sum();
    if count == 0 || last <= first {
        return Err("the client's figures have no invocation".into());
    }
    Ok(count as f64 * 1e6 / (last - first))
}

/// The middle one of the values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(line: &str, x: f64, y: f64) -> Point {
        Point {
            series: "image_size".into(),
            line: line.into(),
            x,
            y,
        }
    }

    #[test]
    fn guests_lines_are_read() {
        let console = "noise\nBENCH {\"name\":\"null_call\",\"unit\":\"instructions\",\"value\":84}\n\
                       bench | BENCH {\"name\":\"page_fault\",\"unit\":\"instructions\",\"value\":900.5}\n\
                       PEER {\"name\": \"process\", \"ticks\": 323.0, \"ns\": 400.0}\n\
                       PEER {\"name\": \"idle_process\", \"kib\": 78.1}\n";
        let counted = read(console, true).unwrap();
        assert_eq!(counted.get("null_call"), Some(84.0));
        assert_eq!(counted.get("page_fault"), Some(900.5));
        assert_eq!(counted.get("process"), Some(323.0));
        assert_eq!(counted.get("idle_process"), Some(78.1));
        assert_eq!(read(console, false).unwrap().get("process"), Some(400.0));
        assert!(read("BENCH {\"name\":1}", true).is_err());
    }

    #[test]
    fn points_belong_to_a_line_of_a_plot() {
        let console = "PEER {\"series\":\"image_size\",\"line\":\"fork\",\"x\":1024,\"ticks\":7,\"ns\":8}\n\
                       BENCH {\"series\":\"image_size\",\"line\":\"snapshot\",\"x\":1024,\"unit\":\"ns\",\"value\":5}\n";
        let values = read(console, false).unwrap();
        assert!(values.figures.is_empty());
        assert_eq!(
            values.points,
            [point("fork", 1024.0, 8.0), point("snapshot", 1024.0, 5.0)]
        );
    }

    #[test]
    fn the_better_one_counts() {
        let figures = |list: &[(&str, f64)]| {
            list.iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect::<BTreeMap<_, _>>()
        };
        let mut values = Values {
            figures: figures(&[("a", 2.0), ("b", 5.0)]),
            points: vec![point("fork", 1.0, 9.0)],
        };
        values.keep_better(Values {
            figures: figures(&[("a", 3.0), ("b", 4.0), ("c", 1.0)]),
            points: vec![point("fork", 1.0, 8.0), point("fork", 2.0, 8.5)],
        });
        assert_eq!(values.figures, figures(&[("a", 2.0), ("b", 4.0), ("c", 1.0)]));
        assert_eq!(values.points, [point("fork", 1.0, 8.0), point("fork", 2.0, 8.5)]);
    }

    #[test]
    fn throughput_covers_all_threads() {
        let console = "x\n====   OUTPUT   ====\n[{\"invocation\":{\"start\":[100.0,200.0],\"end\":[150.0,300.0]},\
                       \"worker\":{}},\n{\"invocation\":{\"start\":[90.0],\"end\":[590.0]}}]\n==== END OUTPUT ====\n";
        assert_eq!(throughput(console), Ok(6000.0));
        assert!(throughput("").is_err());
        assert!(throughput("====   OUTPUT   ====\n[]\n==== END OUTPUT ====").is_err());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
