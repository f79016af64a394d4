//! Making threads ready, choosing the next one, and switching to it.
#![expect(unsafe_code, reason = "switching registers")]

use super::idle;
use crate::counters::Event;
use crate::cpu::{self, Cpu, Domain};
use crate::machine::{
    machine_activate, machine_exchange, machine_now, machine_poke, machine_switch, machine_ticks,
};
use crate::object::Ref;
use crate::objects::Task;
use crate::thread::{State, Thread};
use core::sync::atomic::Ordering;
use l4::NEVER;

/// Makes a thread ready whose wait is over; its home is locked. On this CPU it becomes the one to switch to next.
pub(crate) fn wake(domain: &Domain, thread: Ref<Thread>) {
    thread.state.set(domain, State::Ready);
    let home = thread.home();
    if home.current() == Some(thread) {
        // Its CPU has not left it yet since it began to wait, and will find it ready when it looks for the next one.
        home.due.store(true, Ordering::Release);
        return;
    }
    if thread.frozen.get(domain) {
        return;
    }
    if core::ptr::eq(home, Cpu::this()) {
        match Ref::load(&home.handoff) {
            Some(other) if other.priority() >= thread.priority() => enqueue(domain, home, thread),
            other => {
                home.due.store(true, Ordering::Relaxed);
                home.handoff.store(thread.as_ptr(), Ordering::Relaxed);
                if let Some(other) = other {
                    enqueue(domain, home, other);
                }
            }
        }
    } else {
        enqueue(domain, home, thread);
        preempt(home, thread.priority());
    }
}

/// Makes a CPU look for a better thread if what runs there is of lower priority.
fn preempt(home: &Cpu, priority: u8) {
    if home.current().is_none_or(|current| current.priority() < priority) {
        home.due.store(true, Ordering::Release);
        if !core::ptr::eq(home, Cpu::this()) {
            machine_poke(home.number());
        }
    }
}

fn enqueue(domain: &Domain, home: &Cpu, thread: Ref<Thread>) {
    home.run_queue.push_back(domain, thread);
    if home
        .current()
        .is_some_and(|current| current.priority() == thread.priority())
    {
        limit_slice(domain, home);
    }
}

/// Starts the clock of the current thread's slice, unless it runs already: someone of its priority waits.
fn limit_slice(domain: &Domain, home: &Cpu) {
    if let Some(current) = home.current()
        && home.timeouts.slice_end(domain) == NEVER
    {
        // What it ran alone before does not count.
        home.timeouts
            .set_slice_end(domain, machine_now().saturating_add(current.slice.get(domain)));
    }
}

/// Takes a ready thread that does not run out of its CPU's queue, if it is in it: a frozen one is not.
pub(crate) fn remove(domain: &Domain, home: &Cpu, thread: Ref<Thread>) {
    if !is_queued(domain, home, thread) {
        return;
    }
    if home.handoff.load(Ordering::Relaxed) == thread.as_ptr() {
        home.handoff.store(core::ptr::null_mut(), Ordering::Relaxed);
    } else {
        home.run_queue.remove(domain, thread);
    }
}

/// Dying objects wait for this CPU's attention.
pub(crate) fn expect_work() {
    let cpu = Cpu::this();
    if !cpu.reaper_timer.load(Ordering::Relaxed) {
        cpu.due.store(true, Ordering::Relaxed);
    }
}

/// Switches from this CPU's current thread, which waits, to the one that it sent a message to; nobody else is ready.
#[inline(always)]
pub(crate) fn switch_directly(domain: &Domain, cpu: &'static Cpu, from: Ref<Thread>, to: Ref<Thread>) {
    debug_assert!(cpu.run_queue.is_empty(domain));
    account_time(Some(from), Some(to));
    let task = to.task();
    load_thread(cpu, to, (from.task() != task).then_some(task));
    cpu.timeouts.set_slice_end(domain, NEVER);
    // SAFETY: As in `switch`.
    unsafe { machine_exchange(from.context(), to.context()) };
}

/// The same if there are others, of the receiver's priority or below.
pub(crate) fn switch_before_others(domain: &Domain, cpu: &'static Cpu, from: Ref<Thread>, to: Ref<Thread>) {
    switch(domain, cpu, Some(from), to, Slice::Donated);
}

