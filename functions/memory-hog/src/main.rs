//! Takes memory and writes to it until it is stopped: it must end with the error for its memory limit.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use worker::{Context, Error, Request, Response};

const BLOCK_BYTES: usize = 64 << 10;

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(BLOCK_BYTES).is_err() {
            let bytes = blocks.len() * BLOCK_BYTES;
            return Err(Error::new(format_args!(
                "no more memory after {bytes} bytes, and still running"
            )));
        }
        block.resize(BLOCK_BYTES, 0xa5);
        blocks.push(black_box(block));
    }
}
