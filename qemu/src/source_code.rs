//! Programs that are one file of source code in C, C++, Go or Rust, compiled to a static program.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use thiserror::Error;

use crate::c_library::{CLibrary, is_header_in};
use crate::compile::CompileError;
use crate::error::remedy;
use crate::tools::{self, ToolError};

/// Why there is no program.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The compiler is missing and cannot be installed.
    #[error("{}: {source}", file.display())]
    Tool {
        /// The file.
        file: PathBuf,
        /// The compiler, and how to get it.
        source: ToolError,
    },
    /// The compiler refuses the file; its messages were shown or are in the log.
    #[error("`{compiler}` failed to compile {}{}", file.display(), log.as_ref().map_or_else(String::new, |log| format!("; see {}", log.display())))]
    Refused {
        /// The file.
        file: PathBuf,
        /// The compiler.
        compiler: &'static str,
        /// Where its output is, if it was not shown.
        log: Option<PathBuf>,
    },
    /// The library that the file is linked with does not build.
    #[error("{}: {source}", file.display())]
    Library {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: Box<CompileError>,
    },
    /// A file cannot be read or written, or a program not be started.
    #[error("{}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How a compiler takes its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Gnu,
    Go,
    Rust,
}

/// A compiler that is known to make programs that need nothing but themselves.
#[derive(Debug, PartialEq, Eq)]
struct Compiler {
    name: &'static str,
    /// The packages that have it on Debian.
    package: &'static str,
    dialect: Dialect,
    /// Suffixes of the files that it is the usual compiler of.
    suffixes: &'static [&'static str],
    /// Whether its programs can be linked with worker-lib for C, which needs the C library that Rust uses.
    has_worker_lib: bool,
    /// Flags for a program at a fixed address.
    fixed: &'static [&'static str],
    /// Flags for one that relocates itself, in front of and behind the file's name; `None` if it makes no such static ones.
    relocatable: Option<(&'static [&'static str], &'static [&'static str])>,
}

const COMPILERS: [Compiler; 5] = [
    Compiler {
        name: "cc",
        package: "gcc libc6-dev",
        dialect: Dialect::Gnu,
        suffixes: &["c"],
        has_worker_lib: true,
        fixed: &["-static"],
        relocatable: Some((&["-static-pie", "-fPIE"], &[])),
    },
    Compiler {
        name: "c++",
        package: "g++",
        dialect: Dialect::Gnu,
        suffixes: &["cc", "cpp", "cxx"],
        has_worker_lib: true,
        fixed: &["-static"],
        relocatable: Some((&["-static-pie", "-fPIE"], &[])),
    },
    Compiler {
        name: "musl-gcc",
        package: "musl-tools",
        dialect: Dialect::Gnu,
        suffixes: &[],
        has_worker_lib: false,
        fixed: &["-static"],
        // musl-gcc knows static programs and relocatable ones, but not both at once: it is told what to link.
        relocatable: Some((
            &[
                "-static",
                "-fPIE",
                "-nostartfiles",
                "-Wl,-pie,--no-dynamic-linker",
                "/usr/lib/x86_64-linux-musl/rcrt1.o",
                "/usr/lib/x86_64-linux-musl/crti.o",
            ],
            &["/usr/lib/x86_64-linux-musl/crtn.o"],
        )),
    },
    Compiler {
        name: "go",
        package: "golang-go",
        dialect: Dialect::Go,
        suffixes: &["go"],
        has_worker_lib: false,
        fixed: &[],
        relocatable: None,
    },
    Compiler {
        name: "rustc",
        package: "rustc",
        dialect: Dialect::Rust,
        suffixes: &["rs"],
        has_worker_lib: false,
        fixed: &["-Crelocation-model=static"],
        relocatable: Some((&["-Crelocation-model=pie"], &[])),
    },
];

/// A file to compile, and how.
#[derive(Clone, Debug)]
pub struct SourceCode {
    file: PathBuf,
    compiler: &'static Compiler,
    is_relocatable: bool,
}

impl PartialEq for SourceCode {
    fn eq(&self, other: &Self) -> bool {
        let key = |code: &Self| (code.file.clone(), code.compiler.name, code.is_relocatable);
        key(self) == key(other)
    }
}

impl Eq for SourceCode {}

impl SourceCode {
    /// The file with its language's usual compiler; `None` for files in other languages.
    #[must_use]
    pub fn of(file: &Path) -> Option<Self> {
        let suffix = file.extension()?.to_str()?;
        let compiler = COMPILERS
            .iter()
            .find(|compiler| compiler.suffixes.contains(&suffix))?;
        Some(Self {
            file: file.to_owned(),
            compiler,
            is_relocatable: false,
        })
    }

    /// The same file compiled by `name`; `None` if that compiler isn't known.
    #[must_use]
    pub fn compiled_by(self, name: &str) -> Option<Self> {
        let compiler = COMPILERS.iter().find(|compiler| compiler.name == name)?;
        Some(Self { compiler, ..self })
    }

    /// The same file as a program that relocates itself; `None` if its compiler makes no static ones of that kind.
    #[must_use]
    pub fn relocatable(self) -> Option<Self> {
        self.compiler.relocatable?;
        Some(Self {
            is_relocatable: true,
            ..self
        })
    }

