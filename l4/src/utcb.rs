//! The UTCB: a thread's message registers, shared between the thread and the kernel.
#![expect(
    unsafe_code,
    reason = "the UTCB is found through GS and shared with the kernel"
)]

use crate::{CapIndex, cap};
use core::cell::UnsafeCell;

/// Message registers (63), as the first words of a UTCB.
pub const MESSAGE_WORDS: usize = 63;
/// Word that holds the UTCB's own address.
pub const SELF_WORD: usize = 63;
/// Buffer descriptor: bits 32–63, if not 0, are the slot where the next receive stores the reply capability
/// (0: the thread's implicit one).
pub const BUFFER_DESCRIPTOR: usize = 64;
/// First of the buffer registers: one receive buffer each, used in order, the first zero ends the list.
pub const BUFFER_WORDS: usize = 65;
/// Number of buffer registers.
pub const BUFFER_COUNT: usize = 58;
/// Error word ([`crate::IpcError::code`]).
pub const ERROR_WORD: usize = 123;
/// Three words that are the program's own.
pub const TLS_WORD: usize = 125;
/// Size of the UTCB in words; it stands at the start of a page of its own.
pub const WORDS: usize = 128;
/// Behind the UTCB: where a Linux system call came from (return address).
pub const PERSONALITY_RETURN: usize = 128;
/// Behind the UTCB: 1 while a fault is being handled in the thread itself.
pub const FAULT_ACTIVE: usize = 129;
/// Behind the UTCB: the registers at the fault, an [`crate::exception::ExceptionFrame`].
pub const FAULT_FRAME: usize = 130;
/// First word of the page that the kernel never touches; the runtime may use it up to the page's end.
pub const FREE_WORD: usize = 160;
/// Where the loader puts a task's first UTCB.
pub const FIRST_ADDRESS: u64 = 0x3f_f000;

/// A thread's UTCB. Only the thread itself uses it, so it is neither `Send` nor `Sync`.
#[repr(transparent)]
pub struct Utcb(UnsafeCell<[u64; 512]>);

impl Utcb {
    /// A page of zeroes that no kernel knows: for tests and simulations.
    #[expect(clippy::new_without_default, reason = "threads get theirs from the kernel")]
    pub const fn new() -> Utcb {
        Utcb(UnsafeCell::new([0; 512]))
    }

    /// The calling thread's UTCB.
    #[inline(always)]
    pub fn current() -> &'static Utcb {
        let address: *const Utcb;
        // SAFETY: The kernel set GS base to the UTCB and its word 63 to its own address when the thread was made; the
        // page stays mapped while the thread lives. All access goes through `UnsafeCell` and volatile words.
        unsafe {
            core::arch::asm!("mov {}, gs:[504]", out(reg) address, options(nostack, readonly, preserves_flags));
            &*address
        }
    }

    /// Reads a word of the UTCB's page.
    ///
    /// # Panics
    /// If `index` is 512 or more.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        assert!(index < 512);
        // SAFETY: In bounds of the page; volatile because the kernel changes it in system calls.
        unsafe { self.0.get().cast::<u64>().add(index).read_volatile() }
    }

    /// Writes a word of the UTCB's page.
    ///
    /// # Panics
    /// If `index` is 512 or more.
    #[inline(always)]
    pub fn set_word(&self, index: usize, value: u64) {
        assert!(index < 512);
        // SAFETY: In bounds of the page, which is writable; only this thread and the kernel, in this thread's system
        // calls, use it.
        unsafe { self.0.get().cast::<u64>().add(index).write_volatile(value) }
    }

    /// Reads message words from `start` on into `words`, as many as there are up to word 63.
    pub fn read(&self, start: usize, words: &mut [u64]) {
        for (offset, word) in words
            .iter_mut()
            .enumerate()
            .take(MESSAGE_WORDS.saturating_sub(start))
        {
            *word = self.word(start + offset);
        }
    }

    /// Writes `words` to the message words from `start` on, as many as fit.
    pub fn write(&self, start: usize, words: &[u64]) {
        for (offset, word) in words.iter().enumerate().take(MESSAGE_WORDS.saturating_sub(start)) {
            self.set_word(start + offset, *word);
        }
    }

    /// Copies bytes into the message words from word `start` on; the last word is padded with zeroes.
    /// Returns the number of words written.
    ///
    /// # Panics
    /// If the bytes don't fit into the message words.
    pub fn write_bytes(&self, start: usize, bytes: &[u8]) -> usize {
        let words = bytes.len().div_ceil(8);
        assert!(start + words <= MESSAGE_WORDS, "message too long");
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.set_word(start + index, u64::from_le_bytes(word));
        }
        words
    }

    /// Copies bytes out of the message words from word `start` on.
    ///
    /// # Panics
    /// If `bytes` is longer than the message words behind `start`.
    pub fn read_bytes(&self, start: usize, bytes: &mut [u8]) {
        assert!(
            start + bytes.len().div_ceil(8) <= MESSAGE_WORDS,
            "message too short"
        );
        for (index, chunk) in bytes.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&self.word(start + index).to_le_bytes()[..chunk.len()]);
        }
    }

    /// Offers slots for the capabilities of the next message to be received (at most 57). They stay offered until
    /// this is called again, so a program that cares withdraws them (`&[]`) after the receive.
    pub fn set_receive_slots(&self, slots: &[CapIndex]) {
        for (index, slot) in slots.iter().take(BUFFER_COUNT - 1).enumerate() {
            self.set_word(BUFFER_WORDS + index, cap::receive_buffer(*slot));
        }
        self.set_word(BUFFER_WORDS + slots.len().min(BUFFER_COUNT - 1), 0);
    }

    /// Chooses where the next receive stores the reply capability: a free slot, or `None` for the implicit one.
    pub fn set_reply_slot(&self, slot: Option<CapIndex>) {
        self.set_word(BUFFER_DESCRIPTOR, slot.map_or(0, |slot| slot.word() << 32));
    }
}

impl core::fmt::Debug for Utcb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Utcb({:p})", self.0.get())
    }
}
