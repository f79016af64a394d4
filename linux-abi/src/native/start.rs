//! From the loader's stack to the program's first instruction.
#![expect(
    unsafe_code,
    reason = "the start's data is found through pointers, and the process is a static"
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::{naked_asm, x86_64::__cpuid};
use core::ffi::{CStr, c_char};
use core::ptr;

use interfaces::faas::SUPERVISOR_NAME;
use l4::info_page::InfoPage;
use l4::object::Thread;
use l4::region::Access;
use l4::{CapIndex, PAGE_SIZE, Utcb};
use l4re::env::{AT_L4_IMAGE_END, BLOCK_ENTRY_WORDS, BLOCK_HEADER_WORDS};
use l4re::sync::Mutex;
use linux_abi::{AuxEntry, AuxValue, Caller, FIRST_TID, InitialStack, Process, Program, STACK_SIZE};
use linux_abi::{Contents, Place, SIGNAL_STACK_MINIMUM};
use linux_abi::{System, auxv};

use super::entry::{STATE_WORD, TID_WORD, personality_entry, prepare, run_program};
use super::fault::fault_entry;
use super::own::{Own, set_info_page};
use super::rom;
use super::task::{OwnTask, SLOTS};
use super::thread_area::{State, ThreadArea};
use super::{threads, vdso};

/// Where the program's stack is looked for.
const STACK_AREA: u64 = 0x7ffe_0000_0000;
/// An unmapped page below the stack.
const GUARD: u64 = PAGE_SIZE;
/// User and group of the program.
const USER: u64 = 1000;
/// What cannot start.
const START_FAILED: i32 = 127;

static MAIN_THREAD: ThreadArea = ThreadArea::new();

/// The process, once the program runs.
static PROCESS: Mutex<Option<Process<OwnTask>>> = Mutex::new(None);

/// The first thread's state.
pub(super) fn main_state() -> *mut State {
    MAIN_THREAD.state()
}

/// Lets `action` use the process, one thread at a time. It makes no Linux call and does not wait.
pub(super) fn with_process<R>(action: impl FnOnce(&mut Process<OwnTask>) -> R) -> R {
    let mut process = loop {
        match PROCESS.try_lock() {
            Some(process) => break process,
            None => Own.pause(),
        }
    };
    match &mut *process {
        Some(process) => action(process),
        None => failed("a Linux call before the program's start"),
    }
}

/// First instruction of the image.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn linux_abi_start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {start}",
        "ud2",
        start = sym start,
    )
}

fn failed(why: &str) -> ! {
    l4re::println!("linux-abi: {why}");
    super::task::exit(START_FAILED)
}

extern "C" fn start(stack: *const u64) -> ! {
    // SAFETY: The kernel started the thread with the loader's stack.
    let given = unsafe { Given::read(stack) };
    let (Some(entry), Some(image_end)) = (given.number(auxv::ENTRY), given.number(AT_L4_IMAGE_END)) else {
        failed("the loader did not say where the program is (AT_ENTRY, AT_L4_IMAGE_END)");
    };
    let mut block = given.block();
    let first_slot = block
        .first()
        .copied()
        .unwrap_or(u64::from(CapIndex::FIRST_FREE.0));
    if let Some(first_free) = block.first_mut() {
        *first_free += u64::from(SLOTS);
    }
    let info_page = block.get(1).copied().unwrap_or(InfoPage::ADDRESS);
    // SAFETY: Whoever starts a task attaches the page there for reading; it never changes.
    let info_page: &'static InfoPage = unsafe { &*ptr::with_exposed_provenance(info_page as usize) };
    set_info_page(info_page);
    let began = Own.now();
    threads::set_first_slot(CapIndex(first_slot as u32 + rom::SLOTS));
    let mut system = OwnTask::new(CapIndex(first_slot as u32));
    let stack_start = attach_stack(&mut system);
    let stack_pointer = fill_stack(&mut system, &given, &block, stack_start + STACK_SIZE);
    let program = Program {
        path: path(&given),
        image_end,
        stack_start,
        serves_request: has_capability(&block, SUPERVISOR_NAME.as_bytes()),
    };
    system.exchange.note_start(began, Own.now());
    *PROCESS.lock() = Some(Process::new(system, program));
    enter_personality();
    // SAFETY: The loader promises the program's first instruction at AT_ENTRY; the stack was just laid out.
    unsafe { run_program(entry, stack_pointer) }
}

/// Tells whether a copied start block has a capability of this name.
fn has_capability(block: &[u64], name: &[u8]) -> bool {
    let entries = block.get(BLOCK_HEADER_WORDS..).unwrap_or_default();
    entries.chunks_exact(BLOCK_ENTRY_WORDS).any(|entry| {
        let bytes = [entry[0].to_le_bytes(), entry[1].to_le_bytes()];
        let bytes = bytes.as_flattened();
        bytes
            .strip_prefix(name)
            .is_some_and(|rest| rest.first() == Some(&0))
    })
}

/// Has the kernel return Linux calls and faults to this image.
fn enter_personality() {
    prepare();
    Utcb::current().set_word(STATE_WORD, MAIN_THREAD.state().expose_provenance() as u64);
    Utcb::current().set_word(TID_WORD, FIRST_TID);
    let thread = Thread(CapIndex::THREAD);
    let fault = fault_entry as *const () as u64;
    let personality = personality_entry as *const () as u64;
    if let Err(error) = thread.set_fault_entry(fault, MAIN_THREAD.prepare_fault_stack()) {
        l4re::println!("linux-abi: no fault entry: {error}");
        super::task::exit(START_FAILED);
    }
    if let Err(error) = thread.set_personality(personality) {
        l4re::println!("linux-abi: no personality entry: {error}");
        super::task::exit(START_FAILED);
    }
}

