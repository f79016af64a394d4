//! What can be wrong with a modules.list.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl Location {
    /// The error that this line has `problem`.
    #[must_use]
    pub fn error(&self, problem: Problem) -> ListError {
        ListError::Line {
            at: self.clone(),
            problem,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why a list cannot be used.
#[derive(Debug, Error)]
pub enum ListError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{at}: {problem}")]
    Line {
        /// Where.
        at: Location,
        /// What.
        problem: Problem,
    },
    /// The list has no entry of the wanted name.
    #[error("{}: there is no entry `{name}`; the entries are: {known}", list.display())]
    UnknownEntry {
        /// The list.
        list: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are, sorted.
        known: String,
    },
    /// The list has no entry at all.
    #[error("{}: no `entry` in this list", list.display())]
    NoEntries {
        /// The list.
        list: PathBuf,
    },
}

/// What is wrong with one line.
#[derive(Debug, Error)]
pub enum Problem {
    /// The keyword does not exist.
    #[error("unknown keyword `{0}`")]
    UnknownKeyword(String),
    /// The keyword exists in L4Re's lists, but has no meaning here.
    #[error("`{keyword}` does not exist in Aerie: {remedy}")]
    Foreign {
        /// The keyword as written.
        keyword: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// The option group has no `]`.
    #[error("the options after `[` have no closing `]`")]
    OpenOptions,
    /// The option does not exist.
    #[error(
        "unknown option `{0}`; known: arch=, bits=, shell, glob, fname=, nostrip, pie, compiler=, package=, \
             snapshot, no-shlib-scan"
    )]
    UnknownOption(String),
    /// The option needs a value and has none, or the reverse.
    #[error("option `{0}` is malformed; write it as in `module[shell] …` or `module[fname=NAME] …`")]
    MalformedOption(String),
    /// `snapshot` on a line that names no functions.
    #[error("option `snapshot` is one of `function` lines, not of `{0}`")]
    SnapshotOfNoFunction(String),
    /// `fname=` with an operand that stands for several modules.
    #[error("`fname=` names one module, but this line stands for {0}")]
    NameForMany(usize),
    /// Nothing stands behind a keyword that needs something.
    #[error("`{0}` needs an operand")]
    NoOperand(String),
    /// A `${NAME}` that is not set, or has no `}`.
    #[error("variable `{0}` is not set")]
    UnknownVariable(String),
    /// A pattern is malformed.
    #[error("bad pattern: {0}")]
    Pattern(#[from] glob::PatternError),
    /// A pattern matches no file.
    #[error("no file matches `{0}`")]
    NoMatch(String),
    /// `include` nests too deeply.
    #[error("includes nest deeper than {0}; does a file include itself?")]
    IncludeDepth(usize),
    /// A second section has the name of the first.
    #[error("`{name}` is already defined at {first}")]
    DuplicateSection {
        /// The name.
        name: String,
        /// Where it was first.
        first: Location,
    },
    /// `module-group` names a group that is nowhere.
    #[error("there is no group `{name}`; the groups are: {known}")]
    UnknownGroup {
        /// The name asked for.
        name: String,
        /// The names there are, sorted.
        known: String,
    },
    /// A group contains itself.
    #[error("group `{0}` contains itself")]
    CircularGroup(String),
    /// A `[shell]` command failed.
    #[error("the shell command failed ({status}): {stderr}")]
    Shell {
        /// Its exit status.
        status: String,
        /// What it wrote to its error output.
        stderr: String,
    },
    /// A `default-…` inside an entry.
    #[error("`{0}` is only allowed before the first entry")]
    OnlyGlobal(&'static str),
}
