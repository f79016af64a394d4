//! Tests that run on the host: formatting, lints, cargo's tests, models of lock-free code.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Session;
use super::report::{Report, Tests};
use crate::compile::class_flags;
use crate::console::TAIL_LINES;
use crate::console::read_log;
use crate::machine::find_program;
use crate::workspace::{Class, cargo};

/// How the output of a call of cargo becomes results.
#[derive(Clone, Copy)]
enum Count {
    /// The call is one test, which its exit status decides.
    Call,
    /// Each `test result:` line counts its tests.
    Results,
    /// Python's line `Ran N tests` counts them.
    Python,
}

/// Runs all of them.
pub(super) fn run(session: &Session<'_>, report: &Report) {
    for (name, component, command) in lints(session) {
        if !session.wants(&name) {
            continue;
        }
        if find_program(component).is_some() {
            call(report, &name, command, Count::Call);
        } else {
            report.skip(
                &name,
                &format!("no {component}; `rustup component add` brings it"),
            );
        }
    }
    let mut tests = vec![(
        "host/tests".to_owned(),
        cargo_in(session, &["test", "--no-fail-fast"]),
    )];
    for package in session.project.workspace.packages() {
        if package.has_host_tests {
            let command = cargo_in(session, &["test", "--no-fail-fast", "--lib", "-p", &package.name]);
            tests.push((format!("host/{}", package.name), command));
        }
        if package.has_loom_tests {
            tests.push((
                format!("host/loom-{}", package.name),
                loom(session, &package.name),
            ));
        }
    }
    for (name, command) in tests {
        if session.wants(&name) {
            call(report, &name, command, Count::Results);
        }
    }
    python(session, report);
}

/// The tests of the functions in Python, where there is a Python to run them.
fn python(session: &Session<'_>, report: &Report) {
    let name = "host/python";
    if !session.wants(name) {
        return;
    }
    let Some(python) = find_program("python3") else {
        report.skip(name, "no python3; `apt-get install python3` brings it");
        return;
    };
    let mut command = Command::new(python);
    command.current_dir(&session.project.workspace.root);
    command.args(["-B", "-m", "unittest", "discover", "-s", "tests/workloads"]);
    call(report, name, command, Count::Python);
}

/// Formatting and lints, each with the program that it needs. Toolchains of the smallest profile lack both.
fn lints(session: &Session<'_>) -> Vec<(String, &'static str, Command)> {
    let mut calls = vec![
        (
            "host/format".to_owned(),
            "cargo-fmt",
            cargo_in(session, &["fmt", "--all", "--check"]),
        ),
        (
            "host/format-python".to_owned(),
            "cargo-fmt",
            cargo_in(
                session,
                &["fmt", "--check", "--manifest-path", "python-runtime/Cargo.toml"],
            ),
        ),
        (
            "host/format-wasm-peer".to_owned(),
            "cargo-fmt",
            cargo_in(
                session,
                &["fmt", "--check", "--manifest-path", "bench/wasm-peer/Cargo.toml"],
            ),
        ),
        (
            "host/lint".to_owned(),
            "cargo-clippy",
            clippy(session, &["--all-targets"], &[]),
        ),
    ];
    for class in [Class::Native, Class::Std] {
        let packages = session
            .project
            .workspace
            .packages()
            .filter(|package| package.class == Some(class));
        let names: Vec<_> = packages.map(|package| package.name.as_str()).collect();
        if names.is_empty() {
            continue;
        }
        let mut command = clippy(session, &["--release"], &names);
        command.env("RUSTFLAGS", class_flags(class));
        command.env("CARGO_TARGET_DIR", session.project.target(class.folder()));
        calls.push((format!("host/lint-{}", class.folder()), "cargo-clippy", command));
    }
    calls
}

fn clippy(session: &Session<'_>, options: &[&str], packages: &[&str]) -> Command {
    let mut command = cargo_in(session, &["clippy"]);
    command.args(options);
    for package in packages {
        command.args(["-p", package]);
    }
    command.args(["--", "-D", "warnings"]);
    command
}

/// The tests of lock-free code under every interleaving that the model checker explores.
fn loom(session: &Session<'_>, package: &str) -> Command {
    let mut command = cargo_in(session, &["test", "--lib", "-p", package]);
    command.args(["--config", "profile.dev.opt-level=2"]);
    command.env("RUSTFLAGS", "--cfg loom");
    command.env("CARGO_TARGET_DIR", session.project.target("loom"));
    command
}

fn cargo_in(session: &Session<'_>, arguments: &[&str]) -> Command {
    let mut command = cargo();
    command
        .current_dir(&session.project.workspace.root)
        .args(arguments);
    command.env("CARGO_TERM_COLOR", "never");
    command
}