    /// The names of all compilers.
    pub fn compilers() -> impl Iterator<Item = &'static str> {
        COMPILERS.iter().map(|compiler| compiler.name)
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The program's name: the file's without its suffix.
    #[must_use]
    pub fn program_name(&self) -> String {
        let stem = self.file.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// Compiles the file to a program below `target` and returns the program. What was compiled before is taken as it is
    /// unless the source or a file that it includes is newer. A file in C or C++ that includes the header of `library` is
    /// linked with it.
    ///
    /// # Errors
    /// There is no compiler, or it refuses the file.
    pub fn compile(
        &self,
        target: &Path,
        library: Option<&CLibrary<'_>>,
        log: Option<&Path>,
    ) -> Result<Vec<u8>, SourceError> {
        let folder = self.folder(target);
        std::fs::create_dir_all(&folder).map_err(io(&folder))?;
        let program = folder.join(self.program_name());
        self.require_compiler()?;
        let library = library.filter(|_| self.compiler.has_worker_lib);
        let archive = match library.filter(|library| self.includes_header(&program, library)) {
            Some(library) => Some(library.archive().map_err(|source| SourceError::Library {
                file: self.file.clone(),
                source: Box::new(source),
            })?),
            None => None,
        };
        if !is_current(&program, archive) {
            let mut command = self.command(&program, target);
            if let Some(library) = library {
                command.arg("-I").arg(library.include());
            }
            if let Some(archive) = archive {
                command.arg(archive).arg("-Wl,--gc-sections");
            }
            self.call(command, log)?;
        }
        std::fs::read(&program).map_err(io(&program))
    }

    /// Whether the program, or what it will be compiled from, includes the library's header.
    fn includes_header(&self, program: &Path, library: &CLibrary<'_>) -> bool {
        if is_current(program, None) {
            std::fs::read_to_string(dependency_file(program)).is_ok_and(|rules| is_header_in(&rules))
        } else {
            library.is_included_by(&self.file, self.compiler.name)
        }
    }

    fn require_compiler(&self) -> Result<(), SourceError> {
        let found = tools::require(self.compiler.name, self.compiler.package);
        found.map(|_| ()).map_err(|source| SourceError::Tool {
            file: self.file.clone(),
            source,
        })
    }

    /// A folder for this file compiled in this way.
    fn folder(&self, target: &Path) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        let path = self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
        (path, self.compiler.name, self.is_relocatable).hash(&mut hasher);
        target.join("compiled").join(format!("{:016x}", hasher.finish()))
    }

    fn call(&self, mut command: Command, log: Option<&Path>) -> Result<(), SourceError> {
        let compiler = self.compiler.name;
        if let Some(log) = log {
            let output = File::options().create(true).append(true).open(log);
            command.stderr(output.map_err(io(log))?);
        }
        let status = command
            .stdin(Stdio::null())
            .status()
            .map_err(io(Path::new(compiler)))?;
        if status.success() {
            return Ok(());
        }
        Err(SourceError::Refused {
            file: self.file.clone(),
            compiler,
            log: log.map(Path::to_owned),
        })
    }

    fn command(&self, program: &Path, target: &Path) -> Command {
        let mut command = Command::new(self.compiler.name);
        let (before, behind) = match self.compiler.relocatable {
            Some(flags) if self.is_relocatable => flags,
            _ => (self.compiler.fixed, &[][..]),
        };
        let dependencies = dependency_file(program);
        match self.compiler.dialect {
            Dialect::Gnu => {
                command.args(["-O2", "-Wall", "-Wextra", "-MD", "-MF"]);
                command
                    .arg(dependencies)
                    .args(before)
                    .arg(&self.file)
                    .arg("-lm")
                    .args(behind);
            }
            Dialect::Rust => {
                command.args(["--edition=2024", "-O", "-Ctarget-feature=+crt-static"]);
                let mut emit = std::ffi::OsString::from("--emit=link,dep-info=");
                emit.push(dependencies);
                command.arg(emit).args(before).arg(&self.file).args(behind);
            }
            Dialect::Go => self.add_go(&mut command, target),
        }
        command.arg("-o").arg(program);
        if self.compiler.dialect == Dialect::Go {
            command.arg(self.go_package());
        }
        command
    }

    /// Go compiles in the module's folder, and decides by itself what it must compile again.
    fn add_go(&self, command: &mut Command, target: &Path) {
        command
            .args(["build", "-trimpath"])
            .current_dir(self.module())
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", target.join("go"));
    }

    fn module(&self) -> PathBuf {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => ".".into(),
        }
    }

    /// What is compiled: the file, or the whole folder if it is a module with a description of its own.
    fn go_package(&self) -> PathBuf {
        if self.module().join("go.mod").is_file() {
            ".".into()
        } else {
            self.file.file_name().unwrap_or_default().into()
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + use<> {
    let path = path.to_owned();
    move |source| SourceError::Io { path, source }
}

/// Where the compiler writes which files went into a program.
fn dependency_file(program: &Path) -> PathBuf {
    program.with_extension("d")
}

/// Whether the program is there and not older than any file that went into it, `archive` among them.
fn is_current(program: &Path, archive: Option<&Path>) -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let (Some(built), Ok(rules)) = (
        changed(program),
        std::fs::read_to_string(dependency_file(program)),
    ) else {
        return false;
    };
    let mut files = rules
        .split_whitespace()
        .filter(|word| !word.ends_with(':') && *word != "\\");
    let is_older = |file: &Path| changed(file).is_some_and(|time| time <= built);
    files.all(|file| is_older(Path::new(file))) && archive.is_none_or(is_older)
}

#[cfg(test)]
mod tests;
