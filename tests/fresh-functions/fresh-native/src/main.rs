//! Tells what clones must not have in common: `draw`, random values; `clocks`, the time; `state`, what was computed before
//! the first request and how often it was used. Each line of an answer is a name and a value.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use l4::object::Thread;
use l4re::{clock, start};
use prepared::{Found, Prepared};
use worker::{Context, Error, Request, Response};

static PREPARED: Prepared = Prepared::new();

#[worker::main(init = prepare)]
fn main(request: Request, ctx: &Context) -> Result<Response, Error> {
    let thread = Thread(start::current_thread());
    match request.text()? {
        "draw" => {
            let [low, high] = ctx.seed();
            let words = thread.random().map_err(Error::new)?;
            Ok(Response::format(format_args!(
                "seed {low:016x}{high:016x}\nkernel {:016x}{:016x}\nkernel {:016x}{:016x}",
                words[0], words[1], words[2], words[3]
            )))
        }
        "clocks" => {
            let cpu = thread.cpu_time().map_err(Error::new)?;
            Ok(Response::format(format_args!(
                "monotonic {}\nwall {}\ncpu {cpu}",
                worker::now_ns(),
                clock::wall_clock_ns()
            )))
        }
        "state" => {
            let Found { digest, uses } = PREPARED.use_up();
            Ok(Response::format(format_args!("table {digest:016x}\nuses {uses}")))
        }
        other => Err(Error::new(format_args!("unknown request `{other}`"))),
    }
}

fn prepare() {
    let words = Thread(start::current_thread()).random();
    PREPARED.compute(words.map_or(0, |words| words[0]));
}
