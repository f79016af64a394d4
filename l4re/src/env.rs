//! What a program was started with: arguments, variables, named capabilities.
//!
//! The initial stack is that of Linux: `argc`, the arguments and a null, the variables and a null, and the auxiliary
//! vector. One entry of the vector, [`AT_L4_ENV`], points to the start block:
//!
//! | word | content |
//! |---|---|
//! | 0 | first slot that the starter left free |
//! | 1 | address of the kernel info page |
//! | 2 … | entries of three words: name (16 bytes, NUL-padded) and slot; an empty name ends them |
//!
//! A stack of zeroes reads as: no arguments, no variables, no start block. Then [`CapIndex::FIRST_FREE`] and
//! [`InfoPage::ADDRESS`] hold, so who starts a program that needs nothing has nothing to write.
#![expect(
    unsafe_code,
    reason = "the starter's data is found through the initial stack pointer"
)]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use l4::CapIndex;
use l4::info_page::InfoPage;

/// Type of the auxiliary vector's entry that points to the start block.
pub const AT_L4_ENV: u64 = 0xf1;
/// Type of the auxiliary vector's entry that says where the program's image ends: the first address behind its last page.
pub const AT_L4_IMAGE_END: u64 = 0xf2;
/// Words in front of the start block's entries.
pub const BLOCK_HEADER_WORDS: usize = 2;
/// Words of an entry of the start block.
pub const BLOCK_ENTRY_WORDS: usize = 3;
/// Longest name of a capability in bytes.
pub const MAX_NAME: usize = 15;

/// The initial stack; null if it was empty.
static STACK: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());
/// The start block; null if there is none.
static BLOCK: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());

/// A capability that the starter named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedCap {
    /// The name.
    pub name: &'static str,
    /// The slot that holds it.
    pub cap: CapIndex,
}

/// Takes note of the initial stack, for a native program. An empty one is not written down, so that a tiny
/// program touches no page of data for it.
///
/// # Safety
/// `stack` is the initial stack pointer, and what is above it stays as it is.
pub unsafe fn adopt_stack(stack: *mut u64) {
    // SAFETY: The caller promises an initial stack: it has at least argc, two nulls and the first auxiliary entry.
    let [argc, first_type] = [0, 3].map(|index| unsafe { stack.add(index).read() });
    if argc == 0 && first_type == 0 {
        return;
    }
    STACK.store(stack, Ordering::Relaxed);
    // SAFETY: As the caller promises.
    if let Some(block) = unsafe { auxiliary(stack, AT_L4_ENV) } {
        // SAFETY: The entry's value is the address of the start block.
        unsafe { adopt(ptr::with_exposed_provenance_mut(block as usize)) };
    }
}

/// Takes note of the start block, for a program with a C library: what `getauxval(AT_L4_ENV)` says. Null is fine.
///
/// # Safety
/// `block` is null or points to a start block that stays as it is.
pub unsafe fn adopt(block: *mut u64) {
    BLOCK.store(block, Ordering::Relaxed);
}

/// The arguments of a native program, its own name first. One that is no UTF-8 appears as an empty string.
pub fn args() -> impl Iterator<Item = &'static str> {
    let stack = STACK.load(Ordering::Relaxed);
    // SAFETY: `adopt_stack` was promised that this is the initial stack; `strings` stays before its first null.
    unsafe { strings(if stack.is_null() { stack } else { stack.add(1) }) }
}

/// The variables of a native program, each `NAME=VALUE`.
pub fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let stack = STACK.load(Ordering::Relaxed);
    // SAFETY: As in `args`; the variables stand behind argc arguments and a null.
    let start = unsafe {
        if stack.is_null() {
            stack
        } else {
            stack.add(stack.read() as usize + 2)
        }
    };
    // SAFETY: A list of pointers to strings that ends with a null.
    unsafe { strings(start) }.filter_map(|entry| entry.split_once('='))
}

/// The value of a variable.
pub fn variable(name: &str) -> Option<&'static str> {
    variables().find_map(|(key, value)| (key == name).then_some(value))
}

/// All named capabilities.
pub fn caps() -> impl Iterator<Item = NamedCap> {
    let block = BLOCK.load(Ordering::Relaxed);
    (0..).map_while(move |index| {
        if block.is_null() {
            return None;
        }
        // SAFETY: `adopt` was promised a start block; the last entry, an empty name, ended the iteration before.
        let entry = unsafe { block.add(BLOCK_HEADER_WORDS + BLOCK_ENTRY_WORDS * index) };
        // SAFETY: As above; a name is two words of bytes.
        let name: &'static [u8; 16] = unsafe { &*entry.cast() };
        let name = CStr::from_bytes_until_nul(name).ok()?.to_str().ok()?;
        // SAFETY: As above.
        let cap = unsafe { entry.add(2).read() };
        (!name.is_empty()).then_some(NamedCap {
            name,
            cap: CapIndex(cap as u32),
        })
    })
}

