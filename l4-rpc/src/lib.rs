//! Declares a service's interface once and gives its client, its server trait and its dispatcher.
//!
//! ```
//! use l4_rpc::{Caller, Loopback, interface};
//!
//! /// Counts.
//! #[interface(protocol = 0x7001)]
//! pub trait Counter {
//!     /// Adds `step` and returns the sum.
//!     #[op(1, words)]
//!     fn add(&mut self, step: u64) -> Result<u64, ()>;
//! }
//!
//! struct Sum(u64);
//!
//! impl Counter for Sum {
//!     fn add(&mut self, _: Caller, step: u64) -> Result<u64, ()> {
//!         self.0 += step;
//!         Ok(self.0)
//!     }
//! }
//!
//! let gate = Loopback::new(Sum(40), CounterInterface::dispatch);
//! assert_eq!(CounterClient::new(&gate).add(2), Ok(42));
//! ```
//!
//! # What `#[interface]` makes of `trait Name`
//! - `trait Name`, for the server: each method takes `&mut self`, then the [`Caller`], then the arguments.
//! - `NameClient<T: Transport>`: the methods of the declaration; errors are [`CallError`]. `until(deadline)` limits the
//!   time of its calls.
//! - `NameInterface`: `PROTOCOL`, `OPERATIONS` (number, name, signature) and `dispatch`, which hands an [`Incoming`] request
//!   to a server and gives the [`Reply`].
//! - `NameReply`: one function per operation that encodes its answer, for services that answer later.
//!
//! # `#[op(number, …)]`
//! - `words`: arguments and results have fixed places in message words ([`Encode`], [`Decode`]) instead of postcard's
//!   encoding. For operations whose cost counts.
//! - `writes`: callers without [`Rights::WRITE`](l4::Rights::WRITE) are refused before their arguments are read.
//! - `deferred`: the server's method also gets the UTCB and returns a [`Reply`]; it encodes the answer with `NameReply`, now or
//!   later.
//! - A last argument `&mut [u8]` (needs `deferred`) is the client's buffer for bytes that the answer brings; the client's method
//!   returns (result, number of bytes), the server's does not have the argument. [`REPLY_BYTES`] always suffice.
//!
//! # On the wire
//! Request: label = protocol, word 0 = number of the operation, then the arguments; capabilities as items behind the words.
//! Answer: label 0 and the result, label 1 and the service's error in postcard's encoding, or a negative label: a
//! [`l4::Error`]. A value in postcard's encoding is one word with its length in bytes and then the bytes; all arguments make
//! one such value (a tuple). Words or capabilities left over are an error.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

// The macro names this crate by its name, in this crate's tests as well.
extern crate self as l4_rpc;

mod cap;
pub mod client;
mod decode;
mod encode;
mod loopback;
pub mod server;

pub use cap::Cap;
pub use client::{Answer, Arrival, CallError, Gate, Transport};
pub use decode::{Decode, Source};
pub use encode::{Encode, Encoder};
pub use l4_rpc_macros::interface;
pub use loopback::Loopback;
pub use server::{Arguments, Caller, Incoming, Reply};

/// Most capabilities in a message.
pub const MAX_CAPS: usize = 4;
/// Most bytes that an answer can bring into a client's buffer.
pub const REPLY_BYTES: usize = (l4::utcb::MESSAGE_WORDS - 1) * 8;

/// An operation of an interface, for tables and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number, the first word of a request.
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// Arguments, result and options, as they stand in the declaration.
    pub signature: &'static str,
}

/// What generated code needs.
#[doc(hidden)]
pub mod generated {
    pub use l4::{Error, NEVER, Rights, Tag, Utcb};
}
