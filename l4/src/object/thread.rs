use super::request;
use crate::protocol::{THREAD, thread};
use crate::{CapIndex, Error, Utcb};

/// A thread. Operations need the strong right unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread(pub CapIndex);

/// What a thread has used, and where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStats {
    /// CPU time in nanoseconds.
    pub cpu_time: u64,
    /// 1 (lowest) to 255.
    pub priority: u8,
    /// Number of its CPU.
    pub cpu: u32,
}

impl Thread {
    /// Sends the thread's faults to `handler` from now on, as [`super::Factory::create_thread`] explains.
    pub fn set_handler(self, handler: CapIndex, label: u64) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::SET_HANDLER, handler.word(), label]).map(drop)
    }

    /// Sends the thread's faults where the calling thread's go, from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nobody handles those; [`Error::Invalid`] for the calling thread itself.
    pub fn share_handler(self) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::SHARE_HANDLER]).map(drop)
    }

    /// Has the thread enter its own fault entry with reason [`crate::exception::Reason::Triggered`], if it computes, has one,
    /// and handles no fault already.
    ///
    /// # Errors
    /// [`Error::Busy`] if it waits; nothing happens to it then.
    pub fn signal(self) -> Result<(), Error> {
        let words = [thread::EX_REGS, u64::MAX, u64::MAX, thread::EX_REGS_SIGNAL];
        request(self.0, THREAD, &words).map(drop)
    }

    /// Sets instruction and stack pointer (`u64::MAX` keeps one), cancels a blocked IPC or raises an exception, as
    /// `flags` ([`thread::EX_REGS_CANCEL`], [`thread::EX_REGS_TRIGGER`]) say. Returns the old pointers.
    pub fn ex_regs(self, ip: u64, sp: u64, flags: u64) -> Result<(u64, u64), Error> {
        request(self.0, THREAD, &[thread::EX_REGS, ip, sp, flags])?;
        let utcb = Utcb::current();
        Ok((utcb.word(0), utcb.word(1)))
    }

    /// Gives the rest of the calling thread's time slice to the next thread of its priority (only for one's own thread).
    pub fn yield_now(self) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::YIELD]).map(drop)
    }

    /// CPU time that the thread has used, in nanoseconds (read right).
    pub fn cpu_time(self) -> Result<u64, Error> {
        request(self.0, THREAD, &[thread::STATS])?;
        Ok(Utcb::current().word(0))
    }

    /// CPU and priority that the thread runs with, and its CPU time (read right).
    pub fn stats(self) -> Result<ThreadStats, Error> {
        request(self.0, THREAD, &[thread::STATS])?;
        let utcb = Utcb::current();
        Ok(ThreadStats {
            cpu_time: utcb.word(0),
            priority: utcb.word(1) as u8,
            cpu: utcb.word(2) as u32,
        })
    }

    /// Sets the thread's FS base and GS base (`u64::MAX` keeps one).
    pub fn set_bases(self, fs_base: u64, gs_base: u64) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::SET_BASES, fs_base, gs_base]).map(drop)
    }

    /// Makes `syscall` instructions that are not native enter `entry` in the thread itself, all registers but rcx and
    /// r11 kept, with the return address in UTCB word [`crate::utcb::PERSONALITY_RETURN`]. 0 switches it off.
    pub fn set_personality(self, entry: u64) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::SET_PERSONALITY, entry]).map(drop)
    }

    /// Makes faults of the thread enter `entry` in the thread itself on the stack `stack`, with its registers in the
    /// fault record behind the UTCB. A fault while one is being handled goes to the handler gate. 0 switches it off.
    pub fn set_fault_entry(self, entry: u64, stack: u64) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::SET_FAULT_ENTRY, entry, stack]).map(drop)
    }

    /// Continues after an in-thread fault with the (perhaps changed) registers of the fault record. Only for one's own
    /// thread; returns only on an error.
    pub fn resume(self) -> Error {
        match request(self.0, THREAD, &[thread::RESUME]) {
            Ok(_) => Error::Invalid,
            Err(error) => error,
        }
    }

    /// Moves the thread's implicit reply capability into the free slot `slot` (only for one's own thread).
    pub fn take_reply(self, slot: CapIndex) -> Result<(), Error> {
        request(self.0, THREAD, &[thread::TAKE_REPLY, slot.word()]).map(drop)
    }

    /// Ends the calling thread (only for one's own thread).
    pub fn exit(self) -> Error {
        match request(self.0, THREAD, &[thread::EXIT]) {
            Ok(_) => Error::Invalid,
            Err(error) => error,
        }
    }

    /// Four words of randomness from the kernel's generator (any right).
    pub fn random(self) -> Result<[u64; 4], Error> {
        request(self.0, THREAD, &[thread::RANDOM])?;
        let mut words = [0; 4];
        Utcb::current().read(0, &mut words);
        Ok(words)
    }
}
