//! libffi for the Python runtime, linked statically.
//!
//! The crate that binds it asks for the shared library. With that, the linker makes a program that has no interpreter but
//! needs one, and crashes before `main`. So cargo is told what to link instead, from a folder that has nothing else in it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compile::CompileError;
use crate::tools::require_found;

/// The archive's name.
const ARCHIVE: &str = "libffi.a";
/// The package that has it.
const PACKAGE: &str = "libffi-dev";
/// Where distributions put it.
const FOLDERS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

/// Has a call of cargo link the static library; it is installed if it is missing.
///
/// # Errors
/// It cannot be installed, or `target` cannot be written.
pub fn link_statically(command: &mut Command, target: &Path) -> Result<(), CompileError> {
    let archive = require_found(ARCHIVE, PACKAGE, find)?;
    let folder = target.join("libffi");
    let link = folder.join(ARCHIVE);
    if std::fs::read_link(&link).ok().as_deref() != Some(&archive) {
        let io = |source| CompileError::Io {
            what: link.display().to_string(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(io)?;
        if link.is_symlink() {
            std::fs::remove_file(&link).map_err(io)?;
        }
        symlink(&archive, &link).map_err(io)?;
    }
    let key = "target.x86_64-unknown-linux-gnu.ffi";
    for setting in [
        format!("{key}.rustc-link-lib=[\"static=ffi\"]"),
        format!("{key}.rustc-link-search=[\"native={}\"]", folder.display()),
        format!("{key}.include=\"/usr/include\""),
    ] {
        command.args(["--config", &setting]);
    }
    Ok(())
}

fn find() -> Option<PathBuf> {
    let archives = FOLDERS.iter().map(|folder| Path::new(folder).join(ARCHIVE));
    archives.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::link_statically;
    use std::process::Command;

    #[test]
    fn cargo_is_told_the_folder_with_nothing_else_in_it() {
        if super::find().is_none() {
            return;
        }
        let target = tempfile::TempDir::new().unwrap();
        for _ in 0..2 {
            let mut command = Command::new("cargo");
            link_statically(&mut command, target.path()).unwrap();
            let text = format!("{command:?}");
            assert!(text.contains("static=ffi") && text.contains(&target.path().display().to_string()));
        }
        let entries = std::fs::read_dir(target.path().join("libffi")).unwrap();
        assert_eq!(entries.count(), 1);
    }
}
