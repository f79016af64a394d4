//! What a handler is told about its signal (`siginfo_t`, sigaction(2)).

use crate::identity::{PID, USER};
use crate::{Errno, System, user};

/// Codes that say where a signal is from: `kill`, the kernel, `tgkill`, a timer.
const FROM_USER: i32 = 0;
pub(super) const FROM_KERNEL: i32 = 0x80;
const FROM_THREAD: i32 = -6;

/// A signal's number, its origin, and the two words that depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) signal: u8,
    pub(crate) code: i32,
    /// Sender (process, user in the upper half) and value, or address.
    pub(crate) words: [u64; 2],
}

impl Info {
    /// Size of `siginfo_t`.
    pub(super) const SIZE: usize = 128;

    /// From `kill`.
    pub(crate) fn by_process(signal: u8) -> Info {
        Info {
            signal,
            code: FROM_USER,
            words: [PID | USER << 32, 0],
        }
    }

    /// From `tgkill`.
    pub(super) fn by_thread(signal: u8) -> Info {
        Info {
            code: FROM_THREAD,
            ..Info::by_process(signal)
        }
    }

    /// As the program sees it.
    pub(super) fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&u32::from(self.signal).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        bytes[16..32].copy_from_slice(self.words.map(u64::to_le_bytes).as_flattened());
        bytes
    }

    /// Reads what a program says in `rt_sigqueueinfo`: its code must be one that programs may claim.
    pub(super) fn read(system: &mut impl System, address: u64, signal: u8) -> Result<Info, Errno> {
        let [_, code, first, second] = user::read_words::<4>(system, address)?;
        Ok(Info {
            signal,
            code: user::int(code),
            words: [first, second],
        })
    }
}
