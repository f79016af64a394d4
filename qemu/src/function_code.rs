//! Whether a function's code is what its runtime runs, as far as that can be seen: the manager would refuse the rest when the
//! function is created, by the same rules.

use interfaces::manifest::Runtime;
use loader::{ElfError, Image};
use thiserror::Error;

/// Why code cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// It is no program that can be loaded.
    #[error("{0}")]
    Elf(ElfError),
    /// An ordinary program is said to be a native one.
    #[error("it is not linked with worker-lib as a native program: set runtime = \"linux\" in function.toml")]
    NotNative,
    /// A native program is said to be an ordinary one.
    #[error("it is a native program: set runtime = \"native\" in function.toml")]
    IsNative,
}

/// Checks the code of a function with this runtime. Code in Python was checked when it was packed.
///
/// # Errors
/// What is wrong with it, and the remedy.
pub fn check(runtime: Runtime, code: &[u8]) -> Result<(), CodeError> {
    if runtime == Runtime::Python {
        return Ok(());
    }
    if code.is_empty() {
        return Err(CodeError::Empty);
    }
    let image = Image::parse(code, code.len() as u64).map_err(CodeError::Elf)?;
    match (runtime, image.is_native) {
        (Runtime::Native, false) => Err(CodeError::NotNative),
        (Runtime::Linux, true) => Err(CodeError::IsNative),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{CodeError, check};
    use interfaces::manifest::Runtime;
    use loader::ElfError;
    use std::fs;
    use std::path::Path;
    use std::process::Command;
    use tempfile::TempDir;

    /// The files of the system test `bad-programs`.
    fn make(folder: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bad-programs/make.sh");
        let output = Command::new("sh").arg(script).arg(folder).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn what_cannot_run_is_told_apart() {
        let folder = TempDir::new().unwrap();
        make(folder.path());
        let checked = |name: &str| check(Runtime::Linux, &fs::read(folder.path().join(name)).unwrap());
        for (name, error) in [
            ("dynamic", ElfError::NeedsInterpreter),
            ("dynamic-fixed", ElfError::NeedsInterpreter),
            ("shared-library", ElfError::NeedsLibraries),
            ("object-file", ElfError::ObjectFile),
            ("elf32", ElfError::Not64Bit),
            ("x32", ElfError::Not64Bit),
            ("aarch64", ElfError::WrongMachine(183)),
            ("cut-header", ElfError::Truncated),
            ("script", ElfError::Script),
        ] {
            assert_eq!(checked(name), Err(CodeError::Elf(error)), "{name}");
        }
        assert!(matches!(
            checked("big-endian"),
            Err(CodeError::Elf(ElfError::WrongMachine(_)))
        ));
        assert!(matches!(
            checked("cut"),
            Err(CodeError::Elf(ElfError::OutsideFile(_)))
        ));
        assert!(matches!(
            checked("large-47"),
            Err(CodeError::Elf(ElfError::BadAddress(_)))
        ));
        assert_eq!(checked("empty"), Err(CodeError::Empty));
        assert_eq!((checked("static"), checked("large-high")), (Ok(()), Ok(())));
        let program = fs::read(folder.path().join("static")).unwrap();
        assert_eq!(check(Runtime::Native, &program), Err(CodeError::NotNative));
        assert_eq!(check(Runtime::Python, b"print()"), Ok(()));
    }

    #[test]
    fn each_error_says_what_to_do() {
        for error in [
            ElfError::Script,
            ElfError::NotElf,
            ElfError::Not64Bit,
            ElfError::WrongMachine(183),
            ElfError::ObjectFile,
            ElfError::NeedsInterpreter,
            ElfError::NeedsLibraries,
        ] {
            let text = CodeError::Elf(error).to_string();
            assert!(text.contains(": "), "{text}");
        }
        assert!(
            CodeError::Elf(ElfError::WrongMachine(183))
                .to_string()
                .contains("AArch64")
        );
    }
}
