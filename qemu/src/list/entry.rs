//! Evaluation of one entry: groups resolved, variables replaced, shell lines and patterns expanded.

use std::path::PathBuf;

use super::statement::{Keyword, Statement};
use super::{List, ListError, Location, Problem, Section};

/// A program that the boot image starts, with its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// Package or file name.
    pub file: String,
    /// The arguments, separated by spaces.
    pub arguments: String,
    /// The line that asks for it; `None` for a built-in default.
    pub at: Option<Location>,
}

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// An ELF program, or any file named on a `module` line.
    Program,
    /// A file taken as it is.
    Data,
    /// A function folder.
    Function,
}

/// How a program comes to be that is neither a package of the workspace nor a file that is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The compiler for a file of source code, where it is not the language's usual one.
    pub compiler: Option<String>,
    /// The file of source code becomes a program that relocates itself.
    pub is_relocatable: bool,
    /// The program is an installed one, from this package of the distribution.
    pub package: Option<String>,
}

/// A module of the image.
#[derive(Clone, Debug)]
pub struct Module {
    /// What it is.
    pub kind: ModuleKind,
    /// Package, file or function name.
    pub file: String,
    /// Arguments of a program.
    pub arguments: String,
    /// Name in `rom`, where the line gives one.
    pub rom_name: Option<String>,
    /// Where the program comes from.
    pub origin: Origin,
    /// Whether symbols and debug information stay in the image.
    pub keep_symbols: bool,
    /// Whether a snapshot of the function is prepared with the image.
    pub has_snapshot: bool,
    /// The line that asks for it.
    pub at: Location,
}

/// An entry, ready to be resolved to files and packages.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The kernel and its command line.
    pub kernel: Program,
    /// The first task.
    pub root_task: Program,
    /// The other modules in order.
    pub modules: Vec<Module>,
    /// Folders to look for files in, from `searchpath` lines.
    pub search_path: Vec<PathBuf>,
}

/// Evaluates the entry in `section` of `list`.
pub(super) fn evaluate(list: &List, section: &Section) -> Result<Entry, ListError> {
    let mut evaluation = Evaluation {
        list,
        open_groups: Vec::new(),
        entry: Entry {
            name: section.name.clone(),
            kernel: default_program("kernel"),
            root_task: default_program("moe"),
            modules: Vec::new(),
            search_path: Vec::new(),
        },
    };
    for statement in &list.global {
        evaluation.apply_global(statement)?;
    }
    for statement in &section.statements {
        evaluation.apply(statement)?;
    }
    Ok(evaluation.entry)
}

fn default_program(file: &str) -> Program {
    Program {
        file: file.to_owned(),
        arguments: String::new(),
        at: None,
    }
}

struct Evaluation<'a> {
    list: &'a List,
    open_groups: Vec<String>,
    entry: Entry,
}

