//! Each CPU's one-shot timer: TSC deadline where present (untested, see the APIC), else the APIC's counter.
//!
//! Programming the hardware is expensive in a virtual machine, and most deadlines are replaced before they
//! pass. So a later deadline than the armed one is only noted: when the hardware fires, the timer is armed
//! again for what is then wanted, and only a deadline that has passed counts as an interrupt.

// UNSAFETY: a model-specific register.
#![allow(unsafe_code, reason = "the deadline timer is a model-specific register")]

use core::sync::atomic::{AtomicU64, Ordering};

use platform::timescale::Timescale;
use x86_64::registers::model_specific::Msr;

use super::{apic, clock, cpu_area};

const TSC_DEADLINE: u32 = 0x6e0;

static TSC_TICKS_PER_NS: AtomicU64 = AtomicU64::new(0);
static APIC_TICKS_PER_NS: AtomicU64 = AtomicU64::new(0);

/// Makes the counters' rates known. Called once, before any timer is set.
pub(crate) fn set_scales(tsc: Timescale, apic_timer: Option<Timescale>) {
    TSC_TICKS_PER_NS.store(tsc.ticks_per_ns, Ordering::Relaxed);
    APIC_TICKS_PER_NS.store(
        apic_timer.map_or(0, |scale| scale.ticks_per_ns),
        Ordering::Relaxed,
    );
}

fn uses_deadline() -> bool {
    APIC_TICKS_PER_NS.load(Ordering::Relaxed) == 0
}

/// Makes this CPU's timer ready; nothing is armed.
pub(crate) fn initialise() {
    if uses_deadline() {
        apic::use_deadline_timer()
    } else {
        apic::use_count_timer()
    }
}

/// Wants an interrupt at `deadline` (nanoseconds since boot; `u64::MAX`: none), instead of what was wanted
/// before. One that has passed fires at once.
#[inline]
pub(crate) fn set(deadline: u64) {
    let area = cpu_area::this();
    area.deadline_wanted.set(deadline);
    if deadline < area.deadline_armed.get() {
        arm(deadline);
    }
}

/// Handles the hardware's interrupt; tells whether the deadline wanted has passed.
pub(crate) fn fired() -> bool {
    let area = cpu_area::this();
    area.deadline_armed.set(u64::MAX);
    let wanted = area.deadline_wanted.get();
    if wanted == u64::MAX {
        return false;
    }
    if clock::now() >= wanted {
        area.deadline_wanted.set(u64::MAX);
        return true;
    }
    arm(wanted);
    false
}

#[inline(never)]
fn arm(deadline: u64) {
    cpu_area::this().deadline_armed.set(deadline);
    if uses_deadline() {
        let (base, _) = clock::parameters();
        let ticks = scale(deadline, &TSC_TICKS_PER_NS);
        // A deadline of 0 would switch the timer off.
        let deadline = base.saturating_add(ticks).max(1);
        // SAFETY: the timer's interrupt has a handler, and the processor has the register.
        unsafe { Msr::new(TSC_DEADLINE).write(deadline) };
        return;
    }
    let ticks = scale(deadline.saturating_sub(clock::now()), &APIC_TICKS_PER_NS);
    // The counter may be too narrow: it then fires early, and is armed again.
    apic::set_timer_count(u32::try_from(ticks.max(1)).unwrap_or(u32::MAX));
}

fn scale(ns: u64, ticks_per_ns: &AtomicU64) -> u64 {
    let scale = Timescale {
        ns_per_tick: 0,
        ticks_per_ns: ticks_per_ns.load(Ordering::Relaxed),
    };
    scale.ticks(ns)
}
