//! Builds Aerie's boot images, runs them in QEMU and reads their verdict.
//!
//! From `modules.list` to a verdict: [`list`] reads the image description, [`resolve`] finds the packages, files and
//! functions that it names, [`compile`] builds them, [`image`] packs them behind the kernel, [`machine`] describes
//! the emulated computer, and [`console`] watches it. [`run`] ties these together for the command line of [`cli`].
#![forbid(unsafe_code)]

pub mod ahead;
pub mod backtrace;
pub mod bench;
pub mod c_library;
pub mod cli;
pub mod compile;
pub mod console;
pub mod elf;
pub mod error;
pub mod function;
pub mod function_code;
pub mod image;
pub mod invoke;
pub mod libffi;
pub mod list;
pub mod lock;
pub mod machine;
pub mod project;
pub mod python_code;
pub mod python_packages;
pub mod resolve;
pub mod run;
pub mod snapshots;
pub mod source_code;
pub mod steps;
pub mod test;
pub mod tools;
pub mod workspace;
