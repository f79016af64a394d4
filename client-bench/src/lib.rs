//! The benchmark client's logic: command line, samples, statistics and what is printed. The invocations themselves
//! are in the program (`main.rs`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod failures;
pub mod hold;
pub mod json;
pub mod options;
pub mod sample;
pub mod statistics;
pub mod table;
