//! A function with the standard library, linked with worker-lib.
//!
//! `count`, `call NAME [REQUEST]`, `about`, `length N`, and the ways to fail: `panic`, `exit CODE`, `error`. All else comes back.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Mutex;

use worker::{Context, Error, Request, Response};

/// How often each request came to this worker.
static SEEN: Mutex<Option<HashMap<Vec<u8>, u64>>> = Mutex::new(None);

fn main() -> ExitCode {
    worker::serve(answer)
}

fn answer(request: Request, ctx: &Context) -> Result<Response, Error> {
    println!("request {} of {} bytes", ctx.request_id(), request.bytes().len());
    let Ok(text) = request.text() else {
        return Ok(Response::bytes(request.bytes()));
    };
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "count" => {
            let mut seen = SEEN.lock().map_err(Error::new)?;
            let count = seen
                .get_or_insert_default()
                .entry(request.bytes().to_vec())
                .or_default();
            *count += 1;
            print!("so far {count}");
            Ok(Response::format(format_args!("{count}")))
        }
        "call" => {
            let (name, request) = rest.split_once(' ').unwrap_or((rest, ""));
            match ctx.invoke(name, request.as_bytes()) {
                Ok(reply) => Ok(Response::bytes(reply.into_bytes())),
                Err(error) => Ok(Response::format(format_args!("caught: {error}"))),
            }
        }
        "about" => {
            let function = ctx.function()?;
            let greeting = std::env::var("GREETING")?;
            let (name, handler) = (function.name, function.handler);
            Ok(Response::format(format_args!(
                "{name}, {handler}, {greeting}, depth {}",
                ctx.depth()
            )))
        }
        "length" => Ok(Response::bytes(vec![b'x'; rest.parse()?])),
        "panic" => panic!("as asked for"),
        "exit" => std::process::exit(rest.parse()?),
        "error" => Err(Error::new("the function says no")),
        _ => Ok(Response::bytes(request.bytes())),
    }
}
