//! From the names in an entry to packages to build and files to pack.

use std::fmt;
use std::path::{Path, PathBuf};

use interfaces::manifest::{self, ManifestError, Runtime, StartMode};
use thiserror::Error;

use crate::ahead::PythonFunction;
use crate::function::{self, Function, FunctionError};
use crate::list::{Entry, Location, Module, ModuleKind, Origin, Program};
use crate::python_code::{self, PythonCodeError};
use crate::source_code::SourceCode;
use crate::tools::{self, ToolError};
use crate::workspace::{Class, Workspace, WorkspaceError};

/// The package that runs functions in Python: a workspace of its own, because its lock file pins other versions. A file of
/// this name in `MODULE_SEARCH_PATH` is taken instead, which saves building it.
pub(crate) const PYTHON_RUNTIME: &str = "python-runtime";

/// Why a name of an entry stands for nothing usable.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// Neither package nor file.
    #[error("{at}: `{name}` is neither a package of the workspace nor a file in {searched}")]
    NotFound {
        /// The line.
        at: String,
        /// The name.
        name: String,
        /// The folders looked in.
        searched: String,
    },
    /// A package that is no program.
    #[error(
        "{at}: package `{name}` is no program for Aerie: its Cargo.toml has no `package.metadata.aerie.class`"
    )]
    NoClass {
        /// The line.
        at: String,
        /// The package.
        name: String,
    },
    /// No folder of this name has a `function.toml`.
    #[error("{at}: there is no function `{name}`: no {name}/function.toml in {searched}")]
    NoFunction {
        /// The line.
        at: String,
        /// The function.
        name: String,
        /// The folders looked in.
        searched: String,
    },
    /// A function folder whose code cannot be found.
    #[error("{}: no code: neither a Cargo.toml nor the key `code`", .0.display())]
    NoCode(PathBuf),
    /// The file that `code` names does not exist.
    #[error("{}: `code` names {}, which is no file", folder.display(), code.display())]
    CodeMissing {
        /// The function's folder.
        folder: PathBuf,
        /// The file.
        code: PathBuf,
    },
    /// Two modules want the same name.
    #[error("{at}: `{name}` is in the image already, from {first}; rename one with `[fname=NAME]`")]
    Duplicate {
        /// The second line.
        at: String,
        /// The name in `rom`.
        name: String,
        /// The first line.
        first: String,
    },
    /// A function's description is wrong.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// A package outside the project cannot be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The code of a function in Python is refused.
    #[error(transparent)]
    PythonCode(#[from] PythonCodeError),
    /// A file of source code is to be compiled in a way that does not exist.
    #[error("{at}: `{}` cannot be compiled that way: {reason}", file.display())]
    Compiler {
        /// The line.
        at: String,
        /// The file.
        file: PathBuf,
        /// What does not exist.
        reason: String,
    },
    /// An installed program is missing.
    #[error("{at}: {source}")]
    Installed {
        /// The line.
        at: String,
        /// Which, and how to get it.
        source: ToolError,
    },
    /// A snapshot is wanted of a function that never begins from one.
    #[error(
        "{at}: `{name}` has `mode = \"boot\"`, in which it never begins from a snapshot; leave `[snapshot]` out"
    )]
    NeverFromSnapshot {
        /// The line.
        at: String,
        /// The function.
        name: String,
    },
    /// A function's manifest cannot be written.
    #[error("{}: {error}", folder.display())]
    Manifest {
        /// The function's folder.
        folder: PathBuf,
        /// Why.
        error: ManifestError,
    },
}

/// A package to build: the thing that one `-p` or `--manifest-path` names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// With which flags.
    pub class: Class,
    /// The `Cargo.toml` of a package outside the workspace.
    pub external_manifest: Option<PathBuf>,
    /// The package's name.
    pub package: String,
    /// The wanted binary, where it is not the only one or the one called as the package.
    pub binary: Option<String>,
}

