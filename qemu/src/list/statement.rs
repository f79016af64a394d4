//! One line of a modules.list: its keyword, options and operands.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ListError, Location, Origin, Problem, Variables};

/// The keywords that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Entry,
    Group,
    ModuleGroup,
    Include,
    SearchPath,
    Kernel,
    RootTask,
    Moe,
    DefaultKernel,
    DefaultRootTask,
    Program,
    Data,
    Function,
}

impl Keyword {
    fn parse(word: &str) -> Result<Self, Problem> {
        Ok(match word.to_ascii_lowercase().as_str() {
            "entry" | "title" => Self::Entry,
            "group" => Self::Group,
            "module-group" => Self::ModuleGroup,
            "include" => Self::Include,
            "searchpath" => Self::SearchPath,
            "kernel" => Self::Kernel,
            "roottask" => Self::RootTask,
            "moe" => Self::Moe,
            "default-kernel" => Self::DefaultKernel,
            "default-roottask" => Self::DefaultRootTask,
            "module" | "bin" | "bin-nostrip" => Self::Program,
            "data" | "data-nostrip" => Self::Data,
            "function" => Self::Function,
            _ => return Err(foreign(word).unwrap_or_else(|| Problem::UnknownKeyword(word.to_owned()))),
        })
    }
}

/// Keywords of L4Re's lists that have no counterpart here, each with what to do about it.
fn foreign(word: &str) -> Option<Problem> {
    let remedy = match word.to_ascii_lowercase().as_str() {
        "sigma0" | "default-sigma0" => "the kernel hands all memory to the root task; remove the line",
        "bootstrap" | "default-bootstrap" => "the kernel is booted directly; remove the line",
        "modaddr" => "modules are placed behind the kernel; remove the line",
        "set" | "initrd" => "only Aerie's own kernel is booted; remove the entry",
        _ => return None,
    };
    Some(Problem::Foreign {
        keyword: word.to_owned(),
        remedy,
    })
}

/// The options in brackets behind a keyword.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) shell: bool,
    pub(super) glob: bool,
    pub(super) keep_symbols: bool,
    pub(super) snapshot: bool,
    pub(super) rom_name: Option<String>,
    pub(super) origin: Origin,
    excluded: bool,
}

impl Options {
    fn parse(text: &str) -> Result<Self, Problem> {
        let mut options = Self::default();
        for option in text.split(',').map(str::trim).filter(|option| !option.is_empty()) {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (option, None),
            };
            match (name.to_ascii_lowercase().as_str(), value) {
                ("shell", None) => options.shell = true,
                ("glob", None) => options.glob = true,
                ("nostrip", None) => options.keep_symbols = true,
                ("snapshot", None) => options.snapshot = true,
                ("no-shlib-scan", None) => {} // Nothing here is linked dynamically.
                ("pie", None) => options.origin.is_relocatable = true,
                ("compiler", Some(name)) if !name.is_empty() => {
                    options.origin.compiler = Some(name.to_owned())
                }
                ("package", Some(name)) if !name.is_empty() => options.origin.package = Some(name.to_owned()),
                ("fname", Some(name)) if !name.is_empty() => options.rom_name = Some(name.to_owned()),
                ("arch", Some(names)) => options.excluded |= !has_alternative(names, &["amd64", "x86_64"]),
                ("bits", Some(widths)) => options.excluded |= !has_alternative(widths, &["64"]),
                (
                    "shell" | "glob" | "nostrip" | "no-shlib-scan" | "fname" | "arch" | "bits" | "pie"
                    | "compiler" | "package" | "snapshot",
                    _,
                ) => {
                    return Err(Problem::MalformedOption(option.to_owned()));
                }
                _ => return Err(Problem::UnknownOption(option.to_owned())),
            }
        }
        Ok(options)
    }

    /// Whether `arch=` and `bits=` allow the line here.
    pub(super) fn is_for_this_architecture(&self) -> bool {
        !self.excluded
    }
}

/// Whether one of the `|`-separated words is one of `accepted`.
fn has_alternative(words: &str, accepted: &[&str]) -> bool {
    words.split('|').any(|word| accepted.contains(&word.trim()))
}

