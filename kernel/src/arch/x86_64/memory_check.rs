//! A check of `memory_functions` at boot, in builds with debug assertions: the host's tests cannot run them,
//! since there the symbols are the C library's.

use core::hint::black_box;

const BYTES: usize = 512;
const ROUNDS: usize = 20_000;
/// Longer than twice the bytes that one round of the longest loop moves.
const LENGTHS: usize = 300;

/// Compares copies, fills and comparisons of random places and lengths with byte loops. `random` gives the
/// places.
///
/// # Panics
/// If any result differs.
pub(crate) fn check(mut random: impl FnMut() -> u64) {
    let (mut fast, mut slow) = ([0_u8; BYTES], [0_u8; BYTES]);
    for _ in 0..ROUNDS {
        let number = random();
        let length = number as usize % LENGTHS;
        let first = (number >> 16) as usize % (BYTES - length);
        let second = (number >> 32) as usize % (BYTES - length);
        let value = (number >> 48) as u8;
        if number >> 63 == 0 {
            fast.copy_within(first..first + length, second);
            move_bytes(&mut slow, first, second, length);
        } else {
            fast[first..first + length].fill(value);
            slow[first..first + length]
                .iter_mut()
                .for_each(|byte| *black_box(byte) = value);
        }
        assert!(
            fast.iter().zip(&slow).all(|(a, b)| black_box(a) == b),
            "{length} bytes, {first} to {second}"
        );
        let order = fast[first..first + length].cmp(&fast[second..second + length]);
        assert_eq!(
            order,
            compare_bytes(&slow, first, second, length),
            "{length} bytes at {first} and {second}"
        );
    }
}

// `black_box` keeps the compiler from seeing that these are memmove and memcmp.

fn move_bytes(bytes: &mut [u8; BYTES], from: usize, to: usize, length: usize) {
    let mut copy = [0; BYTES];
    for i in 0..length {
        copy[black_box(i)] = bytes[from + i];
    }
    for i in 0..length {
        bytes[to + black_box(i)] = copy[i];
    }
}

fn compare_bytes(bytes: &[u8; BYTES], first: usize, second: usize, length: usize) -> core::cmp::Ordering {
    let pairs = (0..length).map(|i| bytes[first + black_box(i)].cmp(&bytes[second + i]));
    pairs
        .into_iter()
        .find(|order| order.is_ne())
        .unwrap_or(core::cmp::Ordering::Equal)
}
