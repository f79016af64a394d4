//! One folder per processor architecture.

pub(crate) mod x86_64;
