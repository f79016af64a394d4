//! What goes wrong in Python, as callers are told.

use rustpython_vm::builtins::PyBaseExceptionRef;
use rustpython_vm::{AsObject, PyObjectRef, PyResult, VirtualMachine};

/// Longest message of an exception in a failure, in bytes: place and type have to fit beside it.
const MESSAGE_MAX: usize = 150;

/// Why a function gave no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An exception that nobody caught: its type, place and message. The log has the traceback.
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
        let place = vm
            .call_method(prelude, "place", (error.clone(),))
            .and_then(|place| text(vm, &place));
        Self::Raised(summary(
            &error.class().name(),
            &text(vm, error.as_object()).unwrap_or_default(),
            &place.unwrap_or_default(),
        ))
    }

    /// A failure without an exception.
    pub(crate) fn told(message: impl ToString) -> Self {
        Self::Raised(message.to_string())
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

/// One line for the caller: `Type: message (place)`.
fn summary(class: &str, message: &str, place: &str) -> String {
    let cut = message.floor_char_boundary(MESSAGE_MAX);
    let mark = if cut < message.len() { "…" } else { "" };
    let colon = if message.is_empty() { "" } else { ": " };
    let place = if place.is_empty() {
        String::new()
    } else {
        format!(" ({place})")
    };
    format!("{class}{colon}{}{mark}{place}", &message[..cut])
}

#[cfg(test)]
mod tests {
    use super::{MESSAGE_MAX, readable, summary};

    #[test]
    fn tracebacks_show_the_function_only() {
        let text = "Traceback (most recent call last):\n  File \"<prelude>\", line 182, in call\n  File \"/code/a.py\", line 9, in f\n  \
                    File \"/code/a.py\", line 9, in f\n  File \"/code/a.py\", line 9, in f\nRecursionError: deep\n";
        let short = "Traceback (most recent call last):\n  File \"/code/a.py\", line 9, in f\n  [2 more times]\n\
                     RecursionError: deep\n";
        assert_eq!(readable(text), short);
    }

    #[test]
    fn a_summary_names_type_message_and_place() {
        assert_eq!(
            summary("ValueError", "bad", "a.py:3 in main"),
            "ValueError: bad (a.py:3 in main)"
        );
        assert_eq!(summary("KeyError", "", ""), "KeyError");
        let long = summary("E", &"é".repeat(MESSAGE_MAX), "a.py:1 in f");
        assert!(long.len() < MESSAGE_MAX + 40 && long.contains('…') && long.ends_with("(a.py:1 in f)"));
    }
}