/// The capability that the starter called `name`.
pub fn cap(name: &str) -> Option<CapIndex> {
    caps().find_map(|entry| (entry.name == name).then_some(entry.cap))
}

/// First slot that the starter left free.
pub fn first_free() -> CapIndex {
    header_word(0).map_or(CapIndex::FIRST_FREE, |word| CapIndex(word as u32))
}

/// Address of the kernel info page.
pub fn info_page_address() -> u64 {
    header_word(1).unwrap_or(InfoPage::ADDRESS)
}

fn header_word(index: usize) -> Option<u64> {
    let block = BLOCK.load(Ordering::Relaxed);
    // SAFETY: `adopt` was promised a start block, which has at least its header.
    (!block.is_null()).then(|| unsafe { block.add(index).read() })
}

/// The strings of a list of pointers that ends with a null; of none if `list` is null.
///
/// # Safety
/// `list` is null or such a list, and stays as it is.
unsafe fn strings(list: *mut u64) -> impl Iterator<Item = &'static str> {
    (0..).map_while(move |index| {
        if list.is_null() {
            return None;
        }
        // SAFETY: The caller promises a list, and its null ended the iteration before.
        let address = unsafe { list.add(index).read() };
        let string: *const c_char = ptr::with_exposed_provenance(address as usize);
        // SAFETY: The list points to strings with a NUL.
        (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) }.to_str().unwrap_or_default())
    })
}

/// The value of an entry of the auxiliary vector.
///
/// # Safety
/// `stack` is an initial stack.
unsafe fn auxiliary(stack: *const u64, wanted: u64) -> Option<u64> {
    // SAFETY: As the caller promises.
    let argc = unsafe { stack.read() };
    let mut entry = stack.wrapping_add(argc as usize + 2);
    // SAFETY: The variables end with a null.
    while unsafe { entry.read() } != 0 {
        entry = entry.wrapping_add(1);
    }
    entry = entry.wrapping_add(1);
    loop {
        // SAFETY: The vector is a list of pairs that ends with one of type 0.
        let [kind, value] = [0, 1].map(|index| unsafe { entry.add(index).read() });
        match kind {
            0 => return None,
            kind if kind == wanted => return Some(value),
            _ => entry = entry.wrapping_add(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> [u64; 2] {
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let (low, high) = bytes.split_at(8);
        [low, high].map(|half| u64::from_le_bytes(half.try_into().unwrap()))
    }

    /// One test, since the statics are the process's.
    #[test]
    fn reads_the_initial_stack() {
        assert_eq!((args().count(), variables().count(), caps().count()), (0, 0, 0));
        assert_eq!(
            (first_free(), info_page_address()),
            (CapIndex::FIRST_FREE, InfoPage::ADDRESS)
        );

        let empty: &'static mut [u64] = Box::leak(Box::new([0; 16]));
        // SAFETY: An initial stack of zeroes, leaked.
        unsafe { adopt_stack(empty.as_mut_ptr()) };
        assert_eq!((args().count(), first_free()), (0, CapIndex::FIRST_FREE));

        let [rom, log] = ["rom", "a-15-byte-name!"].map(name);
        let block: &'static mut [u64] = Box::leak(Box::new([
            0x30,
            0x7000_0000,
            rom[0],
            rom[1],
            0x20,
            log[0],
            log[1],
            0x21,
            0,
            0,
            0,
        ]));
        let string = |text: &'static CStr| text.as_ptr().expose_provenance() as u64;
        let stack: &'static mut [u64] = Box::leak(Box::new([
            2,
            string(c"moe"),
            string(c"rom/x.cfg"),
            0,
            string(c"A=1"),
            string(c"EMPTY="),
            0,
            6,
            4096,
            AT_L4_ENV,
            block.as_mut_ptr().expose_provenance() as u64,
            0,
            0,
        ]));
        // SAFETY: An initial stack as the module describes it, leaked.
        unsafe { adopt_stack(stack.as_mut_ptr()) };
        assert_eq!(args().collect::<Vec<_>>(), ["moe", "rom/x.cfg"]);
        assert_eq!(
            (variable("A"), variable("EMPTY"), variable("B")),
            (Some("1"), Some(""), None)
        );
        assert_eq!(
            (cap("rom"), cap("a-15-byte-name!")),
            (Some(CapIndex(0x20)), Some(CapIndex(0x21)))
        );
        assert_eq!((cap("ro"), caps().count()), (None, 2));
        assert_eq!((first_free(), info_page_address()), (CapIndex(0x30), 0x7000_0000));
    }
}
