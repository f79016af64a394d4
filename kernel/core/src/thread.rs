//! Threads: saved registers, what a thread waits for, and what is bound to it.
#![expect(unsafe_code, reason = "saved registers and the UTCB are raw memory")]

use crate::account::Account;
use crate::capability::Slot;
use crate::context::Context;
use crate::cpu::{Cpu, Domain};
use crate::machine::machine_now;
use crate::memory::address::FrameMemory;
use crate::memory::{PhysAddr, Population};
use crate::object::{Header, Kind, Making, Object, Ref};
use crate::objects::{Binding, Gate, Irq, Snapshot, Task};
use crate::reaper::Starved;
use crate::schedule::CpuTime;
use crate::sync::Guarded;
use crate::timeout::Timer;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use l4::exception::Reason;
use l4::{Error, Tag};

/// What a thread does. It is in at most one queue, and this says in which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Never started.
    New,
    /// Running, or to run next by handoff, or in its CPU's run queue.
    Ready,
    /// In the receiver's queue of senders.
    Sending(Ref<Thread>),
    /// In an unbound gate's queue of senders.
    SendingUnbound(Ref<Gate>),
    /// Waiting for a message.
    Receiving(Filter),
    /// Waiting for the answer to a message or exception; a reply capability exists.
    Calling,
    /// Stopped for good in a call: a snapshot's, whose clones go on from there.
    Kept,
    /// Over.
    Dead,
}

/// Whose message a receiver accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Anybody's.
    Anybody,
    /// Nobody's: the thread sleeps.
    Nobody,
    /// One notification.
    Irq(u64),
    /// One thread, by its number.
    Thread(u64),
}

/// A message that a thread sends, apart from its words.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    /// Its tag, without flags.
    pub tag: Tag,
    /// What the receiver sees of the gate, rights included.
    pub label: u64,
    /// The capability has no label of its own: the gate's counts, at the time of delivery.
    pub of_gate: bool,
    /// The gate's capability has the strong right: strong capabilities may pass.
    pub strong: bool,
    /// Until when the sender waits for the receiver to take it.
    pub deadline: u64,
    /// What is sent.
    pub content: Content,
    /// What follows when it was sent.
    pub then: Then,
}

/// Where the words of a message come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The sender's UTCB.
    Message,
    /// The sender's registers: it faulted.
    Exception,
    /// The sender's UTCB, and this clone of a spawn gate's snapshot got it.
    Invocation(Ref<Task>),
}

/// What a sender does when its message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for the answer, until a deadline.
    AwaitReply(u64),
    /// It receives, until a deadline.
    Receive(Filter, u64),
    /// It goes on.
    Continue,
}

/// What a thread has to do, in the kernel, before it goes on in user mode.
#[derive(Clone, Copy, Debug)]
pub enum Resume {
    /// Nothing.
    Nothing,
    /// The receive phase behind a send phase that somebody else completed.
    Receive(Filter, u64),
    /// The send phase to a gate (counted) that was not bound when the thread tried before.
    Send(Ref<Gate>),
    /// An exception that `ex_regs` asked for.
    Raise(Fault),
    /// To enter its own fault entry, for `ex_regs`; nothing if it has none, or handles a fault already.
    Signal,
    /// Its own end: nobody handles its fault.
    End(Fault),
    /// Its own end, as its handler wants it.
    Stop,
}

/// Where the reply capability for a calling thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyHolder {
    /// There is none.
    Nobody,
    /// The receiver's implicit one.
    Implicit(Ref<Thread>),
    /// In a slot.
    Slot(NonNull<Slot>),
}

// SAFETY: The slot is only touched while the reply capability stands in it, under the caller's home lock.
unsafe impl Send for ReplyHolder {}

/// What stopped a thread.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// Vector of the exception.
    pub vector: u64,
    /// The processor's error code.
    pub error: u64,
    /// The faulting address.
    pub address: u64,
}

/// Head and tail of a queue of threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    pub(crate) head: Option<Ref<Thread>>,
    pub(crate) tail: Option<Ref<Thread>>,
}

/// First and last of a thread's pending notifications.
pub(crate) type PendingIrqs = (Option<Ref<Irq>>, Option<Ref<Irq>>);

