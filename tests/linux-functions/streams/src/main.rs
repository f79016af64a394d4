//! An ordinary program as a function: what it does, its standard input says.
//!
//! `exit CODE`, `env NAME`, `name`, `length N` (so many bytes), `note TEXT` (to standard error), `count` (bytes of
//! input), `threads N` (adds numbers up in so many threads) and the ways to fail: `panic`, `abort`, `null`, `hog`, `overflow`, `spin`, `sleep`,
//! `beside null` and `beside hog` (in a second thread). All else comes back as it is.
#![expect(unsafe_code, reason = "one of the ways to fail is a write to address 16")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut input) {
        eprintln!("no input: {error}");
        return ExitCode::FAILURE;
    }
    let text = String::from_utf8_lossy(&input[..input.len().min(100)]).into_owned();
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    let answer = match word {
        "exit" => return ExitCode::from(rest.parse::<u8>().unwrap_or(1)),
        "env" => std::env::var(rest).unwrap_or_else(|error| error.to_string()),
        "name" => std::env::args().collect::<Vec<_>>().join("|"),
        "length" => "x".repeat(rest.parse().unwrap_or(0)),
        "note" => {
            eprint!("{rest}");
            String::from("noted")
        }
        "count" => counted(&input),
        "threads" => summed_by_threads(rest.parse().unwrap_or(1)),
        "panic" => panic!("as asked for"),
        "abort" => std::process::abort(),
        "null" => null(),
        "hog" => hog(),
        "beside" => {
            let fail = if rest == "hog" { hog } else { null };
            format!("{:?}", std::thread::spawn(fail).join())
        }
        "overflow" => deeper(1).to_string(),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "sleep" => {
            std::thread::sleep(Duration::from_secs(60));
            String::new()
        }
        _ => return give(&input),
    };
    give(answer.as_bytes())
}

/// Writes the response in pieces of odd sizes.
fn give(answer: &[u8]) -> ExitCode {
    let mut output = std::io::stdout().lock();
    let given = answer.chunks(7001).try_for_each(|piece| output.write_all(piece));
    match given.and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// How many bytes there are, and how many different ones.
fn counted(input: &[u8]) -> String {
    let mut counts: HashMap<u8, usize> = HashMap::new();
    for byte in input {
        *counts.entry(*byte).or_default() += 1;
    }
    format!("{} bytes, {} different", input.len(), counts.len())
}

/// Each thread sends the sum of its own part of the first 10,000 numbers.
fn summed_by_threads(count: u64) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for number in 0..count {
            let sender = sender.clone();
            scope.spawn(move || sender.send((number..10_000).step_by(count as usize).sum::<u64>()));
        }
    });
    drop(sender);
    format!("{} from {count} threads", receiver.iter().sum::<u64>())
}

fn null() -> String {
    // SAFETY: Deliberately none: the page is not there, and the program is to end.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(16).write_volatile(1) };
    String::new()
}

fn hog() -> String {
    let mut blocks = Vec::new();
    loop {
        blocks.push(vec![1u8; 1 << 16]);
        std::hint::black_box(&blocks);
    }
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    deeper(depth + 1) + frame[depth as usize % 64]
}
