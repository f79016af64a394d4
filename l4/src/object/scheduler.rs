use super::{create, request};
use crate::protocol::{SCHEDULER, scheduler};
use crate::{CapIndex, Error, Utcb};

/// A scheduler: the right to run threads on some CPUs up to some priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduler(pub CapIndex);

/// What a scheduler permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerInfo {
    /// Bit n: CPU n runs and may be used.
    pub cpus: u64,
    /// Highest priority that may be given.
    pub max_priority: u8,
}

/// Where and how a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// CPU number, or [`Placement::SAME_CPU`] for the caller's.
    pub cpu: u32,
    /// 1 (lowest) to 255.
    pub priority: u8,
    /// Time slice in microseconds, 0 for the default of 10 ms.
    pub slice_us: u32,
}

impl Placement {
    /// "The CPU that the caller runs on."
    pub const SAME_CPU: u32 = u32::MAX;
}

/// First registers of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// First instruction.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Argument, in rdi.
    pub argument: u64,
}

impl Scheduler {
    /// CPUs and priorities that may be used.
    pub fn info(self) -> Result<SchedulerInfo, Error> {
        request(self.0, SCHEDULER, &[scheduler::INFO])?;
        let utcb = Utcb::current();
        Ok(SchedulerInfo {
            cpus: utcb.word(0),
            max_priority: utcb.word(1) as u8,
        })
    }

    /// Starts a thread that never ran (strong right on both).
    pub fn start(self, thread: CapIndex, place: Placement, start: Start) -> Result<(), Error> {
        let slice = place.slice_us as u64;
        let words = [
            scheduler::RUN_THREAD,
            thread.word(),
            place.cpu as u64,
            place.priority as u64,
            slice,
            start.ip,
            start.sp,
            start.argument,
        ];
        request(self.0, SCHEDULER, &words).map(drop)
    }

    /// Moves a thread to another CPU or priority (strong right on both).
    pub fn place(self, thread: CapIndex, place: Placement) -> Result<(), Error> {
        let words = [
            scheduler::RUN_THREAD,
            thread.word(),
            place.cpu as u64,
            place.priority as u64,
            place.slice_us as u64,
        ];
        request(self.0, SCHEDULER, &words).map(drop)
    }

    /// Time that a CPU has been idle, in nanoseconds.
    pub fn idle_time(self, cpu: u32) -> Result<u64, Error> {
        request(self.0, SCHEDULER, &[scheduler::IDLE_TIME, cpu as u64])?;
        Ok(Utcb::current().word(0))
    }

    /// Derives a narrower scheduler: CPUs in `cpus`, priorities up to `max_priority` (strong right).
    /// It is paid for by `factory`.
    pub fn derive(
        self,
        factory: CapIndex,
        cpus: u64,
        max_priority: u8,
        slot: CapIndex,
    ) -> Result<Scheduler, Error> {
        create(
            self.0,
            SCHEDULER,
            &[scheduler::DERIVE, factory.word(), cpus, max_priority as u64],
            slot,
        )?;
        Ok(Scheduler(slot))
    }
}
