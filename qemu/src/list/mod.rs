//! `modules.list`: what goes into which boot image.
//!
//! The file has one statement a line, `keyword[option,option=value] rest`. Lines before the first `entry` or
//! `group` hold for every entry. [`List::read`] reads a file with everything it includes; [`List::select`]
//! evaluates one entry. `docs/image.md` describes the keywords.

mod entry;
mod error;
mod statement;

pub use entry::{Entry, Module, ModuleKind, Origin, Program};
pub use error::{ListError, Location, Problem};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use statement::{Keyword, Statement};

/// How deep `include` may nest; a file that includes itself ends here.
const MAX_INCLUDE_DEPTH: usize = 16;

/// Variables that `${NAME}` stands for.
pub type Variables = BTreeMap<String, String>;

/// An `entry` or `group` with the statements below it.
#[derive(Debug)]
struct Section {
    name: String,
    at: Location,
    statements: Vec<Statement>,
}

/// A list that was read, with its sections in the order of the file.
#[derive(Debug)]
pub struct List {
    path: PathBuf,
    variables: Variables,
    global: Vec<Statement>,
    entries: Vec<Section>,
    groups: Vec<Section>,
}

impl List {
    /// Reads the file at `path` and all it includes.
    ///
    /// # Errors
    /// An unreadable file, or the first line that is no statement, with its place.
    pub fn read(path: &Path, variables: Variables) -> Result<Self, ListError> {
        let mut list = Self {
            path: path.to_owned(),
            variables,
            global: Vec::new(),
            entries: Vec::new(),
            groups: Vec::new(),
        };
        let mut statements = Vec::new();
        list.read_statements(path, 0, &mut statements)?;
        list.arrange(statements)?;
        Ok(list)
    }

    /// The names of the entries, in the order of the file.
    pub fn entry_names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Evaluates the entry `name` (in any case), or the first one if `name` is empty.
    ///
    /// # Errors
    /// An unknown name, with the known ones; an unknown or circular group; a failed shell command or pattern.
    pub fn select(&self, name: &str) -> Result<Entry, ListError> {
        let section = match name {
            "" => self.entries.first().ok_or_else(|| ListError::NoEntries {
                list: self.path.clone(),
            })?,
            _ => self
                .entries
                .iter()
                .find(|entry| entry.name.eq_ignore_ascii_case(name))
                .ok_or_else(|| {
                    let mut known: Vec<_> = self.entry_names().collect();
                    known.sort_unstable();
                    ListError::UnknownEntry {
                        list: self.path.clone(),
                        name: name.to_owned(),
                        known: known.join(", "),
                    }
                })?,
        };
        entry::evaluate(self, section)
    }

    fn read_statements(&self, path: &Path, depth: usize, out: &mut Vec<Statement>) -> Result<(), ListError> {
        let text = std::fs::read_to_string(path).map_err(|source| ListError::Read {
            path: path.to_owned(),
            source,
        })?;
        for (number, line) in text.lines().enumerate() {
            let at = Location {
                file: path.to_owned(),
                line: number + 1,
            };
            let Some(statement) = Statement::parse(line, at)? else {
                continue;
            };
            if !statement.options.is_for_this_architecture() {
                continue;
            }
            if statement.keyword != Keyword::Include {
                out.push(statement);
                continue;
            }
            if depth == MAX_INCLUDE_DEPTH {
                return Err(statement.at.error(Problem::IncludeDepth(MAX_INCLUDE_DEPTH)));
            }
            for included in statement.matching_files(&self.variables)? {
                self.read_statements(&included, depth + 1, out)?;
            }
        }
        Ok(())
    }

    fn arrange(&mut self, statements: Vec<Statement>) -> Result<(), ListError> {
        let mut is_group = None;
        for statement in statements {
            let opens_group = match statement.keyword {
                Keyword::Entry => false,
                Keyword::Group => true,
                _ => {
                    let section = match is_group {
                        None => None,
                        Some(true) => self.groups.last_mut(),
                        Some(false) => self.entries.last_mut(),
                    };
                    section
                        .map_or(&mut self.global, |section| &mut section.statements)
                        .push(statement);
                    continue;
                }
            };
            is_group = Some(opens_group);
            let sections = if opens_group {
                &mut self.groups
            } else {
                &mut self.entries
            };
            let name = statement.rest.clone();
            if let Some(first) = sections
                .iter()
                .find(|section| section.name.eq_ignore_ascii_case(&name))
            {
                return Err(statement.at.error(Problem::DuplicateSection {
                    name,
                    first: first.at.clone(),
                }));
            }
            sections.push(Section {
                name,
                at: statement.at,
                statements: Vec::new(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
