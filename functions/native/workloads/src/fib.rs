//! A Fibonacci number, computed by a function that calls itself: what calls cost.

use crate::{InputError, SplitMix64};
use serde::{Deserialize, Serialize};

/// The last whose number fits.
const LARGEST: u32 = 93;

/// Which number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Input {
    /// Its index; the number with index 0 is 0.
    pub n: u32,
}

/// The number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// The number.
    pub fib: u64,
}

/// Makes an input from 10 to 20.
pub fn make_input(numbers: &mut SplitMix64) -> Input {
    Input {
        n: 10 + numbers.below(11),
    }
}

/// Computes the number.
///
/// # Errors
/// [`InputError::TooLarge`].
pub fn compute(input: &Input) -> Result<Output, InputError> {
    if input.n > LARGEST {
        return Err(InputError::TooLarge);
    }
    Ok(Output { fib: fib(input.n) })
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        u64::from(n)
    } else {
        fib(n - 1) + fib(n - 2)
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, InputError, compute};

    #[test]
    fn first_numbers_are_the_known_ones() {
        let numbers: Vec<u64> = (0..11)
            .map(|n| compute(&Input { n }).map_or(u64::MAX, |output| output.fib))
            .collect();
        assert_eq!(numbers, [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55]);
        assert_eq!(compute(&Input { n: 94 }), Err(InputError::TooLarge));
    }
}
