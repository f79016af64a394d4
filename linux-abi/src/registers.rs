//! A thread's registers, as the entry from the kernel saves them and as signal handlers see them.

/// Size in bytes of the XSAVE area for x87, SSE and AVX state in the standard format (Intel SDM vol. 1 §13.4).
pub const VECTOR_SIZE: usize = 832;

/// The registers of a thread that is in this layer: those of its program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the fields are the processor's registers of the same names"
)]
pub struct Registers {
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
    pub rip: u64,
    pub rflags: u64,
}

/// All of a thread's state that a signal handler's frame keeps.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The general registers.
    pub registers: &'a mut Registers,
    /// The XSAVE area; without XSAVE only its first 512 bytes count.
    pub vectors: &'a mut [u8; VECTOR_SIZE],
    /// The processor has XSAVE.
    pub has_xsave: bool,
}

/// Offset of MXCSR in the area.
const MXCSR: usize = 24;
/// Offset of the header: which components are not in their initial state, then words that must be 0.
const HEADER: usize = 512;
const HEADER_SIZE: usize = 64;
/// x87, SSE and AVX: the components that the kernel enables.
const COMPONENTS: u64 = 7;
/// Bits of MXCSR that any processor of the architecture has (Intel SDM vol. 1 §10.2.3); loading others faults.
const MXCSR_BITS: u32 = 0xffff;
const MXCSR_INITIAL: u32 = 0x1f80;
const X87_CONTROL_INITIAL: u16 = 0x037f;

impl Machine<'_> {
    /// Vector and x87 state as a program finds it at its start.
    pub(crate) fn clear_vectors(&mut self) {
        self.vectors.fill(0);
        self.vectors[..2].copy_from_slice(&X87_CONTROL_INITIAL.to_le_bytes());
        self.vectors[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_INITIAL.to_le_bytes());
    }

    /// The exceptions that the x87 unit tells of and does not mask (Intel SDM vol. 1 §8.1.3).
    pub(crate) fn x87_exceptions(&self) -> u16 {
        let (control, status) = (self.half_word(0), self.half_word(2));
        status & !control & 0x3f
    }

    /// The exceptions that MXCSR tells of and does not mask (Intel SDM vol. 1 §10.2.3).
    pub(crate) fn simd_exceptions(&self) -> u16 {
        let mxcsr = self.half_word(MXCSR);
        mxcsr & !(mxcsr >> 7) & 0x3f
    }

    fn half_word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.vectors[at], self.vectors[at + 1]])
    }

    /// Makes a state that the program wrote one that can be loaded without a fault.
    pub(crate) fn make_loadable(&mut self, has_components: bool) {
        let mxcsr = &mut self.vectors[MXCSR..MXCSR + 4];
        let value = u32::from_le_bytes([mxcsr[0], mxcsr[1], mxcsr[2], mxcsr[3]]) & MXCSR_BITS;
        mxcsr.copy_from_slice(&value.to_le_bytes());
        let header = &mut self.vectors[HEADER..HEADER + HEADER_SIZE];
        let mut present = [0; 8];
        present.copy_from_slice(&header[..8]);
        let present = if has_components {
            u64::from_le_bytes(present) & COMPONENTS
        } else {
            // Only the legacy area is there: x87 and SSE.
            3
        };
        header.fill(0);
        header[..8].copy_from_slice(&present.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_program_wrote_can_be_loaded() {
        let mut vectors = [0xff; VECTOR_SIZE];
        let mut machine = Machine {
            registers: &mut Registers::default(),
            vectors: &mut vectors,
            has_xsave: true,
        };
        machine.make_loadable(true);
        assert_eq!(machine.vectors[24..28], [0xff, 0xff, 0, 0]);
        assert_eq!(machine.vectors[512..520], [7, 0, 0, 0, 0, 0, 0, 0]);
        assert!(machine.vectors[520..576].iter().all(|byte| *byte == 0));
        machine.make_loadable(false);
        assert_eq!(machine.vectors[512], 3);
        machine.clear_vectors();
        assert_eq!(machine.vectors[..2], [0x7f, 0x03]);
        assert_eq!(machine.vectors[512], 0);
    }
}
