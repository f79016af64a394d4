//! Calls the function that the request's first word names, with the rest of the request, and returns what it returned.
//! So `nested nested hello Ann` calls itself, which calls `hello`. A failure below is part of the result: it does not
//! reach the caller as one.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, ctx: &Context) -> Result<Response, Error> {
    let text = request.text()?.trim();
    if text.is_empty() {
        return Err(Error::new(
            "the request names no function; write `NAME [REQUEST]`",
        ));
    }
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    match ctx.invoke(name, rest.as_bytes()) {
        Ok(reply) => Ok(Response::bytes(reply.bytes())),
        Err(error) => Ok(Response::format(format_args!("{name} failed: {error}"))),
    }
}
