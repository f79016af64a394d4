//! Keeps its CPU busy for as many milliseconds as the request says, and returns the microseconds that it took.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::hint::spin_loop;

use worker::{Context, Error, Request, Response, now_ns};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let milliseconds: u64 = request.parse()?.unwrap_or(1);
    let start = now_ns();
    let duration = milliseconds.saturating_mul(1_000_000);
    while now_ns() - start < duration {
        spin_loop();
    }
    Ok(Response::format(format_args!("{}", (now_ns() - start) / 1000)))
}