impl Evaluation<'_> {
    fn apply_global(&mut self, statement: &Statement) -> Result<(), ListError> {
        match statement.keyword {
            Keyword::DefaultKernel => self.entry.kernel = self.program(statement)?,
            Keyword::DefaultRootTask => self.entry.root_task = self.program(statement)?,
            _ => self.apply(statement)?,
        }
        Ok(())
    }

    fn apply(&mut self, statement: &Statement) -> Result<(), ListError> {
        match statement.keyword {
            Keyword::Kernel => self.entry.kernel = self.program(statement)?,
            Keyword::RootTask => self.entry.root_task = self.program(statement)?,
            Keyword::Moe => self.boot_script(statement)?,
            Keyword::SearchPath => {
                let folder = statement.folder().join(statement.text(&self.list.variables)?);
                self.entry.search_path.push(folder);
            }
            Keyword::Program => self.push(statement, ModuleKind::Program)?,
            Keyword::Data => self.push(statement, ModuleKind::Data)?,
            Keyword::Function => self.functions(statement)?,
            Keyword::ModuleGroup => self.groups(statement)?,
            Keyword::DefaultKernel => return Err(statement.at.error(Problem::OnlyGlobal("default-kernel"))),
            Keyword::DefaultRootTask => {
                return Err(statement.at.error(Problem::OnlyGlobal("default-roottask")));
            }
            Keyword::Entry | Keyword::Group | Keyword::Include => {} // Consumed when the list was read.
        }
        Ok(())
    }

    fn program(&self, statement: &Statement) -> Result<Program, ListError> {
        let text = statement.text(&self.list.variables)?;
        let (file, arguments) = split_first_word(&text);
        Ok(Program {
            file: file.into(),
            arguments: arguments.into(),
            at: Some(statement.at.clone()),
        })
    }

    /// `moe FILE`: packs the boot script and starts the root task with it.
    fn boot_script(&mut self, statement: &Statement) -> Result<(), ListError> {
        let text = statement.text(&self.list.variables)?;
        let (file, arguments) = split_first_word(&text);
        let name = statement
            .options
            .rom_name
            .clone()
            .unwrap_or_else(|| base_name(file).to_owned());
        let arguments = format!("rom/{name} {arguments}").trim_end().to_owned();
        self.entry.root_task = Program {
            file: "moe".into(),
            arguments,
            at: Some(statement.at.clone()),
        };
        self.entry.modules.push(Module {
            kind: ModuleKind::Data,
            file: file.to_owned(),
            arguments: String::new(),
            rom_name: Some(name),
            origin: Origin::default(),
            keep_symbols: true,
            has_snapshot: false,
            at: statement.at.clone(),
        });
        Ok(())
    }

    fn push(&mut self, statement: &Statement, kind: ModuleKind) -> Result<(), ListError> {
        let operands = statement.operands(&self.list.variables)?;
        if operands.len() > 1 && statement.options.rom_name.is_some() {
            return Err(statement.at.error(Problem::NameForMany(operands.len())));
        }
        for operand in operands {
            let (file, arguments) = split_first_word(&operand);
            self.entry.modules.push(Module {
                kind,
                file: file.to_owned(),
                arguments: arguments.to_owned(),
                rom_name: statement.options.rom_name.clone(),
                origin: statement.options.origin.clone(),
                keep_symbols: statement.options.keep_symbols,
                has_snapshot: false,
                at: statement.at.clone(),
            });
        }
        Ok(())
    }

    fn functions(&mut self, statement: &Statement) -> Result<(), ListError> {
        for operand in statement.operands(&self.list.variables)? {
            for name in operand.split_whitespace() {
                self.entry.modules.push(Module {
                    kind: ModuleKind::Function,
                    file: name.to_owned(),
                    arguments: String::new(),
                    rom_name: None,
                    origin: Origin::default(),
                    keep_symbols: statement.options.keep_symbols,
                    has_snapshot: statement.options.snapshot,
                    at: statement.at.clone(),
                });
            }
        }
        Ok(())
    }

    fn groups(&mut self, statement: &Statement) -> Result<(), ListError> {
        let list = self.list;
        for name in statement.text(&list.variables)?.split_whitespace() {
            let group = list
                .groups
                .iter()
                .find(|group| group.name.eq_ignore_ascii_case(name));
            let group = group.ok_or_else(|| {
                let mut known: Vec<_> = list.groups.iter().map(|group| group.name.as_str()).collect();
                known.sort_unstable();
                statement.at.error(Problem::UnknownGroup {
                    name: name.to_owned(),
                    known: known.join(", "),
                })
            })?;
            if self.open_groups.contains(&group.name) {
                return Err(statement.at.error(Problem::CircularGroup(group.name.clone())));
            }
            self.open_groups.push(group.name.clone());
            for inner in &group.statements {
                self.apply(inner)?;
            }
            self.open_groups.pop();
        }
        Ok(())
    }
}

/// The part of a path behind its last `/`.
fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn split_first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim()),
        None => (text, ""),
    }
}
