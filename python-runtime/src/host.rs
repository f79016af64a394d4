//! Trying a function out on a Linux host: `python-runtime CODE [HANDLER] < request`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::code::Given;
use crate::failure::Failure;
use crate::function::Function;

/// Serves standard input as a request, and writes the response to standard output.
pub(crate) fn run() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: python-runtime CODE.py|CODE.zip [HANDLER] < request");
        return ExitCode::from(2);
    };
    let mut request = Vec::new();
    let code = std::fs::read(&path).and_then(|code| std::io::stdin().read_to_end(&mut request).map(|_| code));
    let code = match code {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::from(2);
        }
    };
    let name = Path::new(&path).file_stem().unwrap_or_default();
    let given = Given {
        name: name.to_string_lossy().into_owned(),
        handler: arguments.next().unwrap_or_default(),
        code: code.leak(),
    };
    match Function::load(&given).and_then(|function| function.call(&request)) {
        Ok(response) => match std::io::stdout().write_all(&response) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(Failure::Raised(message)) => {
            eprintln!("the function returned an error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Exit(code)) => std::process::exit(code as i32),
    }
}
