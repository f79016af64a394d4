//! What boot scripts need from the task that `ned` runs in.

use std::fmt;

use interfaces::log::Colour;
use l4::exception::Reason;
use l4::{CapIndex, Rights};

/// Number of a task that was started, counted from 0.
pub type TaskNumber = usize;

/// A capability for a program that is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The name under which the program finds it.
    pub name: String,
    /// The slot here.
    pub cap: CapIndex,
    /// Rights to pass on.
    pub rights: Rights,
}

/// Who pays for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// A new account with a limit in bytes, deleted with the program.
    Own(u64),
    /// A factory that the script chose.
    Shared(CapIndex),
}

/// A log to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// What its lines start with.
    pub tag: String,
    /// The tag's colour.
    pub colour: Colour,
}

/// The log of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramLog {
    /// One of its own, which goes with it.
    New(LogRequest),
    /// One that the script chose.
    Given(CapIndex),
}

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Name in `rom`.
    pub program: String,
    /// Its arguments, its own name first.
    pub arguments: Vec<String>,
    /// Its variables, each `NAME=VALUE`.
    pub variables: Vec<String>,
    /// Its capabilities beside those that every program has.
    pub grants: Vec<Grant>,
    /// Its log.
    pub log: ProgramLog,
    /// Who pays for it.
    pub account: Account,
    /// The scheduler that places its thread; the program gets it only if it is among the grants.
    pub scheduler: CapIndex,
    /// CPU of its thread, `None` for the one that `ned` runs on.
    pub cpu: Option<u32>,
    /// Priority of its thread.
    pub priority: u8,
    /// Size of its stack in bytes.
    pub stack: u64,
}

/// Why a program stopped without saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kernel's reason.
    pub reason: Option<Reason>,
    /// Exception vector of the processor.
    pub vector: u64,
    /// Error code of a page fault: bit 1 write, bit 4 fetch.
    pub error: u64,
    /// The address that was accessed.
    pub address: u64,
    /// The instruction.
    pub instruction: u64,
    /// The stack pointer.
    pub stack: u64,
}

impl Fault {
    const PAGE_FAULT_WRITE: u64 = 2;
    const PAGE_FAULT_FETCH: u64 = 16;

    /// The exit code that stands for it, as shells show the signal that Linux would send.
    pub const fn code(&self) -> i64 {
        const SIGNALLED: i64 = 128;
        match (self.reason, self.vector) {
            (Some(Reason::Quota), _) => SIGNALLED + 9,
            (_, 0 | 16 | 19) => SIGNALLED + 8,
            (_, 6) => SIGNALLED + 4,
            (_, 1 | 3) => SIGNALLED + 5,
            _ => SIGNALLED + 11,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.error {
            error if error & Self::PAGE_FAULT_FETCH != 0 => "execute",
            error if error & Self::PAGE_FAULT_WRITE != 0 => "write",
            _ => "read",
        };
        match self.reason {
            Some(Reason::PageFault) => write!(f, "page fault, {access} at {:#x}", self.address)?,
            Some(Reason::Quota) => write!(f, "memory limit reached, {access} at {:#x}", self.address)?,
            Some(Reason::Triggered) => f.write_str("triggered exception")?,
            Some(Reason::Exception) | None => write!(f, "exception {}", self.vector)?,
        }
        write!(
            f,
            ", instruction {:#x}, stack {:#x}",
            self.instruction, self.stack
        )
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Exit(i64),
    /// By a fault that nobody handled.
    Fault(Fault),
}

/// What happened to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which one.
    pub task: TaskNumber,
    /// What.
    pub ended: Ended,
}

/// The capabilities of the task, as operations. Errors are texts that name the cause.
///
/// Capabilities that are made live as long as `ned`, except for those of a task, which go with it.
pub trait System {
    /// All capabilities of the task that scripts may use, with their names.
    fn environment(&mut self) -> Vec<(String, CapIndex)>;
    /// Reads a file by its path.
    fn read_file(&mut self, path: &str) -> Result<Vec<u8>, String>;
    /// Makes a gate that is not served yet.
    fn create_channel(&mut self) -> Result<CapIndex, String>;
    /// Asks a namespace for a dataspace; returns its length in bytes, too.
    fn query(&mut self, namespace: CapIndex, name: &str) -> Result<(CapIndex, u64), String>;
    /// Makes a sub-account with a limit in bytes.
    fn create_factory(&mut self, parent: CapIndex, limit: u64) -> Result<CapIndex, String>;
    /// Bytes that an account may still hand out.
    fn available(&mut self, factory: CapIndex) -> Result<u64, String>;
    /// Makes a dataspace.
    fn create_dataspace(&mut self, factory: CapIndex, size: u64) -> Result<CapIndex, String>;
    /// CPUs (a bit each) and highest priority of a scheduler.
    fn scheduler_info(&mut self, scheduler: CapIndex) -> Result<(u64, u8), String>;
    /// Makes a narrower scheduler.
    fn derive_scheduler(&mut self, parent: CapIndex, cpus: u64, max_priority: u8)
    -> Result<CapIndex, String>;
    /// Makes a log.
    fn create_log(&mut self, request: &LogRequest) -> Result<CapIndex, String>;
    /// Makes a namespace of dataspaces with their lengths, served by `ned`.
    fn create_namespace(&mut self, entries: Vec<(String, CapIndex, u64)>) -> Result<CapIndex, String>;
    /// Starts a program; it gets `number`.
    fn start(&mut self, number: TaskNumber, launch: &Launch) -> Result<(), String>;
    /// Removes a task and all that it paid for, if its account is its own.
    fn remove(&mut self, number: TaskNumber);
    /// Waits until a task ends.
    fn wait(&mut self) -> Event;
    /// Shows a line of `ned`'s own.
    fn say(&mut self, line: &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Fault = Fault {
        reason: Some(Reason::PageFault),
        vector: 14,
        error: 6,
        address: 0,
        instruction: 0x20_1000,
        stack: 0x3f_bf00,
    };

    #[test]
    fn faults_tell_what_happened() {
        assert_eq!(
            FAULT.to_string(),
            "page fault, write at 0x0, instruction 0x201000, stack 0x3fbf00"
        );
        let reason = Some(Reason::Exception);
        let division = Fault {
            reason,
            vector: 0,
            ..FAULT
        };
        assert!(division.to_string().starts_with("exception 0, instruction"));
    }

    #[test]
    fn faults_have_the_code_of_their_signal() {
        assert_eq!(FAULT.code(), 139);
        let reason = Some(Reason::Quota);
        assert_eq!(Fault { reason, ..FAULT }.code(), 137);
        assert_eq!(Fault { vector: 0, ..FAULT }.code(), 136);
        assert_eq!(Fault { vector: 6, ..FAULT }.code(), 132);
    }
}
