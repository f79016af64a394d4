//! Counts results and tells about them as they come.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The results of one group of tests: one machine, or one call of cargo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tests {
    /// How many passed.
    pub passed: usize,
    /// What failed, each with the reason.
    pub failures: Vec<String>,
    /// How many were left out on purpose.
    pub skipped: usize,
    /// Output to show if something failed.
    pub tail: Vec<String>,
}

impl Tests {
    /// A group of one test that failed.
    #[must_use]
    pub fn failure(reason: impl Into<String>) -> Self {
        Self {
            failures: vec![reason.into()],
            ..Self::default()
        }
    }

    /// A group of one test that passed.
    #[must_use]
    pub fn pass() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }
}

/// The results so far. Machines that run side by side share it.
#[derive(Debug)]
pub struct Report {
    folder: PathBuf,
    counts: Mutex<(usize, usize)>,
}

impl Report {
    /// An empty report; the tests' output files are in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            counts: Mutex::default(),
        }
    }

    /// Where the tests' output files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the output of the group `name` goes.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.log", name.replace('/', "-")))
    }

    /// Counts and shows the results of the group `name`.
    pub fn add(&self, name: &str, elapsed: Duration, tests: &Tests) {
        let mut counts = self.lock();
        counts.0 += tests.passed;
        counts.1 += tests.failures.len();
        let word = if tests.failures.is_empty() { "ok  " } else { "FAIL" };
        let skipped = if tests.skipped > 0 {
            format!(", {} skipped", tests.skipped)
        } else {
            String::new()
        };
        let seconds = elapsed.as_secs_f64();
        println!(
            "{word} {name} ({} passed, {} failed{skipped}, {seconds:.1} s)",
            tests.passed,
            tests.failures.len()
        );
        for failure in &tests.failures {
            println!("     {failure}");
        }
        if !tests.failures.is_empty() && !tests.tail.is_empty() {
            println!("     ---- end of {} ----", self.log(name).display());
            for line in &tests.tail {
                println!("     {line}");
            }
        }
    }

    /// Tells that a group cannot run here, which is no failure.
    pub fn skip(&self, name: &str, reason: &str) {
        println!("skip {name}: {reason}");
    }

    /// How many tests passed and failed.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, (usize, usize)> {
        // Two numbers have no broken state that a panicking holder could leave.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