fn call(report: &Report, name: &str, command: Command, count: Count) {
    let started = Instant::now();
    let log = report.log(name);
    let tests = match run_into(command, &log) {
        Ok((is_success, text)) => judge(is_success, &text, count),
        Err(error) => Tests::failure(format!("{}: {error}", log.display())),
    };
    report.add(name, started.elapsed(), &tests);
}

/// Runs the command with its output in `log`.
fn run_into(mut command: Command, log: &Path) -> std::io::Result<(bool, String)> {
    let file = File::create(log)?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()?;
    Ok((status.success(), read_log(log)?))
}

fn judge(is_success: bool, text: &str, count: Count) -> Tests {
    let mut tests = match count {
        Count::Call if is_success => Tests::pass(),
        Count::Call => Tests::failure("cargo reports errors"),
        Count::Results => count_results(text),
        Count::Python => count_python(text),
    };
    if !is_success && tests.failures.is_empty() {
        tests
            .failures
            .push("the tests do not build or did not end".into());
    } else if is_success && tests.passed == 0 {
        tests.failures.push("no test ran".into());
    }
    if !tests.failures.is_empty() {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        tests.tail = lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec();
    }
    tests
}

/// Adds up lines like `test result: ok. 12 passed; 0 failed; 1 ignored; …` and names what failed.
fn count_results(text: &str) -> Tests {
    let mut tests = Tests::default();
    let mut failed = 0;
    for line in text.lines() {
        if let Some(result) = line.strip_prefix("test result: ") {
            tests.passed += number_before(result, " passed");
            failed += number_before(result, " failed");
            tests.skipped += number_before(result, " ignored");
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            tests.failures.push(name.to_owned());
        }
    }
    let unnamed = failed - failed.min(tests.failures.len());
    tests
        .failures
        .extend((0..unnamed).map(|_| "a test whose name is in the output".to_owned()));
    tests
}

/// Reads the line `Ran 12 tests in …`, and the names of what failed from lines like `FAIL: name (place)`.
fn count_python(text: &str) -> Tests {
    let mut tests = Tests::default();
    for line in text.lines() {
        if line.starts_with("Ran ") {
            tests.passed += number_before(line, " test");
        } else if let Some(name) = line.strip_prefix("FAIL: ").or(line.strip_prefix("ERROR: ")) {
            tests.failures.push(name.to_owned());
        } else if line.starts_with("OK (skipped=") {
            tests.skipped += number_before(line, ")");
        }
    }
    tests.passed = tests.passed.saturating_sub(tests.failures.len() + tests.skipped);
    tests
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.find(word).map_or("", |at| &text[..at]);
    before
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Count, judge};

    const RESULTS: &str = "running 3 tests\ntest a ... ok\ntest b::c ... FAILED\ntest d ... ignored\n\
        test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n\
        test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out\n";

    #[test]
    fn results_add_up() {
        let tests = judge(false, RESULTS, Count::Results);
        assert_eq!((tests.passed, tests.skipped), (21, 1));
        assert_eq!(tests.failures, ["b::c"]);
        assert_eq!(tests.tail.len(), 6);
    }

    #[test]
    fn a_broken_build_and_an_empty_run_are_failures() {
        assert_eq!(judge(false, "error[E0308]", Count::Results).failures.len(), 1);
        assert_eq!(
            judge(true, "test result: ok. 0 passed; 0 failed;", Count::Results).failures,
            ["no test ran"]
        );
        let crash = "test result: ok. 3 passed; 0 failed;\nsignal: 11";
        assert_eq!(judge(false, crash, Count::Results).failures.len(), 1);
    }

    #[test]
    fn tests_in_python_count() {
        let good = judge(
            true,
            "....s\n-----\nRan 5 tests in 0.2s\n\nOK (skipped=1)\n",
            Count::Python,
        );
        assert_eq!((good.passed, good.skipped, good.failures.len()), (4, 1, 0));
        let text =
            "FAIL: test_a (t.A)\nERROR: test_b (t.A)\nRan 5 tests in 0.2s\nFAILED (failures=1, errors=1)\n";
        let bad = judge(false, text, Count::Python);
        assert_eq!(
            (bad.passed, bad.failures),
            (3, vec!["test_a (t.A)".to_owned(), "test_b (t.A)".to_owned()])
        );
        let none = judge(true, "Ran 0 tests in 0.0s\nOK\n", Count::Python);
        assert_eq!(none.failures, ["no test ran"]);
        assert_eq!(judge(false, "No module named x", Count::Python).failures.len(), 1);
    }

    #[test]
    fn a_call_is_one_test() {
        assert_eq!(judge(true, "", Count::Call).passed, 1);
        assert_eq!(judge(false, "x", Count::Call).failures.len(), 1);
    }
}
