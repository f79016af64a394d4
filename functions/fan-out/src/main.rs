//! Calls a function as often as the request says (`COUNT NAME [REQUEST]`) and returns how many calls succeeded, how many
//! failed, and how many bytes came back.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, ctx: &Context) -> Result<Response, Error> {
    let usage = || Error::new("write the request as `COUNT NAME [REQUEST]`");
    let (count, rest) = request.text()?.trim().split_once(' ').ok_or_else(usage)?;
    let count: u32 = count.parse().map_err(|_| usage())?;
    let (name, payload) = rest.split_once(' ').unwrap_or((rest, ""));
    let (mut succeeded, mut failed, mut bytes) = (0, 0, 0);
    for _ in 0..count {
        match ctx.invoke(name, payload.as_bytes()) {
            Ok(reply) => {
                succeeded += 1;
                bytes += reply.bytes().len();
            }
            Err(error) => {
                failed += 1;
                worker::warn!("{name} failed: {error}");
            }
        }
    }
    Ok(Response::format(format_args!(
        "{succeeded} succeeded, {failed} failed, {bytes} bytes"
    )))
}
