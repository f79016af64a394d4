//! The guides in `docs/`, followed step by step in a folder outside the project: same files, same commands, same output.
//!
//! A guide is a section with commands in blocks `sh`. A line with nothing but a name in backquotes stands before a file's
//! contents; a block `text` behind commands is what they show, with `…` for what differs from run to run.

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;

use super::Session;
use super::report::{Report, Tests};
use crate::console::{TAIL_LINES, read_log};

/// The documents with guides, in the project's folder.
const DOCUMENTS: [&str; 2] = ["docs/writing-functions.md", "docs/writing-clients.md"];

/// Variables of the commands that the user of `make test` set for that one, and what make and cargo told this program.
const OTHERS: [&str; 16] = [
    "CLIENT_ARGS",
    "E",
    "FUNCTION",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "MODULES_LIST",
    "MODULE_SEARCH_PATH",
    "ONLY",
    "QEMU_OPTIONS",
    "QEMU_PATH",
    "REQUEST",
    "RUSTFLAGS",
    "TIMEOUT",
    "CARGO_ENCODED_RUSTFLAGS",
];

/// What a guide asks its reader to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Write a file.
    File {
        name: String,
        content: String,
    },
    Commands(String),
    /// Look at what the commands showed.
    Shows(Vec<String>),
}

/// One section of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guide {
    /// The heading as a name: `rust-native`.
    name: String,
    /// How many numbered steps its reader sees.
    numbered: usize,
    steps: Vec<Step>,
}

/// Follows all guides that are wanted, one after the other: they share what they build.
pub(super) fn run(session: &Session<'_>, report: &Report) {
    let root = &session.project.workspace.root;
    for document in DOCUMENTS {
        let text = match fs::read_to_string(root.join(document)) {
            Ok(text) => text,
            // The projects that the tool is tested with have none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                report.add(
                    "guide",
                    Duration::ZERO,
                    &Tests::failure(format!("{document}: {error}")),
                );
                continue;
            }
        };
        for guide in guides(&text) {
            let name = format!("guide/{}", guide.name);
            if !session.wants(&name) {
                continue;
            }
            let started = Instant::now();
            let tests = follow(session, &guide, &report.log(&name))
                .unwrap_or_else(|error| Tests::failure(format!("cannot follow the guide: {error}")));
            report.add(&name, started.elapsed(), &tests);
        }
    }
}

/// The guides of a document, in its order.
fn guides(document: &str) -> Vec<Guide> {
    let sections = document.split("\n## ").skip(1);
    sections.filter_map(guide).collect()
}

fn guide(section: &str) -> Option<Guide> {
    let heading = section.lines().next()?;
    let steps = steps(section);
    let has_commands = steps.iter().any(|step| matches!(step, Step::Commands(_)));
    let is_numbered = |line: &&str| {
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < line.len() && digits.starts_with(". ")
    };
    has_commands.then(|| Guide {
        name: slug(heading),
        numbered: section.lines().filter(is_numbered).count(),
        steps,
    })
}

/// A heading in small letters, digits and hyphens.
fn slug(heading: &str) -> String {
    let heading = heading.replace('+', "p").to_lowercase();
    let words = heading.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

fn steps(section: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = section.lines();
    let mut file = None;
    while let Some(line) = lines.next() {
        let text = line.trim();
        let Some(language) = text.strip_prefix("```") else {
            let name = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            match name.filter(|name| !name.contains(['`', ' '])) {
                Some(name) => file = Some(name.to_owned()),
                None if text.is_empty() => {}
                None => file = None,
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let block: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        let content = block.join("\n") + "\n";
        match (file.take(), language) {
            (Some(name), _) => steps.push(Step::File { name, content }),
            (None, "sh") => steps.push(Step::Commands(content)),
            (None, "text") => steps.push(Step::Shows(block.into_iter().map(str::to_owned).collect())),
            (None, _) => {}
        }
    }
    steps
}

/// Does what the guide says and compares what is shown.
fn follow(session: &Session<'_>, guide: &Guide, log: &Path) -> io::Result<Tests> {
    let root = session.project.workspace.root.canonicalize()?;
    let folder = fresh_folder(&root)?;
    let script = script(guide, &root, &session.project.target("guides").join(&guide.name));
    let output = File::create(log)?;
    let mut command = Command::new("sh");
    command
        .args(["-e", "-c", &script])
        .current_dir(&folder)
        .stdin(Stdio::null());
    command.stdout(output.try_clone()?).stderr(output);
    let others: HashSet<&str> = OTHERS.into();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_of_this_run = name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST");
        if is_of_this_run || others.contains(&*name) {
            command.env_remove(&*name);
        }
    }
    command
        .env("QEMU_PATH", session.qemu)
        .env("CARGO_TERM_COLOR", "never");
    let status = command.status()?;
    let shown = read_log(log)?;
    let mut tests = judge(guide, &shown);
    if !status.success() {
        tests.passed = 0;
        tests.failures.push(format!("the commands end with {status}"));
    }
    if tests.failures.is_empty() {
        fs::remove_dir_all(&folder)?;
    } else {
        let lines: Vec<_> = shown.lines().map(str::to_owned).collect();
        tests.tail = lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec();
    }
    Ok(tests)
}

/// An empty folder outside the project, with the project beside what will be in it. Its path is always the same, so that
/// cargo finds what it built the last time.
fn fresh_folder(root: &Path) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    let folder = std::env::temp_dir().join(format!("aerie-guides-{:016x}", hasher.finish()));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    symlink(root, folder.join("aerie"))?;
    Ok(folder)
}

/// The guide as a script. A package gets the project's versions of its dependencies, which are on this machine already, and
/// `cache` to build in.
fn script(guide: &Guide, root: &Path, cache: &Path) -> String {
    let mut script = String::new();
    for step in &guide.steps {
        match step {
            Step::File { name, content } => {
                script += &format!("cat > '{name}' <<'END OF THE FILE'\n{content}END OF THE FILE\n");
                if name == "Cargo.toml" {
                    let (root, cache) = (root.display(), cache.display());
                    script +=
                        &format!("cp '{root}/Cargo.lock' .\nmkdir -p '{cache}'\nln -s '{cache}' target\n");
                }
            }
            Step::Commands(commands) => script += commands,
            Step::Shows(_) => {}
        }
    }
    script
}

/// Looks for what the guide shows, line by line, each behind the one before.
fn judge(guide: &Guide, shown: &str) -> Tests {
    let shown: Vec<String> = shown.lines().map(without_colours).collect();
    let mut rest = shown.as_slice();
    let mut tests = Tests::default();
    for step in &guide.steps {
        let Step::Shows(lines) = step else { continue };
        for line in lines {
            match rest.iter().position(|shown| is_like(line, shown)) {
                Some(at) => {
                    tests.passed += 1;
                    rest = &rest[at + 1..];
                }
                None => tests
                    .failures
                    .push(format!("not shown, or not in this order: {line}")),
            }
        }
    }
    if tests.passed + tests.failures.len() == 0 {
        tests
            .failures
            .push("the guide does not tell what is shown".into());
    }
    tests
}

/// Whether a line is the guide's, where `…` stands for anything.
fn is_like(wanted: &str, shown: &str) -> bool {
    let parts: Vec<_> = wanted.split('…').map(regex::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".*"))).is_ok_and(|pattern| pattern.is_match(shown))
}

/// A line without the sequences that colour it, and without the space at its end.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
