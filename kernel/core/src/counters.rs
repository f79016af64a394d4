//! Counters: how many objects there are, and what each CPU did.

use crate::object::Kind;
use core::sync::atomic::{AtomicU64, Ordering};

/// A CPU's counters since boot. Only that CPU counts, so a plain load and store does.
pub struct CpuCounters {
    values: [AtomicU64; Event::COUNT],
}

/// What a CPU counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "named as what is counted")]
pub enum Event {
    SystemCall,
    Message,
    PageFault,
    ThreadSwitch,
    SpaceSwitch,
    Interrupt,
    IdleNanoseconds,
}

impl Event {
    /// Number of events.
    pub const COUNT: usize = 7;
}

impl CpuCounters {
    pub(crate) const fn new() -> CpuCounters {
        CpuCounters {
            values: [const { AtomicU64::new(0) }; Event::COUNT],
        }
    }

    /// Counts an event.
    #[inline(always)]
    pub fn count(&self, event: Event) {
        self.add(event, 1);
    }

    /// Adds to a counter.
    #[inline(always)]
    pub fn add(&self, event: Event, amount: u64) {
        let value = &self.values[event as usize];
        value.store(
            value.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }

    /// All counters, in the order of [`Event`].
    pub fn snapshot(&self) -> [u64; Event::COUNT] {
        core::array::from_fn(|index| self.values[index].load(Ordering::Relaxed))
    }

    /// One counter.
    pub fn get(&self, event: Event) -> u64 {
        self.values[event as usize].load(Ordering::Relaxed)
    }
}

/// How much each CPU added to the number of things that exist; the number is the sum over all CPUs, so counting
/// shares no cache line. Who reads that something is over reads all that was counted before, too.
#[repr(align(128))]
struct Existing {
    objects: [AtomicU64; Kind::COUNT],
    capabilities: AtomicU64,
    dying: AtomicU64,
}

static EXISTING: [Existing; crate::cpu::MAX_CPUS] = [const {
    Existing {
        objects: [const { AtomicU64::new(0) }; Kind::COUNT],
        capabilities: AtomicU64::new(0),
        dying: AtomicU64::new(0),
    }
}; crate::cpu::MAX_CPUS];

fn bump(pick: impl Fn(&Existing) -> &AtomicU64, by: i64) {
    let counter = pick(&EXISTING[crate::machine::machine_cpu() as usize]);
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add_signed(by),
        Ordering::Release,
    );
}

fn total(pick: impl Fn(&Existing) -> &AtomicU64) -> u64 {
    EXISTING.iter().fold(0, |sum, existing| {
        sum.wrapping_add(pick(existing).load(Ordering::Acquire))
    })
}

/// Counts an object that came to exist.
pub(crate) fn object_created(kind: Kind) {
    bump(|existing| &existing.objects[kind as usize], 1);
}

/// Counts an object whose memory is free again.
pub(crate) fn object_freed(kind: Kind) {
    bump(|existing| &existing.objects[kind as usize], -1);
}

/// Counts an object whose end has begun (`by` 1) or is over (−1).
pub(crate) fn dying(by: i64) {
    bump(|existing| &existing.dying, by);
}

/// Counts a capability slot filled (`by` 1) or emptied (−1).
pub(crate) fn capability(by: i64) {
    bump(|existing| &existing.capabilities, by);
}

/// Objects of a kind that exist.
pub fn objects(kind: Kind) -> u64 {
    total(|existing| &existing.objects[kind as usize])
}

/// Capability slots in use.
pub fn capabilities() -> u64 {
    total(|existing| &existing.capabilities)
}

/// Objects whose end has begun and whose memory is about to be free; a dataspace that a region still shows is not among
/// them.
pub fn dying_objects() -> u64 {
    total(|existing| &existing.dying)
}
