//! Epochs: an object's memory is reused only after every CPU has left the kernel once.
//!
//! The global epoch advances when each CPU has seen the present one while leaving the kernel, or is halted. What was
//! retired in epoch *e* can't be reached by anybody once the epoch is *e* + 2. A CPU that stays in user mode for long
//! is poked, so that it passes through the kernel.

use crate::cpu::{self, Cpu};
use crate::machine::machine_poke;
use crate::object::{Header, Ref};
use crate::{counters, objects};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The global epoch, alone in its cache lines: each CPU reads it whenever it leaves the kernel.
#[repr(align(128))]
struct Global(AtomicU64);

static GLOBAL: Global = Global(AtomicU64::new(2));

/// Objects that wait for the epoch's end before a CPU bothers the others to get on.
const PATIENCE: u32 = 32;

/// A CPU's part.
pub struct Local {
    /// Epoch seen when the CPU last left the kernel.
    seen: AtomicU64,
    /// Halted: it holds no references.
    halted: AtomicBool,
    /// Retired objects by epoch modulo 3, and the epoch of each list.
    lists: [AtomicPtr<Header>; 3],
    stamps: [AtomicU64; 3],
    waiting: AtomicU32,
    /// The last epoch for whose end the other CPUs were poked.
    poked: AtomicU64,
}

impl Local {
    pub(crate) const fn new() -> Local {
        Local {
            seen: AtomicU64::new(0),
            halted: AtomicBool::new(false),
            lists: [const { AtomicPtr::new(core::ptr::null_mut()) }; 3],
            stamps: [const { AtomicU64::new(0) }; 3],
            waiting: AtomicU32::new(0),
            poked: AtomicU64::new(0),
        }
    }

    /// The CPU is about to leave the kernel: no reference is kept.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.seen
            .store(GLOBAL.0.load(Ordering::Relaxed), Ordering::Release);
    }

    /// The CPU is about to halt, or goes on after having halted.
    pub(crate) fn set_halted(&self, halted: bool) {
        self.leave();
        self.halted.swap(halted, Ordering::SeqCst);
    }

    fn has_seen(&self, epoch: u64) -> bool {
        self.halted.load(Ordering::SeqCst) || self.seen.load(Ordering::Acquire) == epoch
    }
}

/// Hands over an object whose last counted reference is gone.
pub(crate) fn retire(object: Ref<Header>) {
    let local = &Cpu::this().epoch;
    let epoch = GLOBAL.0.load(Ordering::Acquire);
    let index = (epoch % 3) as usize;
    let mut expired = None;
    if local.stamps[index].swap(epoch, Ordering::Relaxed) != epoch {
        // The list is three epochs old or more: its objects are free to go.
        expired = Ref::load(&local.lists[index]);
        local.lists[index].store(core::ptr::null_mut(), Ordering::Relaxed);
    }
    object
        .link
        .store(local.lists[index].load(Ordering::Relaxed), Ordering::Relaxed);
    local.lists[index].store(object.as_ptr(), Ordering::Relaxed);
    local
        .waiting
        .store(local.waiting.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    while let Some(object) = expired {
        expired = Ref::load(&object.link);
        free(local, object);
    }
}

/// Frees retired objects that nobody can see any more, at most `budget`. Tells whether any are left waiting.
pub(crate) fn collect(budget: u32) -> bool {
    let local = &Cpu::this().epoch;
    if local.waiting.load(Ordering::Relaxed) == 0 {
        return false;
    }
    advance(local);
    let epoch = GLOBAL.0.load(Ordering::Acquire);
    let mut left = budget;
    for index in 0..3 {
        // Freeing one object may retire another, perhaps into this list and then with a new stamp.
        while left > 0 && local.stamps[index].load(Ordering::Relaxed) + 2 <= epoch {
            let Some(object) = Ref::load(&local.lists[index]) else {
                break;
            };
            local.lists[index].store(object.link.load(Ordering::Relaxed), Ordering::Relaxed);
            free(local, object);
            left -= 1;
        }
    }
    local.waiting.load(Ordering::Relaxed) != 0
}

/// Tells whether retired objects wait on this CPU.
pub(crate) fn is_waiting() -> bool {
    Cpu::this().epoch.waiting.load(Ordering::Relaxed) != 0
}

/// Makes CPUs that hold up the epoch pass through the kernel; once per epoch.
pub(crate) fn hurry() {
    let local = &Cpu::this().epoch;
    let epoch = GLOBAL.0.load(Ordering::Acquire);
    if local.poked.swap(epoch, Ordering::Relaxed) != epoch {
        for cpu in cpu::all().filter(|cpu| !cpu.epoch.has_seen(epoch) && !core::ptr::eq(*cpu, Cpu::this())) {
            machine_poke(cpu.number());
        }
    }
}

fn advance(local: &Local) {
    let epoch = GLOBAL.0.load(Ordering::Acquire);
    if cpu::all().all(|cpu| cpu.epoch.has_seen(epoch)) {
        // Another CPU may have advanced it meanwhile, which is as good.
        let _ = GLOBAL
            .0
            .compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Relaxed);
    } else if local.waiting.load(Ordering::Relaxed) > PATIENCE {
        hurry();
    }
}

fn free(local: &Local, object: Ref<Header>) {
    local
        .waiting
        .store(local.waiting.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    objects::free(object);
    counters::dying(-1);
}
