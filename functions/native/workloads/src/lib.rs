//! Some of the workloads of `functions/python/`, computed in Rust: the same inputs from the same seeds, the same results.
//!
//! `docs/workloads.md` describes them, and how floats are given; `tests/workloads/expected.py` compares both.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod cascading_sha256;
pub mod fib;
pub mod matmul;
mod numbers;

use alloc::string::String;
use core::fmt::{self, Write};
pub use numbers::SplitMix64;
use serde::{Deserialize, Serialize};

/// What a function is asked: to make its input from a seed, or to take the one that is given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Event<I> {
    /// `{"seed": N}`.
    Seed {
        /// The seed.
        seed: u64,
    },
    /// The input itself.
    Input(I),
}

/// What a function answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer<I, R> {
    /// The input that it computed with.
    pub input: I,
    /// The result.
    pub result: R,
}

/// Why there is no result for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputError {
    /// The Fibonacci number does not fit into 64 bits.
    TooLarge,
    /// The matrices have no product, or no elements.
    Shape,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputError::TooLarge => "n is above 93, whose Fibonacci number is the last below 2^64",
            InputError::Shape => {
                "each row of the left matrix needs as many elements as the right one has rows, at least one, \
                 and the rows of the right one need the same length"
            }
        })
    }
}

impl core::error::Error for InputError {}

/// Answers an event: `make` makes the input if only a seed is given.
///
/// # Errors
/// As `compute` says.
pub fn answer<I, R, E>(
    event: Event<I>,
    make: impl FnOnce(&mut SplitMix64) -> I,
    compute: impl FnOnce(&I) -> Result<R, E>,
) -> Result<Answer<I, R>, E> {
    let input = match event {
        Event::Seed { seed } => make(&mut SplitMix64::new(seed)),
        Event::Input(input) => input,
    };
    let result = compute(&input)?;
    Ok(Answer { input, result })
}

/// The bytes in hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::Input;

    #[test]
    fn an_event_is_a_seed_or_an_input() {
        let event: Event<Input> = serde_json::from_str(r#"{"seed": 7}"#).unwrap();
        assert_eq!(event, Event::Seed { seed: 7 });
        let event: Event<Input> = serde_json::from_str(r#"{"n": 7}"#).unwrap();
        assert_eq!(event, Event::Input(Input { n: 7 }));
        for wrong in ["{}", "[]", r#"{"n": -1}"#, r#"{"seed": "x"}"#] {
            assert!(serde_json::from_str::<Event<Input>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_has_input_and_result() {
        let answer = answer(Event::Input(Input { n: 10 }), fib::make_input, fib::compute).unwrap();
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"input":{"n":10},"result":{"fib":55}}"#
        );
    }

    #[test]
    fn digits_are_lower_case_and_complete() {
        assert_eq!(hexadecimal(&[0, 0xab, 9]), "00ab09");
    }
}
