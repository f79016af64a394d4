//! What each CPU has of its own, and the lock that guards the threads homed on it.
#![expect(unsafe_code, reason = "a CPU finds its own state by an address")]

use crate::counters::CpuCounters;
use crate::machine::{machine_cpu_count, machine_local, machine_set_local};
use crate::object::Ref;
use crate::objects::Irq;
use crate::schedule::RunQueue;
use crate::thread::Thread;
use crate::timeout::TimeoutQueue;
use crate::{epoch, reaper, tlb};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Most CPUs that the kernel runs.
pub const MAX_CPUS: usize = 64;

/// A CPU's state.
#[repr(align(128))]
pub struct Cpu {
    lock: AtomicBool,
    number: AtomicU32,
    pub(crate) tlb: tlb::Requests,
    pub(crate) epoch: epoch::Local,
    pub(crate) reaper: reaper::Local,
    /// Threads that are ready to run here.
    pub(crate) run_queue: RunQueue,
    /// Deadlines of threads and notifications homed here.
    pub(crate) timeouts: TimeoutQueue,
    /// The thread whose registers the CPU has; none while idle.
    pub(crate) current: AtomicPtr<Thread>,
    /// Before the CPU leaves the kernel there is something to do: a thread to switch to, a notification to trigger.
    pub(crate) due: AtomicBool,
    /// Notifications to trigger before the CPU leaves the kernel.
    pub(crate) deferred: AtomicPtr<Irq>,
    /// The last thread that a message made ready: it may be switched to without passing the run queue.
    pub(crate) handoff: AtomicPtr<Thread>,
    /// A timer is set so that dying objects are worked on even if a thread never leaves the CPU.
    pub(crate) reaper_timer: AtomicBool,
    pub(crate) counters: CpuCounters,
    /// The last number given to a thread or notification here.
    pub(crate) numbers: AtomicU64,
}

static CPUS: [Cpu; MAX_CPUS] = [const { Cpu::new() }; MAX_CPUS];

impl Cpu {
    const fn new() -> Cpu {
        Cpu {
            lock: AtomicBool::new(false),
            number: AtomicU32::new(0),
            tlb: tlb::Requests::new(),
            epoch: epoch::Local::new(),
            reaper: reaper::Local::new(),
            run_queue: RunQueue::new(),
            timeouts: TimeoutQueue::new(),
            current: AtomicPtr::new(core::ptr::null_mut()),
            due: AtomicBool::new(false),
            deferred: AtomicPtr::new(core::ptr::null_mut()),
            handoff: AtomicPtr::new(core::ptr::null_mut()),
            reaper_timer: AtomicBool::new(false),
            counters: CpuCounters::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// The CPU that executes this.
    #[inline(always)]
    pub fn this() -> &'static Cpu {
        // SAFETY: `initialise` set the word to the address of the CPU's element of `CPUS`, before anything else.
        unsafe { &*machine_local().cast::<Cpu>() }
    }

    /// The CPU's number.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// The thread that runs on the CPU.
    #[inline]
    pub fn current(&self) -> Option<Ref<Thread>> {
        Ref::load(&self.current)
    }
}

/// A CPU by number.
///
/// # Panics
/// If there is no such CPU.
#[inline(always)]
pub fn get(number: u32) -> &'static Cpu {
    &CPUS[number as usize]
}

/// All CPUs that run.
pub fn all() -> impl Iterator<Item = &'static Cpu> {
    CPUS.iter().take(machine_cpu_count() as usize)
}

/// Numbers the CPUs; once, before anything else.
pub(crate) fn initialise() {
    for (number, cpu) in (0..).zip(&CPUS) {
        cpu.number.store(number, Ordering::Relaxed);
        cpu.timeouts.set_cpu(number);
        if number < machine_cpu_count() {
            machine_set_local(number, core::ptr::from_ref(cpu) as u64);
        }
    }
}

/// Proof that one or two CPUs' locks are held: what is guarded by them may be touched.
pub struct Domain {
    first: &'static Cpu,
    second: Option<&'static Cpu>,
}

impl Domain {
    /// Takes the lock of one CPU.
    #[inline]
    pub fn lock(cpu: &'static Cpu) -> Domain {
        Domain::lock_pair(cpu, cpu)
    }

    /// Takes the lock of one CPU if nobody has it just now.
    #[inline(always)]
    pub(crate) fn try_lock(cpu: &'static Cpu) -> Option<Domain> {
        if cpu.lock.swap(true, Ordering::Acquire) {
            return None;
        }
        #[cfg(debug_assertions)]
        crate::sync::order::enter(crate::sync::Rank::Cpu);
        Some(Domain {
            first: cpu,
            second: None,
        })
    }

    /// Takes the locks of two CPUs, the lower number first; one lock if they are the same.
    #[inline]
    pub fn lock_pair(one: &'static Cpu, other: &'static Cpu) -> Domain {
        #[cfg(debug_assertions)]
        crate::sync::order::enter(crate::sync::Rank::Cpu);
        if core::ptr::eq(one, other) {
            spin(one);
            return Domain {
                first: one,
                second: None,
            };
        }
        // The CPUs stand in one array, in the order of their numbers.
        let (low, high) = if core::ptr::from_ref(one) < core::ptr::from_ref(other) {
            (one, other)
        } else {
            (other, one)
        };
        spin(low);
        spin(high);
        Domain {
            first: low,
            second: Some(high),
        }
    }

    /// Locks this CPU and the home of `thread`, wherever that is by then.
    #[inline]
    pub fn lock_with(thread: Ref<Thread>) -> Domain {
        let this = Cpu::this();
        loop {
            let home = thread.home();
            let domain = Domain::lock_pair(this, home);
            if core::ptr::eq(thread.home(), home) {
                return domain;
            }
        }
    }

    /// Locks the homes of two threads, wherever they are by then.
    pub fn lock_homes(one: Ref<Thread>, other: Ref<Thread>) -> Domain {
        loop {
            let homes = (one.home(), other.home());
            let domain = Domain::lock_pair(homes.0, homes.1);
            if core::ptr::eq(one.home(), homes.0) && core::ptr::eq(other.home(), homes.1) {
                return domain;
            }
        }
    }

    /// Tells whether `cpu`'s lock is held.
    #[inline]
    pub fn holds(&self, cpu: &Cpu) -> bool {
        core::ptr::eq(self.first, cpu) || self.second.is_some_and(|second| core::ptr::eq(second, cpu))
    }
}

#[inline(always)]
fn spin(cpu: &Cpu) {
    if cpu.lock.swap(true, Ordering::Acquire) {
        wait_and_take(cpu);
    }
}

#[cold]
#[inline(never)]
fn wait_and_take(cpu: &Cpu) {
    loop {
        while cpu.lock.load(Ordering::Relaxed) {
            tlb::serve();
            core::hint::spin_loop();
        }
        if !cpu.lock.swap(true, Ordering::Acquire) {
            return;
        }
    }
}

impl Drop for Domain {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        crate::sync::order::leave(crate::sync::Rank::Cpu);
        if let Some(second) = self.second {
            second.lock.store(false, Ordering::Release);
        }
        self.first.lock.store(false, Ordering::Release);
    }
}