/// Time between looks at dying objects while threads keep the CPU, in nanoseconds.
const REAPER_INTERVAL_NS: u64 = 1_000_000;

/// Sees to it that dying objects are worked on even if threads keep the CPU, whose lock is held.
pub(crate) fn set_reaper_timer(domain: &Domain, cpu: &'static Cpu) {
    if !cpu.reaper_timer.swap(true, Ordering::Relaxed) {
        cpu.timeouts
            .program_at(domain, machine_now() + REAPER_INTERVAL_NS);
    }
}

/// Switches to the thread that should run now, halting the CPU until there is one.
pub(crate) fn run_next(cpu: &'static Cpu) {
    cpu.due.store(false, Ordering::Relaxed);
    let domain = Domain::lock(cpu);
    if cpu.reaper.has_work() {
        set_reaper_timer(&domain, cpu);
    }
    let current = cpu.current();
    let moving = current.and_then(|current| Some((current, current.moving_to.get(&domain)?)));
    let stays = current.filter(|current| {
        moving.is_none() && current.state.get(&domain) == State::Ready && !current.frozen.get(&domain)
    });
    match choose(&domain, cpu, stays) {
        Some((next, slice)) => {
            switch(&domain, cpu, current, next, slice);
            drop(domain);
            if let Some((thread, target)) = moving {
                finish_move(thread, target);
            }
        }
        None => {
            leave_thread(&domain, cpu, current);
            drop(domain);
            if let Some((thread, target)) = moving {
                finish_move(thread, target);
            }
            idle::wait_for_thread(cpu);
        }
    }
}

/// What is left of a slice goes with a message: threads that send to each other can't keep others of their priority out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    New,
    Donated,
}

/// Picks the next thread: the current one, unless it waits or a higher priority, or an equal one when the slice is over,
/// is ready; else the handoff's before the queue's at equal priority, unless the slice is over. The one that is picked is
/// in no queue any more.
fn choose(domain: &Domain, cpu: &'static Cpu, stays: Option<Ref<Thread>>) -> Option<(Ref<Thread>, Slice)> {
    let handoff = Ref::load(&cpu.handoff);
    cpu.handoff.store(core::ptr::null_mut(), Ordering::Relaxed);
    let queued = cpu.run_queue.highest(domain);
    let rotate = cpu.timeouts.slice_is_over(domain, machine_now_if(domain, cpu));
    if let Some(current) = stays {
        let priority = current.priority();
        let best = queued.max(handoff.map(|thread| thread.priority()));
        if best.is_none_or(|best| best < priority || (best == priority && !rotate)) {
            if rotate {
                // Who waited for the slice's end has gone: an end that has passed would make the timer fire for ever.
                cpu.timeouts.set_slice_end(domain, NEVER);
            }
            if let Some(thread) = handoff {
                enqueue(domain, cpu, thread);
            }
            return Some((current, Slice::Donated));
        }
        if rotate {
            if let Some(thread) = handoff {
                cpu.run_queue.push_back(domain, thread);
            }
            cpu.run_queue.push_back(domain, current);
            return Some((cpu.run_queue.pop(domain)?, Slice::New));
        }
        current.keep_slice(domain, cpu.timeouts.slice_end(domain));
        cpu.run_queue.push_front(domain, current);
    }
    let Some(thread) = handoff else {
        return Some((cpu.run_queue.pop(domain)?, Slice::New));
    };
    let priority = thread.priority();
    let best = cpu.run_queue.highest(domain);
    if best.is_none_or(|best| best < priority || (best == priority && !rotate)) {
        let slice = if stays.is_none() {
            Slice::Donated
        } else {
            Slice::New
        };
        return Some((thread, slice));
    }
    cpu.run_queue.push_back(domain, thread);
    Some((cpu.run_queue.pop(domain)?, Slice::New))
}

/// The time, if a slice is being measured at all.
fn machine_now_if(domain: &Domain, cpu: &'static Cpu) -> u64 {
    if cpu.timeouts.slice_is_over(domain, NEVER - 1) {
        machine_now()
    } else {
        0
    }
}

