//! Notifications: triggered by devices, timers, software and the end of objects; triggers coalesce.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use super::Binding;
use crate::account::Account;
use crate::cpu::{Cpu, Domain};
use crate::ipc;
use crate::machine::machine_mask_device;
use crate::object::{Header, Kind, Object, Ref};
use crate::sync::Guarded;
use crate::thread::{State, Thread, unique_number};
use crate::timeout::{Owner, Timer};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use l4::Error;

/// A notification.
#[repr(C, align(64))]
pub struct Irq {
    pub(crate) header: Header,
    pub(crate) binding: Binding,
    label: AtomicU64,
    number: u64,
    /// Triggered and not received yet; if bound, it is in the thread's list of pending ones.
    pub(crate) triggered: Guarded<bool, Domain>,
    pub(crate) next_pending: Guarded<Option<Ref<Irq>>, Domain>,
    pub(crate) timer: Timer,
    /// In a CPU's list of notifications to trigger before it leaves the kernel.
    deferred: AtomicBool,
    next_deferred: AtomicPtr<Irq>,
    /// Bit n: bound to interrupt line n.
    lines: AtomicU32,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Irq {
    const KIND: Kind = Kind::Irq;
}

impl Irq {
    /// Creates a notification, bound to `thread` if one is given.
    pub fn create(account: Ref<Account>, label: u64, thread: Option<Ref<Thread>>) -> Result<Ref<Irq>, Error> {
        let irq = Account::create(account, |header| Irq {
            header,
            binding: Binding::new(),
            label: AtomicU64::new(label),
            number: unique_number(),
            triggered: Guarded::new(false),
            next_pending: Guarded::new(None),
            timer: Timer::new(),
            deferred: AtomicBool::new(false),
            next_deferred: AtomicPtr::new(core::ptr::null_mut()),
            lines: AtomicU32::new(0),
        })?;
        if let Some(thread) = thread {
            Irq::bind(irq, label, thread).inspect_err(|_| crate::reaper::destroy(irq.erase()))?;
        }
        Ok(irq)
    }

    /// The notification's number, unlike any other's or any thread's.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The label that its receiver sees.
    #[inline]
    pub fn label(&self) -> u64 {
        self.label.load(Ordering::Relaxed)
    }

    /// Binds it to a thread; what is pending is delivered there.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the thread has ended, or the notification's end has begun.
    pub fn bind(irq: Ref<Irq>, label: u64, thread: Ref<Thread>) -> Result<(), Error> {
        loop {
            Irq::detach(irq);
            let domain = irq.binding.lock_queue(thread);
            if irq.binding.thread().is_some() {
                continue;
            }
            if matches!(thread.state.get(&domain), State::Kept | State::Dead)
                || thread.header.is_dead()
                || irq.header.is_dead()
            {
                return Err(Error::NotFound);
            }
            irq.label.store(label, Ordering::Relaxed);
            irq.binding.bind(&domain, thread, Some(irq));
            if irq.triggered.get(&domain) {
                irq.triggered.set(&domain, false);
                ipc::notify(&domain, irq, thread);
            }
            return Ok(());
        }
    }

    /// Unbinds it; what is pending stays so. Its timer is disarmed.
    pub fn detach(irq: Ref<Irq>) {
        let (domain, thread) = irq.binding.lock_all();
        if let Some(thread) = thread {
            thread.home().timeouts.disarm(&domain, Owner::Irq(irq));
            if irq.triggered.get(&domain) {
                ipc::forget_pending(&domain, irq, thread);
            }
            irq.binding.unbind(&domain, thread, false);
        }
    }

    /// Triggers it. No CPU's lock may be held.
    pub fn trigger(irq: Ref<Irq>) {
        let (domain, thread) = irq.binding.lock();
        match thread {
            Some(thread) => ipc::notify(&domain, irq, thread),
            None => irq.triggered.set(&domain, true),
        }
    }

    /// Triggers it at `deadline`; [`l4::NEVER`] cancels.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not bound: a timer needs a CPU.
    pub fn set_timer(irq: Ref<Irq>, deadline: u64) -> Result<(), Error> {
        let (domain, thread) = irq.binding.lock();
        let thread = thread.ok_or(Error::Invalid)?;
        let home = thread.home();
        home.timeouts.disarm(&domain, Owner::Irq(irq));
        home.timeouts.arm(&domain, Owner::Irq(irq), deadline);
        if home.number() != Cpu::this().number() {
            crate::machine::machine_poke(home.number());
        }
        Ok(())
    }

