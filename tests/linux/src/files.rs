//! Files of `rom`, devices, standard streams.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("files of rom are read, whole and in pieces", reading),
    ("what is not there is not found", missing),
    ("rom is read-only", read_only),
    ("folders are listed", listing),
    ("the program finds itself", itself),
    ("devices behave", devices),
    ("standard input is empty", input),
];

const OWN: &str = "/rom/linux-tests";

fn reading() {
    let all = fs::read("rom/linux.cfg").expect("the script is part of the image");
    assert!(all.starts_with(b"-- "));
    let mut file = File::open("/rom/linux.cfg").expect("an absolute path names the same file");
    assert_eq!(file.metadata().expect("it has a status").len(), all.len() as u64);
    let mut piece = [0; 7];
    file.seek(SeekFrom::Start(3)).expect("it can be moved in");
    file.read_exact(&mut piece).expect("it is longer");
    assert_eq!(piece, all[3..10]);
    assert_eq!(file.seek(SeekFrom::End(-5)).ok(), Some(all.len() as u64 - 5));
    let mut rest = Vec::new();
    assert_eq!(file.read_to_end(&mut rest).ok(), Some(5));
    assert_eq!(rest, all[all.len() - 5..]);
    // A file's slot and addresses are free again when it is closed.
    for _ in 0..600 {
        drop(File::open(OWN).expect("it opens as often as one likes"));
    }
}

fn missing() {
    for path in ["/rom/absent", "/etc/passwd", "/rom/linux.cfg/x", "absent"] {
        let error = File::open(path).expect_err("there is no such file");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
    }
}

fn read_only() {
    let error = File::create("/rom/new").expect_err("nothing can be created");
    assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    assert!(File::options().write(true).open(OWN).is_err());
}

fn listing() {
    let names: Vec<_> = fs::read_dir("/rom")
        .expect("rom is a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    assert!(names.iter().any(|name| name == "linux-tests"), "{names:?}");
    assert!(fs::metadata("/rom").expect("a status").is_dir());
}

fn itself() {
    assert_eq!(
        std::env::current_exe().ok().as_deref(),
        Some(std::path::Path::new(OWN))
    );
    let mut magic = [0; 4];
    let file = File::open("/proc/self/exe").and_then(|mut file| file.read_exact(&mut magic));
    file.expect("the program can be read");
    assert_eq!(&magic, b"\x7fELF");
}

fn devices() {
    let mut bytes = [1; 4096];
    let mut zero = File::open("/dev/zero").expect("a device");
    zero.read_exact(&mut bytes).expect("it never ends");
    assert_eq!(bytes, [0; 4096]);
    let mut random = File::open("/dev/urandom").expect("a device");
    random.read_exact(&mut bytes).expect("it never ends");
    assert!(
        bytes.iter().filter(|byte| **byte == 0).count() < 100,
        "not random"
    );
    let mut null = File::options().write(true).open("/dev/null").expect("a device");
    null.write_all(&bytes).expect("it takes everything");
}

fn input() {
    let mut text = String::new();
    assert_eq!(std::io::stdin().read_to_string(&mut text).ok(), Some(0));
}
