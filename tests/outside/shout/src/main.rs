//! Returns its request in capital letters.
#![no_std]
#![no_main]

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, ctx: &Context) -> Result<Response, Error> {
    worker::info!("request {} has {} bytes", ctx.request_id(), request.bytes().len());
    Ok(Response::text(request.text()?.to_uppercase()))
}