/// Attaches the program's stack and returns its first address.
fn attach_stack(system: &mut OwnTask) -> u64 {
    let place = Place::From(STACK_AREA);
    let size = STACK_SIZE + GUARD;
    let attached = system
        .attach(place, size, Access::empty(), Contents::Anonymous)
        .and_then(|start| {
            system.protect(start + GUARD, STACK_SIZE, Access::READ_WRITE)?;
            Ok(start + GUARD)
        });
    match attached {
        Ok(start) => start,
        Err(error) => {
            l4re::println!("linux-abi: no stack for the program: {error}");
            super::task::exit(START_FAILED)
        }
    }
}

/// Writes what the program is told to the end of its stack. Returns its stack pointer.
fn fill_stack(system: &mut OwnTask, given: &Given, block: &[u64], top: u64) -> u64 {
    let Ok(random) = system.random() else {
        failed("no randomness for the program (AT_RANDOM)");
    };
    let bytes = |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let random = bytes(&random[..2]);
    let block = bytes(block);
    let path = path(given);
    let mut stack = InitialStack {
        arguments: given.arguments.clone(),
        environment: given.environment.clone(),
        auxiliary: Vec::new(),
    };
    let mut add = |key, value| stack.auxiliary.push(AuxEntry { key, value });
    for key in [auxv::PHDR, auxv::PHENT, auxv::PHNUM, auxv::ENTRY] {
        add(key, AuxValue::Number(given.number(key).unwrap_or(0)));
    }
    for (key, number) in [
        (auxv::PAGESZ, PAGE_SIZE),
        (auxv::BASE, 0),
        (auxv::FLAGS, 0),
        (auxv::UID, USER),
        (auxv::EUID, USER),
        (auxv::GID, USER),
        (auxv::EGID, USER),
        (auxv::HWCAP, u64::from(__cpuid(1).edx)),
        (auxv::HWCAP2, 0),
        (auxv::CLKTCK, 100),
        (auxv::SECURE, 0),
        (auxv::MINSIGSTKSZ, SIGNAL_STACK_MINIMUM),
        (auxv::SYSINFO_EHDR, vdso::address()),
    ] {
        add(key, AuxValue::Number(number));
    }
    add(auxv::PLATFORM, AuxValue::Text(b"x86_64"));
    add(auxv::EXECFN, AuxValue::Text(path.as_bytes()));
    add(auxv::RANDOM, AuxValue::Bytes(&random));
    if !block.is_empty() {
        add(auxv::L4_ENV, AuxValue::Bytes(&block));
    }
    let image = stack.layout(top);
    if system.write(image.pointer, &image.bytes).is_err() {
        failed("the program's stack cannot be written: its account's limit is too low");
    }
    image.pointer
}

/// The program's absolute path: its name, in `rom` unless it says otherwise.
fn path(given: &Given) -> String {
    let name = given
        .arguments
        .first()
        .and_then(|name| core::str::from_utf8(name).ok())
        .unwrap_or_default();
    let name = name.strip_prefix("rom/").unwrap_or(name);
    if name.starts_with('/') {
        String::from(name)
    } else {
        alloc::format!("/rom/{name}")
    }
}

/// What the loader's stack says.
struct Given {
    arguments: Vec<&'static [u8]>,
    environment: Vec<&'static [u8]>,
    auxiliary: Vec<(u64, u64)>,
}

impl Given {
    /// # Safety
    /// `stack` is an initial stack of the System V ABI that stays as it is.
    unsafe fn read(stack: *const u64) -> Given {
        // SAFETY: The stack starts with argc, and lists follow that end with null words.
        unsafe {
            let count = stack.read() as usize;
            let (arguments, _) = texts(stack.add(1));
            let (environment, mut next) = texts(stack.add(count + 2));
            let mut auxiliary = Vec::new();
            while next.read() != auxv::NULL {
                auxiliary.push((next.read(), next.add(1).read()));
                next = next.add(2);
            }
            Given {
                arguments,
                environment,
                auxiliary,
            }
        }
    }

    fn number(&self, key: u64) -> Option<u64> {
        self.auxiliary
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
    }

    /// A copy of the start block with the named capabilities; empty if there is none.
    fn block(&self) -> Vec<u64> {
        let Some(address) = self.number(auxv::L4_ENV) else {
            return Vec::new();
        };
        let block: *const u64 = ptr::with_exposed_provenance(address as usize);
        let mut length = BLOCK_HEADER_WORDS;
        // SAFETY: The block consists of its header and entries, the last of which has an empty name.
        unsafe {
            while block.add(length).read() != 0 {
                length += BLOCK_ENTRY_WORDS;
            }
            (0..length + BLOCK_ENTRY_WORDS)
                .map(|index| block.add(index).read())
                .collect()
        }
    }
}

/// The texts of a list of pointers, and what stands behind its end.
///
/// # Safety
/// `list` points to pointers to NUL-terminated texts, the last of which is null; all stay as they are.
unsafe fn texts(list: *const u64) -> (Vec<&'static [u8]>, *const u64) {
    let mut next = list;
    let mut texts = Vec::new();
    // SAFETY: As the caller promises.
    unsafe {
        while next.read() != 0 {
            let text: *const c_char = ptr::with_exposed_provenance(next.read() as usize);
            texts.push(CStr::from_ptr(text).to_bytes());
            next = next.add(1);
        }
        (texts, next.add(1))
    }
}
