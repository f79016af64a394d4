//! The message that a faulting thread's handler gate gets, and the registers in it.

/// Why a thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No region, or one that does not permit the access (vector 14, address and error code tell more).
    PageFault,
    /// A CPU exception, e.g. an invalid instruction or a division by zero.
    Exception,
    /// The page could not be filled: the account's limit is reached.
    Quota,
    /// Raised by `ex_regs`.
    Triggered,
}

impl Reason {
    /// The message word.
    pub const fn word(self) -> u64 {
        match self {
            Reason::PageFault => 0,
            Reason::Exception => 1,
            Reason::Quota => 2,
            Reason::Triggered => 3,
        }
    }

    /// Reads the message word.
    pub const fn from_word(word: u64) -> Option<Reason> {
        match word {
            0 => Some(Reason::PageFault),
            1 => Some(Reason::Exception),
            2 => Some(Reason::Quota),
            3 => Some(Reason::Triggered),
            _ => None,
        }
    }
}

/// State of a stopped thread: the words of an exception message, in this order, and of the UTCB page's fault record.
///
/// A handler that answers with label ≥ 0 and at least [`ExceptionFrame::WORDS`] words sets the registers (not `reason`,
/// `vector`, `error`, `address`); with fewer words the thread continues as it was; with a negative label it ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "registers are named as the processor's manual names them"
)]
pub struct ExceptionFrame {
    pub reason: u64,
    pub vector: u64,
    /// Error code as the processor pushes it (page fault: bit 0 present, 1 write, 2 user, 4 fetch).
    pub error: u64,
    /// Faulting address (CR2).
    pub address: u64,
    pub rip: u64,
    pub rsp: u64,
    pub rflags: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

impl ExceptionFrame {
    /// Words of the frame.
    pub const WORDS: usize = size_of::<ExceptionFrame>() / 8;

    /// The frame as message words.
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let f = self;
        [
            f.reason, f.vector, f.error, f.address, f.rip, f.rsp, f.rflags, f.rax, f.rbx, f.rcx, f.rdx,
            f.rsi, f.rdi, f.rbp, f.r8, f.r9, f.r10, f.r11, f.r12, f.r13, f.r14, f.r15, f.fs_base, f.gs_base,
        ]
    }

    /// The frame from message words.
    pub fn from_words(words: &[u64; Self::WORDS]) -> ExceptionFrame {
        let [
            reason,
            vector,
            error,
            address,
            rip,
            rsp,
            rflags,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            fs_base,
            gs_base,
        ] = *words;
        ExceptionFrame {
            reason,
            vector,
            error,
            address,
            rip,
            rsp,
            rflags,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            fs_base,
            gs_base,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_survives_the_wire() {
        let words: [u64; ExceptionFrame::WORDS] = core::array::from_fn(|i| i as u64 + 100);
        assert_eq!(ExceptionFrame::from_words(&words).to_words(), words);
        assert_eq!(ExceptionFrame::from_words(&words).rip, 104);
    }

    #[test]
    fn reasons_survive_the_wire() {
        for word in 0..4 {
            assert_eq!(Reason::from_word(word).map(Reason::word), Some(word));
        }
        assert_eq!(Reason::from_word(4), None);
    }
}
