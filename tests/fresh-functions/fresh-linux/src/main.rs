//! Tells what clones must not have in common, as `fresh-native` does. Values whose names begin with `function-` were drawn
//! before the first request: clones of one function share them, but no two functions do.
#![expect(
    unsafe_code,
    reason = "randomness and processor time are calls of the C library"
)]

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use prepared::{Found, Prepared};
use worker::{Context, Error, Request, Response};

static PREPARED: Prepared = Prepared::new();

/// What is there before the first request.
struct Before {
    keys: RandomState,
    start: Instant,
}

fn main() -> ExitCode {
    // Whatever is below asks the C library, which can fail only without memory.
    PREPARED.compute(u64::from_le_bytes(getrandom().unwrap_or_default()));
    let before = Before {
        keys: RandomState::new(),
        start: Instant::now(),
    };
    worker::serve(move |request, context| answer(&before, request, context))
}

fn answer(before: &Before, request: Request, ctx: &Context) -> Result<Response, Error> {
    match request.text()? {
        "draw" => {
            let [low, high] = ctx.seed();
            let mut urandom = [0; 16];
            File::open("/dev/urandom")?.read_exact(&mut urandom)?;
            Ok(Response::format(format_args!(
                "seed {low:016x}{high:016x}\ngetrandom {:032x}\nurandom {:032x}\nfunction-hash {:016x}",
                u128::from_le_bytes(getrandom()?),
                u128::from_le_bytes(urandom),
                before.keys.hash_one(0)
            )))
        }
        "clocks" => {
            if Instant::now() < before.start {
                return Err(Error::new("the monotonic clock went back"));
            }
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            Ok(Response::format(format_args!(
                "monotonic {}\nmonotonic {}\nwall {}\ncpu {}",
                clock_ns(libc::CLOCK_MONOTONIC)?,
                worker::now_ns(),
                wall.as_nanos(),
                clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)?
            )))
        }
        "state" => {
            let Found { digest, uses } = PREPARED.use_up();
            Ok(Response::format(format_args!("table {digest:016x}\nuses {uses}")))
        }
        other => Err(Error::new(format_args!("unknown request `{other}`"))),
    }
}

/// Random bytes from getrandom(2).
fn getrandom<const BYTES: usize>() -> std::io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    // SAFETY: The buffer has as many bytes as the call is told.
    let written = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), BYTES, 0) };
    if written == BYTES as isize {
        Ok(bytes)
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Reads a clock of clock_gettime(2) in nanoseconds.
fn clock_ns(clock: libc::clockid_t) -> std::io::Result<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The call writes to `time` only.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
