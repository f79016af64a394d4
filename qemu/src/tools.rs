//! What must be installed, and its installation.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::machine::find_program;

/// Oldest Rust that builds the project: (major, minor).
const OLDEST_RUST: (u32, u32) = (1, 95);

/// Why a tool is missing.
#[derive(Debug, Error)]
pub enum ToolError {
    /// Rust is missing.
    #[error("rustc cannot be started: {0}; install Rust from https://rustup.rs")]
    NoRust(std::io::Error),
    /// Rust is too old.
    #[error("Rust {found} is too old, at least {}.{} is needed: run `rustup update stable`", OLDEST_RUST.0, OLDEST_RUST.1)]
    OldRust {
        /// The version that is installed.
        found: String,
    },
    /// A package is missing and cannot be installed from here.
    #[error("{program} is missing and could not be installed ({reason}). Install it with:\n    {line}")]
    NotInstalled {
        /// The program.
        program: String,
        /// Why not.
        reason: String,
        /// The command that a user with the rights can run.
        line: String,
    },
}

/// Checks that the Rust compiler is new enough.
///
/// # Errors
/// It is missing or too old; the message has the remedy.
pub fn check_rust() -> Result<(), ToolError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .map_err(ToolError::NoRust)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if is_new_enough(&text) {
        return Ok(());
    }
    let found = text
        .split_whitespace()
        .nth(1)
        .unwrap_or("of an unknown version")
        .to_owned();
    Err(ToolError::OldRust { found })
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split_whitespace().nth(1).unwrap_or_default().split('.');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    matches!((next(), next()), (Some(major), Some(minor)) if (major, minor) >= OLDEST_RUST)
}

/// Where a program is; if nowhere, the package that has it is installed first.
///
/// # Errors
/// The package cannot be installed: no apt, no rights, no network. The message has the exact command.
pub fn require(program: &str, package: &str) -> Result<PathBuf, ToolError> {
    require_found(program, package, || find_program(program))
}

/// What `find` finds; if nothing, the package that has it is installed first.
///
/// # Errors
/// As [`require`].
pub fn require_found(
    name: &str,
    package: &str,
    find: impl Fn() -> Option<PathBuf>,
) -> Result<PathBuf, ToolError> {
    if let Some(path) = find() {
        return Ok(path);
    }
    let line = install_line(package, is_root());
    let error = |reason: &str| ToolError::NotInstalled {
        program: name.into(),
        reason: reason.into(),
        line: line.clone(),
    };
    if find_program("apt-get").is_none() {
        return Err(error("there is no apt-get here"));
    }
    if !is_root() && find_program("sudo").is_none() {
        return Err(error("that needs root's rights and there is no sudo"));
    }
    eprintln!("{name} is missing; installing it:\n    {line}");
    let status = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::inherit())
        .status();
    match status {
        Ok(status) if status.success() => find().ok_or_else(|| error("apt did not install it")),
        Ok(status) => Err(error(&format!("apt-get: {status}"))),
        Err(cause) => Err(error(&cause.to_string())),
    }
}

/// Lets apt learn which packages there are, which a fresh system does not know.
///
/// # Errors
/// As [`require`].
pub fn update_package_lists() -> Result<(), ToolError> {
    let line = format!("{}apt-get update", if is_root() { "" } else { "sudo " });
    eprintln!("apt does not know its packages yet; running:\n    {line}");
    let status = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::inherit())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ToolError::NotInstalled {
            program: "apt's list".into(),
            reason: status.to_string(),
            line,
        }),
        Err(cause) => Err(ToolError::NotInstalled {
            program: "apt's list".into(),
            reason: cause.to_string(),
            line,
        }),
    }
}

fn install_line(package: &str, is_root: bool) -> String {
    let sudo = if is_root { "" } else { "sudo " };
    format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {package}")
}

/// Whether this process has root's rights, from the effective user id that the system shows.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::{install_line, is_new_enough};

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_new_enough("rustc 1.95.0 (59807616e 2026-04-14)"));
        assert!(is_new_enough("rustc 1.100.0-nightly"));
        assert!(is_new_enough("rustc 2.0.1"));
        assert!(!is_new_enough("rustc 1.94.9"));
        assert!(!is_new_enough("rustc 1.9.0"));
        assert!(!is_new_enough("gcc 12"));
        assert!(!is_new_enough(""));
    }

    #[test]
    fn the_command_says_who_must_run_it() {
        assert!(install_line("qemu-system-x86", true).starts_with("apt-get update && apt-get install"));
        assert!(install_line("qemu-system-x86", false).starts_with("sudo apt-get update && sudo apt-get"));
    }
}
