//! Runs functions written in Python: as a worker of the manager, or on a Linux host to try a function out.
//!
//! The interpreter is started and the function's code imported before the first request is asked for, in a single
//! thread and without open files, so that a worker at that point can be kept, and frozen, for later requests.
#![forbid(unsafe_code)]

mod code;
mod failure;
mod function;
mod host;
mod json;
mod native;

use std::process::ExitCode;

use failure::Failure;
use function::Function;
use worker::{Context, Error, Request, Response};

fn main() -> ExitCode {
    match worker::Program::start() {
        Ok(program) => {
            let function = code::given().map(|given| Function::load(&given));
            program.serve(move |request, context| answer(&function, request, context))
        }
        Err(_) => host::run(),
    }
}

/// Serves one request. Code that could not be loaded fails each in the same way.
fn answer(
    function: &Result<Result<Function, Failure>, Error>,
    request: Request,
    context: &Context,
) -> Result<Response, Error> {
    let function = function.as_ref().map_err(Clone::clone)?;
    native::adopt(*context);
    let result = match function {
        Ok(function) => function.call(request.bytes()),
        Err(failure) => Err(failure.clone()),
    };
    match result {
        Ok(bytes) => Ok(Response::bytes(bytes)),
        Err(Failure::Raised(message)) => Err(Error::new(message)),
        Err(Failure::Exit(code)) => worker::exit(code),
    }
}
