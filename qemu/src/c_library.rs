//! worker-lib for functions in C and C++: linked to programs that include its header, built when the first one does.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::compile::{CompileError, Compiler};

/// The folder with the headers, below the project's.
const INCLUDE: &str = "worker-lib/c/include";

/// The header that all others include.
const HEADER: &str = "worker-lib/c/include/aerie.h";

/// The library of one project.
pub struct CLibrary<'a> {
    compiler: &'a Compiler<'a>,
    archive: OnceCell<PathBuf>,
}

impl<'a> CLibrary<'a> {
    /// The library that `compiler` builds.
    #[must_use]
    pub fn new(compiler: &'a Compiler<'a>) -> Self {
        Self {
            compiler,
            archive: OnceCell::new(),
        }
    }

    /// The folder with the headers.
    #[must_use]
    pub fn include(&self) -> PathBuf {
        self.compiler.workspace.root.join(INCLUDE)
    }

    /// The archive to link; built if it was not yet.
    ///
    /// # Errors
    /// cargo fails.
    pub fn archive(&self) -> Result<&Path, CompileError> {
        if self.archive.get().is_none() {
            let built = self.compiler.c_library()?;
            // Nobody else sets it: the cell is not shared between threads.
            let _ = self.archive.set(built);
        }
        Ok(self.archive.get().map_or(Path::new(""), PathBuf::as_path))
    }

    /// Whether a file includes the header, as `compiler` finds out. A file that it refuses does not.
    #[must_use]
    pub fn is_included_by(&self, file: &Path, compiler: &str) -> bool {
        let mut command = Command::new(compiler);
        command.arg("-MM").arg("-I").arg(self.include()).arg(file);
        // The messages come again when the file is compiled.
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.is_ok_and(|output| is_header_in(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// Whether a compiler's list of dependencies names the header.
#[must_use]
pub fn is_header_in(dependencies: &str) -> bool {
    dependencies.contains(HEADER)
}
