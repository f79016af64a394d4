//! Returns as many bytes as the request says (1 MiB without a number): printable ones, each 89 bytes the same.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use worker::{Context, Error, Request, Response};

/// A prime number of them, so that a byte in the wrong page or block shows.
const BYTES: RangeInclusive<u8> = b'!'..=b'y';

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let size: usize = request.parse()?.unwrap_or(1 << 20);
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size)
        .map_err(|_| Error::new(format_args!("no memory for {size} bytes")))?;
    bytes.extend(BYTES.cycle().take(size));
    Ok(Response::bytes(bytes))
}
