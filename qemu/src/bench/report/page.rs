//! The page: HTML with its style, its plots and its data inside.

use std::fmt::Write as _;

use super::super::table::number;
use super::plot::{self, Bar, Line};
use super::{ChartItem, FigureItem, Report, SeriesItem, escape};

const STYLE: &str = include_str!("style.css");
const METHOD: &str = include_str!("method.html");

/// The whole page. `json` is what `report.json` has.
pub(super) fn page(report: &Report, json: &str) -> String {
    let (times, counted): (Vec<_>, Vec<_>) = report.figures.iter().partition(|figure| is_time(figure));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Aerie: what an invocation costs</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>What an invocation costs</h1>\n<p class=\"lead\">Aerie runs each invocation of a function in a fresh, isolated task. \
         This page compares what that costs with what Linux, CPython and Wasmtime need for the like, measured in the same run on the \
         same emulated machine, mostly in guest instructions.</p>\n"
    );
    html.push_str(&problems(report));
    html.push_str(&cards(report));
    html.push_str("<h2 id=\"figures\">Figures and goals</h2>\n");
    html.push_str("<p>The ratio says how many times as much the operation on the right needs.</p>\n");
    html.push_str(&figures(&counted));
    html.push_str(&missing(report));
    for chart in &report.charts {
        html.push_str(&chart_section(chart));
    }
    for series in &report.series {
        html.push_str(&series_section(series));
    }
    html.push_str("<h2 id=\"comparisons\">Every comparison</h2>\n");
    html.push_str(&comparisons(&counted));
    html.push_str("<h2 id=\"times\">In time</h2>\n<p>Of the same programs on two emulated CPUs.</p>\n");
    html.push_str(&figures(&times));
    html.push_str(METHOD);
    html.push_str("<h2 id=\"run\">This run</h2>\n");
    html.push_str(&facts(report));
    html.push_str(&data(json));
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn is_time(figure: &FigureItem) -> bool {
    figure.name.ends_with("_time")
}

/// What went wrong, before everything else.
fn problems(report: &Report) -> String {
    if report.problems.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section class=\"problems\"><h2>Not everything worked</h2>\n");
    for problem in &report.problems {
        // A machine's console comes before the word on what went wrong with it.
        let last = problem.lines().next_back().unwrap_or_default();
        let _ = writeln!(html, "<p>{}</p>", escape(last));
        if last.len() < problem.len() {
            let _ = writeln!(
                html,
                "<details><summary>what was printed</summary><pre>{}</pre></details>",
                escape(problem)
            );
        }
    }
    html + "</section>\n"
}

/// How many goals are reached, and the comparisons that say most.
fn cards(report: &Report) -> String {
    let goals = || report.figures.iter().filter_map(|figure| figure.goal.as_ref());
    let aims = || report.figures.iter().filter_map(|figure| figure.aim.as_ref());
    let reached = goals().filter(|goal| goal.is_reached).count();
    let class = if reached == goals().count() { "good" } else { "bad" };
    let mut html = format!(
        "<div class=\"cards\">\n<div class=\"card\"><b class=\"{class}\">{reached} of {}</b><span>goals reached</span></div>\n",
        goals().count()
    );
    let open = aims().filter(|aim| !aim.is_reached).count() + report.missing.len();
    if open > 0 {
        let _ = writeln!(
            html,
            "<div class=\"card\"><b class=\"open\">{open}</b><span>not reached or not measured yet</span></div>"
        );
    }
    for card in &report.cards {
        let _ = writeln!(
            html,
            "<div class=\"card\"><b>{:.1} ×</b><span>{}</span></div>",
            card.factor,
            inline(card.text)
        );
    }
    html + "</div>\n"
}

fn figures(figures: &[&FigureItem]) -> String {
    let mut html = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>Figure</th><th class=\"n\">Aerie</th><th>Goal</th>\
         <th class=\"n\">Linux</th><th class=\"n\">Ratio</th><th>Linux operation</th></tr></thead>\n<tbody>\n",
    );
    for figure in figures {
        let peer = figure.peers.first();
        let _ = writeln!(
            html,
            "<tr><td><code>{}</code><small>{}</small></td><td class=\"n\">{}<small>{}</small></td><td>{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&figure.name),
            inline(figure.what),
            number(figure.value),
            escape(figure.unit),
            goal(figure),
            peer.map_or("–".to_owned(), |peer| number(peer.value)),
            peer.map_or("–".to_owned(), |peer| ratio(peer.value, figure.value)),
            peer.map_or("–", |peer| peer.title),
        );
    }
    html + "</tbody></table></div>\n"
}

