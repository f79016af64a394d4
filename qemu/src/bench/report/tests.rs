use super::*;
use crate::bench::figures::Ratios;
use crate::bench::lines::Values;

/// Elements of HTML that have no end.
const VOID: [&str; 3] = ["meta", "br", "!doctype"];

/// Checks that elements end in the order in which they began, and that attributes have quotes.
pub(super) fn assert_well_formed(text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('<') {
        let (tag, behind) = behind
            .split_once('>')
            .unwrap_or_else(|| panic!("a tag does not end: {behind}"));
        assert!(!tag.contains('<'), "a tag in a tag: {tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of {tag}");
        rest = behind;
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "ends here: {:.80}", rest);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        if ["script", "style"].contains(&name) {
            rest = &rest[rest.find("</").unwrap()..];
        }
    }
    assert!(open.is_empty(), "not ended: {open:?}");
}

fn values(figures: &[(&str, f64)], points: &[(&str, &str, f64, f64)]) -> Values {
    Values {
        figures: figures
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        points: points
            .iter()
            .map(|&(series, line, x, y)| Point {
                series: series.into(),
                line: line.into(),
                x,
                y,
            })
            .collect(),
    }
}

fn report(problems: &[&str]) -> Report {
    let counted = Pair {
        aerie: values(
            &[
                ("ipc_round_trip", 430.0),
                ("invoke_boot", 95_000.0),
                ("invoke_snapshot_cycle", 26_000.0),
                ("clone_memory_python_kib", 332.0),
                ("python_boot", 7e7),
            ],
            &[("image_size", "Aerie <fresh>", 1_048_576.0, 9_000.0)],
        ),
        linux: values(
            &[
                ("pipe_fork", 10_308.0),
                ("process", 114_809.0),
                ("zygote", 114_400.0),
                ("container", 1_285_734.0),
            ],
            &[
                ("image_size", "Linux: fork", 2_097_152.0, 355_358.0),
                ("image_size", "Linux: fork", 1_048_576.0, 253_005.0),
                ("unknown", "x", 1.0, 1.0),
            ],
        ),
    };
    let timed = Pair {
        aerie: values(&[("ipc_round_trip", 7_000.0)], &[("scaling", "Aerie", 1.0, 1.0)]),
        linux: values(&[("pipe_fork", 49_000.0)], &[("image_size", "in time", 1.0, 1.0)]),
    };
    let ratios = Ratios::from([("cold_time_ratio".to_owned(), 9.9)]);
    let rows = figures::rows(&counted, &timed, &ratios);
    let facts = vec![("Host", "2 CPUs, <x> & co".to_owned())];
    let problems = problems.iter().map(|&problem| problem.to_owned()).collect();
    Report::new(facts, &rows, &counted, &timed, problems)
}

fn page_of(report: &Report) -> String {
    page::page(report, &serde_json::to_string(report).unwrap())
}

#[test]
fn the_page_is_well_formed_and_shows_what_was_measured() {
    let page = page_of(&report(&[]));
    assert_well_formed(&page);
    for text in [
        "10,308",
        "24.0",
        "<span class=\"bad\">≤ 90,000 missed</span>",
        "<span class=\"open\">not yet ≥ 12</span>",
        "minimal container",
        "2 CPUs, &lt;x&gt; &amp; co",
        "Not measured in this run",
        "<svg",
        "without the module <code>site</code>",
        "<b>4.4 ×</b>",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("class=\"problems\""));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = page_of(&report(&["see https://example.org"]));
    let lower = page.to_lowercase();
    for text in [
        "src=", "href=", "url(", "@import", "<link", "<iframe", "<img", "fetch(",
    ] {
        assert!(!lower.contains(text), "{text}");
    }
    let scripts = lower.matches("<script").count();
    assert_eq!(
        scripts,
        lower.matches("<script type=\"application/json\"").count(),
        "only data"
    );
}

#[test]
fn problems_come_first_and_cannot_break_the_page() {
    let page = page_of(&report(&[
        "\u{1b}[36mconsole\napt-get download x: </script><b>no network",
    ]));
    assert_well_formed(&page);
    assert!(page.contains("<p>apt-get download x: &lt;/script&gt;"));
    assert!(page.contains("<pre>[36mconsole\n"));
    assert!(page.find("Not everything worked").unwrap() < page.find("Figures and goals").unwrap());
}

#[test]
fn the_embedded_data_is_the_report() {
    let report = report(&["</script>"]);
    let page = page_of(&report);
    let behind = page
        .split_once("<script type=\"application/json\" id=\"data\">")
        .unwrap()
        .1;
    let data: serde_json::Value = serde_json::from_str(behind.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data, serde_json::to_value(&report).unwrap());
    assert_eq!(data["problems"][0], "</script>");
    assert_eq!(data["figures"][0]["name"], "ipc_round_trip");
    assert_eq!(data["figures"][0]["goal"]["is_reached"], true);
    let mut rows = data["figures"].as_array().unwrap().iter();
    let ratio = rows.find(|row| row["name"] == "cold_time_ratio").unwrap();
    assert_eq!(ratio["aim"]["is_reached"], false);
}

#[test]
fn counted_points_are_sorted_into_lines_and_times_left_out() {
    let report = report(&[]);
    let series: Vec<_> = report.series.iter().map(|series| series.key).collect();
    assert_eq!(series, ["image_size", "scaling"]);
    let lines = &report.series[0].lines;
    assert_eq!(lines.len(), 2, "not those in time");
    assert_eq!(lines[0].title, "Aerie <fresh>");
    assert_eq!(
        lines[1].points,
        [(1_048_576.0, 253_005.0), (2_097_152.0, 355_358.0)]
    );
    let charts: Vec<_> = report.charts.iter().map(|chart| chart.bars.len()).collect();
    assert_eq!(charts, [4, 1, 1], "only what has a value of Aerie's");
}
