//! Faults of the thread: those in a copy end it, all others go to the task's handler gate.

use core::arch::naked_asm;
use core::mem::offset_of;

use l4::exception::ExceptionFrame;
use l4::object::Thread;
use l4::{Utcb, utcb};
use l4re::start::current_thread;

use super::copy;

const RIP_WORD: usize = utcb::FAULT_FRAME + offset_of!(ExceptionFrame, rip) / 8;

/// The fault entry. In: the stack for faults, the registers at the fault in the UTCB's page.
#[unsafe(naked)]
pub(super) extern "C" fn fault_entry() -> ! {
    naked_asm!(
        "cld",
        "xor ebp, ebp",
        "and rsp, -16",
        "call {handle}",
        "ud2",
        handle = sym handle,
    )
}

extern "C" fn handle() -> ! {
    let utcb = Utcb::current();
    utcb.set_word(copy::SAVED_WORD, utcb.word(0));
    let thread = Thread(current_thread());
    match copy::recovery(utcb.word(RIP_WORD)) {
        Some(continuation) => utcb.set_word(RIP_WORD, continuation),
        // The instruction will fault again, and then the kernel asks the handler gate.
        None => drop(thread.set_fault_entry(0, 0)),
    }
    let _ = thread.resume();
    // Without the resume there is no way back into the program.
    super::task::exit(FAULT_CODE)
}

/// Exit code of a program whose fault nobody could be told: that of a segmentation violation.
const FAULT_CODE: i32 = 128 + 11;