fn goal(figure: &FigureItem) -> String {
    let mut parts = Vec::new();
    if let Some(goal) = &figure.goal {
        let (class, word) = if goal.is_reached {
            ("good", "")
        } else {
            ("bad", " missed")
        };
        parts.push(format!(
            "<span class=\"{class}\">{}{word}</span>",
            escape(&goal.text)
        ));
    }
    if let Some(aim) = &figure.aim {
        let (class, word) = if aim.is_reached {
            ("good", "reached")
        } else {
            ("open", "not yet")
        };
        parts.push(format!(
            "<span class=\"{class}\">{word} {}</span>",
            escape(&aim.text)
        ));
    }
    if parts.is_empty() {
        "–".to_owned()
    } else {
        parts.join("<br>")
    }
}

/// A text in which what stands between backticks is code.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        if index % 2 == 1 {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            html.push_str(&part);
        }
    }
    html
}

fn ratio(peer: f64, own: f64) -> String {
    if own > 0.0 {
        format!("{:.1}", peer / own)
    } else {
        "–".to_owned()
    }
}

/// Figures without a value.
fn missing(report: &Report) -> String {
    if report.missing.is_empty() {
        return String::new();
    }
    let mut html = String::from("<p>Not measured in this run:</p>\n<ul>\n");
    for item in &report.missing {
        let goal = item
            .goal
            .as_ref()
            .map(|goal| format!(" ({})", escape(goal)))
            .unwrap_or_default();
        let _ = writeln!(
            html,
            "<li><code>{}</code>: {}{goal}</li>",
            escape(item.name),
            inline(item.what)
        );
    }
    html + "</ul>\n"
}

/// All peers of the figures that have more than one.
fn comparisons(figures: &[&FigureItem]) -> String {
    let mut html = String::from(
        "<div class=\"wide\"><table>\n<thead><tr><th>Figure</th><th class=\"n\">Aerie</th><th>Compared with</th>\
         <th class=\"n\">there</th><th class=\"n\">Ratio</th></tr></thead>\n<tbody>\n",
    );
    for figure in figures.iter().filter(|figure| figure.peers.len() > 1) {
        for (index, peer) in figure.peers.iter().enumerate() {
            let (name, value) = if index == 0 {
                (
                    format!("<code>{}</code>", escape(&figure.name)),
                    number(figure.value),
                )
            } else {
                Default::default()
            };
            let _ = writeln!(
                html,
                "<tr><td>{name}</td><td class=\"n\">{value}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escape(peer.title),
                number(peer.value),
                ratio(peer.value, figure.value)
            );
        }
    }
    html + "</tbody></table></div>\n"
}

fn chart_section(chart: &ChartItem) -> String {
    let bars: Vec<_> = chart
        .bars
        .iter()
        .map(|bar| Bar {
            title: bar.title,
            value: bar.value,
            is_own: bar.is_own,
        })
        .collect();
    section(
        chart.title,
        chart.text,
        &plot::bars(chart.title, chart.unit, &bars),
    )
}

fn series_section(item: &SeriesItem) -> String {
    let lines: Vec<_> = item
        .lines
        .iter()
        .map(|line| Line {
            title: &line.title,
            points: line.points.clone(),
        })
        .collect();
    let series = &item.series;
    section(
        series.title,
        series.text,
        &plot::lines(series.title, series.x, series.y, &lines),
    )
}

fn section(title: &str, text: &str, svg: &str) -> String {
    format!(
        "<h2>{}</h2>\n<p>{}</p>\n<figure>{svg}</figure>\n",
        escape(title),
        inline(text)
    )
}

fn facts(report: &Report) -> String {
    let mut html = String::from("<table><tbody>\n");
    for fact in &report.facts {
        let _ = writeln!(
            html,
            "<tr><th>{}</th><td>{}</td></tr>",
            escape(fact.what),
            escape(&fact.value)
        );
    }
    html + "</tbody></table>\n<p>Again: <code>make bench-report</code>.</p>\n"
}

/// The raw data, for programs and for eyes. No text in it can end the element that it is in.
fn data(json: &str) -> String {
    let inert = json.replace('<', "\\u003c");
    format!(
        "<details><summary>The data as JSON</summary><pre>{}</pre></details>\n\
         <script type=\"application/json\" id=\"data\">{inert}</script>\n",
        escape(json)
    )
}
