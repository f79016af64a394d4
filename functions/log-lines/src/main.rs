//! Writes as many lines to its log as the request says (10 without a number) and returns their number.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, ctx: &Context) -> Result<Response, Error> {
    let lines: u32 = request.parse()?.unwrap_or(10);
    for line in 1..=lines {
        worker::info!("line {line} of {lines} of request {}", ctx.request_id());
    }
    Ok(Response::format(format_args!("{lines}")))
}
