//! Functions that are ordinary programs with the standard library: `runtime = "linux"`, feature `std`.
#![expect(
    unsafe_code,
    reason = "the start block is found through the auxiliary vector, and two calls are the C library's"
)]

extern crate std;

use alloc::string::{String, ToString};
use core::cell::RefCell;
use core::fmt;
use core::panic::Location;
use core::ptr;
use std::io::Write;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::process::ExitCode;

use interfaces::faas::{PR_SUPERVISE, SUPERVISOR_NAME, SupervisorClient};
use l4_rpc::CallError;
use l4re::start::PANIC_CODE;

use crate::machine::Worker;
use crate::{Context, FunctionInfo, InvokeError, Request, Response, context, runtime};

/// Exit code of a program that is no worker, or lost its manager.
const NO_WORKER: u8 = 102;

std::thread_local! {
    /// What the last panic of this thread said, and where it was.
    static LAST_PANIC: RefCell<(String, String)> = const { RefCell::new((String::new(), String::new())) };
}

/// Serves requests with `function` until the manager ends the program: all that `main` does.
///
/// ```no_run
/// use worker::{Context, Error, Request, Response};
///
/// fn shout(request: Request, ctx: &Context) -> Result<Response, Error> {
///     println!("request {}", ctx.request_id()); // goes to the log
///     Ok(Response::text(request.text()?.to_uppercase()))
/// }
///
/// fn main() -> std::process::ExitCode {
///     worker::serve(shout)
/// }
/// ```
///
/// Standard output and error go to the worker's log. A panic of the function ends the worker, and the caller gets its
/// message and place. Returns only if the program was not started as a worker, or the manager is gone.
pub fn serve<E: fmt::Display>(function: impl Fn(Request, &Context) -> Result<Response, E>) -> ExitCode {
    match Program::start() {
        Ok(program) => program.serve(function),
        Err(why) => {
            std::eprintln!("{why}");
            ExitCode::from(NO_WORKER)
        }
    }
}

/// Why a program cannot serve requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// It was not started as a worker.
    NoWorker,
    /// It read standard input or wrote standard output before.
    StreamsUsed,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoWorker => {
                "this program is a function for Aerie; it runs as a worker only (runtime = \"linux\")"
            }
            Self::StreamsUsed => {
                "standard input or output was used before the program became a worker; do that first"
            }
        })
    }
}

impl core::error::Error for ProgramError {}

/// A program that is a worker and has asked for no request yet. What it does until then counts as its runtime's start.
#[derive(Debug)]
pub struct Program {
    started_ns: u64,
    loading_ns: Option<u64>,
}

impl Program {
    /// Makes the program a worker: standard output and error go to the log, and the capabilities that the manager gave
    /// are found by name.
    ///
    /// # Errors
    /// If it cannot be one.
    pub fn start() -> Result<Self, ProgramError> {
        adopt()?;
        Ok(Self {
            started_ns: crate::now_ns(),
            loading_ns: None,
        })
    }

    /// The code of the function. To be asked by a program that runs others' code and was started without any ([`CODE_NAME`]), when
    /// all is done that is the same for any function: it waits here until there is one. The bytes stay as long as the program.
    ///
    /// # Errors
    /// If the manager cannot be asked, or has started the program with its code.
    ///
    /// [`CODE_NAME`]: crate::CODE_NAME
    pub fn code(&self) -> Result<&'static [u8], InvokeError> {
        let code = SupervisorClient::new(Worker).code()?;
        Worker.keep(code).map_err(CallError::Protocol)
    }

    /// Name, handler, version and memory limit of the function.
    ///
    /// # Errors
    /// If the manager cannot be asked.
    pub fn function(&self) -> Result<FunctionInfo, InvokeError> {
        context::function()
    }

    /// Says that the program itself is up, and loads a function's code from now on: a phase of its own.
    pub fn start_loading(&mut self) {
        self.loading_ns = Some(crate::now_ns());
    }

    /// Serves requests as [`serve`] does.
    pub fn serve<E: fmt::Display>(
        self,
        function: impl Fn(Request, &Context) -> Result<Response, E>,
    ) -> ExitCode {
        serve_from(self, function);
        ExitCode::from(NO_WORKER)
    }

    /// Says instead why the program can serve no request; whoever creates or calls the function gets the message.
    pub fn fail(self, message: &str) -> ExitCode {
        flush_log();
        let loading = self.loading_ns.unwrap_or(self.started_ns);
        runtime::refuse(Worker, self.started_ns, loading, message);
        ExitCode::from(NO_WORKER)
    }
}

/// Serves requests until there is no manager any more.
fn serve_from<E: fmt::Display>(
    program: Program,
    function: impl Fn(Request, &Context) -> Result<Response, E>,
) {
    let before = std::panic::take_hook();
    std::panic::set_hook(alloc::boxed::Box::new(move |info| {
        remember(info);
        before(info);
        if cfg!(panic = "abort") {
            // Nothing will be caught.
            flush_log();
            report_panic();
        }
    }));
    let Program {
        started_ns,
        loading_ns,
    } = program;
    // The standard library makes its buffer when it is first used: before a copy of this worker is made, not in each one.
    flush_log();
    runtime::serve_from(Worker, started_ns, loading_ns, |request, context| {
        let result = catch_unwind(AssertUnwindSafe(|| function(request, context)));
        flush_log();
        match result {
            Ok(result) => result,
            Err(_) => report_panic(),
        }
    });
}

/// Finds the capabilities that the manager gave, and leaves the standard streams to the log.
fn adopt() -> Result<(), ProgramError> {
    // SAFETY: Reads the auxiliary vector, which is there in every program.
    let block = unsafe { libc::getauxval(l4re::env::AT_L4_ENV) };
    // SAFETY: Null if there is no such entry, else what the loader put there, which stays as it is.
    unsafe { l4re::env::adopt(ptr::with_exposed_provenance_mut(block as usize)) };
    if l4re::env::cap(SUPERVISOR_NAME).is_none() {
        return Err(ProgramError::NoWorker);
    }
    // SAFETY: The call has no pointers.
    match unsafe { libc::prctl(PR_SUPERVISE as libc::c_int) } {
        0 => Ok(()),
        _ => Err(ProgramError::StreamsUsed),
    }
}

/// Writes what waits for the end of its line.
fn flush_log() {
    // Who closed the streams wants no log.
    let _ = std::io::stdout().flush();
    // SAFETY: The call has no pointers.
    let _ = unsafe { libc::fsync(libc::STDOUT_FILENO) };
}

fn remember(info: &PanicHookInfo<'_>) {
    let said = info.payload_as_str().unwrap_or("(no message)");
    let place = info.location().map(Location::to_string).unwrap_or_default();
    LAST_PANIC.set((said.into(), place));
}

/// Tells the manager of this thread's last panic, and ends the worker.
fn report_panic() -> ! {
    let (said, place) = LAST_PANIC.take();
    runtime::report_panic(&said, &place);
    l4re::exit(PANIC_CODE)
}
