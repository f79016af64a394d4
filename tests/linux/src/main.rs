//! An ordinary Rust program that checks what `linux-abi` does for it, run by `tests/scripts/linux.cfg`.
//!
//! `check` runs the checks and prints a line for each. The other words make the program end in some way that the
//! script looks at: `exit CODE`, `panic`, `abort`, `null`, `hog`, `overflow`, `caps NAME …`; with threads `threads` (further
//! checks), `signals` (checks of signals), `alone`, `exit-beside CODE`, `null-beside`. `figures` measures, in a Linux guest as well.

mod figures;
mod files;
mod interruptions;
mod memory;
mod native;
mod registers;
mod runtime;
mod signals;
mod temporary;
mod threads;
mod waiting;

use std::process::ExitCode;

/// A check: panics if something is not as it should be.
type Check = (&'static str, fn());

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words == ["figures"] {
        return figures::print();
    }
    native::adopt_environment();
    match words[..] {
        ["check", ref rest @ ..] => check_all(rest),
        ["exit", code] => std::process::exit(code.parse().expect("a number")),
        ["panic"] => panic!("as asked for"),
        ["abort"] => std::process::abort(),
        ["null"] => memory::write_to_null(),
        ["hog"] => memory::use_without_end(),
        ["threads"] => run(&[threads::CHECKS, waiting::CHECKS, temporary::CHECKS].concat()),
        ["signals"] => run(&[signals::CHECKS, interruptions::CHECKS].concat()),
        ["alone"] => threads::alone(),
        ["null-beside"] => threads::write_to_null_beside(),
        ["exit-beside", code] => threads::exit_beside(code.parse().expect("a number")),
        ["overflow"] => {
            println!("deepest: {}", runtime::descend(u64::MAX));
            ExitCode::SUCCESS
        }
        ["caps", ref names @ ..] => native::check_caps(names),
        _ => {
            println!("unknown words: {words:?}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all checks; `words` are what the script said the program would be told. A check that fails ends the program.
fn check_all(words: &[&str]) -> ExitCode {
    assert_eq!(words, ["one", "two words"], "the arguments");
    assert_eq!(std::env::var("VARIABLE").as_deref(), Ok("a value"));
    let checks = [
        runtime::CHECKS,
        files::CHECKS,
        memory::CHECKS,
        registers::CHECKS,
        native::CHECKS,
    ]
    .concat();
    run(&checks)
}

fn run(checks: &[Check]) -> ExitCode {
    for (name, check) in checks {
        check();
        println!("ok {name}");
    }
    println!("{} checks, all fine", checks.len());
    ExitCode::SUCCESS
}
