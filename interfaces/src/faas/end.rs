//! How a worker came to its end.

use core::fmt;

use l4::exception::ExceptionFrame;
use serde::{Deserialize, Serialize};

use super::error::texts;

/// What an exit code usually means, in parentheses; nothing for most. A program that a signal ends has 128 plus the signal's
/// number, see signal(7); Rust's panics have 101.
pub(super) struct ExitMeaning(pub(super) i64);

impl fmt::Display for ExitMeaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = self.0.saturating_sub(128);
        let name = match signal {
            _ if self.0 == 101 => return f.write_str(" (a panic, if it is written in Rust)"),
            1 => "SIGHUP",
            2 => "SIGINT",
            3 => "SIGQUIT",
            4 => "SIGILL",
            5 => "SIGTRAP",
            6 => "SIGABRT: it called abort",
            7 => "SIGBUS",
            8 => "SIGFPE",
            9 => "SIGKILL",
            11 => "SIGSEGV",
            13 => "SIGPIPE",
            14 => "SIGALRM",
            15 => "SIGTERM",
            31 => "SIGSYS",
            _ if (1..=64).contains(&signal) => return write!(f, " (signal {signal})"),
            _ => return Ok(()),
        };
        write!(f, " ({name})")
    }
}

texts! {
    /// What a crashed worker did.
    FaultKind {
        /// Read where it must not.
        Read: "invalid read";
        /// Wrote where it must not.
        Write: "invalid write";
        /// Jumped where no code is.
        Execute: "jump to what is no code";
        /// Ran out of stack.
        StackOverflow: "stack overflow";
        /// Executed an instruction that does not exist.
        InvalidInstruction: "invalid instruction";
        /// Divided by zero.
        DivideByZero: "division by zero";
        /// Executed an instruction that programs must not, or used an address that cannot exist.
        Protection: "protection violation";
        /// Executed a breakpoint.
        Breakpoint: "breakpoint";
        /// A floating-point exception.
        FloatingPoint: "floating-point exception";
        /// Another exception.
        Other: "processor exception";
    }
}

impl FaultKind {
    /// What the exception means. A fault in the page that the stack pointer is about to grow into is a stack overflow.
    pub const fn from_exception(frame: &ExceptionFrame) -> FaultKind {
        match frame.vector {
            0 => FaultKind::DivideByZero,
            3 => FaultKind::Breakpoint,
            6 => FaultKind::InvalidInstruction,
            13 => FaultKind::Protection,
            14 if frame.error & 0x10 != 0 => FaultKind::Execute,
            14 if is_below_stack(frame) => FaultKind::StackOverflow,
            14 if frame.error & 2 != 0 => FaultKind::Write,
            14 => FaultKind::Read,
            16 | 19 => FaultKind::FloatingPoint,
            _ => FaultKind::Other,
        }
    }

    /// Tells whether the kind is about an address.
    pub const fn has_address(self) -> bool {
        matches!(
            self,
            FaultKind::Read | FaultKind::Write | FaultKind::Execute | FaultKind::StackOverflow
        )
    }
}

/// Tells whether a page fault comes from a push, a call, or a probe of a large frame: not far from the stack pointer.
const fn is_below_stack(frame: &ExceptionFrame) -> bool {
    const NEAR: u64 = 4096;
    let page = frame.rsp & !0xfff;
    frame.address != 0
        && frame.address >= page.saturating_sub(NEAR)
        && frame.address < frame.rsp.saturating_add(NEAR)
}

#[cfg(test)]
mod tests {
    use super::ExitMeaning;
    use alloc::string::ToString;

    #[test]
    fn exit_codes_are_explained() {
        for (code, text) in [
            (0, ""),
            (7, ""),
            (101, " (a panic, if it is written in Rust)"),
            (128, ""),
            (134, " (SIGABRT: it called abort)"),
            (139, " (SIGSEGV)"),
            (128 + 64, " (signal 64)"),
            (128 + 65, ""),
            (i64::MIN, ""),
        ] {
            assert_eq!(ExitMeaning(code).to_string(), text, "{code}");
        }
    }
}
