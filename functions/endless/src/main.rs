//! Computes for ever: it must end with the error for its timeout.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::hint::spin_loop;

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    loop {
        spin_loop();
    }
}
