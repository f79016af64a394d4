//! Threads beside the first one: making them, blocking them, and freeing what they used.
//!
//! Each has a stretch of address space with its [`ThreadArea`] and UTCB, and two slots: its capability, and the
//! notification that it waits on while it is parked. A stretch is freed by the next thread that starts or ends; the
//! notification stays for the next thread with the same number.
#![expect(unsafe_code, reason = "a new thread's memory is written by its maker")]

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::arch::asm;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use l4::object::{Factory, Irq, Placement, Scheduler, Start, Task, Thread};
use l4::protocol::{THREAD, thread};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, NEVER, PAGE_SIZE, Selector, Tag, Utcb, syscall};
use l4re::start::{OWN_THREAD_WORD, current_thread};
use linux_abi::{Caller, Errno, NewThread, THREAD_LIMIT};

use super::calls::own_state;
use super::entry::{FS_WORD, NUMBER_WORD, STATE_WORD, TID_WORD, linux_abi_resume, personality_entry};
use super::fault::fault_entry;
use super::message::Short;
use super::own::Own;
use super::start;
use super::thread_area::{State, ThreadArea};

/// Slots for threads: two for each.
pub(super) const SLOTS: u32 = 2 * THREAD_LIMIT as u32;

/// Size of a thread's stretch of address space: an unmapped page, its area, an unmapped rest, its UTCB.
const STRIDE: u64 = 64 << 10;
/// Where the stretches are.
pub(super) const AREA: Range<u64> = START..START + THREAD_LIMIT as u64 * STRIDE;
const START: u64 = 0x7ffd_0000_0000;
const AREA_SIZE: u64 = size_of::<ThreadArea>() as u64;
const _: () = assert!(AREA_SIZE.is_multiple_of(PAGE_SIZE) && AREA_SIZE <= STRIDE - 3 * PAGE_SIZE);

/// Numbers that are kept back before one is used again: the kernel may still be busy with the thread that had it.
const KEPT_BACK: usize = 8;
/// Tries to use a UTCB's page that the kernel has not given back yet.
const TRIES: u32 = 100;

/// First of [`SLOTS`] slots.
static FIRST_SLOT: AtomicU32 = AtomicU32::new(0);
/// The thread needs its memory no more.
static GONE: [AtomicBool; THREAD_LIMIT] = [const { AtomicBool::new(false) }; THREAD_LIMIT];
/// There are notifications to park on: there has been a second thread.
static CAN_PARK: AtomicBool = AtomicBool::new(false);
/// The threads' faults go where those of the first one go.
static HAVE_HANDLER: AtomicBool = AtomicBool::new(true);

/// Says which slots are this module's; before all else.
pub(super) fn set_first_slot(first: CapIndex) {
    FIRST_SLOT.store(first.0, Ordering::Relaxed);
}

fn slot(number: u32, which: u32) -> CapIndex {
    CapIndex(FIRST_SLOT.load(Ordering::Relaxed) + 2 * number + which)
}

fn thread_slot(number: u32) -> CapIndex {
    slot(number, 0)
}

fn notification_slot(number: u32) -> CapIndex {
    slot(number, 1)
}

/// What the thread with this number waits on while it is parked; `None` if there is one thread.
pub(super) fn notification(number: u32) -> Option<CapIndex> {
    CAN_PARK
        .load(Ordering::Relaxed)
        .then(|| notification_slot(number))
}

/// Whether somebody handles the faults of threads beside the first one.
pub(super) fn have_handler() -> bool {
    HAVE_HANDLER.load(Ordering::Relaxed)
}

/// The state of a thread of the program.
fn state(number: u32) -> *mut State {
    match number {
        0 => start::main_state(),
        _ => ptr::with_exposed_provenance_mut((area(number) + ThreadArea::STATE) as usize),
    }
}

/// Has a thread of the program look for signals before it goes on in the program. The caller has the process, so the
/// thread's memory stays.
pub(super) fn interrupt(number: u32) {
    // SAFETY: The thread lives, so its state is there, and the word is atomic.
    unsafe { (*state(number)).attention.store(1, Ordering::Release) };
    if number == Own.thread() {
        return;
    }
    // If it waits in this layer.
    Own.unpark(number);
    let thread = match number {
        0 => Thread(CapIndex::THREAD),
        _ => Thread(thread_slot(number)),
    };
    let _message = Short::new();
    // One that waits otherwise looks when that has come to its end.
    let _busy = thread.signal();
}

