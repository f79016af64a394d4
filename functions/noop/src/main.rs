//! Does nothing, so that its invocation shows what an invocation costs by itself.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    Ok(Response::empty())
}
