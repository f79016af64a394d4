//! Exits with the code in the request (3 without one) instead of answering: it must end with the error for an exit.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    worker::exit(request.parse()?.unwrap_or(3))
}
