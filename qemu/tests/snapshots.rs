//! Snapshots that are stored with an image and packed into it, with a script in QEMU's place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod project;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use l4::archive::Archive;
use stored_image::{Digest, Record};

use project::{Project, archive_of, module};

/// A stored snapshot of nothing, as far as the tool looks at it.
fn stored_snapshot() -> Vec<u8> {
    const PAGE: u64 = 4096;
    let mut words = vec![0; 6 * PAGE as usize / 8];
    words[..3].copy_from_slice(&[u64::from_le_bytes(*b"AerieImg"), 1, 6 * PAGE]);
    // The page of the thread's UTCB follows the head.
    words[7] = 5 * PAGE;
    let mut digest = Digest::new();
    let others = words.iter().enumerate().filter(|(index, _)| *index != 3);
    others.for_each(|(_, word)| digest.add(*word));
    words[3] = digest.finish();
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A machine that counts how often it ran, copies `written` to where a snapshot is to go, and says before that it `started`: if
/// there is a file `halt`, after the first bytes, and for as long as the file is there, but no longer than half a minute.
const MACHINE: &str = "out=$(echo \"$@\" | sed -n 's/.*id=records,path=\\([^ ]*\\).*/\\1/p')
[ -n \"$out\" ] || exit 33
echo run >> runs
head -c 5000 written > \"$out\"
touch started
for i in $(seq 600); do [ -e halt ] && sleep 0.05; done
echo end >> ends
cat written > \"$out\"
exit 33";

/// A project whose function `greet` is packed with a snapshot.
struct Packing {
    project: Project,
}

impl Packing {
    fn new() -> Self {
        let project = Project::new(MACHINE);
        project.write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\n\
             members = [\"kernel\", \"moe\", \"ned\", \"linux-abi\", \"manager\", \"snapshot-writer\"]\n",
        );
        for name in ["ned", "linux-abi", "manager", "snapshot-writer"] {
            project.package(name, "[package.metadata.aerie]\nclass = \"std\"\n");
        }
        project.write("cfg/store-snapshot.cfg", "-- a boot script\n");
        project.write(
            "modules.list",
            "entry main\nmoe boot.cfg\nfunction[snapshot] greet\n",
        );
        Self { project }
    }

    /// Decides what the machine writes.
    fn will_write(&self, name: &str, file: &[u8]) {
        let record = Record { name, file };
        fs::write(self.project.path("written"), [&record.head(), file].concat()).unwrap();
    }

    /// How often the machine ran.
    fn runs(&self) -> usize {
        self.count("runs")
    }

    /// How many lines the machine has written to a file.
    fn count(&self, file: &str) -> usize {
        fs::read_to_string(self.project.path(file)).map_or(0, |text| text.lines().count())
    }

    fn succeeds_with(&self, file: &[u8]) {
        let (status, path, messages) = self.project.call("image", &[]);
        assert_eq!(status, Some(0), "{messages}");
        let archive = archive_of(Path::new(path.trim()));
        let parsed = Archive::parse(&archive).unwrap();
        assert_eq!(module(&archive, &parsed, "functions/greet.snapshot"), file);
        assert!(!module(&archive, &parsed, "digests").is_empty());
    }

    fn is_refused(&self, reason: &str) {
        let (status, _, messages) = self.project.call("image", &[]);
        assert_eq!(status, Some(1), "{messages}");
        assert!(messages.contains(reason), "{messages}");
    }

    /// Begins to pack, and returns when the machine runs, which then waits.
    fn halted(&self) -> Child {
        self.project.write("halt", "");
        let mut command = self.project.command("image");
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while !self.project.path("started").exists() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the machine starts");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn go_on(&self) {
        fs::remove_file(self.project.path("halt")).unwrap();
    }

    /// What is kept: folders, and files with snapshots.
    fn kept(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let entries = fs::read_dir(self.project.path("target/snapshots")).unwrap();
        let (folders, files): (Vec<_>, Vec<_>) = entries
            .map(|entry| entry.unwrap().path())
            .partition(|path| path.is_dir());
        let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|end| end == "snapshot");
        (folders, files.into_iter().filter(is_snapshot).collect())
    }
}

#[test]
fn a_snapshot_is_stored_once_by_a_machine_and_packed() {
    let packing = Packing::new();
    let file = stored_snapshot();
    packing.will_write("other", &file);
    packing
        .is_refused("no snapshot of `greet` for the image: the machine wrote other snapshots than this one");
    packing.will_write("greet", &file[..4096]);
    packing.is_refused("what the machine wrote: the file is truncated");
    for cut in ["AerieRe", ""] {
        fs::write(packing.project.path("written"), cut).unwrap();
        packing.is_refused("what the machine wrote is cut off");
    }
    assert_eq!(packing.runs(), 4);
    packing.will_write("greet", &file);
    for _ in 0..2 {
        packing.succeeds_with(&file);
        assert_eq!(packing.runs(), 5, "what did not change is not stored again");
    }
    let project = &packing.project;
    project.write("functions/greet/greet.py", "def main(arg): return 1\n");
    packing.succeeds_with(&file);
    assert_eq!(packing.runs(), 6, "another function needs another snapshot");
    project.write(
        "functions/greet/function.toml",
        "runtime = \"python\"\ncode = \"greet.py\"\nmode = \"boot\"\n",
    );
    packing.is_refused("`greet` has `mode = \"boot\"`, in which it never begins from a snapshot");
}

#[test]
fn a_killed_build_leaves_nothing_that_counts() {
    let packing = Packing::new();
    let file = stored_snapshot();
    packing.will_write("greet", &file);
    let mut child = packing.halted();
    child.kill().unwrap();
    child.wait().unwrap();
    let (folders, snapshots) = packing.kept();
    assert_eq!(
        (folders.len(), snapshots.len()),
        (1, 0),
        "{folders:?} {snapshots:?}"
    );
    packing.go_on();
    packing.succeeds_with(&file);
    let (folders, snapshots) = packing.kept();
    assert_eq!(
        (folders.len(), snapshots.len()),
        (0, 1),
        "{folders:?} {snapshots:?}"
    );
    assert_eq!(packing.runs(), 2);
    // The first machine was let go on as well, if it was still there.
    if has_setpriv() {
        assert_eq!(packing.count("ends"), 1, "a killed build's machine ends with it");
    }
}

/// Whether there is the program that lets a machine end with its build.
fn has_setpriv() -> bool {
    let found = Command::new("setpriv").arg("--version").output();
    found.is_ok_and(|output| output.status.success())
}

#[test]
fn what_is_no_whole_snapshot_is_stored_again() {
    let packing = Packing::new();
    let file = stored_snapshot();
    packing.will_write("greet", &file);
    packing.succeeds_with(&file);
    let (_, snapshots) = packing.kept();
    let damaged = [
        &file[..file.len() / 2],
        &[],
        &[&file[..], b"more"].concat(),
        &[&file[..file.len() - 1], b"x"].concat(),
    ];
    for (runs, bytes) in (2..).zip(damaged) {
        fs::write(&snapshots[0], bytes).unwrap();
        packing.succeeds_with(&file);
        assert_eq!(packing.runs(), runs);
        assert_eq!(fs::read(&snapshots[0]).unwrap(), file);
    }
}

#[test]
fn a_killed_machine_is_a_reason() {
    let packing = Packing::new();
    let qemu = packing.project.path("qemu");
    let script = fs::read_to_string(&qemu).unwrap();
    fs::write(&qemu, script.replace("touch started", "kill -KILL $$")).unwrap();
    packing.will_write("greet", &stored_snapshot());
    packing.is_refused(
        "no snapshot of `greet` for the image: the machine that stores it: QEMU was ended by signal 9",
    );
    let (folders, snapshots) = packing.kept();
    assert!(
        folders.is_empty() && snapshots.is_empty(),
        "{folders:?} {snapshots:?}"
    );
    fs::write(&qemu, script).unwrap();
    packing.succeeds_with(&stored_snapshot());
}

#[test]
fn a_second_build_waits_for_the_first_ones_snapshot() {
    let packing = Packing::new();
    let file = stored_snapshot();
    packing.will_write("greet", &file);
    let mut first = packing.halted();
    let mut second = packing.project.command("image");
    let mut second = second
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(second.stderr.take().unwrap()).lines();
    let waits = messages
        .by_ref()
        .any(|line| line.unwrap().contains("waiting for another build"));
    packing.go_on();
    let rest: Vec<_> = messages.map(Result::unwrap).collect();
    assert!(waits, "{rest:?}");
    assert!(first.wait().unwrap().success());
    assert!(second.wait().unwrap().success(), "{rest:?}");
    assert_eq!(
        packing.runs(),
        1,
        "the second one takes what the first one stored"
    );
}