/// Where a module's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A package's binary.
    Built(Unit),
    /// A file.
    File(PathBuf),
    /// The program that a file of source code becomes.
    Compiled(SourceCode),
    /// A function in Python.
    Python(PythonFunction),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl fmt::Display for Source {
    /// Where the user finds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Built(unit) => write!(f, "package {}", unit.package),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Compiled(code) => write!(f, "{}", code.file().display()),
            Source::Python(function) => write!(f, "the code of {}", function.name),
            Source::Bytes(_) => f.write_str("what the tool made"),
        }
    }
}

/// A module with its source.
#[derive(Clone, Debug)]
pub struct Item {
    /// Name in `rom`.
    pub name: String,
    /// Program name and arguments; empty for data.
    pub command_line: String,
    /// Where the bytes come from.
    pub source: Source,
    /// Whether symbols and debug information stay in the image.
    pub keep_symbols: bool,
    /// Whether the module is a program.
    pub is_executable: bool,
    /// What runs it, if it is a function's code.
    pub runtime: Option<Runtime>,
    /// The function whose code it is, if a snapshot of that is prepared with the image.
    pub snapshot_of: Option<String>,
    at: String,
}

impl Item {
    /// A program of a name, from a line.
    fn program(name: String, arguments: &str, source: Source, at: String) -> Self {
        Self {
            command_line: join(&name, arguments),
            is_executable: true,
            keep_symbols: false,
            ..Self::data(name, source, at)
        }
    }

    /// A file of a name, as it is, from a line.
    fn data(name: String, source: Source, at: String) -> Self {
        Self {
            name,
            command_line: String::new(),
            source,
            keep_symbols: true,
            is_executable: false,
            runtime: None,
            snapshot_of: None,
            at,
        }
    }
}

/// All that goes into one image.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The entry's name.
    pub entry: String,
    /// The kernel.
    pub kernel: Item,
    /// The root task, then the modules in order.
    pub modules: Vec<Item>,
}

/// Finds packages, files and functions.
pub struct Resolver<'a> {
    /// The project.
    pub workspace: &'a Workspace,
    /// The folders of `MODULE_SEARCH_PATH`.
    pub search_path: &'a [PathBuf],
}

