//! Threads of a native program.
//!
//! Each has a stretch of [`STRIDE`] bytes of address space: an unmapped guard, its stack, and its UTCB at the end.
#![expect(
    unsafe_code,
    reason = "a new thread starts at an address with a pointer as its argument"
)]

use crate::slots::{OwnedCap, Slot};
use crate::start;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use l4::object::{Factory, Irq, Placement, Scheduler, Start, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, NEVER, PAGE_SIZE, Utcb, syscall};

/// Where the threads' stretches of address space start.
const AREA: u64 = 0x7ff0_0000_0000;
/// Size of one, in bytes.
pub const STRIDE: u64 = 4 << 20;
/// Most threads that a program can have beside its first.
pub const LIMIT: usize = 2048;
/// Largest stack in bytes: the guard and the UTCB take a page each.
pub const MAX_STACK: u64 = STRIDE - 2 * PAGE_SIZE;

/// Bit set: the stretch is in use.
static USED: [AtomicU64; LIMIT / 64] = [const { AtomicU64::new(0) }; LIMIT / 64];

/// How a thread is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    /// CPU, priority and time slice.
    pub placement: Placement,
    /// The scheduler that permits them.
    pub scheduler: CapIndex,
    /// Stack size in bytes, rounded up to pages; at most [`MAX_STACK`].
    pub stack_size: u64,
    /// Who gets its faults: a gate, or [`CapIndex::NONE`].
    pub handler: CapIndex,
    /// The label of its fault messages, as [`Factory::create_thread`] takes it.
    pub handler_label: u64,
}

impl Default for Builder {
    /// On the caller's CPU, priority 2, 64 KiB of stack, no handler.
    fn default() -> Builder {
        Builder {
            placement: Placement {
                cpu: Placement::SAME_CPU,
                priority: 2,
                slice_us: 0,
            },
            scheduler: CapIndex::SCHEDULER,
            stack_size: 64 << 10,
            handler: CapIndex::NONE,
            handler_label: 0,
        }
    }
}

/// What a thread and its maker share.
struct Shared {
    finished: AtomicBool,
}

/// What a thread starts with.
struct Launch {
    body: Box<dyn FnOnce() + Send>,
    shared: Arc<Shared>,
    own_cap: CapIndex,
}

/// A thread that was spawned. Dropping it lets the thread run on, and keeps what it uses for ever.
pub struct JoinHandle {
    parts: ManuallyDrop<Parts>,
    shared: Arc<Shared>,
}

/// What a thread uses. It goes only after the thread: without the capability there would be no thread.
struct Parts {
    thread: OwnedCap,
    death: OwnedCap,
    _stretch: Stretch,
}

/// How a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its function returned.
    Returned,
    /// It panicked, faulted or was killed.
    Died,
}

impl Builder {
    /// Starts a thread that runs `body`.
    ///
    /// # Errors
    /// [`Error::TooBig`] for too large a stack; [`Error::NoSpace`] if there are [`LIMIT`] threads or no slots; those of
    /// the kernel's factory, task and scheduler.
    pub fn spawn(self, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle, Error> {
        let stretch = Stretch::allocate()?;
        stretch.attach_stack(crate::memory::round_up(self.stack_size)?)?;
        let factory = Factory(CapIndex::FACTORY);
        let task = Task(CapIndex::TASK);
        let thread = Slot::fill(|slot| {
            factory.create_thread(task, stretch.utcb(), self.handler, self.handler_label, slot)
        })?;
        let death = Slot::fill(|slot| factory.create_irq(0, CapIndex::NONE, slot))?;
        Irq(death.index()).watch(thread.index())?;
        let shared = Arc::new(Shared {
            finished: AtomicBool::new(false),
        });
        let launch = Box::new(Launch {
            body: Box::new(body),
            shared: shared.clone(),
            own_cap: thread.index(),
        });
        let argument = Box::into_raw(launch);
        let start = Start {
            ip: thread_start as *const () as u64,
            // As after a call instruction: the return address, a zero, is the first thing on the stack.
            sp: stretch.utcb() - 8,
            argument: argument.expose_provenance() as u64,
        };
        if let Err(error) = Scheduler(self.scheduler).start(thread.index(), self.placement, start) {
            // SAFETY: The thread did not start, so nobody else has the pointer.
            drop(unsafe { Box::from_raw(argument) });
            return Err(error);
        }
        Ok(JoinHandle {
            parts: ManuallyDrop::new(Parts {
                thread,
                death,
                _stretch: stretch,
            }),
            shared,
        })
    }
}

/// First function of a spawned thread.
extern "C" fn thread_start(launch: *mut Launch) -> ! {
    // SAFETY: `spawn` passed a leaked box to this thread alone.
    let launch = unsafe { Box::from_raw(launch) };
    Utcb::current().set_word(start::OWN_THREAD_WORD, launch.own_cap.word());
    let Launch { body, shared, .. } = *launch;
    body();
    shared.finished.store(true, Ordering::Release);
    drop(shared);
    start::end_thread()
}

impl JoinHandle {
    /// The thread's capability.
    pub fn cap(&self) -> CapIndex {
        self.parts.thread.index()
    }

