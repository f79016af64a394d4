//! A canary: a value that one invocation plants wherever it can, and that no other may find.
//!
//! It is four letters, over and over, so that any aligned word of it has two equal halves, wherever it begins. Who looks for
//! it is told only what a multiplication makes of it ([`mixed`]), and so does not have it in its own memory.
#![no_std]

extern crate alloc;

mod plant;
pub mod registers;
mod search;

pub use plant::plant;
pub use search::{Found, search};

/// The letters, as a number.
pub type Letters = u32;

/// Bytes of an order's first word, in front of its value.
const ORDER: usize = 8;

/// What an invocation is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Plant these letters, and answer.
    Plant(Letters),
    /// Plant them, and end by a fault.
    Fault(Letters),
    /// Look for the letters that [`mixed`] makes this of.
    Search(u64),
}

/// What is told to those who look for the letters: an odd factor loses nothing of them.
pub fn mixed(letters: Letters) -> u64 {
    u64::from(letters).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The letters twice.
fn word(letters: Letters) -> u64 {
    u64::from(letters) << 32 | u64::from(letters)
}

impl Order {
    /// Reads a request: a word of eight bytes, then the letters at least once, or the number in hexadecimal digits.
    pub fn read(request: &[u8]) -> Option<Order> {
        let (order, value) = request.split_at_checked(ORDER)?;
        let letters = || Some(Letters::from_le_bytes(*value.first_chunk()?));
        match order.trim_ascii_end() {
            b"plant" => Some(Order::Plant(letters()?)),
            b"fault" => Some(Order::Fault(letters()?)),
            b"search" => {
                let digits = core::str::from_utf8(value).ok()?;
                Some(Order::Search(u64::from_str_radix(digits, 16).ok()?))
            }
            _ => None,
        }
    }

    /// The request that says it; letters are repeated up to `length` bytes in all.
    pub fn request(self, length: usize) -> alloc::vec::Vec<u8> {
        let (order, letters) = match self {
            Order::Plant(letters) => ("plant", letters),
            Order::Fault(letters) => ("fault", letters),
            Order::Search(mixed) => return alloc::format!("{:<ORDER$}{mixed:016x}", "search").into_bytes(),
        };
        let mut request = alloc::format!("{order:<ORDER$}").into_bytes();
        request.extend(
            letters
                .to_le_bytes()
                .iter()
                .cycle()
                .take(length.saturating_sub(ORDER)),
        );
        request
    }
}
