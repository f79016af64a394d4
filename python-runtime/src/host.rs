//! What the runtime does on a Linux host: try a function out, and compile code ahead.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use python_bundle::Bundle;

use crate::bytecode;
use crate::code::{Given, variables};
use crate::failure::Failure;
use crate::interpreter::Runtime;

const USAGE: &str = "usage: python-runtime CODE.py|CODE.zip [HANDLER] < request
       python-runtime --compile CODE.zip COMPILED.zip";

/// Exit code for a command that makes no sense, or names what cannot be read or written.
const WRONG: u8 = 2;

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match texts[..] {
        ["--compile", from, to] => compile(from, to),
        [path] if !path.starts_with('-') => serve(path, ""),
        [path, handler] if !path.starts_with('-') => serve(path, handler),
        _ => Err(USAGE.into()),
    };
    done.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::from(WRONG)
    })
}

fn with_path<'a, E: Display>(path: &'a str) -> impl FnOnce(E) -> String + 'a {
    move |error| format!("{path}: {error}")
}

/// Serves standard input as a request, and writes the response to standard output. The function is loaded before the
/// request is read, as in a worker.
fn serve(path: &str, handler: &str) -> Result<ExitCode, String> {
    let code = std::fs::read(path).map_err(with_path(path))?;
    let name = Path::new(path).file_stem().unwrap_or_default();
    let given = Given {
        name: name.to_string_lossy().into_owned(),
        handler: handler.into(),
        code: code.leak(),
        variables: variables(),
    };
    Ok(match answer(&given) {
        Ok(response) => match std::io::stdout().write_all(&response) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(Failure::Raised(message)) => {
            eprintln!("the function returned an error: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Exit(code)) => std::process::exit(code as i32),
    })
}

fn answer(given: &Given) -> Result<Vec<u8>, Failure> {
    let function = Runtime::start()?.load(given)?;
    if let Some(event) = given.warm_up() {
        function.warm_up(event)?;
    }
    let mut request = Vec::new();
    std::io::stdin()
        .read_to_end(&mut request)
        .map_err(|error| Failure::told(format_args!("no request: {error}")))?;
    function.call(&request)
}

/// Copies a zip and puts compiled code beside its sources. What cannot be compiled is named, and stays as it is: it may
/// never be imported.
fn compile(from: &str, to: &str) -> Result<ExitCode, String> {
    let code: &'static [u8] = std::fs::read(from).map_err(with_path(from))?.leak();
    let bundle = Bundle::open(code).map_err(with_path(from))?;
    let runtime = match Runtime::start() {
        Ok(runtime) => runtime,
        Err(Failure::Raised(message)) => return Err(message),
        Err(Failure::Exit(code)) => return Err(format!("exit {code}")),
    };
    runtime.show_files(bundle.clone());
    let mut files = BTreeMap::new();
    for name in bundle.names() {
        if let Some(bytes) = bundle.read(name).map_err(with_path(from))? {
            files.insert(name.to_owned(), bytes.into_owned());
        }
        let Some(beside) = bytecode::name_of(name) else {
            continue;
        };
        match runtime.compile(name) {
            Ok(compiled) => {
                if let Some(wrapped) = bytecode::wrap(&bundle, name, &compiled) {
                    files.insert(beside, wrapped);
                }
            }
            Err(why) => eprintln!("{why}"),
        }
    }
    let packed = python_bundle::pack(&files).map_err(with_path(to))?;
    std::fs::write(to, packed).map_err(with_path(to))?;
    Ok(ExitCode::SUCCESS)
}
