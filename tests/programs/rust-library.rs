//! A program of the standard library alone that relocates itself, as `rustc -C target-feature=+crt-static` makes it. The package
//! `linux-tests` checks more of the library, at fixed addresses.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::panic::{self, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// A table of functions is full of addresses that must be relocated.
const CHECKS: [(&str, fn()); 6] = [
    ("panics unwind and are caught, in threads as well", panics),
    ("traits are called through relocated tables", traits),
    ("threads, channels and conditions", threads),
    ("maps, texts and numbers", collections),
    ("files in /tmp", files),
    ("a backtrace finds its way", backtrace),
];

fn main() {
    for (name, check) in CHECKS {
        check();
        println!("ok {name}");
    }
    println!("{} checks, all fine", CHECKS.len());
}

thread_local!(static DROPPED: Cell<u32> = const { Cell::new(0) });

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() + 1);
    }
}

fn descend(depth: u32) -> u32 {
    let _guard = Guard;
    assert!(depth > 0, "at the end");
    descend(depth - 1) + 1
}

fn message(payload: Box<dyn Any + Send>) -> String {
    *payload.downcast::<String>().unwrap_or_else(|other| {
        Box::new(other.downcast::<&str>().map_or_else(|_| String::from("?"), |text| (*text).into()))
    })
}

fn panics() {
    panic::set_hook(Box::new(|_| {}));
    let error = catch_unwind(|| descend(50)).expect_err("it panics");
    assert_eq!((message(error).as_str(), DROPPED.get()), ("at the end", 51));
    let error = thread::spawn(|| descend(5)).join().expect_err("it panics");
    assert_eq!((message(error).as_str(), DROPPED.get()), ("at the end", 51));
    let numbers: Vec<u32> = Vec::new();
    let error = catch_unwind(|| numbers[std::hint::black_box(3)]).expect_err("it panics");
    assert!(message(error).contains("out of bounds"));
    let _previous = panic::take_hook();
}

fn traits() {
    let sources: [Box<dyn Fn(u32) -> Result<u32, Box<dyn Error>>>; 3] = [
        Box::new(|number| Ok(number * 2)),
        Box::new(|_| Ok("17".parse()?)),
        Box::new(|_| Ok("seventeen".parse()?)),
    ];
    let results: Vec<_> = sources.iter().map(|source| source(4).map_err(|error| error.to_string())).collect();
    assert_eq!(results, [Ok(8), Ok(17), Err("invalid digit found in string".into())]);
}

fn threads() {
    static ONCE: OnceLock<u32> = OnceLock::new();
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let (shared, sender) = (shared.clone(), sender.clone());
            thread::spawn(move || {
                let (count, changed) = &*shared;
                *count.lock().expect("nobody panics") += *ONCE.get_or_init(|| 1);
                changed.notify_all();
                sender.send(number).expect("it is received");
            })
        })
        .collect();
    drop(sender);
    let (count, changed) = &*shared;
    let count = changed.wait_while(count.lock().expect("nobody panics"), |count| *count < 8).expect("nobody panics");
    assert_eq!((*count, receiver.iter().sum::<u32>()), (8, 28));
    drop(count);
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    let start = Instant::now();
    thread::sleep(Duration::from_millis(3));
    assert!(start.elapsed() >= Duration::from_millis(3));
}

fn collections() {
    let words = "the quick brown fox jumps over the lazy dog the end".split(' ');
    let mut counts: HashMap<&str, u32> = HashMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    let sorted: BTreeMap<_, _> = counts.into_iter().collect();
    let mut text = String::new();
    for (word, count) in &sorted {
        write!(text, "{word}{count} ").expect("a text takes all");
    }
    assert_eq!(text, "brown1 dog1 end1 fox1 jumps1 lazy1 over1 quick1 the3 ");
    assert_eq!(format!("{:>8.3}|{:e}|{:#010b}", 1.0f64.exp(), 1e21, 5), "   2.718|1e21|0b00000101");
}

fn files() {
    fs::create_dir("/tmp/folder").expect("there is room");
    let mut file = fs::File::create("/tmp/folder/lines").expect("there is room");
    (0..100).for_each(|number| writeln!(file, "{number}").expect("there is room"));
    let lines = BufReader::new(fs::File::open("/tmp/folder/lines").expect("it is there")).lines();
    let sum: u32 = lines.map(|line| line.expect("a text").parse::<u32>().expect("a number")).sum();
    assert_eq!(sum, 4950);
    fs::remove_dir_all("/tmp/folder").expect("it is there");
}

fn backtrace() {
    assert!(!Backtrace::force_capture().to_string().is_empty());
}
