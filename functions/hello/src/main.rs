//! Greets whoever the request names.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let name = match request.text()?.trim() {
        "" => "world",
        name => name,
    };
    Ok(Response::format(format_args!("Hello, {name}!")))
}
