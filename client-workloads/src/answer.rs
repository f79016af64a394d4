//! What a workload answers, and how it is shown.

use alloc::string::String;
use core::fmt::{self, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A workload's answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// The input that it computed with.
    pub input: Value,
    /// The result.
    pub result: Value,
}

/// What is printed about a call.
#[derive(Debug, Serialize)]
struct Line<'a> {
    digest: &'a str,
    input: &'a Value,
    name: &'a str,
    result: &'a Value,
    seed: u64,
}

/// What is printed about a function of a balanced load.
#[derive(Debug, Serialize)]
struct Total<'a> {
    calls: u64,
    digest: &'a str,
    name: &'a str,
    seed: u64,
}

/// The first 64 bits of the SHA-256 of a result's JSON with sorted names and without spaces. Exclusive or combines
/// several, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResultDigest(u64);

impl ResultDigest {
    /// The digest of one result.
    ///
    /// # Errors
    /// The result cannot be written as JSON, which does not happen to one that was read from JSON.
    pub fn of(result: &Value) -> Result<ResultDigest, serde_json::Error> {
        let hash = Sha256::digest(serde_json::to_vec(result)?);
        let first = hash.iter().take(8);
        Ok(ResultDigest(
            first.fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
        ))
    }

    /// Takes in another digest.
    pub fn combine(&mut self, other: ResultDigest) {
        self.0 ^= other.0;
    }
}

impl fmt::Display for ResultDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Reads an answer.
///
/// # Errors
/// It is no JSON, or lacks `input` or `result`.
pub fn read(bytes: &[u8]) -> Result<Answer, serde_json::Error> {
    serde_json::from_slice(bytes)
}

/// The line about a call.
///
/// # Errors
/// As [`ResultDigest::of`].
pub fn line(
    name: &str,
    seed: u64,
    answer: &Answer,
    digest: ResultDigest,
) -> Result<String, serde_json::Error> {
    let line = Line {
        digest: &shown(digest),
        input: &answer.input,
        name,
        result: &answer.result,
        seed,
    };
    Ok(alloc::format!("WORKLOAD {}\n", serde_json::to_string(&line)?))
}

/// The line about `calls` calls of a function, with seeds from `seed`.
///
/// # Errors
/// As [`ResultDigest::of`].
pub fn total(name: &str, seed: u64, calls: u64, digest: ResultDigest) -> Result<String, serde_json::Error> {
    let total = Total {
        calls,
        digest: &shown(digest),
        name,
        seed,
    };
    Ok(alloc::format!("BALANCED {}\n", serde_json::to_string(&total)?))
}

fn shown(digest: ResultDigest) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{digest}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sorted_json() {
        // Python: hashlib.sha256(b'{"a":[null,1.5],"b":"x"}').hexdigest()[:16]
        let one: Value = serde_json::from_str(r#"{"b": "x", "a": [null, 1.5]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":[null,1.5],"b":"x"}"#).unwrap();
        let digest = ResultDigest::of(&one).unwrap();
        assert_eq!(shown(digest), "51295f2378c7c529");
        assert_eq!(ResultDigest::of(&other).unwrap(), digest);
        let mut both = digest;
        both.combine(digest);
        assert_eq!(shown(both), "0000000000000000");
    }

    #[test]
    fn lines_are_json_with_sorted_names() {
        let answer = read(br#"{"result": {"fib": 5}, "input": {"n": 5}}"#).unwrap();
        let digest = ResultDigest(0xab);
        assert_eq!(
            line("fib", 3, &answer, digest).unwrap(),
            "WORKLOAD {\"digest\":\"00000000000000ab\",\"input\":{\"n\":5},\"name\":\"fib\",\"result\":{\"fib\":5},\"seed\":3}\n"
        );
        assert_eq!(
            total("fib", 3, 7, digest).unwrap(),
            "BALANCED {\"calls\":7,\"digest\":\"00000000000000ab\",\"name\":\"fib\",\"seed\":3}\n"
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wrong in [
            "",
            "5",
            "{\"input\": 1}",
            "{\"result\": 1}",
            "{\"input\": 1, \"result\": ",
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
