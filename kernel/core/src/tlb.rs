//! TLB shootdown: after a translation was removed or reduced, no CPU may use the old one.
//!
//! The CPU that changed a table raises the request counter of each CPU that has the address space loaded and waits
//! until that CPU has flushed. A CPU serves requests when it is poked, at each kernel entry that finds one, and
//! while it spins on a lock, so two CPUs that shoot at each other both get on.

use crate::cpu::{self, Cpu};
use crate::machine::{machine_cpu, machine_flush_all, machine_flush_page, machine_poke};
use crate::memory::PhysAddr;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A CPU's side of shootdowns.
pub struct Requests {
    asked: AtomicU64,
    done: AtomicU64,
    /// Root table that the CPU has loaded; 0 means the kernel's.
    loaded: AtomicU64,
}

impl Requests {
    pub(crate) const fn new() -> Requests {
        Requests {
            asked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
        }
    }

    /// Notes that this CPU is about to load `root`, as the next thing it does. Loading CR3 serialises, so the store is
    /// visible before the first translation through the new table.
    #[inline(always)]
    pub(crate) fn set_loaded(&self, root: PhysAddr) {
        self.loaded.store(root.0, Ordering::Release);
    }

    fn serve(&self) {
        let asked = self.asked.load(Ordering::SeqCst);
        if asked != self.done.load(Ordering::Relaxed) {
            machine_flush_all();
            self.done.store(asked, Ordering::SeqCst);
        }
    }
}

/// Serves requests that other CPUs have made of this one.
#[inline]
pub fn serve() {
    Cpu::this().tlb.serve();
}

/// Tells whether a CPU has the address space loaded.
pub fn is_loaded(root: PhysAddr) -> bool {
    fence(Ordering::SeqCst);
    cpu::all().any(|cpu| cpu.tlb.loaded.load(Ordering::SeqCst) == root.0)
}

/// Returns when no CPU uses a translation of the address space `root` that was removed before the call.
pub fn flush_space(root: PhysAddr) {
    if Cpu::this().tlb.loaded.load(Ordering::SeqCst) == root.0 {
        machine_flush_all();
    }
    flush_others(root);
}

/// The same when one page was changed: this CPU keeps its other translations.
pub fn flush_page(root: PhysAddr, address: u64) {
    machine_flush_page(address);
    flush_others(root);
}

fn flush_others(root: PhysAddr) {
    fence(Ordering::SeqCst);
    let this = machine_cpu();
    for cpu in cpu::all() {
        if cpu.tlb.loaded.load(Ordering::SeqCst) != root.0 || cpu.number() == this {
            continue;
        }
        let ticket = cpu.tlb.asked.fetch_add(1, Ordering::SeqCst) + 1;
        machine_poke(cpu.number());
        while cpu.tlb.done.load(Ordering::SeqCst) < ticket && cpu.tlb.loaded.load(Ordering::SeqCst) == root.0
        {
            serve();
            core::hint::spin_loop();
        }
    }
}
