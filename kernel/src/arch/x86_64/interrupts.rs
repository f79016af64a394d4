//! What the entries do with exceptions and interrupts: those from user mode go to the kernel's logic, which
//! says what runs next; interrupts in kernel mode are noted; exceptions in kernel mode are fatal.

// UNSAFETY: reads what the entry assembly left.
#![allow(unsafe_code, reason = "called by the entry assembly with raw pointers")]

use core::fmt;

use kernel_core::context::{Context, Trap, USER_END};
use kernel_core::entry;
use x86_64::VirtAddr;
use x86_64::registers::control::Cr2;
use x86_64::registers::model_specific::GsBase;

use super::apic::{VECTOR_POKE, VECTOR_TIMER};
use super::panic::die;
use super::{apic, cpu_area, io_apic, timer};

/// Events, as bits when recorded in kernel mode and as numbers to `entry::interrupt`.
const EVENT_TIMER: u32 = 0;
const EVENT_POKE: u32 = 1;
const EVENT_DEVICE: u32 = 2;

const VECTOR_DOUBLE_FAULT: u64 = 8;
const VECTOR_GENERAL_PROTECTION: u64 = 13;
const VECTOR_PAGE_FAULT: u64 = 14;
const VECTOR_MACHINE_CHECK: u64 = 18;
const EXCEPTIONS: u64 = 32;

/// An interrupt that the kernel's logic is told of.
struct Event {
    number: u32,
    /// Line of a device interrupt.
    line: u32,
}

/// Acknowledges the interrupt with `vector`; `None` if it is nobody's concern.
#[inline]
fn acknowledge(vector: u64) -> Option<Event> {
    const TIMER: u64 = VECTOR_TIMER as u64;
    const POKE: u64 = VECTOR_POKE as u64;
    const FIRST: u64 = io_apic::VECTOR_FIRST as u64;
    const LAST: u64 = FIRST + io_apic::LINES as u64 - 1;
    match vector {
        TIMER => {
            apic::end_of_interrupt();
            timer::fired().then_some(Event {
                number: EVENT_TIMER,
                line: 0,
            })
        }
        POKE => {
            apic::end_of_interrupt();
            Some(Event {
                number: EVENT_POKE,
                line: 0,
            })
        }
        FIRST..=LAST => {
            let line = (vector - FIRST) as u32;
            io_apic::mask_if_level(line);
            apic::end_of_interrupt();
            Some(Event {
                number: EVENT_DEVICE,
                line,
            })
        }
        // Spurious: the APIC expects no answer.
        _ => None,
    }
}

/// From the entry assembly: an exception or interrupt in user mode. Gives the context to resume.
pub(super) extern "C" fn user_trap(context: *mut Context, trap: &Trap) -> *mut Context {
    match trap.vector {
        VECTOR_DOUBLE_FAULT | VECTOR_MACHINE_CHECK => die(
            format_args!("exception {} in user mode: the machine is broken", trap.vector),
            (0, 0),
        ),
        0..EXCEPTIONS => entry::trap(context, trap),
        vector => match acknowledge(vector) {
            Some(event) => entry::interrupt(context, event.number, event.line),
            None => context,
        },
    }
}

/// From the entry assembly: an interrupt in kernel mode, which only comes while the kernel waits for it.
pub(super) extern "C" fn kernel_interrupt(vector: u64) {
    let Some(event) = acknowledge(vector) else { return };
    let area = cpu_area::this();
    area.recorded.set(area.recorded.get() | 1 << event.number);
    if event.number == EVENT_DEVICE {
        area.recorded_lines
            .set(area.recorded_lines.get() | 1 << event.line);
    }
}

/// From the exit assembly: `context` would return to an address that is no user address. The thread gets the
/// exception that the return instruction would have raised in kernel mode.
pub(super) extern "C" fn refused_return(context: *mut Context) -> *mut Context {
    // SAFETY: the exit has just read from the context.
    let refused = unsafe { &mut *context };
    refused.make_full();
    let trap = Trap {
        vector: VECTOR_GENERAL_PROTECTION,
        error: 0,
        address: 0,
    };
    let next = entry::trap(context, &trap);
    // SAFETY: the kernel's logic returns live contexts only.
    let address = unsafe { (*next).rip };
    assert!(
        next != context || address < USER_END,
        "thread resumed at {address:#x}, which is no user address"
    );
    next
}

/// What the entry assembly pushed at an exception in kernel mode, and before it the processor.
#[repr(C)]
pub(super) struct ExceptionFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

impl fmt::Display for ExceptionFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "exception {} error {:#x} at {:#x}",
            self.vector, self.error, self.rip
        )?;
        if self.vector == VECTOR_PAGE_FAULT {
            writeln!(f, "  address {:#x}", Cr2::read_raw())?;
        }
        let rows = [
            [
                ("rax", self.rax),
                ("rbx", self.rbx),
                ("rcx", self.rcx),
                ("rdx", self.rdx),
            ],
            [
                ("rsi", self.rsi),
                ("rdi", self.rdi),
                ("rbp", self.rbp),
                ("rsp", self.rsp),
            ],
            [
                ("r8 ", self.r8),
                ("r9 ", self.r9),
                ("r10", self.r10),
                ("r11", self.r11),
            ],
            [
                ("r12", self.r12),
                ("r13", self.r13),
                ("r14", self.r14),
                ("r15", self.r15),
            ],
        ];
        for row in rows {
            for (name, value) in row {
                write!(f, "  {name} {value:016x}")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "  rflags {:#x} cs {:#x} ss {:#x}",
            self.rflags, self.cs, self.ss
        )
    }
}

/// From the entry assembly: an exception in kernel mode, or an NMI that nobody expected.
pub(super) extern "C" fn kernel_exception(frame: &ExceptionFrame) -> ! {
    // GS may still or again be the thread's: take the CPU from the stack.
    let stack: *const ExceptionFrame = frame;
    if let Some(index) = cpu_area::index_of(stack as u64) {
        GsBase::write(VirtAddr::new(cpu_area::area_address(index)));
    }
    die(format_args!("{frame}"), (frame.rip, frame.rbp))
}
