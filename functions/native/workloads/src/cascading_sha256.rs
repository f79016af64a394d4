//! SHA-256 of a text, then again and again of the digest before, in hexadecimal digits.

use crate::{InputError, SplitMix64, hexadecimal};
use alloc::string::String;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// What is hashed how often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Input {
    /// The text of the first round.
    pub text: String,
    /// Rounds.
    pub rounds: u32,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// The last digest; the text itself if there were no rounds.
    pub digest: String,
}

/// Makes a text of 64 letters and digits, and 1 to 10,000 rounds.
pub fn make_input(numbers: &mut SplitMix64) -> Input {
    let text = (0..64)
        .map(|_| char::from(LETTERS[numbers.below(36) as usize]))
        .collect();
    Input {
        text,
        rounds: 1 + numbers.below(10_000),
    }
}

/// Computes the last digest.
///
/// # Errors
/// None.
pub fn compute(input: &Input) -> Result<Output, InputError> {
    let digest = (0..input.rounds).fold(input.text.clone(), |text, _| {
        hexadecimal(&Sha256::digest(text.as_bytes()))
    });
    Ok(Output { digest })
}

#[cfg(test)]
mod tests {
    use super::{Input, compute, make_input};
    use crate::SplitMix64;

    fn digest(rounds: u32) -> String {
        let text = "abc".into();
        compute(&Input { text, rounds }).unwrap().digest
    }

    #[test]
    fn rounds_hash_the_digits_of_the_round_before() {
        // The example of FIPS 180-4, and what other implementations make of its digits.
        assert_eq!(
            digest(1),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            digest(2),
            "dfe7a23fefeea519e9bbfdd1a6be94c4b2e4529dd6b7cbea83f9959c2621b13c"
        );
        assert_eq!(digest(0), "abc");
    }

    #[test]
    fn inputs_are_in_their_range() {
        for seed in 0..100 {
            let input = make_input(&mut SplitMix64::new(seed));
            assert!(input.text.len() == 64 && (1..=10_000).contains(&input.rounds));
        }
    }
}
