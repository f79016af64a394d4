//! Code of functions in Python that is refused when they are created: zips with parts of their headers changed. The
//! offsets are those of PKWARE's APPNOTE, chapter 4.3.

use crate::attempts::Attacker;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use fastrand::Rng;
use interfaces::faas::{FaasError, ImageFault};
use interfaces::manifest::Runtime;
use l4_rpc::CallError;
use l4re::println;

/// Size of the record at the archive's end.
const END: usize = 22;
/// Size of the directory entry of a file with a name of [`NAME`] bytes.
const ENTRY: usize = 46 + NAME.len();
/// The name of the only file.
const NAME: &str = "pack/main.py";
/// Places in a directory entry.
const FLAGS: usize = 8;
const METHOD: usize = 10;
const SIZE: usize = 24;
const TEXT: usize = 46;
/// Random zips for each random image.
const ZIPS: u64 = 4;

type BadZip = (&'static str, Vec<u8>, ImageFault);

impl Attacker {
    /// Code that is no code of a function in Python.
    pub(crate) fn zips(&mut self) {
        let Some(good) = good_zip() else {
            return self.complain("zips", &"the good one cannot be made");
        };
        for (what, bytes, wanted) in bad_zips(&good) {
            let answer = self.create_with(&bytes, Runtime::Python);
            self.expect(what, answer, |error| *error == FaasError::InvalidImage(wanted));
        }
        // This image has nothing to run Python with; that is looked at last.
        for (what, bytes) in [("a good zip", &good[..]), ("a good text", b"def main(arg): pass")] {
            let answer = self.create_with(bytes, Runtime::Python);
            self.expect(what, answer, |error| {
                *error == FaasError::InvalidImage(ImageFault::NoRuntime)
            });
        }
        self.still_served("after the zips");
    }

    /// Random zips; all are refused, and the manager does not mind.
    pub(crate) fn random_zips(&mut self, rounds: u64) {
        let Some(good) = good_zip() else {
            return self.complain("zips", &"the good one cannot be made");
        };
        let mut refused = 0;
        for _ in 0..rounds * ZIPS {
            let bytes = mutated(&good, &mut self.random);
            match self.create_with(&bytes, Runtime::Python) {
                Err(CallError::Server(FaasError::InvalidImage(ImageFault::NoRuntime))) => {}
                Err(CallError::Server(FaasError::InvalidImage(_))) => refused += 1,
                Err(error) => self.complain("a random zip", &error),
                Ok(()) => self.complain("a random zip", &"it was not refused"),
            }
        }
        println!("{} random zips, {refused} of them damaged", rounds * ZIPS);
        self.still_served("after random zips");
    }
}

fn good_zip() -> Option<Vec<u8>> {
    let files = BTreeMap::from([(String::from(NAME), b"def main(arg): return arg\n".to_vec())]);
    python_bundle::pack(&files).ok()
}

/// The zip with other bytes in its only directory entry.
fn patched(good: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut zip = good.to_vec();
    let at = good.len() - END - ENTRY + at;
    zip[at..at + bytes.len()].copy_from_slice(bytes);
    zip
}

fn bad_zips(good: &[u8]) -> Vec<BadZip> {
    use ImageFault as Fault;
    let bomb = u32::MAX.to_le_bytes();
    let mut many = good.to_vec();
    let count = good.len() - END + 8;
    many[count..count + 4].copy_from_slice(&[0xff; 4]);
    let cut = good[..good.len() - 1].to_vec();
    let mut astray = good.to_vec();
    let start = good.len() - END + 16;
    astray[start..start + 4].copy_from_slice(&[0; 4]);
    let no_text = b"\x89PNG\r\n".to_vec();
    alloc::vec![
        ("a zip that is cut off", cut, Fault::ZipTruncated),
        ("a zip with a directory elsewhere", astray, Fault::ZipDamaged),
        ("a zip of 65535 files", many, Fault::ZipTooManyFiles),
        (
            "a zip of 4 GiB unpacked",
            patched(good, SIZE, &bomb),
            Fault::UnpackedTooLarge
        ),
        (
            "a zip with ../",
            patched(good, TEXT, b"../k/main.py"),
            Fault::ZipBadName
        ),
        (
            "a zip with an absolute name",
            patched(good, TEXT, b"/ack/main.py"),
            Fault::ZipBadName
        ),
        (
            "a zip with a name in no text",
            patched(good, TEXT, b"\xff"),
            Fault::ZipBadName
        ),
        (
            "a zip with a compiled module",
            patched(good, TEXT, b"pack/mai.pyd"),
            Fault::NativeExtension
        ),
        (
            "an encrypted zip",
            patched(good, FLAGS, &[1]),
            Fault::ZipEncrypted
        ),
        (
            "a zip with LZMA",
            patched(good, METHOD, &[14]),
            Fault::ZipCompression
        ),
        ("a picture", no_text, Fault::NotText),
    ]
}

/// A copy of the zip with some bytes of its directory changed.
fn mutated(good: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut zip = good.to_vec();
    let first = good.len() - END - ENTRY;
    for _ in 0..1 + random.u64(..3) {
        zip[first + random.usize(..END + ENTRY)] = random.u64(..) as u8;
    }
    if random.u64(..8) == 0 {
        zip.truncate(1 + random.usize(..good.len() - 1));
    }
    zip
}
