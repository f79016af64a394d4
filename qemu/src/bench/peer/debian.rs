//! Packages of Debian: downloaded with apt and unpacked, not installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::tools;

/// The package that depends on the current kernel package.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// Packages that were unpacked, in a folder that goes when this does: they have much that nobody needs.
pub(super) struct Unpacked {
    folder: PathBuf,
}

impl Unpacked {
    /// Downloads these packages to a new folder below `folder` and unpacks them there.
    ///
    /// # Errors
    /// apt or dpkg are missing, or there is no network; the message has the command that failed.
    pub(super) fn new(folder: &Path, packages: &[String]) -> Result<Self, Error> {
        let downloads = Self {
            folder: folder.join("packages"),
        };
        create(&downloads.folder)?;
        execute(
            Command::new("apt-get")
                .args(["download", "-q"])
                .args(packages)
                .current_dir(&downloads.folder),
        )?;
        for archive in files(&downloads.folder, ".deb")? {
            execute(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .arg(archive)
                    .arg(downloads.root()),
            )?;
        }
        Ok(downloads)
    }

    /// The file system of the packages.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("unpacked")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What is left is in the way of nobody, and goes with the next attempt.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Takes the kernel out of its package.
///
/// # Errors
/// As [`Unpacked::new`].
pub(super) fn fetch_kernel(folder: &Path, kernel: &Path) -> Result<(), Error> {
    let package = dependency(KERNEL_PACKAGE, "linux-image-")?.ok_or_else(|| {
        Error::Failed(format!(
            "apt knows no package {KERNEL_PACKAGE}; the Linux guest needs Debian's. \
             Measure without it: cargo run -p aerie-qemu -- bench --no-peer"
        ))
    })?;
    let package = Unpacked::new(folder, &[package])?;
    let image = files(&package.root().join("boot"), "vmlinuz")?
        .pop()
        .ok_or_else(|| Error::Failed(format!("{KERNEL_PACKAGE} has no kernel")))?;
    copy(&image, kernel)
}

/// The package that a package for "the current version" depends on, which begins with `prefix`.
///
/// # Errors
/// apt and dpkg are missing, or apt's lists cannot be had.
pub(super) fn dependency(package: &str, prefix: &str) -> Result<Option<String>, Error> {
    for (program, package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        tools::require(program, package)?;
    }
    let ask = || {
        let output = Command::new("apt-cache").args(["depends", package]).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        depended(&String::from_utf8_lossy(&text), prefix)
    };
    if let Some(package) = ask() {
        return Ok(Some(package));
    }
    tools::update_package_lists()?;
    Ok(ask())
}

fn depended(depends: &str, prefix: &str) -> Option<String> {
    let names = depends.lines().filter_map(|line| {
        let (kind, name) = line.split_once("Depends: ")?;
        ["", "Pre"].contains(&kind.trim()).then_some(name.trim())
    });
    names
        .into_iter()
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
}

/// Runs a command and returns what it printed.
///
/// # Errors
/// It cannot be started or fails; the message has the command and what it said.
pub(super) fn execute(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Io {
            path: command.get_program().into(),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    Err(Error::Failed(format!(
        "{}: {}:\n{errors}",
        words.join(" "),
        output.status
    )))
}

/// The files of a folder whose name contains `part`.
fn files(folder: &Path, part: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = entries(folder)?.into_iter();
    Ok(entries
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains(part))
        })
        .collect())
}

/// What is in a folder, in the order of the names.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut paths = entries.map_err(|source| Error::Io {
        path: folder.to_owned(),
        source,
    })?;
    paths.sort();
    Ok(paths)
}

/// Copies a file.
///
/// # Errors
/// One of them cannot be read or written.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = std::fs::copy(from, to).map(|_| ());
    copied.map_err(|source| Error::Io {
        path: from.to_owned(),
        source,
    })
}

/// Makes a folder, and those above it.
///
/// # Errors
/// It cannot be made.
pub(super) fn create(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::{Unpacked, depended};

    #[test]
    fn a_package_that_cannot_be_had_leaves_the_command_and_nothing_else() {
        let folder = tempfile::TempDir::new().unwrap();
        let wanted = ["aerie-no-such-package".to_owned()];
        let error = Unpacked::new(folder.path(), &wanted).err().unwrap().to_string();
        assert!(error.contains("apt-get"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_current_package_is_found() {
        let answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            depended(answer, "linux-image-").as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        let answer =
            "python3-minimal\n  PreDepends: python3.11-minimal\n  Depends: dpkg\n  Breaks: python3.1\n";
        assert_eq!(
            depended(answer, "python3.").as_deref(),
            Some("python3.11-minimal")
        );
        assert_eq!(depended("linux-image-cloud-amd64\n", "linux-image-"), None);
    }
}
