//! Writes through a null pointer: it must end with the error for a fault, with the address and the instruction.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "an invalid access is the purpose")]

use core::ptr;

use worker::{Context, Error, Request, Response};

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    let address: *mut u64 = ptr::without_provenance_mut(core::hint::black_box(0));
    // SAFETY: There is none. No memory is mapped at this address, so the write changes nothing and ends this task.
    unsafe { core::arch::asm!("mov qword ptr [{}], 1", in(reg) address) };
    Err(Error::new("the write to address 0 was permitted"))
}
