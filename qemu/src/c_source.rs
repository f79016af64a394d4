//! Functions in C and C++: one file, compiled to a static program.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// Why a file was not compiled.
#[derive(Debug, Error)]
pub enum CError {
    /// The compiler cannot be started.
    #[error("{}: cannot start `{compiler}`: {source}; install it with: apt-get install -y {package}", file.display())]
    Start {
        /// The file.
        file: PathBuf,
        /// The compiler.
        compiler: &'static str,
        /// What has it on Debian.
        package: &'static str,
        /// What the system said.
        source: std::io::Error,
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
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Flags of both languages: nothing is shared, nothing is loaded later.
const FLAGS: [&str; 4] = ["-static", "-O2", "-Wall", "-Wextra"];

/// The compiler of a file, and the package that has it; `None` for files in other languages.
#[must_use]
pub fn compiler_of(file: &Path) -> Option<(&'static str, &'static str)> {
    match file.extension()?.to_str()? {
        "c" => Some(("cc", "gcc libc6-dev")),
        "cc" | "cpp" | "cxx" => Some(("c++", "g++")),
        _ => None,
    }
}

/// Compiles `file` to a program below `target` and returns the program.
///
/// # Errors
/// There is no compiler, or it refuses the file.
pub fn compile(file: &Path, target: &Path, log: Option<&Path>) -> Result<Vec<u8>, CError> {
    let (compiler, package) = compiler_of(file).unwrap_or(("cc", "gcc libc6-dev"));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| CError::Io { path, source }
    };
    let folder = target.join("c");
    std::fs::create_dir_all(&folder).map_err(io(&folder))?;
    let program = folder.join(file.file_stem().unwrap_or_default());
    let mut command = Command::new(compiler);
    command.args(FLAGS).arg(file).arg("-o").arg(&program);
    if let Some(log) = log {
        let output = File::options().create(true).append(true).open(log);
        command.stderr(output.map_err(io(log))?);
    }
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| CError::Start {
            file: file.to_owned(),
            compiler,
            package,
            source,
        })?;
    if !status.success() {
        return Err(CError::Refused {
            file: file.to_owned(),
            compiler,
            log: log.map(Path::to_owned),
        });
    }
    std::fs::read(&program).map_err(io(&program))
}

#[cfg(test)]
mod tests {
    use super::{CError, compile};
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn a_file_becomes_a_static_program() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("one.c");
        fs::write(&file, "int main(void) { return 0; }\n").unwrap();
        let program = compile(&file, folder.path(), None).unwrap();
        assert_eq!(program[..4], *b"\x7fELF");
        // A dynamically linked one has a program header of type 3, its interpreter.
        let headers = usize::from(program[32]) | usize::from(program[33]) << 8;
        let count = usize::from(program[56]);
        assert!(
            program[headers..]
                .chunks(56)
                .take(count)
                .all(|header| header[0] != 3 || header[3] != 0)
        );
    }

    #[test]
    fn what_is_no_c_is_refused_with_the_log() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("bad.c");
        fs::write(&file, "main { }\n").unwrap();
        let log = folder.path().join("log");
        let error = compile(&file, folder.path(), Some(&log)).unwrap_err();
        assert!(matches!(error, CError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("bad.c; see "), "{error}");
        assert!(fs::read_to_string(&log).unwrap().contains("error"));
    }
}
