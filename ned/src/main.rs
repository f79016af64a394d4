//! Runs boot scripts in a task: an ordinary program on top of `linux-abi`, with native calls for capabilities.

mod native;

use std::process::ExitCode;

use ned::Options;

fn main() -> ExitCode {
    native::adopt_environment();
    println!("Ned: Hello!");
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => return failed(&reason),
    };
    let system = match native::OwnTask::new() {
        Ok(system) => system,
        Err(reason) => return failed(&reason),
    };
    exit_code(ned::run(&options, Box::new(system)))
}

fn failed(reason: &str) -> ExitCode {
    println!("Ned: {reason}");
    ExitCode::FAILURE
}

/// The verdict as the one byte that a parent sees; no failure looks like a success in it.
fn exit_code(verdict: i64) -> ExitCode {
    match verdict as u8 {
        0 if verdict != 0 => ExitCode::FAILURE,
        byte => ExitCode::from(byte),
    }
}
