//! A CPU without a thread to run: it works on dying objects, zeroes frames ahead, and halts.

use crate::counters::Event;
use crate::cpu::{Cpu, Domain};
use crate::machine::{
    machine_allow_interrupts, machine_now, machine_take_device, machine_take_interrupts,
    machine_wait_for_interrupt,
};
use crate::memory::frame;
use crate::{epoch, objects, reaper, schedule};
use core::sync::atomic::Ordering;

/// Frames to zero ahead at one go.
const ZERO_AHEAD: u32 = 8;
/// Objects that wait for other CPUs are looked at again after this time, in nanoseconds.
const EPOCH_INTERVAL_NS: u64 = 1_000_000;

/// Returns when a thread runs on the CPU.
pub(super) fn wait_for_thread(cpu: &'static Cpu) {
    let since = machine_now();
    loop {
        cpu.due.store(false, Ordering::Relaxed);
        handle_interrupts(cpu);
        objects::run_deferred(cpu);
        if is_ready(cpu) {
            break;
        }
        cpu.epoch.leave();
        let busy =
            (reaper::work(reaper::BUDGET) && cpu.reaper.has_work()) || frame::zero_ahead(ZERO_AHEAD) > 0;
        // The end of an object may have made a notification due, or a thread ready.
        if busy || cpu.due.load(Ordering::Relaxed) {
            machine_allow_interrupts();
            continue;
        }
        halt(cpu);
    }
    cpu.counters.add(Event::IdleNanoseconds, machine_now() - since);
    schedule::run_next(cpu);
}

fn is_ready(cpu: &'static Cpu) -> bool {
    let domain = Domain::lock(cpu);
    !cpu.handoff.load(Ordering::Relaxed).is_null() || cpu.run_queue.highest(&domain).is_some()
}

fn halt(cpu: &'static Cpu) {
    if epoch::is_waiting() {
        epoch::hurry();
        let domain = Domain::lock(cpu);
        cpu.timeouts
            .program_at(&domain, machine_now() + EPOCH_INTERVAL_NS);
    }
    cpu.epoch.set_halted(true);
    machine_wait_for_interrupt();
    cpu.epoch.set_halted(false);
}

/// Acts on interrupts that were recorded while the CPU was in the kernel.
fn handle_interrupts(cpu: &'static Cpu) {
    let recorded = machine_take_interrupts();
    if recorded == 0 {
        return;
    }
    cpu.counters.count(Event::Interrupt);
    if recorded & 1 != 0 {
        schedule::tick(cpu);
    }
    if recorded & 2 != 0 {
        poked(cpu);
    }
    if recorded & 4 != 0 {
        loop {
            match machine_take_device() {
                u32::MAX => break,
                line => objects::interrupt(line),
            }
        }
    }
}

/// Another CPU poked this one: it may have to flush its TLB, program its timer or choose another thread.
pub(crate) fn poked(cpu: &'static Cpu) {
    crate::tlb::serve();
    cpu.timeouts.reprogram(&Domain::lock(cpu));
    cpu.due.store(true, Ordering::Relaxed);
}
