//! What the machine's part of the kernel and its logic share: a thread's saved registers, the trap that
//! stopped it, and what the boot code found out.
//!
//! The layout of [`Context`] is known to the entry and exit assembly of `kernel/src/arch/x86_64`, which takes
//! its offsets from this file.
#![expect(unsafe_code, reason = "a context may have parts that are not written yet")]

use core::mem::MaybeUninit;

/// `Context::kind`: the thread is in a system call. All caller-saved registers and all vector registers are
/// dead; it is resumed by `sysret`.
pub const KIND_SYSCALL: u64 = 0;
/// `Context::kind`: the thread was stopped by a trap or an interrupt, or never ran. Every register and the
/// XSAVE area are valid; it is resumed by `iretq`.
pub const KIND_FULL: u64 = 1;

/// The flags that a thread may have in `RFLAGS`: CF PF AF ZF SF TF DF OF AC ID. IF is always on in user mode.
pub const USER_RFLAGS: u64 = 0x0024_0dd5;
/// Interrupt flag and the bit that always reads one: set in every thread's `RFLAGS`.
pub const FIXED_RFLAGS: u64 = 0x0202;

/// The first address a thread may not run at. The last page of the lower half stays out of reach, so that no
/// `syscall` instruction can end right before a non-canonical address (`sysret` would fault in the kernel).
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// Size in bytes of the XSAVE area in standard format for x87, SSE and AVX state.
pub const XSAVE_BYTES: usize = 832;
const X87_CONTROL_DEFAULT: u16 = 0x037f;
const MXCSR_DEFAULT: u32 = 0x1f80;
const XSAVE_MXCSR: usize = 24;
const XSAVE_HEADER: usize = 512;
const XSAVE_HEADER_BYTES: usize = 64;

/// XSAVE area in the standard format: 512 bytes of legacy area, the 64-byte header, 256 bytes of AVX state.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct XsaveArea(pub [u8; XSAVE_BYTES]);

impl XsaveArea {
    /// The state of a processor after `FNINIT` with default `MXCSR`: every component in its initial state.
    #[must_use]
    pub const fn initial() -> Self {
        let mut area = [0; XSAVE_BYTES];
        let control = X87_CONTROL_DEFAULT.to_le_bytes();
        area[0] = control[0];
        area[1] = control[1];
        let mxcsr = MXCSR_DEFAULT.to_le_bytes();
        let mut i = 0;
        while i < mxcsr.len() {
            area[XSAVE_MXCSR + i] = mxcsr[i];
            i += 1;
        }
        Self(area)
    }
}

/// The registers of a thread while it does not run.
///
/// In a system call ([`KIND_SYSCALL`]) only `rbx rbp r12-r15 rsp rip rflags` and the arguments `rax rdx rsi r8
/// r9` are stored; `rax` and `rsi` carry the results. `mxcsr`, `fcw`, `fs_base` and `gs_base` are current only
/// after the thread was switched away from.
#[derive(Clone)]
#[repr(C, align(64))]
#[allow(
    missing_docs,
    reason = "the fields are the processor's registers of the same names"
)]
pub struct Context {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Must be below [`USER_END`]: check it wherever it is set.
    pub rip: u64,
    /// Whoever sets it from less trusted input uses [`Context::set_flags`].
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    /// [`KIND_SYSCALL`] or [`KIND_FULL`].
    pub kind: u64,
    pub mxcsr: u32,
    pub fcw: u16,
    /// Entry address for `syscall` with bit 15 of `rax` clear (foreign system calls); 0 = none. The kernel
    /// then returns there at once with all registers but `rcx` and `r11` unchanged.
    pub personality: u64,
    /// Kernel virtual address of the 8-byte word (in the thread's UTCB) that receives the address after such
    /// a `syscall` instruction. Must be valid while `personality` is not 0.
    pub personality_return: u64,
    pub xsave: XsaveArea,
}

impl Context {
    /// A thread that starts at `entry` with stack pointer `stack` and `argument` in `rdi`, interrupts on and
    /// floating point in its initial state.
    #[must_use]
    pub const fn new(entry: u64, stack: u64, argument: u64) -> Self {
        Self {
            rax: 0,
            rbx: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: argument,
            rbp: 0,
            rsp: stack,
            r8: 0,
            r9: 0,
            r10: 0,
            r11: 0,
            r12: 0,
            r13: 0,
            r14: 0,
            r15: 0,
            rip: entry,
            rflags: FIXED_RFLAGS,
            fs_base: 0,
            gs_base: 0,
            kind: KIND_FULL,
            mxcsr: MXCSR_DEFAULT,
            fcw: X87_CONTROL_DEFAULT,
            personality: 0,
            personality_return: 0,
            xsave: XsaveArea::initial(),
        }
    }

