//! Plants a canary in each place that it has, files among them, or looks for one.
#![forbid(unsafe_code)]

use std::fs;
use std::process::ExitCode;

use canary::registers::{self, Registers};
use canary::{Letters, Order};
use worker::{Context, Error, Request, Response};

/// Bytes of a response that does not fit into a message.
const LONG: usize = 64 << 10;

fn main() -> ExitCode {
    worker::serve(answer)
}

fn answer(request: Request, _ctx: &Context) -> Result<Response, Error> {
    let mut at_start = Registers::new();
    at_start.look();
    match Order::read(request.bytes()) {
        Some(Order::Plant(letters)) => {
            let response = plant(letters)?;
            registers::fill_vectors(letters);
            Ok(Response::bytes(response))
        }
        Some(Order::Fault(letters)) => {
            plant(letters)?;
            registers::fault(letters)
        }
        Some(Order::Search(wanted)) => {
            let mut found = canary::search(wanted, &at_start).map_err(Error::new)?;
            found.files = fs::read_dir("/tmp")?.count() as u64;
            Ok(Response::format(format_args!("{found}")))
        }
        None => Err(Error::new("no such order")),
    }
}

/// Plants, and returns a response full of letters behind its first line.
fn plant(letters: Letters) -> Result<Vec<u8>, Error> {
    canary::plant(letters);
    let bytes = letters.to_le_bytes();
    fs::write(
        format!("/tmp/{}", String::from_utf8_lossy(&bytes)),
        bytes.repeat(512),
    )?;
    let mut response = b"planted data stack utcb heap files\n".to_vec();
    response.extend(bytes.iter().cycle().take(LONG));
    Ok(response)
}
