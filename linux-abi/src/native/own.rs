//! The calling thread, with the task's capabilities.
#![expect(unsafe_code, reason = "program memory is accessed by address")]

use core::arch::x86_64::_rdtsc;
use core::hint;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use l4::info_page::InfoPage;
use l4::object::{Irq, Scheduler, Thread};
use l4::{CapIndex, Error, Utcb, syscall};
use l4re::start::current_thread;
use linux_abi::{Caller, Errno};

use super::calls::own_state;
use super::copy::{self, copy};
use super::entry::{FS_WORD, NUMBER_WORD, TID_WORD};
use super::message::{ErrorWord, Short};
use super::threads;

unsafe extern "C" {
    safe static __ehdr_start: u8;
    safe static linux_abi_end: u8;
}

/// The kernel's page, once [`set_info_page`] was told where it is.
pub(super) static INFO_PAGE: AtomicPtr<InfoPage> = AtomicPtr::new(ptr::null_mut());

/// Tries before a thread sleeps that waits for another one to leave a short section.
const SPINS: u32 = 100;
/// How long it sleeps then: long enough for the other one to go on if it has the same CPU.
const NAP_NS: u64 = 20_000;

/// Says where the kernel's page is; before all else.
pub(super) fn set_info_page(page: &'static InfoPage) {
    INFO_PAGE.store(ptr::from_ref(page).cast_mut(), Ordering::Relaxed);
}

/// The kernel's page.
pub(super) fn info_page() -> &'static InfoPage {
    // SAFETY: Only `set_info_page` stores here, before anything asks, and what it stores is valid for ever.
    unsafe { &*INFO_PAGE.load(Ordering::Relaxed) }
}

/// The memory of this image.
pub(super) fn own_range() -> core::ops::Range<u64> {
    (&raw const __ehdr_start) as u64..(&raw const linux_abi_end) as u64
}

/// Tells whether the program may have this layer write there.
#[inline]
pub(super) fn check_target(target: u64, size: u64) -> Result<(), Errno> {
    let end = target.checked_add(size).ok_or(Errno::FAULT)?;
    let is_apart = |own: core::ops::Range<u64>| target >= own.end || end <= own.start;
    if is_apart(own_range()) && is_apart(threads::AREA) {
        Ok(())
    } else {
        Err(Errno::FAULT)
    }
}

/// Whoever calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own;

impl Own {
    /// The thread's own capability.
    pub(super) fn cap() -> Thread {
        Thread(current_thread())
    }
}

impl Caller for Own {
    #[inline]
    fn thread(&self) -> u32 {
        Utcb::current().word(NUMBER_WORD) as u32
    }

    #[inline]
    fn tid(&self) -> u32 {
        Utcb::current().word(TID_WORD) as u32
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: The target is a slice of this layer's.
        unsafe { copy(bytes.as_mut_ptr() as u64, address, bytes.len() as u64) }
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        check_target(address, bytes.len() as u64)?;
        // SAFETY: The source is a slice, the target not this layer's.
        unsafe { copy(address, bytes.as_ptr() as u64, bytes.len() as u64) }
    }

    #[inline]
    fn write_pair(&mut self, address: u64, words: [u64; 2]) -> Result<(), Errno> {
        check_target(address, 16)?;
        // SAFETY: The target was just found not to be this layer's.
        unsafe { copy::store_pair(address, words) }
    }

    fn load(&mut self, address: u64) -> Result<u32, Errno> {
        copy::load(address)
    }

    fn compare_exchange(&mut self, address: u64, expected: u32, new: u32) -> Result<u32, Errno> {
        check_target(address, 4)?;
        // SAFETY: The word was just found not to be this layer's.
        unsafe { copy::compare_exchange(address, expected, new) }
    }

    fn stack_pointer(&self) -> u64 {
        // SAFETY: The thread is in this layer, with its registers saved.
        unsafe { (*own_state()).registers.rsp }
    }

    #[inline]
    fn is_interrupted(&self) -> bool {
        // SAFETY: The state is the thread's own, and the word is atomic.
        unsafe { (*own_state()).attention.load(Ordering::Acquire) != 0 }
    }

    #[inline]
    fn now(&mut self) -> u64 {
        // SAFETY: Reading the time-stamp counter has no effect.
        info_page().nanoseconds(unsafe { _rdtsc() })
    }

    #[inline]
    fn epoch(&mut self) -> u64 {
        info_page().wall_clock_ns
    }

    fn cpu_time(&mut self) -> Result<u64, Error> {
        let _message = Short::new();
        Own::cap().cpu_time()
    }

    fn random(&mut self) -> Result<[u64; 4], Error> {
        let _message = Short::new();
        Own::cap().random()
    }

    fn set_fs_base(&mut self, base: u64) -> Result<(), Error> {
        let _message = Short::new();
        Own::cap().set_bases(base, u64::MAX)?;
        Utcb::current().set_word(FS_WORD, base);
        Ok(())
    }

    fn cpus(&mut self) -> u64 {
        let own = 1 << (self.cpu() & 63);
        let _message = Short::new();
        // Without a scheduler there is this thread alone.
        Scheduler(CapIndex::SCHEDULER)
            .info()
            .map_or(own, |info| info.cpus)
    }

    fn cpu(&mut self) -> u32 {
        let _message = Short::new();
        // A thread can always ask for its own state.
        Own::cap().stats().map_or(0, |stats| stats.cpu)
    }

    fn sleep_until(&mut self, deadline: u64) {
        let _message = Short::new();
        syscall::sleep_until(deadline);
    }

    fn yield_now(&mut self) {
        let _message = Short::new();
        // A thread can always yield.
        let _ = Own::cap().yield_now();
    }

    fn pause(&mut self) {
        for _ in 0..SPINS {
            hint::spin_loop();
        }
        let deadline = self.now() + NAP_NS;
        self.sleep_until(deadline);
    }

    fn park(&mut self, deadline: u64) {
        let _message = ErrorWord::new();
        match threads::notification(self.thread()) {
            Some(notification) => drop(syscall::receive(notification, deadline)),
            None => syscall::sleep_until(deadline),
        }
    }

    fn unpark(&mut self, thread: u32) {
        let _message = ErrorWord::new();
        if let Some(notification) = threads::notification(thread) {
            // It is this layer's own, so it can only be gone if the program removed it.
            let _ = Irq(notification).trigger();
        }
    }
}