/// The calling thread looks for signals now.
pub(super) fn clear_interrupt() {
    // SAFETY: The state is the thread's own, and the word is atomic.
    unsafe { (*own_state()).attention.store(0, Ordering::Relaxed) };
}

fn stretch(number: u32) -> u64 {
    START + u64::from(number) * STRIDE
}

fn area(number: u32) -> u64 {
    stretch(number) + PAGE_SIZE
}

fn utcb(number: u32) -> u64 {
    stretch(number) + STRIDE - PAGE_SIZE
}

/// The threads of the task but its first one.
pub(super) struct Threads {
    /// Numbers that were used before, longest unused first.
    free: VecDeque<u32>,
    /// All numbers from here on were never used.
    unused: u32,
    /// Threads that end.
    leaving: Vec<u32>,
    /// CPU of the thread that was started last.
    last_cpu: u32,
    told: bool,
}

impl Threads {
    pub(super) const fn new() -> Threads {
        Threads {
            free: VecDeque::new(),
            unused: 1,
            leaving: Vec::new(),
            last_cpu: 0,
            told: false,
        }
    }

    /// Starts a thread with the registers of the calling one. Returns its number.
    pub(super) fn start(&mut self, new: NewThread) -> Result<u32, Errno> {
        let _message = Short::new();
        self.free_memory();
        let placement = self.placement()?;
        self.prepare_parking().map_err(errno)?;
        let number = self.take_number().ok_or(Errno::AGAIN)?;
        match launch(number, new, placement) {
            Ok(()) => Ok(number),
            Err(error) => {
                free(number);
                self.free.push_back(number);
                Err(errno(error))
            }
        }
    }

    /// Says that the calling thread ends.
    pub(super) fn leave(&mut self) {
        let _message = Short::new();
        self.free_memory();
        match Own.thread() {
            // The first thread's memory is not this module's.
            0 => {}
            number => self.leaving.push(number),
        }
    }

    /// Frees what threads used that are gone.
    fn free_memory(&mut self) {
        let free_numbers = &mut self.free;
        self.leaving.retain(|number| {
            let is_gone = GONE[*number as usize].load(Ordering::Acquire);
            if is_gone {
                free(*number);
                free_numbers.push_back(*number);
            }
            !is_gone
        });
    }

    fn take_number(&mut self) -> Option<u32> {
        if self.free.len() < KEPT_BACK && self.unused < THREAD_LIMIT as u32 {
            let number = self.unused;
            Factory(CapIndex::FACTORY)
                .create_irq(0, CapIndex::NONE, notification_slot(number))
                .ok()?;
            self.unused += 1;
            return Some(number);
        }
        self.free.pop_front()
    }

