//! `worker-lib` for functions in C and C++: what `include/aerie.h` declares, as a static library.
//!
//! The header documents each function for those who call it. Here, the rules that make it safe: a pointer from C is looked at
//! only if it is not null; what it points to is copied, or used until the call returns; nothing panics across the boundary (a
//! function that is `extern "C"` would end the process), and a handler may unwind, which then ends the process in a defined way.
#![expect(unsafe_code, reason = "C passes pointers")]

mod argument;
mod invocation;
mod logging;
mod reply;
mod status;

use core::ffi::{c_int, c_void};
use core::ptr;

use worker::{Context, Error, Program, Request, Response};

use invocation::Invocation;

/// The function that serves a request. It may unwind; the process then ends.
pub(crate) type Handler = unsafe extern "C-unwind" fn(*mut Invocation<'_>, *mut c_void);

/// Exit code of a program that cannot be a worker, or lost its manager.
const NO_WORKER: c_int = 102;

/// Serves requests with `handler` until the manager ends the program.
///
/// # Safety
/// `handler` can be called with `state` at any time.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_serve(handler: Option<Handler>, state: *mut c_void) -> c_int {
    let Some(handler) = handler else {
        eprintln!("aerie_serve: the handler is NULL");
        return NO_WORKER;
    };
    match Program::start() {
        Ok(program) => {
            program.serve(|request, context| {
                // SAFETY: The caller of `aerie_serve` vouches for the handler and its state.
                unsafe { handle(handler, state, &request, context) }
            });
            eprintln!("aerie_serve: the manager is gone");
        }
        Err(why) => eprintln!("aerie_serve: {why}"),
    }
    NO_WORKER
}

/// Has the handler serve one request.
///
/// # Safety
/// As [`aerie_serve`].
unsafe fn handle(
    handler: Handler,
    state: *mut c_void,
    request: &Request,
    context: &Context,
) -> Result<Response, Error> {
    let mut invocation = Invocation::new(request, context);
    // SAFETY: The handler can be called, and the invocation lives until it returns.
    unsafe { handler(&raw mut invocation, state) };
    // SAFETY: Null stands for all streams; they are the C library's.
    if unsafe { libc::fflush(ptr::null_mut()) } != 0 {
        eprintln!("the function's output cannot be written to the log");
    }
    invocation.into_answer()
}

#[cfg(test)]
mod tests;
