//! What calls cost, in nanoseconds: with `-icount shift=0` these are instructions. Runs in a Linux guest as well.
#![expect(unsafe_code, reason = "raw system calls")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

/// Rounds of each figure.
const ROUNDS: u32 = 10_000;

/// Prints the figures.
pub(crate) fn print() -> ExitCode {
    show(
        "linux_getpid",
        each(|| {
            // SAFETY: The call has no arguments.
            unsafe { libc::syscall(libc::SYS_getpid) };
        }),
    );
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    show(
        "linux_clock_gettime",
        each(|| {
            // SAFETY: The target is a time.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        }),
    );
    show("futex_ping_pong", ping_pong());
    ExitCode::SUCCESS
}

fn show(name: &str, nanoseconds: u64) {
    println!("BENCH {{\"name\":\"{name}\",\"unit\":\"instructions\",\"value\":{nanoseconds}}}");
}

/// Nanoseconds since `start` for each round.
fn nanoseconds_each(start: Instant) -> u64 {
    start.elapsed().as_nanos() as u64 / u64::from(ROUNDS)
}

fn each(mut action: impl FnMut()) -> u64 {
    action();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        action();
    }
    nanoseconds_each(start)
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: The word lives as long as the call; there is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, 0usize) };
}

/// Waits until the word has the value.
fn await_value(word: &AtomicU32, value: u32) {
    loop {
        let now = word.load(Ordering::Acquire);
        if now == value {
            return;
        }
        futex(word, libc::FUTEX_WAIT, now);
    }
}

fn tell(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    futex(word, libc::FUTEX_WAKE, 1);
}

/// A round trip between two threads: each wakes the other and waits.
fn ping_pong() -> u64 {
    let (ping, pong) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS + 1 {
                await_value(&ping, round);
                tell(&pong, round);
            }
        });
        tell(&ping, 1);
        await_value(&pong, 1);
        let start = Instant::now();
        for round in 2..=ROUNDS + 1 {
            tell(&ping, round);
            await_value(&pong, round);
        }
        nanoseconds_each(start)
    })
}
