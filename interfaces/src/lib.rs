//! The service interfaces of Aerie, one file each. Servers and clients meet here and nowhere else.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod faas;
pub mod log;
pub mod manifest;
pub mod namespace;
pub mod parent;
