//! System scenarios: an entry to boot and what its console must show, one file each in `tests/system/`.

use std::path::{Path, PathBuf};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;

use super::report::Tests;
use crate::console::Verdict;
use crate::project::DEFAULT_SILENCE;

/// How long a scenario may take, unless it says otherwise, in seconds.
const DEFAULT_LIMIT: u64 = 300;

/// Why a scenario cannot be used.
#[derive(Debug, Error)]
pub(super) enum ScenarioError {
    /// The file or the folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no scenario.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        source: Box<toml::de::Error>,
    },
}

/// The verdict that a scenario expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expected {
    /// The boot script ends with success.
    #[default]
    Success,
    /// The boot script ends with failure.
    Failure,
}

/// A pattern that one line of the console, or a part of it, matches.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let regex = RegexBuilder::new(&text).multi_line(true).build();
        regex.map(Self).map_err(D::Error::custom)
    }
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Scenario {
    /// The promise that it shows, for the reader.
    pub(super) shows: String,
    /// The entry to boot.
    pub(super) entry: String,
    /// Arguments of the clients.
    #[serde(default)]
    pub(super) client_args: String,
    /// Options of QEMU.
    #[serde(default)]
    pub(super) qemu_options: String,
    /// Image description, from the project's folder; `modules.list` if not given.
    pub(super) modules_list: Option<PathBuf>,
    /// Folders with modules and functions, from the project's folder.
    #[serde(default)]
    pub(super) module_search_path: Vec<PathBuf>,
    /// Whether invariant checks are compiled in.
    #[serde(default)]
    pub(super) checked: bool,
    /// The guest's verdict.
    #[serde(default)]
    pub(super) verdict: Expected,
    /// Patterns that match in this order, each behind the match of the one before.
    pub(super) expect: Vec<Pattern>,
    /// Patterns that match nowhere.
    #[serde(default)]
    pub(super) refuse: Vec<Pattern>,
    /// A command of the host, with its arguments, that judges the console's log too.
    #[serde(default)]
    pub(super) check: Vec<String>,
    /// Seconds that the whole run may take.
    #[serde(default = "default_limit")]
    pub(super) limit: u64,
    /// Seconds that its console may be silent.
    #[serde(default = "default_silence")]
    pub(super) silence: u64,
}

fn default_limit() -> u64 {
    DEFAULT_LIMIT
}

fn default_silence() -> u64 {
    DEFAULT_SILENCE.as_secs()
}

/// A scenario's name, with what its file holds.
pub(super) type Named = (String, Result<Scenario, ScenarioError>);

/// Reads the scenarios in `folder`, sorted by file name, each with its name or what is wrong with it.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Named>, ScenarioError> {
    let error = |source| ScenarioError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut scenarios = Vec::new();
    for file in std::fs::read_dir(folder).map_err(error)? {
        let path = file.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            scenarios.push((name, read(&path)));
        }
    }
    scenarios.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(scenarios)
}

fn read(path: &Path) -> Result<Scenario, ScenarioError> {
    let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ScenarioError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

impl Scenario {
    /// Compares what happened with what should have.
    #[must_use]
    pub(super) fn judge(&self, verdict: Verdict, console: &str) -> Tests {
        let expected = match self.expected_verdict() {
            expected if expected == verdict => None,
            expected => Some(format!("expected {expected}, but {verdict}")),
        };
        let failures: Vec<_> = expected
            .into_iter()
            .chain(self.missing(console))
            .chain(self.unwanted(console))
            .collect();
        if failures.is_empty() {
            Tests::pass()
        } else {
            Tests::failure(format!(
                "{}; it should show that {}",
                failures.join("; "),
                self.shows
            ))
        }
    }

    fn expected_verdict(&self) -> Verdict {
        match self.verdict {
            Expected::Success => Verdict::Success,
            Expected::Failure => Verdict::Failure,
        }
    }

    fn missing(&self, console: &str) -> Option<String> {
        let mut from = 0;
        for pattern in &self.expect {
            match pattern.0.find_at(console, from) {
                Some(found) => from = found.end(),
                None if from == 0 => return Some(format!("the console has no `{}`", pattern.0)),
                None => {
                    return Some(format!(
                        "the console has no `{}` behind the earlier patterns",
                        pattern.0
                    ));
                }
            }
        }
        None
    }

    fn unwanted(&self, console: &str) -> Option<String> {
        let found = self.refuse.iter().find_map(|pattern| pattern.0.find(console));
        found.map(|found| format!("the console has `{}`", found.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Scenario, read_all};
    use crate::console::Verdict;
    use std::fs;
    use tempfile::TempDir;

    fn scenario(text: &str) -> Scenario {
        toml::from_str(&format!("shows = \"x\"\nentry = \"hello\"\n{text}")).unwrap()
    }

    #[test]
    fn patterns_match_in_order() {
        let scenario = scenario("expect = ['^hello$', 'mode: \\w+']\nrefuse = ['panic']");
        assert_eq!(
            scenario
                .judge(Verdict::Success, "boot\nhello\nmode: boot\n")
                .passed,
            1
        );
        for (verdict, console, part) in [
            (Verdict::Failure, "hello\nmode: boot\n", "expected success"),
            (Verdict::Success, "hello \nmode: boot\n", "no `^hello$`"),
            (Verdict::Success, "mode: boot\nhello\n", "behind the earlier"),
            (Verdict::Success, "hello\nmode: boot\npanic", "has `panic`"),
        ] {
            let tests = scenario.judge(verdict, console);
            assert!(
                tests.failures.iter().any(|failure| failure.contains(part)),
                "{part}: {tests:?}"
            );
        }
    }

    #[test]
    fn a_scenario_may_be_long_and_silent() {
        let usual = scenario("expect = []");
        assert_eq!((usual.limit, usual.silence), (300, 60));
        let patient = scenario("expect = []\nlimit = 7\nsilence = 8");
        assert_eq!((patient.limit, patient.silence), (7, 8));
    }

    #[test]
    fn a_failing_script_can_be_expected() {
        let scenario = scenario("expect = []\nverdict = \"failure\"");
        assert_eq!(scenario.judge(Verdict::Failure, "").passed, 1);
        assert_eq!(scenario.judge(Verdict::NoVerdict, "").passed, 0);
    }

    #[test]
    fn files_are_sorted_and_bad_ones_reported() {
        let folder = TempDir::new().unwrap();
        fs::write(
            folder.path().join("b.toml"),
            "shows='x'\nentry='e'\nexpect=['(']\n",
        )
        .unwrap();
        fs::write(
            folder.path().join("a.toml"),
            "shows='x'\nentry='e'\nexpect=['ok']\n",
        )
        .unwrap();
        fs::write(folder.path().join("notes.md"), "").unwrap();
        let all = read_all(folder.path()).unwrap();
        assert_eq!(all.len(), 2);
        assert!(all[0].0 == "a" && all[0].1.is_ok() && all[1].1.is_err());
        assert!(read_all(&folder.path().join("absent")).is_err());
    }
}
