//! CPython for the Linux guest: Debian's, with what the measured worker needs of its standard library.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian::{Unpacked, copy, create, dependency, entries, execute};
use super::{SOURCES, read};
use crate::bench::shared::SharedFile;
use crate::error::Error;

/// The package that depends on the current interpreter.
const PACKAGE: &str = "python3-minimal";
/// What its programs need.
const LIBRARIES: [&str; 3] = ["libc6", "libexpat1", "zlib1g"];
/// Where programs for this architecture have their dynamic linker and their libraries.
const LINKER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARY_FOLDER: &str = "lib/x86_64-linux-gnu";
/// The measured worker, in the folder of the sources and in the guest's folder of the interpreter.
const WORKER: &str = "worker.py";
/// The interpreter's folder in the guest, and in the folder with what was prepared.
const FOLDER: &str = "python";
/// The file with its version.
const VERSION: &str = "version";

/// CPython that is ready to be packed.
pub(super) struct Interpreter {
    /// Its version.
    pub(super) version: String,
    /// Its files, by their names in the guest.
    pub(super) files: Vec<SharedFile>,
}

/// Prepares the interpreter below `folder`, once.
///
/// # Errors
/// The packages cannot be had, or do not work here; the message has the command that failed.
pub(super) fn prepare(root: &Path, folder: &Path) -> Result<Interpreter, Error> {
    let prepared = folder.join("cpython");
    let version = prepared.join(VERSION);
    if !version.is_file() {
        // An attempt that was interrupted may have left something.
        let _ = std::fs::remove_dir_all(&prepared);
        fetch(root, folder, &prepared)?;
    }
    let mut files = Vec::new();
    collect(&prepared, &prepared, &mut files)?;
    files.retain(|file| file.name != VERSION);
    files.push(SharedFile {
        name: format!("{FOLDER}/{WORKER}"),
        bytes: read(&root.join(SOURCES).join(WORKER))?,
    });
    let version = String::from_utf8_lossy(&read(&version)?).trim().to_owned();
    Ok(Interpreter { version, files })
}

fn fetch(root: &Path, folder: &Path, prepared: &Path) -> Result<(), Error> {
    let name = dependency(PACKAGE, "python3.")?
        .ok_or_else(|| Error::Failed(format!("apt knows no package {PACKAGE}, which is Debian's")))?;
    let packages = packages(&name);
    let unpacked = Unpacked::new(folder, &packages)?;
    let python = Unstarted::find(&unpacked.root(), &name)?;
    let guest = prepared.join(FOLDER);
    let mut pack = python.command(&["-S"]);
    pack.arg(root.join(SOURCES).join("pack.py")).arg(&guest);
    let version = execute(&mut pack)?;
    create(&guest.join("bin"))?;
    copy(&python.program, &guest.join("bin/python3"))?;
    for folder in ["lib64", LIBRARY_FOLDER] {
        create(&prepared.join(folder))?;
    }
    copy(&python.linker, &prepared.join(LINKER))?;
    for library in libraries(&execute(&mut python.linking())?) {
        let name = library.file_name().unwrap_or_default();
        copy(&library, &prepared.join(LIBRARY_FOLDER).join(name))?;
    }
    // Written last: now everything is there.
    let path = prepared.join(VERSION);
    std::fs::write(&path, version).map_err(|source| Error::Io { path, source })
}

/// The packages of an interpreter whose package has this name.
fn packages(name: &str) -> Vec<String> {
    let standard = name.replace("-minimal", "-stdlib");
    let own = [name.to_owned(), format!("lib{name}"), format!("lib{standard}")];
    own.into_iter().chain(LIBRARIES.map(str::to_owned)).collect()
}

/// The interpreter in its unpacked packages, which runs here with their libraries.
struct Unstarted {
    root: PathBuf,
    program: PathBuf,
    linker: PathBuf,
}

impl Unstarted {
    /// Finds its parts: older Debian has libraries in `lib`, newer in `usr/lib`.
    fn find(root: &Path, package: &str) -> Result<Self, Error> {
        let file = |name: &str| {
            let places = [root.join(name), root.join("usr").join(name)];
            let missing = || Error::Failed(format!("{package} and what it needs have no {name}"));
            places.into_iter().find(|path| path.is_file()).ok_or_else(missing)
        };
        Ok(Self {
            root: root.to_owned(),
            program: file(&format!("bin/{}", package.trim_end_matches("-minimal")))?,
            linker: file(&format!("{LIBRARY_FOLDER}/ld-linux-x86-64.so.2"))?,
        })
    }

    fn linker(&self) -> Command {
        let folders = [
            self.root.join(LIBRARY_FOLDER),
            self.root.join("usr").join(LIBRARY_FOLDER),
        ];
        let mut command = Command::new(&self.linker);
        command.env_clear().arg("--library-path");
        command.arg(folders.map(|folder| folder.display().to_string()).join(":"));
        command
    }

    /// Lists its libraries.
    fn linking(&self) -> Command {
        let mut command = self.linker();
        command.arg("--list").arg(&self.program);
        command
    }

    /// Runs it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.linker();
        command.env("PYTHONHOME", self.root.join("usr"));
        command.arg(&self.program).args(arguments);
        command
    }
}

/// The libraries in a dynamic linker's list, without itself.
fn libraries(list: &str) -> Vec<PathBuf> {
    let paths = list
        .lines()
        .filter_map(|line| line.split_once(" => ")?.1.split_whitespace().next());
    paths
        .filter(|path| !path.contains("/ld-linux"))
        .map(PathBuf::from)
        .collect()
}

/// All files below a folder, by their names from `top`.
fn collect(top: &Path, folder: &Path, files: &mut Vec<SharedFile>) -> Result<(), Error> {
    for path in entries(folder)? {
        if path.is_dir() {
            collect(top, &path, files)?;
        } else {
            let name = path.strip_prefix(top).unwrap_or(&path);
            files.push(SharedFile {
                name: name.display().to_string(),
                bytes: read(&path)?,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_has_three_packages_and_libraries() {
        let packages = packages("python3.11-minimal");
        assert_eq!(
            packages[..3],
            [
                "python3.11-minimal",
                "libpython3.11-minimal",
                "libpython3.11-stdlib"
            ]
        );
        assert!(packages.contains(&"libc6".to_owned()));
    }

    #[test]
    fn libraries_are_read_from_the_linkers_list() {
        let list = "\tlinux-vdso.so.1 (0x00007f44)\n\tlibm.so.6 => /u/lib/libm.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 => /u/lib/ld-linux-x86-64.so.2 (0x7f)\n";
        assert_eq!(libraries(list), [PathBuf::from("/u/lib/libm.so.6")]);
    }

    #[test]
    fn files_are_named_from_the_top() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/c"), "x").unwrap();
        let mut files = Vec::new();
        collect(folder.path(), folder.path(), &mut files).unwrap();
        assert_eq!(files[0].name, "a/b/c");
    }
}
