//! What a reader has to know of a run: when, of what, on which machine, with which versions.

use std::path::Path;
use std::process::Command;

use super::super::machines::Session;
use super::super::peer::{Extras, Peer};
use super::Fact;

/// Where the header of a Linux kernel image has the offset of its version, less 0x200
/// (Documentation/arch/x86/boot.rst, `kernel_version`).
const VERSION_POINTER: usize = 0x20e;
const VERSION_BASE: usize = 0x200;

/// Collects them. What cannot be found out is left out.
pub(in crate::bench) fn facts(
    root: &Path,
    session: &Session<'_>,
    extras: &Extras,
    peer: Option<&Peer>,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |what, value: Option<String>| facts.extend(value.map(|value| (what, value)));
    add(
        "Measured",
        first_line(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
    );
    add("Aerie", commit(root));
    add("Host", host());
    add(
        "Emulator",
        first_line(Command::new(session.qemu).arg("--version")),
    );
    add("Compiler", first_line(Command::new("rustc").arg("--version")));
    let kernel = peer.and_then(|peer| linux_version(&std::fs::read(peer.kernel()).ok()?));
    add(
        "Linux guest",
        kernel.map(|version| format!("Debian's cloud kernel {version}")),
    );
    for (name, version) in &extras.versions {
        add(name, Some(version.clone()));
    }
    facts
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}

/// The commit, and whether there is more than it.
fn commit(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| first_line(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["log", "-1", "--format=%h of %cs: %s"])?;
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if is_changed {
        format!("{commit}, with changes")
    } else {
        commit
    })
}

fn host() -> Option<String> {
    let cpus = std::thread::available_parallelism().ok()?;
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))?
        .1;
    Some(format!("{cpus} CPUs, {}", model.trim()))
}

/// The version that a Linux kernel image says it has.
fn linux_version(image: &[u8]) -> Option<String> {
    let pointer = image.get(VERSION_POINTER..VERSION_POINTER + 2)?;
    let start = VERSION_BASE + usize::from(u16::from_le_bytes(pointer.try_into().ok()?));
    let text = image.get(start..)?.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_image_tells_its_version() {
        let mut image = vec![0; 0x400];
        image[VERSION_POINTER..VERSION_POINTER + 2].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x300..0x30b].copy_from_slice(b"6.1.0-x (a)");
        assert_eq!(linux_version(&image).as_deref(), Some("6.1.0-x"));
        assert_eq!(linux_version(&[]), None);
        assert_eq!(linux_version(&image[..0x250]), None);
    }

    #[test]
    fn a_command_that_fails_has_no_line() {
        assert_eq!(first_line(Command::new("echo").arg(" a ")).as_deref(), Some("a"));
        assert_eq!(first_line(&mut Command::new("false")), None);
        assert_eq!(first_line(&mut Command::new("/no/such/program")), None);
    }
}
