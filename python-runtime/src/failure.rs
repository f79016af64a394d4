//! What goes wrong in Python, as callers are told.

use rustpython_vm::builtins::PyBaseExceptionRef;
use rustpython_vm::{AsObject, PyObjectRef, PyResult, VirtualMachine};

/// Longest message of an exception in a failure, in bytes: type and places have to fit beside it.
const MESSAGE_MAX: usize = 200;
/// Longest failure in bytes: what callers are told in any case.
const FAILURE_MAX: usize = worker::ERROR_BYTES;

/// Why a function gave no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An exception that nobody caught: its type, message and traceback, as much as fits. The log has all of it.
    Raised(String),
    /// The function called `sys.exit`.
    Exit(i64),
}

impl Failure {
    /// What an exception means. Its traceback is written to standard error, which is the log.
    pub(crate) fn of(vm: &VirtualMachine, prelude: &PyObjectRef, error: &PyBaseExceptionRef) -> Self {
        if error.fast_isinstance(vm.ctx.exceptions.system_exit) {
            let code = vm.call_method(prelude, "exit_code", (error.clone(),));
            return Self::Exit(code.and_then(|code| code.try_into_value(vm)).unwrap_or(1));
        }
        let mut traceback = String::new();
        // Only a broken exception can fail here; what was written until then is all there is to say.
        let _ = vm.write_exception(&mut traceback, error);
        eprint!("{}", readable(&traceback));
        let places: Vec<String> = vm
            .call_method(prelude, "places", (error.clone(),))
            .and_then(|places| places.try_into_value(vm))
            .unwrap_or_default();
        Self::Raised(summary(
            &error.class().name(),
            &text(vm, error.as_object()).unwrap_or_default(),
            &places,
        ))
    }

    /// A failure without an exception.
    pub(crate) fn told(message: impl ToString) -> Self {
        Self::Raised(message.to_string())
    }

    /// The same, told of the warm-up: not even `sys.exit` is more than that.
    pub(crate) fn in_warm_up(self) -> Self {
        Self::Raised(match self {
            Self::Raised(message) => format!("the warm-up failed: {message}"),
            Self::Exit(code) => format!("the warm-up failed: SystemExit: {code}"),
        })
    }
}

fn text(vm: &VirtualMachine, object: &rustpython_vm::PyObject) -> PyResult<String> {
    Ok(object.str(vm)?.to_string())
}

/// A traceback without the runtime's own places, and with repeated ones counted.
fn readable(traceback: &str) -> String {
    let is_own = |line: &&str| {
        !line.starts_with("  File \"<prelude>\"")
            && !line.starts_with("  File \"<frozen importlib._bootstrap>\"")
    };
    let mut text = String::new();
    let mut lines = traceback.trim_end().lines().filter(is_own).peekable();
    while let Some(line) = lines.next() {
        text.extend([line, "\n"]);
        let mut repeated = 0;
        while line.starts_with("  File ") && lines.next_if_eq(&line).is_some() {
            repeated += 1;
        }
        if repeated > 0 {
            text.push_str(&format!("  [{repeated} more times]\n"));
        }
    }
    text
}

/// One line for the caller: `Type: message (place < place that called it < …)`, with as many places as fit.
fn summary(class: &str, message: &str, places: &[String]) -> String {
    let cut = message.floor_char_boundary(MESSAGE_MAX);
    let mark = if cut < message.len() { "…" } else { "" };
    let colon = if message.is_empty() { "" } else { ": " };
    let mut text = format!("{class}{colon}{}{mark}", &message[..cut]);
    let mut before = " (";
    for place in places {
        if text.len() + before.len() + place.len() > FAILURE_MAX - " < …)".len() {
            text.push_str(before);
            text.push('…');
            before = " < ";
            break;
        }
        text.extend([before, place]);
        before = " < ";
    }
    if before == " < " {
        text.push(')');
    }
    text
}
