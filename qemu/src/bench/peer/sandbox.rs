//! The program of the Linux guest that embeds Wasmtime. Its build takes some minutes and hundreds of megabytes, of which the
//! program alone is kept.

use std::path::Path;
use std::time::SystemTime;

use super::debian::{copy, execute};
use super::read;
use crate::bench::shared::SharedFile;
use crate::error::Error;
use crate::workspace::cargo;

/// The package, in the project's folder.
const PACKAGE: &str = "bench/wasm-peer";
/// What it is made of.
const SOURCES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "src/main.rs"];
/// The program's name, in the guest too.
const PROGRAM: &str = "wasm-peer";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Wasmtime in a program that is ready to be packed.
pub(super) struct Sandbox {
    /// Wasmtime's version.
    pub(super) version: String,
    /// The program.
    pub(super) file: SharedFile,
}

/// Builds the program to `folder` if it is not there or older than its sources.
///
/// # Errors
/// cargo fails, for example as there is no network; the message has the command.
pub(super) fn prepare(root: &Path, folder: &Path) -> Result<Sandbox, Error> {
    let package = root.join(PACKAGE);
    let program = folder.join(PROGRAM);
    if !is_newer(&program, &package) {
        build(&package, &folder.join("wasm-build"), &program)?;
    }
    let lock = String::from_utf8_lossy(&read(&package.join("Cargo.lock"))?).into_owned();
    Ok(Sandbox {
        version: version(&lock, "wasmtime")
            .unwrap_or("of an unknown version")
            .to_owned(),
        file: SharedFile {
            name: PROGRAM.into(),
            bytes: read(&program)?,
        },
    })
}

fn build(package: &Path, target: &Path, program: &Path) -> Result<(), Error> {
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked", "--quiet", "--target", TARGET])
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    let built =
        execute(&mut command).and_then(|_| copy(&target.join(TARGET).join("release").join(PROGRAM), program));
    // A build that failed would go on from there, but seldom pays for its place.
    let _ = std::fs::remove_dir_all(target);
    built
}

/// Whether the program is younger than all of its sources.
fn is_newer(program: &Path, package: &Path) -> bool {
    let time = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let sources: Option<Vec<SystemTime>> = SOURCES.iter().map(|name| time(&package.join(name))).collect();
    match (time(program), sources) {
        (Some(program), Some(sources)) => sources.iter().all(|source| *source < program),
        _ => false,
    }
}

/// A package's version in a lock file.
fn version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"\nversion = \"");
    lock.split_once(name.as_str())?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock = std::fs::read_to_string(root.join(PACKAGE).join("Cargo.lock")).unwrap();
        let version = version(&lock, "wasmtime").unwrap();
        assert!(
            version.split('.').all(|part| part.parse::<u32>().is_ok()),
            "{version}"
        );
        assert_eq!(super::version(&lock, "no-such-package"), None);
    }

    #[test]
    fn a_program_is_built_again_when_a_source_changes() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let program = folder.path().join(PROGRAM);
        let touch = |path: &Path, seconds| {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let file = std::fs::File::create(path).unwrap();
            file.set_modified(time).unwrap();
        };
        for name in SOURCES {
            touch(&folder.path().join(name), 10);
        }
        assert!(!is_newer(&program, folder.path()), "there is none");
        touch(&program, 11);
        assert!(is_newer(&program, folder.path()));
        touch(&folder.path().join("Cargo.lock"), 12);
        assert!(!is_newer(&program, folder.path()));
    }
}