/// A thread. What is `Guarded` belongs to the lock of the thread's home CPU.
#[repr(C, align(64))]
pub struct Thread {
    pub(crate) header: Header,
    /// Written right after the rest.
    context: UnsafeCell<MaybeUninit<Context>>,
    number: u64,
    task: Ref<Task>,
    utcb: Utcb,
    home: AtomicPtr<Cpu>,
    priority: AtomicU8,
    /// Time slice in nanoseconds.
    pub(crate) slice: Guarded<u64, Domain>,
    /// What was left of it when a higher priority took the CPU; 0: all of it.
    slice_left: Guarded<u64, Domain>,
    pub(crate) state: Guarded<State, Domain>,
    pub(crate) next: Guarded<Option<Ref<Thread>>, Domain>,
    pub(crate) previous: Guarded<Option<Ref<Thread>>, Domain>,
    /// Threads that want to send to this one, by priority.
    pub(crate) senders: Guarded<Queue, Domain>,
    /// Notifications that are pending for this thread.
    pub(crate) pending: Guarded<PendingIrqs, Domain>,
    /// Gates and notifications bound to this thread.
    pub(crate) bindings: Guarded<Option<NonNull<Binding>>, Domain>,
    pub(crate) sending: Guarded<Sending, Domain>,
    /// What the thread has to do before it returns to user mode.
    pub(crate) resume: Guarded<Resume, Domain>,
    /// `resume` is not [`Resume::Nothing`].
    pub(crate) attention: AtomicBool,
    pub(crate) timer: Timer,
    /// Number of the last reply capability for this thread that was put in a slot.
    pub(crate) call: Guarded<u64, Domain>,
    pub(crate) reply_holder: Guarded<ReplyHolder, Domain>,
    /// The implicit reply capability: the caller, whose `reply_holder` confirms it.
    pub(crate) owes: AtomicPtr<Thread>,
    /// Where faults go.
    pub(crate) handler: Slot,
    pub(crate) fault: Guarded<Fault, Domain>,
    /// Entry and stack for faults handled by the thread itself.
    pub(crate) fault_entry: Guarded<(u64, u64), Domain>,
    /// Somebody changes the thread's registers: it must not run meanwhile.
    pub(crate) frozen: Guarded<bool, Domain>,
    /// CPU that the thread is to move to as soon as it does not run.
    pub(crate) moving_to: Guarded<Option<u32>, Domain>,
    /// Neighbours in the task's list of threads, guarded by that list's lock.
    pub(crate) sibling: AtomicPtr<Thread>,
    pub(crate) elder: AtomicPtr<Thread>,
    pub(crate) cpu_time: CpuTime,
    /// Its wait for memory that is about to be given back.
    pub(crate) starved: Starved,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Thread {
    const KIND: Kind = Kind::Thread;
}

// SAFETY: The context is touched by the CPU that runs the thread, or under its home's lock while it does not run.
unsafe impl Sync for Thread {}
// SAFETY: As above.
unsafe impl Send for Thread {}

/// A number that no other thread or notification ever had; each CPU has its own range.
pub(crate) fn unique_number() -> u64 {
    let cpu = Cpu::this();
    let number = cpu.numbers.load(Ordering::Relaxed) + 1;
    cpu.numbers.store(number, Ordering::Relaxed);
    number << 8 | u64::from(cpu.number())
}

/// Default time slice.
pub const DEFAULT_SLICE_NS: u64 = 10_000_000;

impl Thread {
    /// Creates a thread in `task`, with its UTCB at the free page `utcb_address`. It does not run yet.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::Invalid`] or [`Error::Exists`] for the UTCB's address.
    pub fn create(account: Ref<Account>, task: Ref<Task>, utcb_address: u64) -> Result<Ref<Thread>, Error> {
        if !task.acquire() {
            return Err(Error::NotFound);
        }
        let made = task.space.map_utcb(utcb_address).and_then(|frame| {
            let utcb = Utcb::at(frame, utcb_address);
            Thread::create_with(account, task, utcb, (0, 0), |context| {
                context.write(Context::new(0, 0, 0)).gs_base = utcb_address;
            })
            .inspect_err(|_| task.space.unmap_utcb(utcb_address))
        });
        Self::enter(task, made).map(Making::finish)
    }

    /// Enters a new thread in its task, whose counted reference it takes.
    fn enter(task: Ref<Task>, made: Result<Making<Thread>, Error>) -> Result<Making<Thread>, Error> {
        match made {
            Ok(making) if task.add_thread(making.object()) => Ok(making),
            Ok(making) => {
                // The task's end has begun meanwhile: the thread ends as well.
                crate::reaper::destroy(making.object().erase());
                Err(Error::NotFound)
            }
            Err(error) => {
                task.release();
                Err(error)
            }
        }
    }

