use super::*;
use crate::directory::{END_SIZE, ENTRY_SIZE};
use crate::{UNPACKED_MAX, check, is_zip, pack};
use alloc::vec::Vec;
use proptest::prelude::*;

fn files(list: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    list.iter()
        .map(|(name, bytes)| ((*name).into(), bytes.to_vec()))
        .collect()
}

fn sample() -> Vec<u8> {
    pack(&files(&[
        ("main.py", b"x = 1\n"),
        ("pkg/sub/__init__.py", b""),
        ("pkg/data.txt", b"data"),
    ]))
    .unwrap()
}

/// A zip whose only file was compressed, as usual tools make it.
fn deflated(name: &str, bytes: &[u8], size: u32) -> Vec<u8> {
    let packed = miniz_oxide::deflate::compress_to_vec(bytes, 6);
    let mut zip = pack(&files(&[(name, &packed)])).unwrap();
    let directory = zip.len() - END_SIZE - ENTRY_SIZE - name.len();
    zip[directory + 10] = 8;
    zip[directory + 16..directory + 20].copy_from_slice(&crc32(bytes).to_le_bytes());
    zip[directory + 24..directory + 28].copy_from_slice(&size.to_le_bytes());
    zip
}

#[test]
fn what_was_packed_is_read_back() {
    let zip = sample();
    assert!(is_zip(&zip) && !is_zip(b"def main(arg): pass"));
    let bundle = Bundle::open(&zip).unwrap();
    assert_eq!(bundle.read("main.py").unwrap().as_deref(), Some(&b"x = 1\n"[..]));
    assert_eq!(
        bundle.read("pkg/sub/__init__.py").unwrap().as_deref(),
        Some(&b""[..])
    );
    assert_eq!(bundle.read("nothing"), Ok(None));
    assert!(bundle.has_folder("pkg") && bundle.has_folder("pkg/sub") && !bundle.has_folder("main.py"));
    assert!(bundle.has_file("pkg/data.txt") && !bundle.has_file("pkg"));
    assert_eq!(bundle.names().count(), 3);
    assert_eq!(bundle.list(""), ["main.py", "pkg"]);
    assert_eq!(bundle.list("pkg"), ["data.txt", "sub"]);
    assert_eq!(bundle.list("pk"), [""; 0]);
}

#[test]
fn compressed_files_are_unpacked() {
    let text = b"spam ".repeat(1000);
    let zip = deflated("a.py", &text, text.len() as u32);
    assert_eq!(
        Bundle::open(&zip).unwrap().read("a.py").unwrap().as_deref(),
        Some(&text[..])
    );
}

#[test]
fn no_file_unpacks_to_more_than_it_says() {
    let zip = deflated("a.py", &[0; 100_000], 10);
    assert!(matches!(
        Bundle::open(&zip).unwrap().read("a.py"),
        Err(BundleError::Damaged(_))
    ));
    let zip = deflated("a.py", b"", UNPACKED_MAX as u32 + 1);
    assert_eq!(Bundle::open(&zip).err(), Some(BundleError::TooLarge));
}

#[test]
fn hostile_names_are_refused() {
    for (name, other) in [("xx/a.py", "../a.py"), ("xa.py", "/a.py"), ("a.pyx", "ab.so")] {
        let zip = pack(&files(&[(name, b"x")])).unwrap();
        let mut bytes = zip.clone();
        for at in 0..zip.len() - name.len() {
            if zip[at..].starts_with(name.as_bytes()) {
                bytes[at..at + name.len()].copy_from_slice(other.as_bytes());
            }
        }
        assert!(matches!(
            Bundle::open(&bytes),
            Err(BundleError::BadName(_) | BundleError::NativeExtension(_))
        ));
    }
}

#[test]
fn cut_zips_are_refused() {
    let zip = sample();
    for length in 0..zip.len() {
        assert!(Bundle::open(&zip[..length]).is_err(), "{length}");
    }
}

#[test]
fn encryption_and_unusual_compression_are_refused() {
    let zip = pack(&files(&[("a.py", b"x")])).unwrap();
    let directory = zip.len() - END_SIZE - ENTRY_SIZE - 4;
    let with = |at: usize, value: u8| {
        let mut bytes = zip.clone();
        bytes[directory + at] = value;
        Bundle::open(&bytes).err()
    };
    assert_eq!(with(8, 1), Some(BundleError::Encrypted("a.py".into())));
    assert_eq!(with(10, 12), Some(BundleError::Compression("a.py".into())));
}

proptest! {
    #[test]
    fn damaged_zips_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut zip = sample();
        for (at, value) in changes {
            let at = at.index(zip.len());
            zip[at] = value;
        }
        let is_fine = check(&zip).is_ok();
        if let Ok(bundle) = Bundle::open(&zip) {
            prop_assert!(is_fine);
            for name in bundle.names() {
                let _ = bundle.read(name);
            }
        }
    }
}