/// A line that is neither blank nor comment.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) keyword: Keyword,
    pub(super) options: Options,
    pub(super) rest: String,
    pub(super) at: Location,
}

impl Statement {
    /// Parses a line; `None` for a blank one.
    pub(super) fn parse(line: &str, at: Location) -> Result<Option<Self>, ListError> {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            return Ok(None);
        }
        let end = line
            .find(|c: char| c.is_whitespace() || c == '[')
            .unwrap_or(line.len());
        let (word, behind) = line.split_at(end);
        let keyword = Keyword::parse(word).map_err(|problem| at.error(problem))?;
        let (options, rest) = match behind.strip_prefix('[') {
            None => ("", behind),
            Some(behind) => behind
                .split_once(']')
                .ok_or_else(|| at.error(Problem::OpenOptions))?,
        };
        let mut options = Options::parse(options).map_err(|problem| at.error(problem))?;
        options.keep_symbols |= word.to_ascii_lowercase().ends_with("-nostrip");
        if options.snapshot && keyword != Keyword::Function {
            return Err(at.error(Problem::SnapshotOfNoFunction(word.to_owned())));
        }
        let rest = rest.trim().to_owned();
        if rest.is_empty() {
            return Err(at.error(Problem::NoOperand(word.to_owned())));
        }
        Ok(Some(Self {
            keyword,
            options,
            rest,
            at,
        }))
    }

    /// The folder of the file that has this line; relative names and shell commands start there.
    pub(super) fn folder(&self) -> &Path {
        match self.at.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// What the line stands for, one or more `file arguments…` strings: the lines that a shell command prints,
    /// the files that match a pattern, or the text itself.
    pub(super) fn operands(&self, variables: &Variables) -> Result<Vec<String>, ListError> {
        if self.options.shell {
            return self
                .shell_lines(variables)
                .map_err(|problem| self.at.error(problem));
        }
        if self.options.glob {
            let files = self.matching_files(variables)?;
            return Ok(files
                .iter()
                .map(|file| file.to_string_lossy().into_owned())
                .collect());
        }
        Ok(vec![self.text(variables)?])
    }

    /// The operand with its variables replaced.
    pub(super) fn text(&self, variables: &Variables) -> Result<String, ListError> {
        expand(&self.rest, variables).map_err(|problem| self.at.error(problem))
    }

    /// The files that the operand's patterns match, sorted within each pattern.
    pub(super) fn matching_files(&self, variables: &Variables) -> Result<Vec<PathBuf>, ListError> {
        let mut files = Vec::new();
        for pattern in self.text(variables)?.split_whitespace() {
            let full = self.folder().join(pattern);
            let matches = glob::glob(&full.to_string_lossy())
                .map_err(|problem| self.at.error(Problem::Pattern(problem)))?;
            let before = files.len();
            for matched in matches {
                files.push(matched.map_err(|error| ListError::Read {
                    path: error.path().to_owned(),
                    source: error.into(),
                })?);
            }
            if files.len() == before {
                return Err(self.at.error(Problem::NoMatch(pattern.to_owned())));
            }
        }
        Ok(files)
    }

    fn shell_lines(&self, variables: &Variables) -> Result<Vec<String>, Problem> {
        let output = Command::new("sh")
            .arg("-c")
            .arg(&self.rest)
            .current_dir(self.folder())
            .envs(variables)
            .output();
        let output = output.map_err(|error| Problem::Shell {
            status: "not started".into(),
            stderr: error.to_string(),
        })?;
        if !output.status.success() {
            return Err(Problem::Shell {
                status: output.status.to_string(),
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

/// Replaces each `${NAME}`.
fn expand(text: &str, variables: &Variables) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (name, after) = behind
            .split_once('}')
            .ok_or_else(|| Problem::UnknownVariable(behind.to_owned()))?;
        out.push_str(before);
        out.push_str(
            variables
                .get(name)
                .ok_or_else(|| Problem::UnknownVariable(name.to_owned()))?,
        );
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
