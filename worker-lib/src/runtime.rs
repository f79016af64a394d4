//! The life of a worker: ask for a request, call the function, answer, and so on.

use core::fmt;
use core::panic::PanicInfo;

use interfaces::faas::{
    Body as Place, ERROR_MAX, FailureKind, LOCATION_MAX, MESSAGE_MAX, Payload, Request as Incoming,
    SupervisorClient, WorkerFailure, WorkerTimes,
};
use l4_rpc::CallError;
use l4re::start::PANIC_CODE;

use crate::body::Body;
use crate::inline::InlineBytes;
use crate::machine::{Machine, Worker};
use crate::message::Message;
use crate::{Context, INLINE_BYTES, InvokeError, MAX_BYTES, Request, Response};

/// Exit code of a worker that lost its manager, or does not understand it.
const LOST_CODE: i64 = 102;

/// Longest source location that is looked at; of a long one, the end says most.
const PATH_MAX: usize = 512;

/// Declares start-up, heap and panic handler of a function's program. What `#[worker::main]` adds.
#[doc(hidden)]
#[macro_export]
macro_rules! entry {
    ($function:path) => {
        $crate::entry!($function, $crate::runtime::nothing);
    };
    ($function:path, $init:path) => {
        #[global_allocator]
        static WORKER_HEAP: $crate::l4re::heap::Heap = $crate::l4re::heap::Heap;

        #[panic_handler]
        fn worker_panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::runtime::panic(info)
        }

        fn worker_start() -> i64 {
            $crate::runtime::run($init, $function)
        }

        $crate::l4re::start_with!(worker_start);
    };
}

/// What a function without anything to prepare runs before its first request.
pub fn nothing() {}

/// Serves requests until the manager ends it, after `init`, which counts as the runtime's start. Returns an exit code only
/// if there is no manager any more.
pub fn run<E: fmt::Display>(
    init: impl FnOnce(),
    function: impl Fn(Request, &Context) -> Result<Response, E>,
) -> i64 {
    let started = Worker.now_ns();
    init();
    serve_from(Worker, started, None, function);
    LOST_CODE
}

/// Serves requests until the manager does not answer any more; returns why. The worker's runtime started at
/// `start_runtime`, and began to load the function's code at `start_load` if there was anything to load.
pub(crate) fn serve_from<M: Machine + Copy, E: fmt::Display>(
    machine: M,
    start_runtime: u64,
    mut start_load: Option<u64>,
    function: impl Fn(Request, &Context) -> Result<Response, E>,
) -> InvokeError {
    let supervisor = SupervisorClient::new(machine);
    let mut times = WorkerTimes {
        start_runtime,
        ..WorkerTimes::default()
    };
    let mut buffer = InlineBytes::new();
    let mut next = supervisor.ready(times.start_runtime, buffer.place());
    loop {
        let incoming = match next {
            Ok((incoming, length)) => {
                buffer.set_length(length);
                incoming
            }
            Err(error) => return error,
        };
        let request = match receive(machine, incoming, buffer) {
            Ok(request) => request,
            Err(error) => return CallError::Protocol(error),
        };
        times.start_function = machine.now_ns();
        times.start_load = start_load.take().unwrap_or(times.start_function);
        machine.remember(times);
        let result = function(request, &Context::new(incoming));
        times.end_function = machine.now_ns();
        buffer = InlineBytes::new();
        next = Answer {
            machine,
            supervisor: &supervisor,
            times,
            buffer: &mut buffer,
        }
        .send(result);
        times.start_runtime = machine.now_ns();
    }
}

/// Tells the manager, instead of asking for a request, why the function can serve none: `message`. The manager ends the
/// worker then, so this returns only if there is none any more.
#[cfg(feature = "std")]
pub(crate) fn refuse<M: Machine>(machine: M, start_runtime: u64, start_load: u64, message: &str) {
    let now = machine.now_ns();
    let times = WorkerTimes {
        start_runtime,
        start_load,
        start_function: now,
        end_function: now,
        end_runtime: now,
    };
    let text = Message::<ERROR_MAX>::of(message);
    let failure = WorkerFailure {
        kind: FailureKind::Returned,
        length: 0,
        message: text.as_str(),
        location: "",
    };
    let _ = SupervisorClient::new(machine).fail(times, failure, InlineBytes::new().place());
}

