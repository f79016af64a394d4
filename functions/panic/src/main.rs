//! Panics: it must end with the error for a panic, with this message and its place.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let text = request.text()?.trim();
    panic!("{}", if text.is_empty() { "as requested" } else { text });
}
