//! Runs functions written in Python: as a worker of the manager, or on a Linux host to try a function out.
//!
//! The interpreter is started, the function's code imported and its warm-up event handled before the first request is
//! asked for, in a single thread and without open files, so that a worker at that point can be kept, and frozen, for
//! later requests.
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

/// Starts the interpreter and loads what the manager gave.
fn load(program: &mut Program) -> Result<Function, Failure> {
    let info = program
        .function()
        .map_err(|error| Failure::told(format_args!("the manager does not name the function: {error}")))?;
    native::adopt_function(info);
    let (bundle, handler) = code::given()?.open()?;
    let runtime = Runtime::start(bundle)?;
    program.start_loading();
    let function = runtime.load(&handler)?;
    if let Ok(event) = std::env::var(WARM_UP) {
        function.warm_up(event.as_bytes())?;
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
