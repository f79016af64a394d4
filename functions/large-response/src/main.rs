//! Returns as many bytes as the request says (1 MiB without a number): byte i is i modulo 251.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use worker::{Context, Error, Request, Response};

/// A prime, so that a byte in the wrong page or block shows.
const PERIOD: usize = 251;

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let size: usize = request.parse()?.unwrap_or(1 << 20);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| Error::new(format_args!("no memory for {size} bytes")))?;
    bytes.extend((0..PERIOD as u8).cycle().take(size));
    Ok(Response::bytes(bytes))
}
