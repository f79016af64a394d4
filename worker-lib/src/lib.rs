//! What a function links against.
//!
//! A function is a small native program (`no_std`, no C library) with one Rust function that turns a request into a
//! response:
//!
//! ```text
//! #![no_std]
//! #![no_main]
//!
//! use worker::{Context, Error, Request, Response};
//!
//! #[worker::main]
//! fn main(request: Request, ctx: &Context) -> Result<Response, Error> {
//!     worker::info!("request {}", ctx.request_id());
//!     let name = request.text()?;
//!     Ok(Response::format(format_args!("Hello, {name}!")))
//! }
//! ```
//!
//! - [`Request`] and [`Response`] carry bytes, texts and serde values of up to [`MAX_BYTES`].
//! - [`Context`] knows the request's number and deadline, and calls other functions ([`Context::invoke`]).
//! - [`info!`] & co. write to the worker's log; [`exit`] ends the worker without a response.
//! - An error that is returned, and a panic with its message and place, reach the caller as typed errors.
//! - The heap is the usual `alloc`. What is not used costs nothing: a function that does without heap, log and nested
//!   calls writes to its stack and its message registers only.
//!
//! `docs/writing-functions.md` shows the way from an empty folder to a reply.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod body;
mod context;
mod error;
mod inline;
pub mod logging;
mod machine;
mod message;
#[cfg(feature = "std")]
mod program;
mod request;
mod response;
#[doc(hidden)]
pub mod runtime;

pub use context::{Context, Environment, InvokeError, Reply, environment};
pub use error::Error;
#[cfg(feature = "std")]
pub use interfaces::faas::{CODE_NAME, ERROR_MAX as ERROR_BYTES};
pub use interfaces::faas::{FaasError, FaultKind, FunctionInfo, InvokeOptions};
#[cfg(feature = "std")]
pub use interfaces::manifest::WARM_UP_NAME;
/// Why a call has no result: what happened to the function, or to the call.
pub use l4_rpc::CallError;
pub use l4re::exit;
#[cfg(feature = "std")]
pub use program::{Program, ProgramError, serve};
pub use request::Request;
pub use response::Response;
/// Marks the function that handles requests, and declares start-up, heap and panic handler of the program.
///
/// The function takes a [`Request`] and a [`&Context`](Context), and returns a [`Response`] or an error that can be
/// displayed, usually an [`Error`].
///
/// `#[worker::main(init = prepare)]` has `fn prepare()` called once before the first request: what takes time and is the
/// same for all requests. A worker that begins from a snapshot finds it done. It may use the heap, the log and
/// [`environment`], but has no request yet. If it panics, the worker is gone, and the caller gets message and place.
pub use worker_macros::main;

#[doc(hidden)]
pub use l4re;

/// The longest request or response in bytes.
pub const MAX_BYTES: usize = interfaces::faas::PAYLOAD_MAX as usize;

/// The longest response in bytes that travels in the message itself, without memory of its own.
pub const INLINE_BYTES: usize = interfaces::faas::INLINE_RESPONSE;

/// The kernel's clock in nanoseconds since boot: that of [`Context::deadline_ns`].
pub fn now_ns() -> u64 {
    l4re::clock::now_ns()
}
