//! Calls itself without end: it must end with the error for a fault below its stack.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::hint::black_box;

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    Ok(Response::format(format_args!(
        "came back from depth {}",
        descend(0)
    )))
}

/// Returns only if the depth overflows, which takes more stack than there is.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    match depth.checked_add(1) {
        Some(next) => descend(next).wrapping_add(black_box(frame)[31]),
        None => depth,
    }
}
