//! Programs that are none: a good one with parts of its headers changed. The offsets are those of ELF64 (System V ABI,
//! chapters 4 and 5).

use alloc::vec::Vec;
use fastrand::Rng;
use interfaces::faas::ImageFault;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const TYPE_LOAD: u8 = 1;
const FLAGS: usize = 4;
const OFFSET: usize = 8;
const ADDRESS: usize = 16;
const FILE_SIZE: usize = 32;
const MEMORY_SIZE: usize = 40;

/// A bad image: what is wrong with it, its bytes, and the faults that may be found.
pub(crate) type BadImage = (&'static str, Vec<u8>, &'static [ImageFault]);

/// Bad images made of a good one.
pub(crate) fn bad_images(good: &[u8]) -> Vec<BadImage> {
    let segments = segments(good);
    let (Some(&first), Some(&second)) = (segments.first(), segments.get(1)) else {
        return Vec::new();
    };
    let mut images = bad_files(good);
    images.extend(bad_segments(good, first, second));
    images
}

/// The image with other bytes from an offset on.
fn patched(good: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = good.to_vec();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

/// Files that end early, and wrong file headers.
fn bad_files(good: &[u8]) -> Vec<BadImage> {
    use ImageFault as Fault;
    let word = |at: usize, value: u64| patched(good, at, &value.to_le_bytes());
    alloc::vec![
        ("a text", b"#!/bin/sh\nexit 0\n".repeat(20), &[Fault::Script]),
        ("one byte", alloc::vec![0x7f], &[Fault::Truncated]),
        (
            "half of the headers",
            good[..HEADER + 20].to_vec(),
            &[Fault::Truncated]
        ),
        (
            "half of the file",
            good[..good.len() / 2].to_vec(),
            &[Fault::Truncated, Fault::BadSegment]
        ),
        (
            "a program of another machine",
            patched(good, 18, &[183, 0]),
            &[Fault::ForeignMachine]
        ),
        ("a 32-bit program", patched(good, 4, &[1]), &[Fault::Bits32]),
        ("an object file", patched(good, 16, &[1, 0]), &[Fault::ObjectFile]),
        ("headers behind the end", word(32, 1 << 40), &[Fault::Truncated]),
        (
            "65535 headers",
            patched(good, 56, &[0xff, 0xff]),
            &[Fault::BadSegment, Fault::Truncated, Fault::WrongKind]
        ),
        (
            "no segments",
            patched(good, 56, &[0, 0]),
            &[Fault::NoSegments, Fault::BadSegment, Fault::WrongKind]
        ),
        ("an entry point nowhere", word(24, 8), &[Fault::BadEntry]),
    ]
}

/// Wrong headers of the segments whose headers are at `first` and `second`.
fn bad_segments(good: &[u8], first: usize, second: usize) -> Vec<BadImage> {
    use ImageFault as Fault;
    let word = |at: usize, value: u64| patched(good, at, &value.to_le_bytes());
    let first_address = &good[first + ADDRESS..first + ADDRESS + 8];
    alloc::vec![
        (
            "a segment of the kernel",
            word(first + ADDRESS, 0xffff_ffff_8000_0000),
            &[Fault::BadAddress]
        ),
        (
            "a segment at 0",
            word(first + ADDRESS, 0),
            &[Fault::BadAddress, Fault::BadSegment]
        ),
        (
            "a segment across the end of user memory",
            word(second + ADDRESS, 0x7fff_ffff_f000),
            &[Fault::BadAddress, Fault::BadSegment],
        ),
        (
            "a segment that wraps around",
            word(second + ADDRESS, u64::MAX - 0xfff),
            &[Fault::BadAddress, Fault::BadSegment]
        ),
        (
            "overlapping segments",
            patched(good, second + ADDRESS, first_address),
            &[Fault::Overlap, Fault::BadSegment]
        ),
        (
            "an absurd size in memory",
            word(second + MEMORY_SIZE, u64::MAX),
            &[Fault::BadSegment, Fault::BadAddress]
        ),
        (
            "an absurd size in the file",
            word(first + FILE_SIZE, 1 << 50),
            &[Fault::BadSegment, Fault::Truncated]
        ),
        (
            "contents behind the end",
            word(first + OFFSET, 1 << 40),
            &[Fault::Truncated, Fault::BadSegment]
        ),
        (
            "writable code",
            patched(good, first + FLAGS, &[7]),
            &[Fault::WritableCode]
        ),
    ]
}

/// Where the headers of the segments to load are.
fn segments(image: &[u8]) -> Vec<usize> {
    let count = image.get(56).map_or(0, |count| usize::from(*count));
    (0..count)
        .map(|index| HEADER + index * PROGRAM_HEADER)
        .filter(|at| image.get(*at) == Some(&TYPE_LOAD))
        .collect()
}

/// Bytes at which values change their meaning.
const EDGE_BYTES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];

/// A copy of the image with some bytes changed, most of them in its headers.
pub(crate) fn mutated(good: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut image = good.to_vec();
    for _ in 0..1 + random.u64(..4) {
        let range = if random.u64(..4) == 0 {
            image.len()
        } else {
            image.len().min(HEADER + 8 * PROGRAM_HEADER)
        };
        let at = random.u64(..range as u64) as usize;
        image[at] = match random.u64(..3) {
            0 => image[at] ^ 1 << random.u64(..8),
            1 => EDGE_BYTES[random.usize(..EDGE_BYTES.len())],
            _ => random.u64(..) as u8,
        };
    }
    if random.u64(..8) == 0 {
        image.truncate(1 + random.u64(..good.len() as u64 - 1) as usize);
    }
    image
}
