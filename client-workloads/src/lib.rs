//! The workloads' client, as far as it needs no system: command line, order of the calls, answers, and what is printed.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod answer;
pub mod options;
pub mod plan;
pub mod progress;
pub mod results;