fn switch(domain: &Domain, cpu: &'static Cpu, from: Option<Ref<Thread>>, to: Ref<Thread>, slice: Slice) {
    if from == Some(to) {
        return;
    }
    account_time(from, Some(to));
    let task = to.task();
    let other_task = from.is_none_or(|from| from.task() != task);
    let old = from.map_or(core::ptr::null_mut(), |from| from.context());
    // SAFETY: Both contexts are those of live threads homed here, whose home is locked; neither runs meanwhile.
    unsafe { machine_switch(old, to.context(), other_task) };
    load_thread(cpu, to, other_task.then_some(task));
    start_slice(domain, cpu, to, slice);
}

/// Makes `to` the current thread, and the address space of its task the active one if that is another.
#[inline(always)]
fn load_thread(cpu: &'static Cpu, to: Ref<Thread>, other_task: Option<Ref<Task>>) {
    cpu.current.store(to.as_ptr(), Ordering::Release);
    cpu.counters.count(Event::ThreadSwitch);
    if let Some(task) = other_task {
        let root = task.space.root();
        cpu.tlb.set_loaded(root);
        machine_activate(root);
        cpu.counters.count(Event::SpaceSwitch);
    }
}

/// Measures the time slice of the thread that is current now, if somebody of its priority waits.
fn start_slice(domain: &Domain, cpu: &'static Cpu, to: Ref<Thread>, slice: Slice) {
    if !cpu.run_queue.has(domain, to.priority()) {
        cpu.timeouts.set_slice_end(domain, NEVER);
    } else if slice == Slice::New || cpu.timeouts.slice_end(domain) == NEVER {
        cpu.timeouts
            .set_slice_end(domain, machine_now().saturating_add(to.take_slice(domain)));
    }
}

/// Leaves the current thread without another one to go to.
fn leave_thread(domain: &Domain, cpu: &'static Cpu, from: Option<Ref<Thread>>) {
    // A slice that nobody uses must not make the timer fire.
    cpu.timeouts.set_slice_end(domain, NEVER);
    let Some(from) = from else { return };
    account_time(Some(from), None);
    // SAFETY: As in `switch`.
    unsafe { machine_switch(from.context(), core::ptr::null(), true) };
    cpu.current.store(core::ptr::null_mut(), Ordering::Release);
    let root = crate::machine::machine_kernel_root();
    cpu.tlb.set_loaded(root);
    machine_activate(root);
}

#[inline(always)]
fn account_time(from: Option<Ref<Thread>>, to: Option<Ref<Thread>>) {
    let now = machine_ticks();
    if let Some(from) = from {
        from.cpu_time.end(now);
    }
    if let Some(to) = to {
        to.cpu_time.begin(now);
    }
}

/// The timer fired: deadlines, slices, dying objects.
pub(crate) fn tick(cpu: &'static Cpu) {
    let now = machine_now();
    cpu.timeouts.fired(&Domain::lock(cpu));
    loop {
        let expired = cpu.timeouts.take_expired(&Domain::lock(cpu), now);
        match expired {
            Some(crate::timeout::Owner::Thread(thread)) => crate::ipc::expire(thread),
            Some(crate::timeout::Owner::Irq(irq)) => crate::objects::Irq::trigger(irq),
            None => break,
        }
    }
    cpu.reaper_timer.store(false, Ordering::Relaxed);
    if crate::reaper::is_needed() {
        crate::reaper::work(crate::reaper::BUDGET);
    }
    let domain = Domain::lock(cpu);
    cpu.timeouts.program(&domain);
    cpu.due.store(true, Ordering::Relaxed);
}

/// Ends the current thread's slice.
pub(crate) fn yield_slice(cpu: &'static Cpu, thread: Ref<Thread>) {
    let domain = Domain::lock(cpu);
    if cpu.run_queue.has(&domain, thread.priority()) {
        cpu.timeouts.set_slice_end(&domain, 1);
        cpu.due.store(true, Ordering::Relaxed);
    }
}

