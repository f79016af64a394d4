//! Packages for functions in Python: installed by pip once for each list of requirements, into a folder below the target
//! folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::tools::{ToolError, require};

/// What pip is told beside the requirements and the folder: packages as they are published, for the language level of the
/// runtime and whatever Python this host has. A package that has a compiled variant only comes with it.
const OPTIONS: [&str; 12] = [
    "--quiet",
    "--disable-pip-version-check",
    "--no-compile",
    "--only-binary",
    ":all:",
    "--implementation",
    "cp",
    "--python-version",
    "3.13",
    "--platform",
    "manylinux2014_x86_64",
    "--target",
];

/// Tells folders that were made with other options.
const FORM: u32 = 1;

/// What pip says when it reaches no server.
const UNREACHABLE: [&str; 4] = [
    "NewConnectionError",
    "ConnectTimeoutError",
    "Temporary failure in name resolution",
    "Max retries exceeded",
];

/// Endings of compiled modules, which the runtime cannot load.
const COMPILED: [&str; 3] = [".so", ".pyd", ".dylib"];

/// Folders of packages that are of no use to a function.
const LEFT_OUT: [&str; 3] = ["tests", "bin", "__pycache__"];

/// Why there are no packages.
#[derive(Debug, Error)]
pub enum PackagesError {
    /// pip is missing.
    #[error(transparent)]
    NoPip(#[from] ToolError),
    /// pip reaches no server.
    #[error("{}: pip cannot reach the package index; is there a network?", .0.display())]
    Unreachable(PathBuf),
    /// pip refuses the requirements.
    #[error("{}: pip failed: {said}", requirements.display())]
    Refused {
        /// The list.
        requirements: PathBuf,
        /// The end of what pip said.
        said: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl PackagesError {
    /// Whether this host lacks what it takes, so that the packages are not to blame.
    #[must_use]
    pub fn is_hosts_fault(&self) -> bool {
        matches!(self, Self::NoPip(_) | Self::Unreachable(_))
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PackagesError {
    let path = path.to_owned();
    move |source| PackagesError::Io { path, source }
}

/// The folder with the packages that the file `requirements` lists, which are installed first if they were not before.
/// Compiled modules are left out, and named: many packages have a replacement in Python.
///
/// # Errors
/// pip is missing or fails, or the folder cannot be written.
pub fn install(requirements: &Path, target: &Path) -> Result<PathBuf, PackagesError> {
    let text = fs::read(requirements).map_err(io(requirements))?;
    let folder = target
        .join("python-packages")
        .join(format!("{FORM}-{:016x}", hash(&text)));
    if folder.is_dir() {
        return Ok(folder);
    }
    let pip = require("pip3", "python3-pip")?;
    let draft = folder.with_extension(std::process::id().to_string());
    fs::create_dir_all(&draft).map_err(io(&draft))?;
    eprintln!("installing the packages of {}", requirements.display());
    run(&pip, requirements, &draft)?;
    for path in prune(&draft)? {
        let name = path.strip_prefix(&draft).unwrap_or(&path);
        eprintln!("left out, because it is compiled: {}", name.display());
    }
    fs::rename(&draft, &folder).map_err(io(&folder))?;
    Ok(folder)
}

/// FNV-1a: `tests/python-packages/expected.py` finds the folders by it.
fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn run(pip: &Path, requirements: &Path, folder: &Path) -> Result<(), PackagesError> {
    let output = Command::new(pip)
        .arg("install")
        .args(OPTIONS)
        .arg(folder)
        .arg("--requirement")
        .arg(requirements)
        .env("PIP_NO_INPUT", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(io(pip))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if UNREACHABLE.iter().any(|sign| said.contains(sign)) {
        return Err(PackagesError::Unreachable(requirements.to_owned()));
    }
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("ERROR")).collect();
    Err(PackagesError::Refused {
        requirements: requirements.to_owned(),
        said: lines.join("; "),
    })
}

/// Removes what no function can use; returns the compiled modules.
fn prune(folder: &Path) -> Result<Vec<PathBuf>, PackagesError> {
    let mut compiled = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && LEFT_OUT.contains(&name.as_ref()) {
            fs::remove_dir_all(&path).map_err(io(&path))?;
        } else if path.is_dir() {
            compiled.extend(prune(&path)?);
        } else if COMPILED.iter().any(|ending| name.ends_with(ending)) {
            fs::remove_file(&path).map_err(io(&path))?;
            compiled.push(path);
        }
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::{PackagesError, hash, prune, run};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use tempfile::TempDir;

    fn pip(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("pip3");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn folders_have_the_published_hash() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn no_network_is_not_the_packages_fault() {
        let folder = TempDir::new().unwrap();
        let list = folder.path().join("requirements.txt");
        let broken = "echo 'NewConnectionError(...): Failed to establish a new connection' >&2; exit 1";
        let error = run(&pip(folder.path(), broken), &list, folder.path()).unwrap_err();
        assert!(error.is_hosts_fault(), "{error}");
        let wrong = "echo collecting >&2; echo 'ERROR: hashes do not match' >&2; exit 1";
        let error = run(&pip(folder.path(), wrong), &list, folder.path()).unwrap_err();
        assert!(!error.is_hosts_fault());
        assert!(
            error
                .to_string()
                .ends_with("pip failed: ERROR: hashes do not match"),
            "{error}"
        );
        assert!(matches!(error, PackagesError::Refused { .. }));
    }

    #[test]
    fn pip_is_told_folder_and_list() {
        let folder = TempDir::new().unwrap();
        let says = folder.path().join("says");
        let script = format!("echo \"$@\" > '{}'", says.display());
        run(
            &pip(folder.path(), &script),
            Path::new("list.txt"),
            Path::new("out"),
        )
        .unwrap();
        let said = fs::read_to_string(says).unwrap();
        assert!(
            said.trim_end().ends_with("--target out --requirement list.txt"),
            "{said}"
        );
    }

    #[test]
    fn compiled_modules_and_tests_go() {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        for path in ["pkg/tests/test_a.py", "pkg/_fast.so", "pkg/a.py", "bin/tool"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        }
        assert_eq!(prune(root).unwrap(), [root.join("pkg/_fast.so")]);
        assert!(root.join("pkg/a.py").is_file());
        assert!(!root.join("pkg/tests").exists() && !root.join("bin").exists());
        assert!(!root.join("pkg/_fast.so").exists());
    }
}
