//! The Python runtime as a program of the host: the cases of `tests/python-host/cases.toml`, and clippy. Both use what
//! was built for the images; its dependencies take minutes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use interfaces::manifest::WARM_UP_NAME;
use regex::Regex;
use serde::Deserialize;

use super::Session;
use super::report::{Report, Tests};
use crate::compile::{Compiler, Profile};
use crate::machine::find_program;
use crate::resolve::{PYTHON_RUNTIME, Unit};
use crate::workspace::Class;

/// The group of the cases.
const CASES: &str = "host/python-runtime";
/// The group of the lints.
const LINT: &str = "host/python-runtime-clippy";
/// How long a function may take until it waits for its request.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// The standard streams.
const STREAMS: [&str; 3] = ["0", "1", "2"];
/// Number of the system call `read` (syscalls(2)).
const SYS_READ: &str = "0";

#[derive(Debug, Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    name: String,
    code: String,
    #[serde(default)]
    handler: String,
    warm_up: Option<String>,
    #[serde(default)]
    request: String,
    #[serde(default)]
    request_bytes: Vec<u8>,
    response: Option<String>,
    error: Option<String>,
    status: Option<i32>,
    #[serde(default)]
    at_ready: bool,
}

/// Runs them, if they are wanted.
pub(super) fn run(session: &Session<'_>, report: &Report) {
    if !session.wants(CASES) && !session.wants(LINT) {
        return;
    }
    let log = report.log(CASES);
    let compiler = Compiler {
        workspace: &session.project.workspace,
        profile: Profile::Release,
        log: Some(&log),
    };
    let unit = Unit {
        class: Class::Python,
        external_manifest: Some(
            session
                .project
                .workspace
                .root
                .join(PYTHON_RUNTIME)
                .join("Cargo.toml"),
        ),
        package: PYTHON_RUNTIME.into(),
        binary: None,
    };
    let started = Instant::now();
    if session.wants(CASES) {
        let tests = compiler
            .program(&unit)
            .map_err(|error| error.to_string())
            .and_then(|program| {
                let cases = session
                    .project
                    .workspace
                    .root
                    .join("tests/python-host/cases.toml");
                all(&program, &cases, &report.folder().join("python-host"))
            })
            .unwrap_or_else(Tests::failure);
        report.add(CASES, started.elapsed(), &tests);
    }
    if session.wants(LINT) {
        lint(&compiler, &unit, report);
    }
}

fn lint(compiler: &Compiler<'_>, unit: &Unit, report: &Report) {
    let Some(clippy) = find_program("clippy-driver") else {
        report.skip(LINT, "no clippy-driver; `rustup component add clippy` brings it");
        return;
    };
    let started = Instant::now();
    let tests = match compiler.lint(unit, &clippy) {
        Ok(()) => Tests::pass(),
        Err(error) => Tests::failure(error.to_string()),
    };
    report.add(LINT, started.elapsed(), &tests);
}

/// Runs the cases of a file, with the functions in `folder`.
fn all(program: &Path, cases: &Path, folder: &Path) -> Result<Tests, String> {
    let text = fs::read_to_string(cases).map_err(|error| format!("{}: {error}", cases.display()))?;
    let cases: Cases = toml::from_str(&text).map_err(|error| error.to_string())?;
    let code = folder.join("code.py");
    let mut tests = Tests::default();
    for case in &cases.case {
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&code, &case.code));
        written.map_err(|error| format!("{}: {error}", code.display()))?;
        match one(program, &code, case) {
            Ok(()) => tests.passed += 1,
            Err(why) => tests.failures.push(format!("{}: {why}", case.name)),
        }
    }
    Ok(tests)
}

fn one(program: &Path, code: &Path, case: &Case) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg(code).arg(&case.handler).env_clear();
    if let Some(event) = &case.warm_up {
        command.env(WARM_UP_NAME, event);
    }
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let seen = if case.at_ready { look(&mut child) } else { Ok(()) };
    if let Some(mut input) = child.stdin.take() {
        let request = [case.request.as_bytes(), &case.request_bytes].concat();
        // A program that fails before does not read it.
        let _ = input.write_all(&request);
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    seen.and_then(|()| case.judge(&output))
}

/// Looks at a program that waits for its request.
fn look(child: &mut Child) -> Result<(), String> {
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let started = Instant::now();
    loop {
        let call = fs::read_to_string(process.join("syscall")).unwrap_or_default();
        let mut words = call.split_whitespace();
        if (words.next(), words.next()) == (Some(SYS_READ), Some("0x0")) {
            break;
        }
        if started.elapsed() > READY_LIMIT || child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return Err("it does not come to wait for its request".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let own = links(Path::new("/proc/self/fd"));
    let mut files = links(&process.join("fd"));
    // What the tool itself got from whoever started it, it passes on.
    files.retain(|number, file| own.get(number) != Some(file) || STREAMS.contains(&number.as_str()));
    let threads = links(&process.join("task"));
    if !files.keys().eq(STREAMS) {
        return Err(format!("it has open {files:?}"));
    }
    if threads.len() != 1 {
        return Err(format!("it has {} threads", threads.len()));
    }
    Ok(())
}

/// The entries of a folder, with what those that are links lead to.
fn links(folder: &Path) -> BTreeMap<String, Option<PathBuf>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let link = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read_link(entry.path()).ok())
    };
    entries.map(link).collect()
}

impl Case {
    fn judge(&self, output: &Output) -> Result<(), String> {
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = self.status.unwrap_or(i32::from(self.error.is_some()));
        if output.status.code() != Some(expected) {
            return Err(format!("{}, not {expected}: {said}", output.status));
        }
        let response = String::from_utf8_lossy(&output.stdout);
        match &self.response {
            Some(wanted) if *wanted != response => return Err(format!("`{response}`, not `{wanted}`")),
            _ => {}
        }
        let Some(error) = &self.error else {
            return Ok(());
        };
        let pattern = Regex::new(error).map_err(|error| error.to_string())?;
        if pattern.is_match(&said) {
            Ok(())
        } else {
            Err(format!("`{said}` does not match `{error}`"))
        }
    }
}
