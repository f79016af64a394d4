//! Returns the request as it came, whatever its size.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    Ok(Response::bytes(request.bytes()))
}
