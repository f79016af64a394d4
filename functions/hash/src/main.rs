//! Returns the SHA-256 of the request in hexadecimal digits.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::fmt;

use sha2::{Digest, Sha256};
use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let digest: [u8; 32] = Sha256::digest(request.bytes()).into();
    Ok(Response::format(format_args!("{}", Hexadecimal(&digest))))
}

struct Hexadecimal<'a>(&'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
