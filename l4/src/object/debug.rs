use super::request;
use crate::protocol::{DEBUG, ICU, PLATFORM, VCON, debug, icu, platform, vcon};
use crate::{CapIndex, Error, Tag, Utcb, syscall};

/// Names and counters of the kernel's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debug(pub CapIndex);

/// The machine's counters, each a number of things that exist now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Usable frames of memory.
    pub total_frames: u64,
    /// Frames that are free.
    pub free_frames: u64,
    /// Factories (accounts).
    pub factories: u64,
    /// Tasks.
    pub tasks: u64,
    /// Threads.
    pub threads: u64,
    /// Gates.
    pub gates: u64,
    /// Notifications.
    pub irqs: u64,
    /// Dataspaces.
    pub dataspaces: u64,
    /// Schedulers.
    pub schedulers: u64,
    /// Capability slots in use, all tasks together.
    pub capabilities: u64,
    /// Destroyed objects whose memory is about to be free again. A dataspace without a capability that a region still
    /// shows is not among them.
    pub dying: u64,
}

/// A CPU's counters since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCounters {
    /// System calls.
    pub system_calls: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Page faults resolved in the kernel.
    pub page_faults: u64,
    /// Switches between threads.
    pub thread_switches: u64,
    /// Switches between address spaces.
    pub space_switches: u64,
    /// Interrupts taken.
    pub interrupts: u64,
    /// Nanoseconds without a thread to run.
    pub idle_ns: u64,
}

impl Debug {
    /// Names an object for dumps; the first 15 bytes count.
    pub fn set_name(self, object: CapIndex, name: &str) -> Result<(), Error> {
        let bytes = &name.as_bytes()[..name.len().min(15)];
        let utcb = Utcb::current();
        utcb.write(0, &[debug::SET_NAME, object.word()]);
        utcb.set_word(2, 0);
        utcb.set_word(3, 0);
        utcb.write_bytes(2, bytes);
        syscall::call(self.0, Tag::new(DEBUG, 4, 0)).result().map(drop)
    }

    /// The machine's counters.
    pub fn counters(self) -> Result<Counters, Error> {
        request(self.0, DEBUG, &[debug::COUNTERS])?;
        let utcb = Utcb::current();
        Ok(Counters {
            total_frames: utcb.word(0),
            free_frames: utcb.word(1),
            factories: utcb.word(2),
            tasks: utcb.word(3),
            threads: utcb.word(4),
            gates: utcb.word(5),
            irqs: utcb.word(6),
            dataspaces: utcb.word(7),
            schedulers: utcb.word(8),
            capabilities: utcb.word(9),
            dying: utcb.word(10),
        })
    }

    /// A CPU's counters.
    pub fn cpu_counters(self, cpu: u32) -> Result<CpuCounters, Error> {
        request(self.0, DEBUG, &[debug::CPU_COUNTERS, cpu as u64])?;
        let utcb = Utcb::current();
        Ok(CpuCounters {
            system_calls: utcb.word(0),
            messages: utcb.word(1),
            page_faults: utcb.word(2),
            thread_switches: utcb.word(3),
            space_switches: utcb.word(4),
            interrupts: utcb.word(5),
            idle_ns: utcb.word(6),
        })
    }

    /// Does nothing and answers: the cost of a call.
    #[inline(always)]
    pub fn null(self) -> Result<(), Error> {
        Utcb::current().set_word(0, debug::NULL);
        syscall::call(self.0, Tag::new(DEBUG, 1, 0)).result().map(drop)
    }
}

/// A console: the kernel's, or one that a server stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcon(pub CapIndex);

impl Vcon {
    /// Most bytes of one message.
    pub const CHUNK: usize = 61 * 8;

    /// Writes bytes (write right). Pieces of up to [`Self::CHUNK`] bytes don't mix with other writers'.
    pub fn write(self, bytes: &[u8]) -> Result<(), Error> {
        for chunk in bytes.chunks(Self::CHUNK) {
            let utcb = Utcb::current();
            utcb.write(0, &[vcon::WRITE, chunk.len() as u64]);
            let words = utcb.write_bytes(2, chunk);
            syscall::call(self.0, Tag::new(VCON, 2 + words, 0)).result()?;
        }
        Ok(())
    }
}

/// Control of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform(pub CapIndex);

impl Platform {
    /// Powers off with a verdict (strong right). Returns only on an error.
    pub fn power_off(self, success: bool) -> Error {
        match request(self.0, PLATFORM, &[platform::POWER_OFF, !success as u64]) {
            Ok(_) => Error::Io,
            Err(error) => error,
        }
    }
}

/// The interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icu(pub CapIndex);

impl Icu {
    /// Number of interrupt lines.
    pub fn lines(self) -> Result<u64, Error> {
        request(self.0, ICU, &[icu::INFO])?;
        Ok(Utcb::current().word(0))
    }

    /// Triggers `irq` (write right) on each interrupt of `line`, which stays masked until [`Self::unmask`].
    pub fn bind(self, line: u32, irq: CapIndex) -> Result<(), Error> {
        request(self.0, ICU, &[icu::BIND, line as u64, irq.word()]).map(drop)
    }

    /// Undoes [`Self::bind`].
    pub fn unbind(self, line: u32) -> Result<(), Error> {
        request(self.0, ICU, &[icu::UNBIND, line as u64]).map(drop)
    }

    /// Lets interrupts of `line` through. A level-triggered line is masked again with each interrupt.
    pub fn unmask(self, line: u32) -> Result<(), Error> {
        request(self.0, ICU, &[icu::UNMASK, line as u64]).map(drop)
    }

    /// Masks `line`.
    pub fn mask(self, line: u32) -> Result<(), Error> {
        request(self.0, ICU, &[icu::MASK, line as u64]).map(drop)
    }
}
