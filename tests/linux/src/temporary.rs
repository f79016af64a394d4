//! Files below `/tmp`, as the standard library makes them.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("files of /tmp are written, changed and read", files),
    ("folders of /tmp come and go with what is in them", folders),
    ("threads write a file of /tmp together", together),
];

fn files() {
    let path = "/tmp/file";
    fs::write(path, "first line\nsecond line\n").expect("it can be written");
    assert_eq!(
        fs::read_to_string(path).expect("it can be read").lines().count(),
        2
    );
    let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
    writeln!(file, "third line").expect("it can be extended");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("it is there");
    file.seek(SeekFrom::Start(6)).expect("it has places");
    file.write_all(b"LINE").expect("it can be changed");
    let mut rest = String::new();
    file.read_to_string(&mut rest).expect("it can be read");
    assert_eq!(rest, "\nsecond line\nthird line\n");
    assert_eq!(file.metadata().expect("it is there").len(), 34);
    file.set_len(8).expect("it can be cut");
    fs::copy(path, "/tmp/copy").expect("it can be copied");
    fs::rename("/tmp/copy", "/tmp/renamed").expect("it can be renamed");
    assert_eq!(fs::read("/tmp/renamed").expect("it is there"), b"first LI");
    let large: Vec<u8> = (0..3_000_000u32).map(|index| (index >> 3) as u8).collect();
    fs::write("/tmp/large", &large).expect("there is room");
    assert!(fs::read("/tmp/large").expect("it can be read") == large);
    for path in [path, "/tmp/renamed", "/tmp/large"] {
        fs::remove_file(path).expect("it can be removed");
    }
    let gone = File::open(path).expect_err("it was removed");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let refused = fs::write("/rom/new", "x").expect_err("it is read-only");
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
}

fn folders() {
    fs::create_dir_all("/tmp/a/b/c").expect("folders can be made");
    for number in 0..40 {
        fs::write(format!("/tmp/a/b/{number}"), [number; 100]).expect("there is room");
    }
    let mut names: Vec<String> = fs::read_dir("/tmp/a/b")
        .expect("it is a folder")
        .map(|entry| {
            entry
                .expect("it is there")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort_by_key(|name| name.parse::<u8>().unwrap_or(u8::MAX));
    assert_eq!(names.len(), 41);
    assert_eq!((names[39].as_str(), names[40].as_str()), ("39", "c"));
    let refused = fs::remove_dir("/tmp/a").expect_err("it is not empty");
    assert_eq!(refused.raw_os_error(), Some(libc::ENOTEMPTY));
    fs::rename("/tmp/a/b", "/tmp/moved").expect("it can be moved");
    assert_eq!(fs::read("/tmp/moved/7").expect("it moved as well"), [7; 100]);
    fs::remove_dir_all("/tmp/moved").expect("all can be removed");
    fs::remove_dir("/tmp/a").expect("it is empty now");
    assert_eq!(fs::read_dir("/tmp").expect("it is a folder").count(), 0);
}

fn together() {
    let file = File::create_new("/tmp/together").expect("it is new");
    std::thread::scope(|scope| {
        for number in 0..8u8 {
            let file = &file;
            scope.spawn(move || {
                for index in 0..50 {
                    let offset = (index * 8 + u64::from(number)) * 1000;
                    file.write_all_at(&[number; 1000], offset).expect("there is room");
                }
            });
        }
    });
    let all = fs::read("/tmp/together").expect("it can be read");
    assert_eq!(all.len(), 400_000);
    assert!(
        all.iter()
            .enumerate()
            .all(|(index, byte)| usize::from(*byte) == index / 1000 % 8)
    );
    fs::remove_file("/tmp/together").expect("it can be removed");
}
