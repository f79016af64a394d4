//! Tells the number of the CPU that it runs on, as the processor itself reports it (its local APIC's).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::arch::x86_64::{__cpuid, __cpuid_count};

use worker::{Context, Error, Request, Response};

/// Highest basic leaf of CPUID.
const HIGHEST: u32 = 0;
/// Processor information; EBX has eight bits of the APIC's number.
const INFORMATION: u32 = 1;
/// Topology; EDX has all of the APIC's number.
const TOPOLOGY: u32 = 0xb;

#[worker::main]
fn main(_request: Request, _ctx: &Context) -> Result<Response, Error> {
    Ok(Response::format(format_args!("{}", cpu_number())))
}

fn cpu_number() -> u32 {
    if __cpuid(HIGHEST).eax >= TOPOLOGY {
        let topology = __cpuid_count(TOPOLOGY, 0);
        // A processor without this leaf answers zeroes.
        if topology.ebx != 0 {
            return topology.edx;
        }
    }
    __cpuid(INFORMATION).ebx >> 24
}
