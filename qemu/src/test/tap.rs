//! Reads kernel tests' results from a console: the Test Anything Protocol between two marker lines.
//!
//! ```text
//! TAP TEST START
//! 1..2
//! ok 1 ipc::call_returns_the_words
//! not ok 2 memory::fresh_pages_are_zero - byte 7 is 3
//! TAP TEST FINISHED
//! ```

use std::collections::BTreeMap;

use super::report::Tests;

const START: &str = "TAP TEST START";
const FINISHED: &str = "TAP TEST FINISHED";

/// A result line.
struct ResultLine<'a> {
    is_ok: bool,
    number: usize,
    name: &'a str,
}

/// Reads the results. A planned test without a line is a failure, and so is anything that makes the
/// results doubtful: no plan, two lines for one test, no end marker.
#[must_use]
pub(super) fn parse(console: &str) -> Tests {
    let mut lines = console.lines().map(without_tag);
    if !lines.any(|line| line == START) {
        return Tests::failure(format!("the line `{START}` is missing: no test was started"));
    }
    let mut tests = Tests::default();
    let mut planned = None;
    let mut seen: BTreeMap<usize, &str> = BTreeMap::new();
    let mut is_finished = false;
    for line in lines {
        if line == FINISHED {
            is_finished = true;
            break;
        }
        if let Some(count) = line
            .strip_prefix("1..")
            .and_then(|count| count.parse::<usize>().ok())
        {
            planned = Some(count);
        } else if let Some(result) = parse_result(line) {
            if seen.insert(result.number, result.name).is_some() {
                tests
                    .failures
                    .push(format!("test {} has two results: {}", result.number, result.name));
            } else {
                count(&result, &mut tests);
            }
        }
    }
    check_plan(planned, &seen, is_finished, &mut tests);
    tests
}

fn count(result: &ResultLine<'_>, tests: &mut Tests) {
    if result.name.to_ascii_uppercase().contains("# SKIP") {
        tests.skipped += 1;
    } else if result.is_ok {
        tests.passed += 1;
    } else {
        tests
            .failures
            .push(format!("not ok {} {}", result.number, result.name));
    }
}

fn check_plan(planned: Option<usize>, seen: &BTreeMap<usize, &str>, is_finished: bool, tests: &mut Tests) {
    let Some(planned) = planned else {
        tests.failures.push("the plan `1..N` is missing".into());
        return;
    };
    if planned == 0 {
        tests.failures.push("the plan is empty: no test ran".into());
    }
    let last = seen.iter().next_back().map_or("none", |(_, name)| name);
    for missing in (1..=planned).filter(|number| !seen.contains_key(number)) {
        tests.failures.push(format!(
            "test {missing} of {planned} has no result; the last with one: {last}"
        ));
    }
    for (number, name) in seen.iter().filter(|(number, _)| !(1..=planned).contains(*number)) {
        tests
            .failures
            .push(format!("test {number} is outside the plan 1..{planned}: {name}"));
    }
    if !is_finished {
        tests.failures.push(format!("the line `{FINISHED}` is missing"));
    }
}

/// The line without the name of the program that wrote it, which a log server puts in front as `name | `.
fn without_tag(line: &str) -> &str {
    let line = line.trim();
    match line.split_once('|') {
        Some((tag, rest)) if !tag.trim().is_empty() && !tag.trim().contains(' ') => rest.trim(),
        _ => line,
    }
}

fn parse_result(line: &str) -> Option<ResultLine<'_>> {
    let (is_ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, name) = rest.split_once(' ').unwrap_or((rest, "(no name)"));
    Some(ResultLine {
        is_ok,
        number: number.parse().ok()?,
        name: name.trim_start_matches("- "),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    const GOOD: &str = "boot noise\nTAP TEST START\n1..3\nok 1 a::b\nkernel log\nok 2 - c # SKIP one CPU\n\
                        tests   | ok 3 d\nTAP TEST FINISHED\n";

    #[test]
    fn results_are_counted() {
        let tests = parse(GOOD);
        assert_eq!((tests.passed, tests.skipped), (2, 1));
        assert!(tests.failures.is_empty(), "{:?}", tests.failures);
    }

    #[test]
    fn a_failed_test_has_its_message() {
        let tests = parse(&GOOD.replace("ok 1 a::b", "not ok 1 a::b - 1 != 2"));
        assert_eq!(tests.failures, ["not ok 1 a::b - 1 != 2"]);
        assert_eq!(tests.passed, 1);
    }

    #[test]
    fn what_is_missing_is_a_failure() {
        for (text, part) in [
            ("", "`TAP TEST START` is missing"),
            (&GOOD.replace("1..3\n", ""), "plan `1..N` is missing"),
            (
                &GOOD.replace("1..3", "1..4"),
                "test 4 of 4 has no result; the last with one: d",
            ),
            (&GOOD.replace("1..3", "1..2"), "test 3 is outside the plan"),
            (&GOOD.replace("ok 1 a::b\n", ""), "test 1 of 3 has no result"),
            (&GOOD.replace("ok 3 d", "ok 1 d"), "test 1 has two results"),
            (
                &GOOD.replace("TAP TEST FINISHED", ""),
                "`TAP TEST FINISHED` is missing",
            ),
            ("TAP TEST START\n1..0\nTAP TEST FINISHED\n", "no test ran"),
        ] {
            let tests = parse(text);
            assert!(
                tests.failures.iter().any(|failure| failure.contains(part)),
                "{part}: {:?}",
                tests.failures
            );
        }
    }
}
