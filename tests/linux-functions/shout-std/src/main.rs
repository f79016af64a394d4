//! Returns its request in capital letters.

use std::process::ExitCode;

use worker::{Context, Error, Request, Response};

fn main() -> ExitCode {
    worker::serve(shout)
}

fn shout(request: Request, ctx: &Context) -> Result<Response, Error> {
    println!("request {} has {} bytes", ctx.request_id(), request.bytes().len());
    Ok(Response::text(request.text()?.to_uppercase()))
}
