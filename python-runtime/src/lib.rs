//! Runs functions written in Python: as a worker of the manager, or on a Linux host to try a function out.
//!
//! The interpreter is started before the function is asked for; the function's code is imported and its warm-up event handled
//! before the first request is asked for. All that is done in a single thread and without open files, so that a worker at either
//! point can be kept, and frozen, for what comes later.
#![forbid(unsafe_code)]

mod bytecode;
mod code;
mod failure;
mod function;
mod host;
mod interpreter;
mod json;
mod native;
mod streams;

use std::process::ExitCode;

use code::Given;
use failure::Failure;
use function::Function;
use interpreter::Runtime;
use worker::{Context, Error, Program, Request, Response};

/// The variable of a function that holds its warm-up event.
const WARM_UP: &str = worker::WARM_UP_NAME;

/// What the program does, as its arguments and whoever started it say.
#[must_use]
pub fn main() -> ExitCode {
    match Program::start() {
        Ok(mut program) => match load(&mut program) {
            Ok(function) => program.serve(move |request, context| answer(&function, request, context)),
            Err(Failure::Raised(message)) => program.fail(&message),
            Err(Failure::Exit(code)) => worker::exit(code),
        },
        Err(_) => host::run(),
    }
}

/// Starts the interpreter and loads what the manager gives.
fn load(program: &mut Program) -> Result<Function, Failure> {
    let runtime = Runtime::start()?;
    // Up to here all is the same for any function, and may have been done before there was this one.
    let given = Given::to(program)?;
    program.start_loading();
    let function = runtime.load(&given)?;
    if let Some(event) = given.warm_up() {
        function.warm_up(event)?;
    }
    function.rehearse()?;
    Ok(function)
}

/// Serves one request.
fn answer(function: &Function, request: Request, context: &Context) -> Result<Response, Error> {
    native::adopt(*context);
    match function.call(request.bytes()) {
        Ok(bytes) => Ok(Response::bytes(bytes)),
        Err(Failure::Raised(message)) => Err(Error::new(message)),
        Err(Failure::Exit(code)) => worker::exit(code),
    }
}
