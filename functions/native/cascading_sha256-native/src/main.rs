//! The workload `cascading_sha256` in Rust; `docs/workloads.md` describes it.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use native_workloads::answer;
use native_workloads::cascading_sha256::{compute, make_input};
use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(request: Request, _ctx: &Context) -> Result<Response, Error> {
    Response::json(&answer(request.json()?, make_input, compute)?)
}
