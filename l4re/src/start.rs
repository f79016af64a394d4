//! Start and end of a native program.
#![expect(unsafe_code, reason = "the program starts from its initial stack pointer")]

use crate::{console, env};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicPtr, Ordering};
use l4::object::Thread;
use l4::protocol::PARENT;
use l4::{CapIndex, Tag, Utcb, syscall, utcb};

/// Exit code of a program that panicked.
pub const PANIC_CODE: i64 = 101;
/// Word of the UTCB where the runtime keeps the slot of the thread's own capability; 0 means [`CapIndex::THREAD`].
pub const OWN_THREAD_WORD: usize = utcb::TLS_WORD;

/// What a program's `main` may return.
pub trait Termination {
    /// The exit code that says it.
    fn exit_code(self) -> i64;
}

impl Termination for () {
    fn exit_code(self) -> i64 {
        0
    }
}

impl Termination for i64 {
    fn exit_code(self) -> i64 {
        self
    }
}

impl<E: fmt::Display> Termination for Result<(), E> {
    /// 1 for an error, which is shown.
    fn exit_code(self) -> i64 {
        match self {
            Ok(()) => 0,
            Err(error) => {
                crate::println!("{error}");
                1
            }
        }
    }
}

/// Declares a native program's start, panic handler and heap: `l4re::entry!(main);` where `main` takes nothing and
/// returns a [`Termination`].
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[global_allocator]
        static HEAP: $crate::heap::Heap = $crate::heap::Heap;

        #[panic_handler]
        fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::start::panic(info)
        }

        $crate::start_with!($main);
    };
}

/// The start alone, for a program with a panic handler and a heap of its own.
#[macro_export]
macro_rules! start_with {
    ($main:path) => {
        /// First instructions: the initial stack pointer becomes the argument.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".text.l4re_start")]
        extern "C" fn l4re_start() -> ! {
            ::core::arch::naked_asm!(
                "xor ebp, ebp",
                "mov rdi, rsp",
                "and rsp, -16",
                "call {start}",
                "ud2",
                start = sym l4re_start_on_stack,
            )
        }

        extern "C" fn l4re_start_on_stack(stack: *mut u64) -> ! {
            // SAFETY: Called once, with the stack pointer that the program started with.
            unsafe { $crate::start::run(stack, $main) }
        }
    };
}

/// Runs a native program to its end.
///
/// # Safety
/// `stack` is the initial stack pointer; called once.
pub unsafe fn run<T: Termination>(stack: *mut u64, main: impl FnOnce() -> T) -> ! {
    // SAFETY: As the caller promises.
    unsafe { env::adopt_stack(stack) };
    exit(main().exit_code())
}

/// Ends the program: tells the parent the code and stops. Other threads run on until the parent removes the task.
pub fn exit(code: i64) -> ! {
    Utcb::current().write(0, &[0, 0, code as u64]);
    // A task without a parent, or whose parent is gone, has nobody to tell.
    let _ = syscall::call(CapIndex::PARENT, Tag::new(PARENT, 3, 0));
    end_thread()
}

/// Ends the calling thread.
pub fn end_thread() -> ! {
    loop {
        let _ = Thread(current_thread()).exit();
        // Only a thread without a capability to itself gets here. It must not run on.
        syscall::sleep_until(l4::NEVER);
    }
}

/// The slot with the calling thread's own capability.
pub fn current_thread() -> CapIndex {
    match Utcb::current().word(OWN_THREAD_WORD) {
        0 => CapIndex::THREAD,
        slot => CapIndex(slot as u32),
    }
}

/// What a program does first when it panics.
pub type PanicHook = fn(&PanicInfo<'_>);

static HOOK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Has `hook` told of each panic, instead of the line in the log.
pub fn set_panic_hook(hook: PanicHook) {
    HOOK.store(hook as *mut (), Ordering::Relaxed);
}

/// Reports a panic and ends the program; in a thread that the program spawned, only that thread.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let hook = HOOK.load(Ordering::Relaxed);
    if hook.is_null() {
        report(info);
    } else {
        // SAFETY: Only `set_panic_hook` stores here, and it stores a `PanicHook`.
        let hook: PanicHook = unsafe { core::mem::transmute::<*mut (), PanicHook>(hook) };
        hook(info);
    }
    if Utcb::current().word(OWN_THREAD_WORD) == 0 {
        exit(PANIC_CODE)
    } else {
        end_thread()
    }
}

/// Writes the panic's message and place to the log, cut to one message.
fn report(info: &PanicInfo<'_>) {
    let mut line = Line {
        bytes: [0; 480],
        used: 0,
    };
    let _ = writeln!(line, "{info}");
    console::write(CapIndex::LOG, &line.bytes[..line.used]);
}

struct Line {
    bytes: [u8; 480],
    used: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let count = text.len().min(self.bytes.len() - self.used);
        self.bytes[self.used..self.used + count].copy_from_slice(&text.as_bytes()[..count]);
        self.used += count;
        if count < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