    /// Creates a thread in `task`, a clone, that goes on where the thread of `base`, its snapshot, was stopped. It does not
    /// run yet.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::NotFound`] if the task's end has begun.
    pub(crate) fn begin_from(
        account: Ref<Account>,
        task: Ref<Task>,
        base: Ref<Snapshot>,
    ) -> Result<Making<Thread>, Error> {
        if !task.acquire() {
            return Err(Error::NotFound);
        }
        let (template, fault_entry) = (base.thread(), base.fault_entry());
        let address = template.utcb.user_address();
        let known = (template.utcb.frame(), base.utcb_population());
        let own = task.space.own_page(address, known);
        let made = own.and_then(|frame| {
            let utcb = Utcb::at(frame, address);
            Thread::create_with(account, task, utcb, fault_entry, |context| {
                // SAFETY: The context of a thread that is kept does not change any more.
                Context::copy_to(unsafe { &*template.context() }, context);
            })
        });
        Self::enter(task, made)
    }

    /// Creates a thread whose registers are what `begin` writes, except for those that depend on its UTCB.
    #[inline(always)]
    fn create_with(
        account: Ref<Account>,
        task: Ref<Task>,
        utcb: Utcb,
        fault_entry: (u64, u64),
        begin: impl FnOnce(&mut MaybeUninit<Context>),
    ) -> Result<Making<Thread>, Error> {
        utcb.set(l4::utcb::SELF_WORD, utcb.address);
        let personality_return = utcb.kernel_address(l4::utcb::PERSONALITY_RETURN);
        // SAFETY: The thread is written, and then its context.
        unsafe {
            Account::begin_in_place(account, |header, place| {
                let thread = place.write(Thread::without_context(header, task, utcb, fault_entry));
                let context = thread.context.get_mut();
                begin(context);
                context.assume_init_mut().personality_return = personality_return;
                Ok(())
            })
        }
    }

    #[inline(always)]
    fn without_context(header: Header, task: Ref<Task>, utcb: Utcb, fault_entry: (u64, u64)) -> Thread {
        Thread {
            header,
            context: UnsafeCell::new(MaybeUninit::uninit()),
            number: unique_number(),
            task,
            utcb,
            home: AtomicPtr::new(core::ptr::from_ref(Cpu::this()).cast_mut()),
            priority: AtomicU8::new(1),
            slice: Guarded::new(DEFAULT_SLICE_NS),
            slice_left: Guarded::new(0),
            state: Guarded::new(State::New),
            next: Guarded::new(None),
            previous: Guarded::new(None),
            senders: Guarded::new(Queue {
                head: None,
                tail: None,
            }),
            pending: Guarded::new((None, None)),
            bindings: Guarded::new(None),
            sending: Guarded::new(Sending {
                tag: Tag(0),
                label: 0,
                of_gate: false,
                strong: false,
                deadline: l4::NEVER,
                content: Content::Message,
                then: Then::Continue,
            }),
            resume: Guarded::new(Resume::Nothing),
            attention: AtomicBool::new(false),
            timer: Timer::new(),
            call: Guarded::new(0),
            reply_holder: Guarded::new(ReplyHolder::Nobody),
            owes: AtomicPtr::new(core::ptr::null_mut()),
            handler: Slot::new(),
            fault: Guarded::new(Fault {
                reason: Reason::Exception,
                vector: 0,
                error: 0,
                address: 0,
            }),
            fault_entry: Guarded::new(fault_entry),
            frozen: Guarded::new(false),
            moving_to: Guarded::new(None),
            sibling: AtomicPtr::new(core::ptr::null_mut()),
            elder: AtomicPtr::new(core::ptr::null_mut()),
            cpu_time: CpuTime::new(),
            starved: Starved::new(),
        }
    }

    /// The task that the thread runs in.
    #[inline]
    pub fn task(&self) -> Ref<Task> {
        self.task
    }

    /// The thread's number, unlike any other's.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The thread's UTCB as the kernel sees it.
    #[inline]
    pub fn utcb(&self) -> &Utcb {
        &self.utcb
    }

    /// The CPU that the thread runs on, and whose lock guards it.
    #[inline]
    pub fn home(&self) -> &'static Cpu {
        // SAFETY: It is only ever set from references to CPUs, which exist as long as the kernel.
        unsafe { &*self.home.load(Ordering::Acquire) }
    }

    /// Changes the home; both CPUs' locks are held and the thread is in none of the old one's queues.
    pub(crate) fn set_home(&self, domain: &Domain, home: &'static Cpu) {
        debug_assert!(domain.holds(home) && domain.holds(self.home()));
        self.home
            .store(core::ptr::from_ref(home).cast_mut(), Ordering::Release);
    }

    /// Priority, 1–255.
    #[inline]
    pub fn priority(&self) -> u8 {
        self.priority.load(Ordering::Relaxed)
    }

    pub(crate) fn set_priority(&self, domain: &Domain, priority: u8) {
        debug_assert!(domain.holds(self.home()));
        self.priority.store(priority, Ordering::Relaxed);
    }

