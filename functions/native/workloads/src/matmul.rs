//! The product of two matrices of floats, whose sums are made in the order of the index.

use crate::{InputError, SplitMix64, hexadecimal};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Rows of elements.
type Matrix = Vec<Vec<f64>>;

/// What is multiplied.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Input {
    /// The left factor.
    pub left: Matrix,
    /// The right factor.
    pub right: Matrix,
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Rows of the product.
    pub size: usize,
    /// The first element's IEEE 754 form in hexadecimal digits.
    pub first: String,
    /// SHA-256 of all elements' IEEE 754 form, big-endian, row by row.
    pub sha256: String,
}

/// Makes two matrices of 2×2 to 10×10 multiples of 1/8.
pub fn make_input(numbers: &mut SplitMix64) -> Input {
    let size = 2 + numbers.below(9);
    let mut matrix = || -> Matrix {
        let mut element = || (f64::from(numbers.below(1601)) - 800.0) / 8.0;
        (0..size)
            .map(|_| (0..size).map(|_| element()).collect())
            .collect()
    };
    let left = matrix();
    let right = matrix();
    Input { left, right }
}

/// Computes the product.
///
/// # Errors
/// [`InputError::Shape`].
pub fn compute(input: &Input) -> Result<Output, InputError> {
    let product = product(&input.left, &input.right)?;
    let first = product.first().and_then(|row| row.first());
    let first = first.ok_or(InputError::Shape)?.to_be_bytes();
    let mut digest = Sha256::new();
    for element in product.iter().flatten() {
        digest.update(element.to_be_bytes());
    }
    Ok(Output {
        size: product.len(),
        first: hexadecimal(&first),
        sha256: hexadecimal(&digest.finalize()),
    })
}

fn product(left: &[Vec<f64>], right: &[Vec<f64>]) -> Result<Matrix, InputError> {
    let columns = right.first().ok_or(InputError::Shape)?.len();
    let is_regular =
        right.iter().all(|row| row.len() == columns) && left.iter().all(|row| row.len() == right.len());
    if !is_regular {
        return Err(InputError::Shape);
    }
    let element = |row: &[f64], column: usize| {
        row.iter()
            .zip(right)
            .fold(0.0, |total, (first, second)| total + first * second[column])
    };
    Ok(left
        .iter()
        .map(|row| (0..columns).map(|column| element(row, column)).collect())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{Input, compute, make_input, product};
    use crate::{InputError, SplitMix64};

    #[test]
    fn product_is_that_of_the_definition() {
        let left = [vec![1.0, 2.0], vec![3.0, 4.0]];
        let right = [vec![0.5, 0.0], vec![0.25, 1.0]];
        let product = product(&left, &right).unwrap();
        assert_eq!(product, [vec![1.0, 2.0], vec![2.5, 4.0]]);
    }

    #[test]
    fn matrices_that_do_not_fit_are_refused() {
        let matrices: [Vec<Vec<f64>>; 4] = [
            vec![],
            vec![vec![]],
            vec![vec![1.0, 2.0]],
            vec![vec![1.0], vec![]],
        ];
        for left in &matrices {
            for right in &matrices {
                let input = Input {
                    left: left.clone(),
                    right: right.clone(),
                };
                assert_eq!(compute(&input), Err(InputError::Shape), "{input:?}");
            }
        }
    }

    #[test]
    fn inputs_survive_json() {
        for seed in 0..100 {
            let input = make_input(&mut SplitMix64::new(seed));
            assert!((2..=10).contains(&input.left.len()));
            let text = serde_json::to_string(&input).unwrap();
            assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input);
        }
    }
}
