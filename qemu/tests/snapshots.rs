//! Snapshots that are stored with an image and packed into it, with a script in QEMU's place.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod project;

use std::fs;
use std::path::Path;

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

#[test]
fn a_snapshot_is_stored_once_by_a_machine_and_packed() {
    // The machine copies what it is to write, and counts how often it ran.
    let project = Project::new(
        "out=$(echo \"$@\" | sed -n 's/.*id=records,path=\\([^ ]*\\).*/\\1/p')\n\
         [ -z \"$out\" ] || { echo run >> runs; cat written > \"$out\"; }\nexit 33",
    );
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"kernel\", \"moe\", \"ned\", \"linux-abi\", \"manager\", \"snapshot-writer\"]\n",
    );
    for name in ["ned", "linux-abi", "manager", "snapshot-writer"] {
        project.package(name, "[package.metadata.aerie]\nclass = \"std\"\n");
    }
    project.write("cfg/store-snapshot.cfg", "-- a boot script\n");
    project.write(
        "modules.list",
        "entry main\nmoe boot.cfg\nfunction[snapshot] greet\n",
    );
    let file = stored_snapshot();
    let write = |name: &str, file: &[u8]| {
        let record = Record { name, file };
        fs::write(project.path("written"), [&record.head(), file].concat()).unwrap();
    };
    let runs = || fs::read_to_string(project.path("runs")).map_or(0, |text| text.lines().count());
    let refused = |reason: &str| {
        let (status, _, messages) = project.call("image", &[]);
        assert_eq!(status, Some(1), "{messages}");
        assert!(messages.contains(reason), "{messages}");
    };
    write("other", &file);
    refused("no snapshot of `greet` for the image: the machine wrote other snapshots than this one");
    write("greet", &file[..4096]);
    refused("what the machine wrote: the file is truncated");
    fs::write(project.path("written"), "AerieRe").unwrap();
    refused("what the machine wrote is cut off");
    assert_eq!(runs(), 3);
    write("greet", &file);
    for _ in 0..2 {
        let (status, path, messages) = project.call("image", &[]);
        assert_eq!(status, Some(0), "{messages}");
        let archive = archive_of(Path::new(path.trim()));
        let parsed = Archive::parse(&archive).unwrap();
        assert_eq!(module(&archive, &parsed, "functions/greet.snapshot"), file);
        assert!(!module(&archive, &parsed, "digests").is_empty());
        assert_eq!(runs(), 4, "what did not change is not stored again");
    }
    project.write("functions/greet/greet.py", "def main(arg): return 1\n");
    assert_eq!(project.call("image", &[]).0, Some(0));
    assert_eq!(runs(), 5, "another function needs another snapshot");
    project.write(
        "functions/greet/function.toml",
        "runtime = \"python\"\ncode = \"greet.py\"\nmode = \"boot\"\n",
    );
    refused("`greet` has `mode = \"boot\"`, in which it never begins from a snapshot");
}