/// The request as the function sees it; `inline` is what came in the message.
fn receive<M: Machine>(machine: M, incoming: Incoming, inline: InlineBytes) -> Result<Request, l4::Error> {
    let body = match incoming.body {
        Place::Inline => Body::Inline(inline),
        Place::Dataspace(block) => machine.open(block)?,
    };
    Ok(Request::new(body))
}

type Next = Result<(Incoming, usize), InvokeError>;

/// What an answer needs besides the result: the times of the invocation, and room for the next request.
struct Answer<'a, M> {
    machine: M,
    supervisor: &'a SupervisorClient<M>,
    times: WorkerTimes,
    buffer: &'a mut InlineBytes,
}

impl<M: Machine> Answer<'_, M> {
    /// Reports the function's result and waits for the next request.
    fn send<E: fmt::Display>(self, result: Result<Response, E>) -> Next {
        match result {
            Ok(response) => match response.as_bytes() {
                bytes if bytes.len() <= INLINE_BYTES => self.done(Payload::Inline(bytes)),
                bytes if bytes.len() <= MAX_BYTES => self.done_at_length(bytes),
                bytes => self.fail(FailureKind::ResponseTooLarge, bytes.len() as u64, ""),
            },
            Err(error) => self.fail(FailureKind::Returned, 0, Message::<ERROR_MAX>::of(error).as_str()),
        }
    }

    /// Sends a response in a dataspace, which then is the manager's.
    fn done_at_length(self, bytes: &[u8]) -> Next {
        match self.machine.publish(bytes) {
            Ok((block, _published)) => self.done(Payload::Dataspace(block)),
            Err(error) => {
                let text = format_args!("no memory for the response of {} bytes: {error}", bytes.len());
                self.fail(FailureKind::Returned, 0, Message::<ERROR_MAX>::of(text).as_str())
            }
        }
    }

    fn done(mut self, response: Payload<'_>) -> Next {
        self.times.end_runtime = self.machine.now_ns();
        self.supervisor.done(self.times, response, self.buffer.place())
    }

    fn fail(mut self, kind: FailureKind, length: u64, message: &str) -> Next {
        self.times.end_runtime = self.machine.now_ns();
        let failure = WorkerFailure {
            kind,
            length,
            message,
            location: "",
        };
        self.supervisor.fail(self.times, failure, self.buffer.place())
    }
}

/// Reports a panic to the manager and ends the worker.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    if Worker.start_panic() {
        // The message itself panics.
        l4re::exit(PANIC_CODE)
    }
    let message = Message::<MESSAGE_MAX>::of(info.message());
    let place = info.location().map(Message::<PATH_MAX>::of);
    report_panic(message.as_str(), place.as_ref().map_or("", Message::as_str));
    l4re::exit(PANIC_CODE)
}

/// Tells the manager of a panic. It does not answer a worker that panicked; if it does, the worker's exit code has to
/// say the same.
pub(crate) fn report_panic(message: &str, place: &str) {
    let now = Worker.now_ns();
    let times = WorkerTimes {
        end_function: now,
        end_runtime: now,
        ..Worker.recall()
    };
    let message = Message::<MESSAGE_MAX>::of(message);
    let failure = WorkerFailure {
        kind: FailureKind::Panicked,
        length: 0,
        message: message.as_str(),
        location: last_bytes(place, LOCATION_MAX),
    };
    let _ = SupervisorClient::new(Worker).fail(times, failure, InlineBytes::new().place());
}

/// The end of a text, at most `limit` bytes of whole characters.
fn last_bytes(text: &str, limit: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(limit))..]
}

#[cfg(test)]
mod tests;