    /// Tells whether its function has returned.
    pub fn is_finished(&self) -> bool {
        self.shared.finished.load(Ordering::Acquire)
    }

    /// Has the notice of the thread's death delivered to the calling thread, as a notification with `label`.
    ///
    /// # Errors
    /// Those of [`Irq::bind`].
    pub fn notify_death(&self, label: u64) -> Result<(), Error> {
        Irq(self.parts.death.index()).bind(label, start::current_thread())
    }

    /// Frees what the thread used, after its death was noticed.
    pub fn reap(self) -> Ending {
        let ending = if self.is_finished() {
            Ending::Returned
        } else {
            Ending::Died
        };
        drop(ManuallyDrop::into_inner(self.parts));
        ending
    }

    /// Ends the thread, whatever it does, and frees what it used.
    ///
    /// # Errors
    /// As [`Self::join`].
    pub fn kill(self) -> Result<Ending, Error> {
        self.notify_death(0)?;
        // An error means that it has ended already.
        let _ = Task(CapIndex::TASK).delete(self.cap());
        self.await_death()
    }

    /// Waits until the thread has ended, and frees what it used.
    ///
    /// # Errors
    /// Those of binding and receiving its death notice; the thread then is as after a drop of the handle.
    pub fn join(self) -> Result<Ending, Error> {
        self.notify_death(0)?;
        self.await_death()
    }

    fn await_death(self) -> Result<Ending, Error> {
        let received = syscall::receive(self.parts.death.index(), NEVER);
        if received.tag.is_error() {
            received.result()?;
        }
        Ok(self.reap())
    }
}

impl fmt::Debug for JoinHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("thread", &self.cap())
            .finish_non_exhaustive()
    }
}

/// A stretch of address space for one thread.
struct Stretch(u64);

impl Stretch {
    fn allocate() -> Result<Stretch, Error> {
        for (index, word) in USED.iter().enumerate() {
            let take = |used: u64| (used != u64::MAX).then_some(used | (used + 1));
            if let Ok(used) = word.fetch_update(Ordering::Acquire, Ordering::Relaxed, take) {
                return Ok(Stretch(index as u64 * 64 + used.trailing_ones() as u64));
            }
        }
        Err(Error::NoSpace)
    }

    fn start(&self) -> u64 {
        AREA + self.0 * STRIDE
    }

    /// Address of the UTCB, which is the stack's end.
    fn utcb(&self) -> u64 {
        self.start() + STRIDE - PAGE_SIZE
    }

    fn attach_stack(&self, size: u64) -> Result<(), Error> {
        if size == 0 || size > MAX_STACK {
            return Err(Error::TooBig);
        }
        let stack = Region {
            start: self.utcb() - size,
            size,
            access: Access::READ_WRITE,
            backing: Backing::Anonymous,
            search: false,
            dataspace: CapIndex(0),
            offset: 0,
        };
        Task(CapIndex::TASK).attach(&[stack]).map(drop)
    }
}

impl Drop for Stretch {
    /// Detaches the stack and makes the stretch free for the next thread. The thread is gone, and its UTCB with it.
    fn drop(&mut self) {
        let _ = Task(CapIndex::TASK).detach(self.start(), STRIDE - PAGE_SIZE);
        USED[(self.0 / 64) as usize].fetch_and(!(1 << (self.0 % 64)), Ordering::Release);
    }
}