    /// Makes it the watcher of an object's end.
    pub fn watch(irq: Ref<Irq>, object: Ref<Header>) -> Result<(), Error> {
        if !irq.acquire() {
            return Err(Error::NotFound);
        }
        let old = object.watcher.swap(irq.as_ptr(), Ordering::AcqRel);
        if let Some(old) = core::ptr::NonNull::new(old) {
            // SAFETY: A watcher is counted as long as it stands in `watcher`; we took it out.
            unsafe { Ref::from_raw(old) }.release();
        }
        if object.is_dead() {
            // The end may have come before the watcher: then nobody else tells it.
            super::notify_watcher(object);
        }
        Ok(())
    }
}

/// Moves the armed timers of a thread's notifications, and its own, to another CPU; both CPUs are locked.
pub(crate) fn move_timers(domain: &Domain, thread: Ref<Thread>, from: &Cpu, to: &Cpu) {
    Binding::for_each_irq(domain, thread, |irq| {
        move_timer(domain, Owner::Irq(irq), &irq.timer, from, to)
    });
    move_timer(domain, Owner::Thread(thread), &thread.timer, from, to);
}

fn move_timer(domain: &Domain, owner: Owner, timer: &Timer, from: &Cpu, to: &Cpu) {
    if let Some(deadline) = timer.deadline(domain) {
        from.timeouts.disarm(domain, owner);
        to.timeouts.arm(domain, owner, deadline);
    }
}

/// Triggers `irq`, whose counted reference is handed over, before this CPU leaves the kernel.
pub(super) fn defer_trigger(irq: Ref<Irq>) {
    if irq.deferred.swap(true, Ordering::AcqRel) {
        irq.release();
        return;
    }
    let cpu = Cpu::this();
    let list = &cpu.deferred;
    cpu.due.store(true, Ordering::Relaxed);
    irq.next_deferred
        .store(list.load(Ordering::Relaxed), Ordering::Relaxed);
    list.store(irq.as_ptr(), Ordering::Relaxed);
}

/// Triggers what was deferred. No CPU's lock may be held.
#[inline]
pub fn run_deferred(cpu: &Cpu) {
    if !cpu.deferred.load(Ordering::Relaxed).is_null() {
        trigger_deferred(&cpu.deferred);
    }
}

#[cold]
fn trigger_deferred(list: &AtomicPtr<Irq>) {
    while let Some(irq) = Ref::load(list) {
        list.store(irq.next_deferred.load(Ordering::Relaxed), Ordering::Relaxed);
        irq.deferred.store(false, Ordering::Release);
        Irq::trigger(irq);
        irq.release();
    }
}

/// Takes a dead notification apart.
pub(super) fn destroy_step(irq: Ref<Irq>) -> bool {
    Irq::detach(irq);
    lines::unbind_all(irq);
    true
}

/// An interrupt line and the notification bound to it.
#[derive(Clone, Copy)]
pub struct Line {
    irq: Option<Ref<Irq>>,
}

/// A device's interrupt line fired: it is masked, and its notification triggered.
pub fn interrupt(line: u32) {
    machine_mask_device(line);
    if let Some(irq) = lines::bound(line) {
        Irq::trigger(irq);
        irq.release();
    }
}

/// The interrupt lines.
pub mod lines {
    use super::{Irq, Line};
    use crate::machine::{machine_mask_device, machine_unmask_device};
    use crate::object::Ref;
    use crate::sync::{Rank, SpinLock};
    use core::sync::atomic::Ordering;
    use l4::Error;

    /// Lines of the interrupt controller.
    pub const COUNT: u32 = 24;
    static LINES: SpinLock<[Line; COUNT as usize]> =
        SpinLock::new(Rank::Lines, [Line { irq: None }; COUNT as usize]);

    /// Binds a notification to a line, which stays masked.
    ///
    /// # Errors
    /// [`Error::Range`] for no such line, [`Error::Busy`] if it is taken, [`Error::NotFound`] for a dead notification.
    pub fn bind(line: u32, irq: Ref<Irq>) -> Result<(), Error> {
        if line >= COUNT {
            return Err(Error::Range);
        }
        if !irq.acquire() {
            return Err(Error::NotFound);
        }
        let mut lines = LINES.lock();
        if lines[line as usize].irq.is_some() {
            drop(lines);
            irq.release();
            return Err(Error::Busy);
        }
        lines[line as usize].irq = Some(irq);
        irq.lines.fetch_or(1 << line, Ordering::Relaxed);
        Ok(())
    }

    /// Undoes [`bind`] and masks the line.
    pub fn unbind(line: u32) -> Result<(), Error> {
        if line >= COUNT {
            return Err(Error::Range);
        }
        machine_mask_device(line);
        let old = LINES.lock()[line as usize].irq.take();
        old.ok_or(Error::NotFound)?.release();
        Ok(())
    }

    /// Masks or unmasks a line.
    pub fn set_masked(line: u32, masked: bool) -> Result<(), Error> {
        if line >= COUNT {
            return Err(Error::Range);
        }
        if masked {
            machine_mask_device(line)
        } else {
            machine_unmask_device(line, line >= 16)
        }
        Ok(())
    }

    /// The notification bound to a line, counted.
    pub(super) fn bound(line: u32) -> Option<Ref<Irq>> {
        let irq = LINES.lock().get(line as usize)?.irq?;
        irq.acquire().then_some(irq)
    }

    /// Unbinds a notification from all lines.
    pub(super) fn unbind_all(irq: Ref<Irq>) {
        let bound = irq.lines.swap(0, Ordering::Relaxed);
        for line in (0..COUNT).filter(|line| bound >> line & 1 != 0) {
            let taken = {
                let mut lines = LINES.lock();
                let slot = &mut lines[line as usize].irq;
                if *slot == Some(irq) { slot.take() } else { None }
            };
            if let Some(irq) = taken {
                machine_mask_device(line);
                irq.release();
            }
        }
    }
}