impl Resolver<'_> {
    /// Resolves every name of `entry`.
    ///
    /// # Errors
    /// The first name that stands for nothing, or for the same module as an earlier one.
    pub fn resolve(&self, entry: &Entry) -> Result<Contents, ResolveError> {
        let kernel = self.program(entry, &entry.kernel)?;
        let mut modules = vec![self.program(entry, &entry.root_task)?];
        for module in &entry.modules {
            let items = match module.kind {
                ModuleKind::Function => self.function(entry, module)?,
                _ => vec![self.module(entry, module)?],
            };
            for item in items {
                match modules.iter_mut().find(|other| other.name == item.name) {
                    Some(first) if first.source == item.source && first.command_line == item.command_line => {
                        first.snapshot_of = first.snapshot_of.take().or(item.snapshot_of);
                    }
                    Some(first) => {
                        return Err(ResolveError::Duplicate {
                            at: item.at,
                            name: item.name,
                            first: first.at.clone(),
                        });
                    }
                    None => modules.push(item),
                }
            }
        }
        Ok(Contents {
            entry: entry.name.clone(),
            kernel,
            modules,
        })
    }

    fn program(&self, entry: &Entry, program: &Program) -> Result<Item, ResolveError> {
        let at = match &program.at {
            Some(location) => location.to_string(),
            None => format!("entry {} (default program)", entry.name),
        };
        let source =
            self.program_source(entry, &program.file, program.at.as_ref(), &Origin::default(), &at)?;
        let name = base_name(&program.file).to_owned();
        Ok(Item::program(name, &program.arguments, source, at))
    }

    fn module(&self, entry: &Entry, module: &Module) -> Result<Item, ResolveError> {
        let at = module.at.to_string();
        let name = module
            .rom_name
            .as_deref()
            .unwrap_or_else(|| base_name(&module.file))
            .to_owned();
        if module.kind == ModuleKind::Data {
            let source = Source::File(self.file(entry, &module.file, Some(&module.at), &at)?);
            return Ok(Item::data(name, source, at));
        }
        let source = self.program_source(entry, &module.file, Some(&module.at), &module.origin, &at)?;
        let name = match (&module.rom_name, &source) {
            (None, Source::Compiled(code)) => code.program_name(),
            _ => name,
        };
        Ok(Item {
            keep_symbols: module.keep_symbols,
            ..Item::program(name, &module.arguments, source, at)
        })
    }

    fn program_source(
        &self,
        entry: &Entry,
        name: &str,
        line: Option<&Location>,
        origin: &Origin,
        at: &str,
    ) -> Result<Source, ResolveError> {
        if let Some(package) = &origin.package {
            return match tools::require(name, package) {
                Ok(program) => Ok(Source::File(program)),
                Err(source) => Err(ResolveError::Installed {
                    at: at.to_owned(),
                    source,
                }),
            };
        }
        if let Some(package) = self.workspace.package(name) {
            let no_class = || ResolveError::NoClass {
                at: at.to_owned(),
                name: name.to_owned(),
            };
            let class = package.class.ok_or_else(no_class)?;
            return Ok(Source::Built(Unit {
                class,
                external_manifest: None,
                package: name.to_owned(),
                binary: None,
            }));
        }
        let manifest = self.workspace.root.join(PYTHON_RUNTIME).join("Cargo.toml");
        let is_given = || self.search_path.iter().any(|folder| folder.join(name).is_file());
        if name == PYTHON_RUNTIME && manifest.is_file() && !is_given() {
            return Ok(Source::Built(Unit {
                class: Class::Python,
                external_manifest: Some(manifest),
                package: name.to_owned(),
                binary: None,
            }));
        }
        let file = self.file(entry, name, line, at)?;
        match SourceCode::of(&file) {
            Some(code) => source_code(code, origin, at).map(Source::Compiled),
            None => Ok(Source::File(file)),
        }
    }

    fn file(
        &self,
        entry: &Entry,
        name: &str,
        line: Option<&Location>,
        at: &str,
    ) -> Result<PathBuf, ResolveError> {
        let folders = self.file_folders(entry, line);
        let found = folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file());
        found.ok_or_else(|| ResolveError::NotFound {
            at: at.to_owned(),
            name: name.to_owned(),
            searched: join_paths(&folders),
        })
    }

    /// Where files are looked for, in this order.
    fn file_folders(&self, entry: &Entry, line: Option<&Location>) -> Vec<PathBuf> {
        let mut folders = self.search_path.to_vec();
        folders.extend(entry.search_path.iter().cloned());
        if let Some(folder) = line.and_then(|location| location.file.parent()) {
            folders.push(if folder.as_os_str().is_empty() {
                ".".into()
            } else {
                folder.to_owned()
            });
        }
        folders.push(self.workspace.root.join("cfg"));
        folders.push(self.workspace.root.clone());
        folders
    }

    fn function(&self, entry: &Entry, module: &Module) -> Result<Vec<Item>, ResolveError> {
        let at = module.at.to_string();
        let mut folders = self.search_path.to_vec();
        folders.extend(entry.search_path.iter().cloned());
        folders.push(self.workspace.root.join("functions"));
        let candidates = folders.iter().map(|folder| folder.join(&module.file));
        let folder = candidates
            .into_iter()
            .find(|folder| folder.join(function::FILE_NAME).is_file());
        let folder = folder.ok_or_else(|| ResolveError::NoFunction {
            at: at.clone(),
            name: module.file.clone(),
            searched: join_paths(&folders),
        })?;
        let function = function::read(&folder.canonicalize().unwrap_or(folder))?;
        let source = self.code(&function)?;
        let manifest = function
            .manifest
            .encode()
            .map_err(|error| ResolveError::Manifest {
                folder: function.folder.clone(),
                error,
            })?;
        if module.has_snapshot && function.manifest.mode == Some(StartMode::Boot) {
            return Err(ResolveError::NeverFromSnapshot {
                at,
                name: function.name,
            });
        }
        let name = format!("{}{}", manifest::FOLDER, function.name);
        let code = Item {
            keep_symbols: module.keep_symbols || function.manifest.runtime == Runtime::Python,
            is_executable: function.manifest.runtime != Runtime::Python,
            runtime: Some(function.manifest.runtime),
            snapshot_of: module.has_snapshot.then_some(function.name),
            ..Item::data(name.clone(), source, at.clone())
        };
        let manifest = Item::data(name + manifest::SUFFIX, Source::Bytes(manifest), at);
        Ok(vec![code, manifest])
    }

    fn code(&self, function: &Function) -> Result<Source, ResolveError> {
        let manifest = function.folder.join("Cargo.toml");
        let class = match function.manifest.runtime {
            Runtime::Native => Some(Class::Native),
            Runtime::Linux => Some(Class::Std),
            Runtime::Python => None,
        };
        if let Some(class) = class.filter(|_| manifest.is_file()) {
            return self.package_of(&manifest, class, function).map(Source::Built);
        }
        let code = function
            .code
            .as_ref()
            .ok_or_else(|| ResolveError::NoCode(function.folder.clone()))?;
        let path = function.folder.join(code);
        let is_linux = function.manifest.runtime == Runtime::Linux;
        let source_code = SourceCode::of(&path).filter(|_| is_linux);
        if function.manifest.runtime == Runtime::Python {
            let target = &self.workspace.target;
            Ok(Source::Python(python_code::function(function, &path, target)?))
        } else if path.is_file() {
            Ok(source_code.map_or(Source::File(path), Source::Compiled))
        } else {
            Err(ResolveError::CodeMissing {
                folder: function.folder.clone(),
                code: path,
            })
        }
    }

    fn package_of(&self, manifest: &Path, class: Class, function: &Function) -> Result<Unit, ResolveError> {
        let binary = function.code.clone();
        if let Some(package) = self.workspace.package_at(manifest) {
            let package = package.name.clone();
            return Ok(Unit {
                class,
                external_manifest: None,
                package,
                binary,
            });
        }
        let outside = Workspace::of(manifest)?;
        let package = outside.package_at(manifest);
        let package = package
            .ok_or_else(|| ResolveError::NoCode(function.folder.clone()))?
            .name
            .clone();
        Ok(Unit {
            class,
            external_manifest: Some(manifest.to_owned()),
            package,
            binary,
        })
    }
}

/// The file with the compiler and the kind of program that its line asks for.
fn source_code(code: SourceCode, origin: &Origin, at: &str) -> Result<SourceCode, ResolveError> {
    let file = code.file().to_owned();
    let error = |reason| ResolveError::Compiler {
        at: at.to_owned(),
        file: file.clone(),
        reason,
    };
    let code = match &origin.compiler {
        Some(name) => code.compiled_by(name).ok_or_else(|| {
            let known: Vec<_> = SourceCode::compilers().collect();
            error(format!("the compilers are {}, not {name}", known.join(", ")))
        })?,
        None => code,
    };
    if origin.is_relocatable {
        let reason = "its compiler makes no static programs that relocate themselves";
        return code.relocatable().ok_or_else(|| error(reason.into()));
    }
    Ok(code)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn join(name: &str, arguments: &str) -> String {
    format!("{name} {arguments}").trim_end().to_owned()
}

/// The paths for a message, each once.
fn join_paths(paths: &[PathBuf]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for path in paths {
        let text = path.display().to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.join(", ")
}
