//! The state of the Linux program in this task.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use interfaces::faas::PAYLOAD_MAX;

use crate::files::{Exchange, Files};
use crate::memory::Heap;
use crate::signal::Signals;
use crate::thread::{Threads, Wait};
use crate::{Departure, Errno, System, table};

/// What a handler answers: the value for rax, or an error number.
pub(crate) type Answer = Result<u64, Errno>;

/// How a system call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program goes on with this value in rax.
    Return(u64),
    /// The thread is to be parked until this time of the kernel clock, and the call is to be made again.
    Wait(u64),
    /// The thread returns from a signal's handler: [`Process::return_from_handler`].
    ReturnFromHandler,
    /// The thread ends and leaves this to others.
    EndThread(Departure),
    /// The program has ended: the thread must not go on.
    Stop,
    /// The program ends with this exit code.
    Exit(i32),
    /// The program ends; its response has so many bytes.
    Respond(u64),
    /// The program ends: its response would have so many bytes, more than it may.
    TooLong(u64),
}

/// What the start of the program tells about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path of the executable, for `/proc/self/exe`.
    pub path: String,
    /// First page-aligned address behind the program's image: where its heap starts.
    pub image_end: u64,
    /// First address of the main thread's stack.
    pub stack_start: u64,
    /// Standard input is a request, and standard output the response: the task's parent is a supervisor of workers.
    pub serves_request: bool,
}

/// A Linux program: everything about it that Linux would keep in its kernel.
pub struct Process<S> {
    pub(crate) system: S,
    pub(crate) program: Program,
    pub(crate) heap: Heap,
    pub(crate) files: Files,
    /// The request that the program serves, if it does.
    pub(crate) exchange: Option<Exchange>,
    pub(crate) signals: Signals,
    pub(crate) threads: Threads,
    pub(crate) exit: Option<i32>,
    /// What the calling thread leaves, if its call ends it.
    pub(crate) departure: Option<Departure>,
    ended: bool,
    /// Threads that wait for files to change.
    pub(crate) file_waiters: Vec<u32>,
    /// The log has been told that there is no `fork`.
    pub(crate) told_of_fork: bool,
    reported: [u64; 8],
}

impl<S: System> Process<S> {
    /// A program that has not run yet.
    pub fn new(system: S, program: Program) -> Process<S> {
        let mut name = [0; 16];
        let file = program.path.rsplit('/').next().unwrap_or_default().as_bytes();
        let length = file.len().min(name.len() - 1);
        name[..length].copy_from_slice(&file[..length]);
        Process {
            heap: Heap::new(program.image_end),
            files: Files::new(program.serves_request),
            exchange: program.serves_request.then(Exchange::default),
            signals: Signals::new(),
            threads: Threads::new(name),
            exit: None,
            departure: None,
            ended: false,
            file_waiters: Vec::new(),
            told_of_fork: false,
            reported: [0; 8],
            system,
            program,
        }
    }

    /// The task's capabilities, for who shares the process with the program.
    pub fn system(&mut self) -> &mut S {
        &mut self.system
    }

    /// Answers a system call of the thread with this number: the call's number (rax) and arguments (rdi, rsi, rdx, r10,
    /// r8, r9). Calls that [`answer_alone`](crate::answer_alone) answers are not known here.
    pub fn system_call(&mut self, thread: u32, number: u64, arguments: &[u64; 6]) -> Outcome {
        if self.ended {
            return Outcome::Stop;
        }
        self.threads.enter(thread);
        let answer = table::answer(self, number, arguments).unwrap_or_else(|| {
            self.report_unknown(number);
            Err(Errno::NOSYS)
        });
        self.conclude(answer)
    }

    /// How the calling thread goes on whose call has this answer.
    pub(crate) fn conclude(&mut self, answer: Answer) -> Outcome {
        if let Some(departure) = self.departure.take() {
            return Outcome::EndThread(departure);
        }
        if let Some(code) = self.exit {
            self.end();
            return self.outcome(code);
        }
        let thread = self.threads.current();
        let answer = match thread.wait.take() {
            Some(wait) if thread.signals.is_due() => Err(wait.if_interrupted),
            Some(wait) => return Outcome::Wait(wait.deadline),
            None if thread.returns => {
                thread.returns = false;
                return Outcome::ReturnFromHandler;
            }
            None => answer,
        };
        thread.deadline = None;
        if !answer.is_err_and(Errno::is_restart) {
            self.restore_mask();
        }
        Outcome::Return(answer.unwrap_or_else(Errno::result))
    }

    /// The program has not ended.
    pub(crate) fn is_running(&self) -> bool {
        !self.ended && self.exit.is_none()
    }

    /// Ends the program with this code, because of something that is no system call. False if it has ended already.
    pub fn end(&mut self) -> bool {
        if self.ended {
            return false;
        }
        self.ended = true;
        self.flush_output();
        let caller = self.system.thread();
        for (number, _) in self.threads.numbered() {
            if number != caller {
                self.system.interrupt(number);
            }
        }
        true
    }

    /// Has the calling thread make its call again at `deadline`, unless that has passed. `deadline` is that of the
    /// call's first try, which the thread remembers. If a signal comes first, the call's result is `if_interrupted`.
    pub(crate) fn wait_until(&mut self, deadline: u64, if_interrupted: Errno) {
        let thread = self.threads.current();
        let deadline = *thread.deadline.get_or_insert(deadline);
        if self.system.now() < deadline {
            thread.wait = Some(Wait {
                deadline,
                if_interrupted,
            });
        }
    }

    /// How a program that ends with `code` ends.
    fn outcome(&self, code: i32) -> Outcome {
        match self.exchange {
            Some(exchange) if exchange.written > PAYLOAD_MAX => Outcome::TooLong(exchange.written),
            Some(exchange) if code == 0 => Outcome::Respond(exchange.written),
            _ => Outcome::Exit(code),
        }
    }

    /// Says once per number that a program wanted a call that does not exist here.
    fn report_unknown(&mut self, number: u64) {
        // All numbers beyond those that can be remembered share the last bit.
        let bit = number.min(self.reported.len() as u64 * 64 - 1) as usize;
        let (word, mask) = (bit / 64, 1 << (bit % 64));
        if self.reported[word] & mask == 0 {
            self.reported[word] |= mask;
            let text = format!("linux-abi: system call {number} is not implemented (ENOSYS)\n");
            self.system.log(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::process;

    #[test]
    fn unknown_calls_are_reported_once_per_number() {
        let mut process = process();
        for number in [400, 400, 401, u64::MAX, u64::MAX] {
            assert_eq!(
                process.system_call(0, number, &[0; 6]),
                Outcome::Return(Errno::NOSYS.result())
            );
        }
        let log = process.system.log_text();
        assert_eq!(log.matches("system call 400 ").count(), 1);
        assert_eq!(log.matches("system call 401 ").count(), 1);
        assert_eq!(log.lines().count(), 3);
    }

    #[test]
    fn name_is_that_of_the_executable() {
        assert_eq!(&process().threads.current().name[..5], b"test\0");
    }
}