    /// Makes the first thread's notification, when there is to be a second thread.
    fn prepare_parking(&mut self) -> Result<(), Error> {
        if !CAN_PARK.load(Ordering::Relaxed) {
            Factory(CapIndex::FACTORY).create_irq(0, current_thread(), notification_slot(0))?;
            CAN_PARK.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The maker's priority, and the next of the CPUs that the task may use.
    fn placement(&mut self) -> Result<Placement, Errno> {
        let own = Own::cap().stats()?;
        let Ok(info) = Scheduler(CapIndex::SCHEDULER).info() else {
            if !core::mem::replace(&mut self.told, true) {
                l4re::println!("linux-abi: no thread can be started: the program has no scheduler");
            }
            return Err(Errno::AGAIN);
        };
        let last = if self.unused == 1 { own.cpu } else { self.last_cpu };
        let is_permitted = |cpu: &u32| info.cpus & (1 << cpu) != 0;
        let cpu = (last + 1..64).chain(0..=last).find(is_permitted);
        self.last_cpu = cpu.unwrap_or(own.cpu);
        Ok(Placement {
            cpu: self.last_cpu,
            priority: own.priority.min(info.max_priority),
            slice_us: 0,
        })
    }
}

/// As Linux says that there can be no further thread.
fn errno(error: Error) -> Errno {
    match error {
        Error::NoMemory => Errno::NOMEM,
        _ => Errno::AGAIN,
    }
}

/// Removes a thread that runs no more, or never ran, and frees its memory.
fn free(number: u32) {
    let task = Task(CapIndex::TASK);
    // Both can only fail where there is nothing to remove.
    let _ = task.drop_cap(thread_slot(number));
    let _ = task.detach(area(number), AREA_SIZE);
}

fn launch(number: u32, new: NewThread, placement: Placement) -> Result<(), Error> {
    let area = attach_area(number)?;
    let thread = create(number)?;
    let own = Utcb::current();
    let state = area.state().expose_provenance() as u64;
    let fs_base = new.fs_base.unwrap_or_else(|| own.word(FS_WORD));
    for (word, value) in [
        (STATE_WORD, state),
        (NUMBER_WORD, number.into()),
        (TID_WORD, new.tid.into()),
        (FS_WORD, fs_base),
        (OWN_THREAD_WORD, thread.0.word()),
    ] {
        let page: *mut u64 = ptr::with_exposed_provenance_mut(utcb(number) as usize);
        // SAFETY: The kernel mapped the page when it made the thread, which does not run yet.
        unsafe { page.add(word).write_volatile(value) };
    }
    // SAFETY: The maker's registers are saved while it makes a call, and the new area is nobody's yet.
    unsafe {
        let (from, to) = (own_state(), area.state());
        (*to).vectors = (*from).vectors;
        (*to).registers = (*from).registers;
        (*to).registers.rax = 0;
        if new.stack != 0 {
            (*to).registers.rsp = new.stack;
        }
    }
    thread.set_personality(personality_entry as *const () as u64)?;
    thread.set_fault_entry(fault_entry as *const () as u64, area.prepare_fault_stack())?;
    thread.set_bases(fs_base, u64::MAX)?;
    // Without a handler of the first thread's faults there is none of others' either.
    HAVE_HANDLER.store(thread.share_handler().is_ok(), Ordering::Relaxed);
    Irq(notification_slot(number)).bind(0, thread.0)?;
    GONE[number as usize].store(false, Ordering::Relaxed);
    let start = Start {
        ip: (&raw const linux_abi_resume) as u64,
        sp: state,
        argument: 0,
    };
    Scheduler(CapIndex::SCHEDULER).start(thread.0, placement, start)
}

fn attach_area(number: u32) -> Result<&'static ThreadArea, Error> {
    let region = Region {
        start: area(number),
        size: AREA_SIZE,
        access: Access::READ_WRITE,
        backing: Backing::Anonymous,
        search: false,
        dataspace: CapIndex(0),
        offset: 0,
    };
    let start = Task(CapIndex::TASK).attach(&[region])?;
    let area: *const ThreadArea = ptr::with_exposed_provenance(start as usize);
    // SAFETY: The memory was just attached; all-zero bytes are an area. It is detached when the thread is gone.
    Ok(unsafe { &*area })
}

/// Creates the kernel's thread. The page of its UTCB may be in use for a moment by one that has just ended.
fn create(number: u32) -> Result<Thread, Error> {
    let factory = Factory(CapIndex::FACTORY);
    let task = Task(CapIndex::TASK);
    let slot = thread_slot(number);
    let mut tries = 0;
    loop {
        match factory.create_thread(task, utcb(number), CapIndex::NONE, 0, slot) {
            Err(Error::Exists) if tries < TRIES => {
                tries += 1;
                Own.pause();
            }
            result => return result,
        }
    }
}

/// Stops the calling thread for ever: the program has ended.
pub(super) fn stop() -> ! {
    loop {
        syscall::sleep_until(NEVER);
    }
}

/// Ends the calling thread, which has left. The first one stays, because the task's maker watches it.
pub(super) fn end() -> ! {
    let number = Own.thread();
    if number == 0 {
        stop();
    }
    let own = current_thread();
    Utcb::current().set_word(0, thread::EXIT);
    // SAFETY: Once the flag is set, the stack may be gone at any time: no instruction after that uses it. The call does
    // not return while the capability is there. When it is gone already, the kernel is about to end the thread, which must
    // not call again until then: what a failed call leaves in rax would make it a Linux call, which begins on the stack.
    unsafe {
        asm!(
            "mov byte ptr [{gone}], 1",
            "syscall",
            "2: pause",
            "jmp 2b",
            gone = in(reg) GONE[number as usize].as_ptr(),
            in("rax") Tag::new(THREAD, 1, 0).0 | Tag::NATIVE,
            in("rdx") Selector::new(own, Selector::SEND | Selector::RECEIVE).0,
            in("r8") NEVER,
            in("r9") NEVER,
            options(noreturn),
        )
    }
}
