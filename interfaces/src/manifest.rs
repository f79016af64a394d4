//! What the image tool tells the system about a packed function.
//!
//! A function folder (`functions/NAME/` with its `function.toml`) becomes two modules of the boot image:
//! `functions/NAME`, its code, and `functions/NAME.conf`, a [`Manifest`] in postcard's encoding; if a snapshot of it was prepared
//! with the image, that is `functions/NAME.snapshot`. The texts of `function.toml` (sizes, durations) are parsed on the host only;
//! here are numbers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Folder of `rom` that holds the functions.
pub const FOLDER: &str = "functions/";

/// What is appended to a function's name in `rom` to get its manifest's name.
pub const SUFFIX: &str = ".conf";

/// What is appended to a function's name in `rom` to get the name of its stored snapshot.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";

/// File of `rom` with the digests of some of its other files, so that nobody has to read these for that: [`FileDigests`].
pub const DIGESTS: &str = "digests";

/// Files of `rom` and their digests, as `stored_image::Digest::add_bytes` computes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigests(pub Vec<(String, u64)>);

impl FileDigests {
    /// The digest of a file, if it is known.
    pub fn of(&self, name: &str) -> Option<u64> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, digest)| *digest)
    }

    /// As bytes of the file in `rom`.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        postcard::to_allocvec(self).map_err(|_| ManifestError)
    }

    /// From bytes of the file in `rom`.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<FileDigests, ManifestError> {
        match postcard::take_from_bytes(bytes) {
            Ok((digests, [])) => Ok(digests),
            _ => Err(ManifestError),
        }
    }
}

/// Name of the variable that holds a function's warm-up event, which the key `warm-up` of `function.toml` becomes.
pub const WARM_UP_NAME: &str = "AERIE_WARM_UP";

/// What runs a function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// The code is an ELF program linked against `worker-lib`.
    Native,
    /// The code is a static Linux ELF program.
    Linux,
    /// The code is Python source.
    Python,
}

/// How a worker comes into being for an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartMode {
    /// The ELF file is loaded afresh each time.
    Boot,
    /// A worker that served an earlier invocation is used again.
    Warm,
    /// A clone of a prepared image is made each time.
    Snapshot,
}

/// When a worker that begins from a snapshot gets its own copies of the pages that it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Copying {
    /// Of the pages that the first two invocations both changed, when it begins; of others, when it changes them.
    #[default]
    Eager,
    /// When it changes them.
    Lazy,
}

/// A function's configuration. Where the function's author said nothing, the field is `None` or empty and the
/// manager's default holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What runs the code.
    pub runtime: Runtime,
    /// The function inside the code that handles a request, where the runtime can choose one.
    pub handler: Option<String>,
    /// Memory limit of one worker in bytes.
    pub memory_bytes: Option<u64>,
    /// Longest run time of one invocation in nanoseconds.
    pub timeout_ns: Option<u64>,
    /// How many invocations may run at once on one core.
    pub concurrent_requests: Option<u32>,
    /// Whether a worker serves one invocation only, whatever the mode.
    pub single_use: bool,
    /// How long an idle worker is kept after its last invocation, in nanoseconds.
    pub keepalive_ns: Option<u64>,
    /// How workers are started; `None`: from a snapshot if the function can be frozen, else by loading the file.
    pub mode: Option<StartMode>,
    /// When workers from a snapshot copy what they change.
    pub copying: Option<Copying>,
    /// How many invocations a warm worker serves before it is replaced.
    pub reuse_limit: Option<u64>,
    /// Environment variables of the workers.
    pub environment: Vec<(String, String)>,
}

/// The bytes are no manifest of this version of Aerie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestError;

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a function manifest of this version; build the boot image again")
    }
}

impl core::error::Error for ManifestError {}

impl Manifest {
    /// Reads what [`Manifest::encode`] wrote.
    ///
    /// # Errors
    /// [`ManifestError`] if the bytes are cut short, carry trailing bytes, or have an unknown value.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        match postcard::take_from_bytes(bytes) {
            Ok((manifest, [])) => Ok(manifest),
            _ => Err(ManifestError),
        }
    }

    /// The manifest as the bytes of a module.
    ///
    /// # Errors
    /// [`ManifestError`] if memory runs out.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        postcard::to_allocvec(self).map_err(|_| ManifestError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn sample() -> Manifest {
        Manifest {
            runtime: Runtime::Python,
            handler: Some("main.handler".into()),
            memory_bytes: Some(4 << 20),
            timeout_ns: Some(75_000_000),
            concurrent_requests: Some(3),
            single_use: true,
            keepalive_ns: None,
            mode: Some(StartMode::Warm),
            copying: Some(Copying::Lazy),
            reuse_limit: Some(u64::MAX),
            environment: vec![("GREETING".into(), "hello".into())],
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn cut_and_padded_bytes_are_refused() {
        let mut bytes = sample().encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(
                Manifest::decode(&bytes[..length]),
                Err(ManifestError),
                "{length} bytes"
            );
        }
        bytes.push(0);
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError));
    }

    #[test]
    fn digests_are_found_by_name() {
        let digests = FileDigests(vec![("a".into(), 1), ("b".into(), u64::MAX)]);
        let mut bytes = digests.encode().unwrap();
        let read = FileDigests::decode(&bytes).unwrap();
        assert_eq!((read.of("b"), read.of("c")), (Some(u64::MAX), None));
        bytes.push(0);
        assert_eq!(FileDigests::decode(&bytes), Err(ManifestError));
    }

    #[test]
    fn unknown_values_are_refused() {
        let mut bytes = sample().encode().unwrap();
        bytes[0] = 3;
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError));
    }
}
