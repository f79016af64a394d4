//! The FaaS server's logic.
//!
//! [`seats`] says which core a client gets; [`service`] is what each client's thread does from then on, generic over
//! the machine ([`platform`]), so that the tests drive it with a fake one. The program (`main.rs`) wires both to
//! gates and threads.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod action;
pub mod activation;
pub mod body;
pub mod deadlines;
pub mod image;
pub mod label;
pub mod limits;
pub mod log_tail;
pub mod options;
pub mod pieces;
pub mod platform;
pub mod preparation;
pub mod seats;
pub mod service;
pub mod slab;
pub mod spare;
pub mod totals;
pub mod worker;