    /// The thread loses the CPU to a higher priority before the end of its slice, which is [`l4::NEVER`] if nobody waits
    /// for it: the rest is for later.
    pub(crate) fn keep_slice(&self, domain: &Domain, end: u64) {
        let left = match end {
            l4::NEVER => 0,
            end => end.saturating_sub(machine_now()),
        };
        self.slice_left.set(domain, left);
    }

    /// Length of the slice that begins, in nanoseconds.
    pub(crate) fn take_slice(&self, domain: &Domain) -> u64 {
        let left = self.slice_left.get(domain);
        if left == 0 {
            return self.slice.get(domain);
        }
        self.slice_left.set(domain, 0);
        left
    }

    /// Tells whether others count on the thread: senders, callers, gates and notifications. Its home is locked.
    pub(crate) fn serves(&self, domain: &Domain) -> bool {
        self.senders.get(domain).head.is_some()
            || self.pending.get(domain).0.is_some()
            || self.bindings.get(domain).is_some()
            || !self.owes.load(Ordering::Acquire).is_null()
    }

    /// The saved registers' address.
    #[inline]
    pub fn context(&self) -> *mut Context {
        self.context.get().cast()
    }

    /// Lets `change` read and change the saved registers.
    #[inline]
    pub(crate) fn with_context<R>(&self, domain: &Domain, change: impl FnOnce(&mut Context) -> R) -> R {
        debug_assert!(domain.holds(self.home()));
        // SAFETY: The home's lock is held. Then the thread runs on this CPU, which is in the kernel and does not use the
        // context meanwhile, or nowhere.
        change(unsafe { &mut *self.context() })
    }

    /// Asks the thread to do something before it goes on in user mode.
    pub(crate) fn set_resume(&self, domain: &Domain, resume: Resume) {
        self.resume.set(domain, resume);
        self.attention
            .store(!matches!(resume, Resume::Nothing), Ordering::Release);
    }

    /// As [`Self::with_context`], for the thread that runs on this CPU, which nobody else touches.
    #[inline]
    pub(crate) fn with_own_context<R>(&self, change: impl FnOnce(&mut Context) -> R) -> R {
        // SAFETY: The thread is this CPU's current one; others change the context of threads that don't run.
        change(unsafe { &mut *self.context() })
    }
}

impl Thread {
    /// As [`Self::with_context`], for the thread that runs on this CPU, including what the CPU still holds of it: segment
    /// bases and floating-point control.
    pub(crate) fn with_live_context<R>(&self, domain: &Domain, change: impl FnOnce(&mut Context) -> R) -> R {
        // SAFETY: The context is that of this CPU's current thread, whose home is locked.
        unsafe { crate::machine::machine_switch(self.context(), core::ptr::null(), false) };
        let result = self.with_context(domain, change);
        // SAFETY: As above.
        unsafe { crate::machine::machine_switch(core::ptr::null_mut(), self.context(), false) };
        result
    }
}

/// A thread's UTCB, seen through the direct map.
pub struct Utcb {
    words: NonNull<[AtomicU64; 512]>,
    address: u64,
}

impl Utcb {
    fn at(frame: PhysAddr, address: u64) -> Utcb {
        let words = (crate::machine::machine_direct_map() + frame.0) as *mut [AtomicU64; 512];
        Utcb {
            // SAFETY: The direct map shows each frame at a non-null address.
            words: unsafe { NonNull::new_unchecked(words) },
            address,
        }
    }

    fn words(&self) -> &[AtomicU64; 512] {
        // SAFETY: The frame belongs to the thread until it is freed. User code changes it at any time: hence atomics.
        unsafe { self.words.as_ref() }
    }

    /// A word of the page, as it is now.
    #[inline(always)]
    pub fn get(&self, index: usize) -> u64 {
        self.words()[index].load(Ordering::Relaxed)
    }

    /// Sets a word of the page.
    #[inline(always)]
    pub fn set(&self, index: usize, value: u64) {
        self.words()[index].store(value, Ordering::Relaxed);
    }

    /// What the page has in it.
    pub(crate) fn population(&self) -> Population {
        // SAFETY: The frame belongs to the thread until it is freed, and is only reached as atomics.
        Population::of(unsafe { FrameMemory::new(self.frame()) })
    }

    fn frame(&self) -> PhysAddr {
        PhysAddr(self.kernel_address(0) - crate::machine::machine_direct_map())
    }

    /// The address at which the thread's task sees it.
    pub fn user_address(&self) -> u64 {
        self.address
    }

    /// The kernel's address of a word.
    pub(crate) fn kernel_address(&self, word: usize) -> u64 {
        self.words.as_ptr() as u64 + word as u64 * 8
    }
}
