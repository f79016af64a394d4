//! The report: everything that was measured, as JSON and as one page that needs nothing from elsewhere.

mod contents;
mod facts;
mod page;
mod plot;

use serde::Serialize;

use super::figures::{self, Goal, Pair, Peer, Row};
use super::lines::Point;
use super::machines::Session;
use super::table::bound;
use crate::error::Error;
use contents::{CARDS, CHARTS, Card, Chart, SERIES, Series, Source};
pub(super) use facts::facts;

/// Something about the run: what, and its value.
pub(super) type Fact = (&'static str, String);

/// All that is in the report, as `report.json` has it.
#[derive(Debug, Serialize)]
struct Report {
    facts: Vec<FactItem>,
    cards: Vec<CardItem>,
    figures: Vec<FigureItem>,
    charts: Vec<ChartItem>,
    series: Vec<SeriesItem>,
    missing: Vec<MissingItem>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FactItem {
    what: &'static str,
    value: String,
}

/// How many times as much something of Linux's needs.
#[derive(Debug, Serialize)]
struct CardItem {
    text: &'static str,
    factor: f64,
}

#[derive(Debug, Serialize)]
struct FigureItem {
    name: String,
    what: &'static str,
    unit: &'static str,
    value: f64,
    /// What it must reach, and whether it does.
    goal: Option<GoalItem>,
    /// What it is to reach one day, and whether it does.
    aim: Option<GoalItem>,
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
struct GoalItem {
    text: String,
    is_reached: bool,
}

#[derive(Debug, Serialize)]
struct ChartItem {
    title: &'static str,
    unit: &'static str,
    #[serde(skip)]
    text: &'static str,
    bars: Vec<BarItem>,
}

#[derive(Debug, Serialize)]
struct BarItem {
    title: &'static str,
    value: f64,
    is_own: bool,
}

#[derive(Debug, Serialize)]
struct SeriesItem {
    key: &'static str,
    title: &'static str,
    #[serde(skip)]
    series: Series,
    lines: Vec<LineItem>,
}

#[derive(Debug, Serialize)]
struct LineItem {
    title: String,
    points: Vec<(f64, f64)>,
}

/// A figure that was not measured.
#[derive(Debug, Serialize)]
struct MissingItem {
    name: &'static str,
    what: &'static str,
    /// What it would have to reach.
    goal: Option<String>,
}

impl Report {
    fn new(facts: Vec<Fact>, rows: &[Row], counted: &Pair, timed: &Pair, problems: Vec<String>) -> Self {
        Self {
            facts: facts
                .into_iter()
                .map(|(what, value)| FactItem { what, value })
                .collect(),
            cards: CARDS.iter().filter_map(|card| factor(card, counted)).collect(),
            figures: rows.iter().map(figure).collect(),
            charts: CHARTS.iter().filter_map(|chart| bars(chart, counted)).collect(),
            series: SERIES
                .iter()
                .filter_map(|series| lines(series, counted, timed))
                .collect(),
            missing: figures::missing(rows)
                .map(|figure| MissingItem {
                    name: figure.name,
                    what: figure.what,
                    goal: figure.aim.or(figure.goal).map(bound),
                })
                .collect(),
            problems,
        }
    }
}

fn figure(row: &Row) -> FigureItem {
    let item = |goal: Goal| GoalItem {
        text: bound(goal),
        is_reached: goal.is_reached(row.value),
    };
    FigureItem {
        name: row.name.clone(),
        what: row.what,
        unit: row.unit,
        value: row.value,
        goal: row.goal.map(item),
        aim: row.aim.map(item),
        peers: row.peers.clone(),
    }
}

fn factor(card: &Card, counted: &Pair) -> Option<CardItem> {
    let own = counted.aerie.get(card.own).filter(|&value| value > 0.0)?;
    Some(CardItem {
        text: card.text,
        factor: counted.linux.get(card.other)? / own,
    })
}

/// The bars of a chart that were measured.
fn bars(chart: &Chart, counted: &Pair) -> Option<ChartItem> {
    let bars: Vec<_> = chart
        .bars
        .iter()
        .filter_map(|&(title, source)| {
            let (value, is_own) = match source {
                Source::Aerie(name) => (counted.aerie.get(name)?, true),
                Source::Linux(name) => (counted.linux.get(name)?, false),
            };
            Some(BarItem { title, value, is_own })
        })
        .collect();
    bars.iter().any(|bar| bar.is_own).then_some(ChartItem {
        title: chart.title,
        unit: chart.unit,
        text: chart.text,
        bars,
    })
}

/// The lines of a plot: Aerie's before Linux's, counted if there are such points, else in time.
fn lines(series: &Series, counted: &Pair, timed: &Pair) -> Option<SeriesItem> {
    let points = |pair: &Pair| -> Vec<Point> {
        let all = pair.aerie.points.iter().chain(&pair.linux.points);
        all.filter(|point| point.series == series.key).cloned().collect()
    };
    let mut found = points(counted);
    if found.is_empty() {
        found = points(timed);
    }
    let mut lines: Vec<LineItem> = Vec::new();
    for Point { line, x, y, .. } in found {
        match lines.iter_mut().find(|other| other.title == line) {
            Some(other) => other.points.push((x, y)),
            None => lines.push(LineItem {
                title: line,
                points: vec![(x, y)],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|left, right| left.0.total_cmp(&right.0));
    }
    (!lines.is_empty()).then_some(SeriesItem {
        key: series.key,
        title: series.title,
        series: *series,
        lines,
    })
}

impl Session<'_> {
    /// Writes the report as JSON and as a page.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn report(
        &self,
        facts: Vec<Fact>,
        rows: &[Row],
        counted: &Pair,
        timed: &Pair,
    ) -> Result<(), Error> {
        let problems = self.problems.borrow().clone();
        let report = Report::new(facts, rows, counted, timed, problems);
        self.write("report.json", &report)?;
        let json = serde_json::to_string(&report).map_err(|error| Error::Failed(error.to_string()))?;
        let path = self.folder.join("report.html");
        std::fs::write(&path, page::page(&report, &json)).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        println!("the report: {}", path.display());
        Ok(())
    }
}

/// Text as HTML and SVG have it, in attributes as well. Consoles' control characters are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other if other.is_control() && other != '\n' => {}
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
