//! Counts how often this worker was called: always 1 in a fresh task, rising in `warm` mode.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use worker::{Context, Error, Request, Response};

static CALLS: AtomicU64 = AtomicU64::new(0);

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(Response::format(format_args!("{calls}")))
}
