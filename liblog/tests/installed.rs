//! The whole way of a message, from a macro to the sink, with the program's one installed logger.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use liblog::{AlreadyInstalled, Capture, Context, Filter, Format, Logger, Sink, Tee};

struct Machine;

impl Context for Machine {
    fn system_time_ns(&self) -> u64 {
        1_795_230_298_000_000_000
    }

    fn thread_id(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local!(static ID: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
        ID.with(|id| *id)
    }
}

/// Keeps each call's bytes, so that a message in two calls would show.
struct Calls(Mutex<Vec<String>>);

impl Sink for Calls {
    fn write(&self, message: &[u8]) {
        self.0
            .lock()
            .expect("no panic")
            .push(String::from_utf8(message.to_vec()).expect("UTF-8"));
    }
}

static CALLS: Calls = Calls(Mutex::new(Vec::new()));
static CAPTURE: Capture<256> = Capture::new();
static BOTH: Tee = Tee(&CALLS, &CAPTURE);
/// The logger is the process's, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Installs the logger once and gives the caller an empty sink for the time of its test.
fn turn() -> MutexGuard<'static, ()> {
    let guard = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let filter = Filter::parse("info,quiet=error,loud=trace").expect("valid");
    let logger = Logger::new("test", &Machine, &BOTH)
        .with_filter(filter)
        .with_format(Format::Json);
    // Only the first turn's installation succeeds.
    let first = logger.install().is_ok();
    assert!(!first || logger.install() == Err(AlreadyInstalled));
    CALLS.0.lock().expect("no panic").clear();
    CAPTURE.clear();
    guard
}

fn messages() -> Vec<serde_json::Value> {
    let calls = CALLS.0.lock().expect("no panic");
    calls
        .iter()
        .map(|line| serde_json::from_str(line).expect("one whole message"))
        .collect()
}

#[test]
fn a_message_says_where_it_comes_from() {
    let _turn = turn();
    log::warn!("careful");
    let line = line!() - 1;
    let messages = messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["level"], "WARN");
    assert_eq!(messages[0]["package"], "test");
    assert_eq!(messages[0]["target"], "installed");
    assert_eq!(messages[0]["line"], line);
    assert!(
        messages[0]["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("installed.rs"))
    );
    assert_eq!(messages[0]["time"], "2026-11-21T03:04:58.000000Z");
}

#[test]
fn levels_hold_per_target_and_nothing_disabled_is_evaluated() {
    let _turn = turn();
    let evaluated = Cell::new(0);
    let argument = || evaluated.set(evaluated.get() + 1);
    liblog::debug!("{:?}", argument());
    liblog::info!(target: "quiet", "{:?}", argument());
    liblog::warn!(target: "quiet::deep", "{:?}", argument());
    assert_eq!((evaluated.get(), messages().len()), (0, 0));
    log::info!(target: "quiet", "the facade asks the logger too");
    assert_eq!(messages().len(), 0);
    liblog::trace!(target: "loud", "{:?}", argument());
    liblog::error!(target: "quiet", "{:?}", argument());
    assert_eq!((evaluated.get(), messages().len()), (2, 2));
}

#[test]
fn once_logs_once() {
    let _turn = turn();
    for round in 0..3 {
        liblog::once!(log::Level::Debug, "off, so it does not count: {round}");
        liblog::once!(log::Level::Warn, "round {round}");
    }
    assert_eq!(
        messages()
            .iter()
            .map(|m| m["message"].clone())
            .collect::<Vec<_>>(),
        ["round 0"]
    );
}

#[test]
fn messages_of_many_threads_never_mix() {
    const THREADS: usize = 8;
    const MESSAGES: usize = 500;
    let _turn = turn();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    log::info!("{thread} {number} {}", "x".repeat(number));
                }
            });
        }
    });
    let mut next: HashMap<u64, (String, usize)> = HashMap::new();
    for message in messages() {
        let text = message["message"].as_str().expect("a string").to_owned();
        let mut words = text.split(' ');
        let thread = words.next().expect("a thread").to_owned();
        let number: usize = words.next().and_then(|word| word.parse().ok()).expect("a number");
        assert_eq!(words.next(), Some("x".repeat(number).as_str()));
        let (name, expected) = next
            .entry(message["thread"].as_u64().expect("an id"))
            .or_insert((thread.clone(), 0));
        assert_eq!((&thread, number), (&*name, *expected), "out of order");
        *expected += 1;
    }
    assert!(next.len() == THREADS && next.values().all(|(_, count)| *count == MESSAGES));
}

#[test]
fn a_capture_keeps_the_last_whole_messages() {
    let _turn = turn();
    (0..20).for_each(|number| log::info!("message {number}"));
    let mut copy = [0; 256];
    let kept = std::str::from_utf8(CAPTURE.copy_lines(&mut copy))
        .expect("UTF-8")
        .to_owned();
    let all: String = CALLS.0.lock().expect("no panic").concat();
    assert!(all.ends_with(&kept) && kept.starts_with("{\"time\"") && kept.contains("message 19"));
}