    /// Writes a copy of the registers to `place`. Of a thread in a system call, what is dead of the XSAVE area is not copied,
    /// but left as it is: nobody reads it before it is written.
    pub fn copy_to<'a>(&self, place: &'a mut MaybeUninit<Context>) -> &'a mut Context {
        if self.kind != KIND_SYSCALL {
            return place.write(self.clone());
        }
        let to = place.as_mut_ptr().cast::<u8>();
        // SAFETY: Both ranges lie in the contexts, which do not overlap. XSAVE writes all of its area but the header's
        // bytes from 8 on, which XRSTOR wants to be zero; `make_full` writes all of it; nobody else reads it before. Its
        // bytes are those of a frame, so they have some value.
        unsafe {
            let head = core::mem::offset_of!(Context, xsave);
            core::ptr::copy_nonoverlapping(core::ptr::from_ref(self).cast::<u8>(), to, head);
            to.add(head + XSAVE_HEADER).write_bytes(0, XSAVE_HEADER_BYTES);
            place.assume_init_mut()
        }
    }

    /// Sets `rflags` to `flags`, reduced to what a thread may have.
    pub const fn set_flags(&mut self, flags: u64) {
        self.rflags = (flags & USER_RFLAGS) | FIXED_RFLAGS;
    }

    /// Turns a thread that is in a system call into one that can be resumed with every register set: those
    /// that are dead in a system call become 0, floating point gets its initial state. No effect otherwise.
    pub fn make_full(&mut self) {
        if self.kind == KIND_FULL {
            return;
        }
        self.kind = KIND_FULL;
        (self.rcx, self.rdx, self.rdi) = (0, 0, 0);
        (self.r8, self.r9, self.r10, self.r11) = (0, 0, 0, 0);
        self.xsave = XsaveArea::initial();
        self.xsave.0[..2].copy_from_slice(&self.fcw.to_le_bytes());
        self.xsave.0[XSAVE_MXCSR..XSAVE_MXCSR + 4].copy_from_slice(&self.mxcsr.to_le_bytes());
    }
}

/// An exception in user mode.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Trap {
    /// Exception vector, 0 to 31 (Intel SDM vol. 3, table 6-1).
    pub vector: u64,
    /// Error code that the processor pushed, 0 for vectors that have none.
    pub error: u64,
    /// CR2: the address of a page fault; without meaning for other vectors.
    pub address: u64,
}

/// A range of physical memory. Ranges that the kernel gets at boot are sorted and do not overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Ordinary memory that nobody uses; `start` and `end` are then page aligned. Otherwise firmware's or
    /// devices' memory, or what the kernel image, the boot archive and boot-time structures occupy.
    pub usable: bool,
}

/// What the boot code found out, handed to the kernel's logic once.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// All of physical memory that the boot loader described.
    pub memory: &'static [MemoryRange],
    /// Physical address of the kernel image's first byte.
    pub kernel_start: u64,
    /// Physical address after the kernel image's last byte.
    pub kernel_end: u64,
    /// Physical address and size in bytes of the boot archive (the first boot module); (0, 0) if none.
    pub archive: (u64, u64),
    /// Command line of the boot loader.
    pub command_line: &'static str,
    /// Number of CPUs that run; they are numbered from 0.
    pub cpu_count: u32,
    /// Nanoseconds since 1970-01-01 00:00 UTC at kernel time 0; 0 if there is no clock.
    pub wall_clock_ns: u64,
    /// Time stamp counter at kernel time 0.
    pub tsc_base: u64,
    /// Nanoseconds per tick of the time stamp counter, times 2^32: time is `(tsc - tsc_base) * tsc_mult >> 32`.
    pub tsc_mult: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn xsave_area_is_where_the_instruction_wants_it() {
        assert_eq!(offset_of!(Context, xsave) % 64, 0);
        assert_eq!(size_of::<Context>(), 1024);
    }

    #[test]
    fn initial_state_masks_floating_point_exceptions() {
        let context = Context::new(0x1000, 0x2000, 7);
        assert_eq!(context.xsave.0[..2], [0x7f, 0x03]);
        assert_eq!(context.xsave.0[24..28], [0x80, 0x1f, 0, 0]);
        // XSTATE_BV and XCOMP_BV: all components initial, standard format.
        assert!(context.xsave.0[512..576].iter().all(|&b| b == 0));
        assert_eq!((context.rip, context.rsp, context.rdi), (0x1000, 0x2000, 7));
    }

    #[test]
    fn a_copy_has_what_a_system_call_preserves_and_a_clean_header() {
        let mut context = Context::new(0x1000, 0x2000, 7);
        (context.rbx, context.r15, context.fs_base, context.mxcsr) = (5, 6, 8, 0x9fc0);
        context.xsave.0.fill(0x5a);
        let mut place = MaybeUninit::new(Context::new(0, 0, 0));
        let full = context.copy_to(&mut place);
        assert_eq!((full.rip, full.xsave.0), (0x1000, context.xsave.0));
        context.kind = KIND_SYSCALL;
        let mut place = MaybeUninit::new(full.clone());
        let copy = context.copy_to(&mut place);
        assert_eq!(
            (copy.kind, copy.rip, copy.rsp, copy.rdi),
            (KIND_SYSCALL, 0x1000, 0x2000, 7)
        );
        assert_eq!((copy.rbx, copy.r15, copy.fs_base, copy.mxcsr), (5, 6, 8, 0x9fc0));
        assert!(copy.xsave.0[512..576].iter().all(|&byte| byte == 0));
        copy.make_full();
        assert_eq!(copy.xsave.0[32..], XsaveArea::initial().0[32..]);
    }

    #[test]
    fn flags_are_reduced_to_a_threads_own() {
        let mut context = Context::new(0, 0, 0);
        context.set_flags(u64::MAX);
        assert_eq!(context.rflags & (0x3000 | 0x4000 | 0x1_0000 | 0x2_0000), 0);
        context.set_flags(0);
        assert_eq!(context.rflags, FIXED_RFLAGS);
    }

    #[test]
    fn making_a_context_full_hides_dead_registers_and_keeps_live_ones() {
        let mut context = Context::new(0x1000, 0x2000, 7);
        context.kind = KIND_SYSCALL;
        (context.rbx, context.rdx, context.r9, context.mxcsr) = (5, 6, 8, 0x9fc0);
        context.make_full();
        assert_eq!(
            (context.kind, context.rbx, context.rdx, context.r9),
            (KIND_FULL, 5, 0, 0)
        );
        assert_eq!(context.xsave.0[24..28], [0xc0, 0x9f, 0, 0]);
    }
}