/// Gives a thread that never ran its first registers and makes it ready on a CPU.
pub(crate) fn begin(thread: Ref<Thread>, cpu: u32, start: impl FnOnce(&Domain)) -> Result<(), l4::Error> {
    let target = cpu::get(cpu);
    let domain = Domain::lock_pair(Cpu::this(), target);
    // A thread that never ran is in no queue, so nobody else looks at its state or home but who starts or ends it.
    let domain = if domain.holds(thread.home()) {
        domain
    } else {
        drop(domain);
        Domain::lock_pair(thread.home(), target)
    };
    if thread.state.get(&domain) != State::New || thread.header.is_dead() {
        return Err(l4::Error::Busy);
    }
    thread.set_home(&domain, target);
    start(&domain);
    if domain.holds(Cpu::this()) {
        wake(&domain, thread);
    } else {
        thread.state.set(&domain, State::Ready);
        enqueue(&domain, target, thread);
        preempt(target, thread.priority());
    }
    Ok(())
}

/// Changes priority and slice, and moves the thread to another CPU: at once, or as soon as it does not run.
pub(crate) fn place(thread: Ref<Thread>, target: u32, priority: u8, slice_ns: u64) {
    let domain = Domain::lock_with(thread);
    let home = thread.home();
    thread.slice.set(&domain, slice_ns);
    let running = home.current() == Some(thread);
    let queued = !running && thread.state.get(&domain) == State::Ready;
    if queued {
        remove(&domain, home, thread);
    }
    thread.set_priority(&domain, priority);
    if queued {
        // Even one that was in no queue, as its CPU had just left it to move it: whoever runs there has a slice from now on.
        enqueue(&domain, home, thread);
    }
    if home.number() == target {
        thread.moving_to.set(&domain, None);
        drop(domain);
        home.due.store(true, Ordering::Release);
    } else {
        thread.moving_to.set(&domain, Some(target));
        drop(domain);
        if !running {
            finish_move(thread, target);
            return;
        }
        home.due.store(true, Ordering::Release);
    }
    if !core::ptr::eq(home, Cpu::this()) {
        machine_poke(home.number());
    }
}

/// Time that [`freeze`] waits for another CPU, in nanoseconds.
const FREEZE_NS: u64 = 200_000;

/// Takes a thread that runs on another CPU off it. False if that CPU did not let go of it in time, as it may be waiting
/// for this one: the caller's caller tries again.
pub(crate) fn freeze(thread: Ref<Thread>) -> bool {
    let home = thread.home();
    thread.frozen.set(&Domain::lock_with(thread), true);
    home.due.store(true, Ordering::Release);
    machine_poke(home.number());
    let deadline = machine_now() + FREEZE_NS;
    while home.current() == Some(thread) {
        if machine_now() > deadline {
            thaw(thread);
            return false;
        }
        crate::tlb::serve();
        core::hint::spin_loop();
    }
    true
}

/// Lets a frozen thread run again.
pub(crate) fn thaw(thread: Ref<Thread>) {
    let domain = Domain::lock_with(thread);
    let home = thread.home();
    if !thread.frozen.get(&domain) {
        return;
    }
    thread.frozen.set(&domain, false);
    let ready = thread.state.get(&domain) == State::Ready;
    if ready && home.current() != Some(thread) && !is_queued(&domain, home, thread) {
        enqueue(&domain, home, thread);
        preempt(home, thread.priority());
    }
}

/// Moves a thread that does not run to another CPU.
fn finish_move(thread: Ref<Thread>, target: u32) {
    loop {
        let (from, to) = (thread.home(), cpu::get(target));
        let domain = Domain::lock_pair(from, to);
        if !core::ptr::eq(thread.home(), from) {
            continue;
        }
        if thread.moving_to.get(&domain) != Some(target) || from.current() == Some(thread) {
            // Someone changed his mind, or it runs again: then it is moved when it stops.
            return;
        }
        thread.moving_to.set(&domain, None);
        // It was taken off the CPU while ready, and then it is in no queue; or it waits; or it is queued.
        let ready = thread.state.get(&domain) == State::Ready;
        if ready {
            remove(&domain, from, thread);
        }
        crate::objects::move_timers(&domain, thread, from, to);
        thread.set_home(&domain, to);
        if ready {
            enqueue(&domain, to, thread);
            preempt(to, thread.priority());
        }
        return;
    }
}

/// Tells whether a ready thread is in its CPU's queue or to be handed to.
fn is_queued(domain: &Domain, home: &Cpu, thread: Ref<Thread>) -> bool {
    home.handoff.load(Ordering::Relaxed) == thread.as_ptr()
        || thread.previous.get(domain).is_some()
        || home.run_queue.is_first(domain, thread)
}
