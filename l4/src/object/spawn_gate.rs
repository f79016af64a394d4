//! Gates that are bound to a snapshot: each call begins a clone, and the clone's answer is the reply.

use super::{Placement, Snapshot, create, request};
use crate::protocol::{GATE, SNAPSHOT, gate, snapshot};
use crate::syscall::Received;
use crate::{CapIndex, Error, IpcError, Tag, Utcb, utcb};
use core::fmt;

/// Words at the start of a request that the kernel writes: number, deadline, depth, and two of randomness.
pub const CLONE_HEAD_WORDS: usize = 5;
/// Most kinds of answers that a gate tells apart.
pub const ANSWER_KINDS: usize = 4;
/// Deepest invocation by way of spawn gates: calls of clones of clones.
pub const CLONE_DEPTH_MAX: u64 = 8;

/// A gate that is bound to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnGate(pub CapIndex);

/// Words of a [`snapshot::BIND`] request.
pub mod bind_words {
    /// Account (low half) and scheduler (high half).
    pub const OBJECTS: usize = 1;
    /// CPU (bits 0–31), priority (32–39).
    pub const PLACE: usize = 2;
    /// Time slice in microseconds, 0 for the usual one.
    pub const SLICE: usize = 3;
    /// Memory of each clone in bytes.
    pub const MEMORY: usize = 4;
    /// Nanoseconds that a clone has for its answer, 0 for no limit.
    pub const DEADLINE: usize = 5;
    /// Most clones at a time (low half), slot of the answer in the clone (high half).
    pub const LIMIT: usize = 6;
    /// The gate's label.
    pub const LABEL: usize = 7;
}

/// What a gate's clones are to be like.
#[derive(Clone, Copy, Debug)]
pub struct GateBinding {
    /// Account (strong right) that pays for the gate, and that the clones' accounts are cut out of.
    pub account: CapIndex,
    /// Scheduler that permits the place (strong right).
    pub scheduler: CapIndex,
    /// Where the clones run. Only callers on that CPU are served.
    pub place: Placement,
    /// Memory of each clone in bytes, rounded down to pages.
    pub memory_bytes: u64,
    /// Time that a clone has for its answer in nanoseconds, 0 for no limit.
    pub deadline_ns: u64,
    /// Most clones at a time that have not answered.
    pub concurrent: u32,
    /// Slot, in the clone, of the right to answer.
    pub answer: CapIndex,
    /// The gate's label (two lowest bits 0), for who asks for it.
    pub label: u64,
}

impl Snapshot {
    /// Makes a gate in the free slot `slot`: each call of it begins a clone.
    ///
    /// # Errors
    /// [`Error::Again`]: the snapshot is not prepared; [`Error::Invalid`]: no memory, no clones, or a label with one of its two
    /// lowest bits set; [`Error::Range`]: the answer's slot, or the priority; [`Error::NotPermitted`]: the scheduler does not
    /// permit the place, or a right is missing; [`Error::NoMemory`].
    pub fn bind(self, binding: &GateBinding, slot: CapIndex) -> Result<SpawnGate, Error> {
        let Placement {
            cpu,
            priority,
            slice_us,
        } = binding.place;
        let words = [
            snapshot::BIND,
            binding.account.word() | binding.scheduler.word() << 32,
            u64::from(cpu) | u64::from(priority) << 32,
            u64::from(slice_us),
            binding.memory_bytes,
            binding.deadline_ns,
            u64::from(binding.concurrent) | binding.answer.word() << 32,
            binding.label,
        ];
        create(self.0, SNAPSHOT, &words, slot)?;
        Ok(SpawnGate(slot))
    }
}

/// What became of a gate's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Clones whose memory is not free yet.
    pub live: u64,
    /// Clones that were begun.
    pub started: u64,
    /// Calls that a clone answered.
    pub answered: u64,
    /// Calls that began no clone.
    pub refused: u64,
    /// Calls whose caller's own deadline passed, or who was cancelled or ended.
    pub abandoned: u64,
    /// Clones that ended without an answer, by [`FailureReason`].
    pub failed: [u64; FailureReason::COUNT],
    /// Answers of each kind that [`SpawnGate::tell_apart`] named, as far as they reached the caller whole.
    pub kinds: [u64; ANSWER_KINDS],
}

impl GateCounts {
    /// Number of words.
    pub const WORDS: usize = 5 + FailureReason::COUNT + ANSWER_KINDS;

    /// The counts as the kernel tells them.
    pub fn to_words(self) -> [u64; Self::WORDS] {
        let [fault, deadline, quota, exited, destroyed] = self.failed;
        let [first, second, third, fourth] = self.kinds;
        [
            self.live,
            self.started,
            self.answered,
            self.refused,
            self.abandoned,
            fault,
            deadline,
            quota,
            exited,
            destroyed,
            first,
            second,
            third,
            fourth,
        ]
    }

    /// Clones that have not answered.
    pub fn running(&self) -> u64 {
        let ended = self.answered + self.abandoned + self.failed.iter().sum::<u64>();
        self.started.saturating_sub(ended)
    }

    /// The reverse of [`Self::to_words`].
    pub fn from_words(words: [u64; Self::WORDS]) -> GateCounts {
        let [
            live,
            started,
            answered,
            refused,
            abandoned,
            ref failed @ ..,
            first,
            second,
            third,
            fourth,
        ] = words;
        GateCounts {
            live,
            started,
            answered,
            refused,
            abandoned,
            failed: *failed,
            kinds: [first, second, third, fourth],
        }
    }
}

impl SpawnGate {
    /// What became of its calls (server right).
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such gate. Without the server right the request is a call like any other.
    pub fn counts(self) -> Result<GateCounts, Error> {
        request(self.0, GATE, &[gate::COUNTS])?;
        let mut words = [0; GateCounts::WORDS];
        Utcb::current().read(0, &mut words);
        Ok(GateCounts::from_words(words))
    }

    /// Has answers counted by how they begin from now on: by label and first word. A gate is told that once.
    ///
    /// # Errors
    /// As [`Self::counts`]; [`Error::Invalid`] for none or more than [`ANSWER_KINDS`]; [`Error::Exists`] for the second time.
    pub fn tell_apart(self, kinds: &[(i64, u64)]) -> Result<(), Error> {
        let mut words = [0; 1 + 2 * ANSWER_KINDS];
        words[0] = gate::TELL_APART;
        let length = 1 + 2 * kinds.len();
        let room = words.get_mut(1..length).ok_or(Error::Invalid)?;
        for (pair, (label, first)) in room.chunks_exact_mut(2).zip(kinds) {
            pair.copy_from_slice(&[*label as u64, *first]);
        }
        request(self.0, GATE, &words[..length]).map(drop)
    }

    /// The gate's label (server right).
    ///
    /// # Errors
    /// As [`Self::counts`].
    pub fn label(self) -> Result<u64, Error> {
        request(self.0, GATE, &[gate::GET_INFO])?;
        Ok(Utcb::current().word(0))
    }
}

/// Why a clone ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum FailureReason {
    /// It faulted, and nobody resolved that.
    Fault = 0,
    /// It took longer than the gate, or the invocation that the call came from, permits.
    Deadline = 1,
    /// Its account could not pay for a page.
    Quota = 2,
    /// Its last thread ended, or it gave up the right to answer.
    Exited = 3,
    /// It was destroyed: by itself, with the snapshot, or with the account.
    Destroyed = 4,
}

impl FailureReason {
    /// Number of reasons.
    pub const COUNT: usize = 5;

    /// The reason with a number.
    pub const fn from_word(word: u64) -> Option<FailureReason> {
        match word {
            0 => Some(FailureReason::Fault),
            1 => Some(FailureReason::Deadline),
            2 => Some(FailureReason::Quota),
            3 => Some(FailureReason::Exited),
            4 => Some(FailureReason::Destroyed),
            _ => None,
        }
    }
}

/// What the kernel says of a clone that ended without an answer. What does not apply is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneFailure {
    /// Why.
    pub reason: FailureReason,
    /// Vector of the exception (Intel SDM 3A §6.15); 0xff if another thread raised it.
    pub vector: u64,
    /// The processor's error code.
    pub error: u64,
    /// The faulting address.
    pub address: u64,
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// What the last thread said when it ended.
    pub exit_code: u64,
}

impl CloneFailure {
    /// Number of words.
    pub const WORDS: usize = 7;

    /// A failure of which no more is known than the reason.
    pub const fn new(reason: FailureReason) -> CloneFailure {
        CloneFailure {
            reason,
            vector: 0,
            error: 0,
            address: 0,
            ip: 0,
            sp: 0,
            exit_code: 0,
        }
    }

    /// The words of the kernel's message.
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.reason as u64,
            self.vector,
            self.error,
            self.address,
            self.ip,
            self.sp,
            self.exit_code,
        ]
    }

    /// The reverse of [`Self::to_words`]; `None` for a reason that this version does not know.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Option<CloneFailure> {
        let [reason, vector, error, address, ip, sp, exit_code] = words;
        match FailureReason::from_word(reason) {
            Some(reason) => Some(CloneFailure {
                reason,
                vector,
                error,
                address,
                ip,
                sp,
                exit_code,
            }),
            None => None,
        }
    }
}

/// Why a call of a spawn gate has no answer of a clone. No clone can forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// No clone was begun. [`Error::Again`]: too many live already; [`Error::AccessDenied`]: the caller is not on the gate's CPU;
    /// [`Error::Range`]: the caller's invocation is as deep as may be; [`Error::NotFound`]: the snapshot is gone;
    /// [`Error::NoMemory`]; [`Error::Invalid`]: fewer than [`CLONE_HEAD_WORDS`] words; [`Error::NoSystemCall`]: not a call.
    Refused(Error),
    /// The clone ended without an answer.
    Clone(CloneFailure),
    /// The message did not get through, or the caller's own deadline passed.
    Ipc(IpcError),
}

impl CallFailure {
    /// Tells a clone's answer from a failure; the message is still in `utcb`.
    ///
    /// # Errors
    /// That failure.
    #[inline]
    pub fn check(received: Received, utcb: &Utcb) -> Result<Tag, CallFailure> {
        if received.tag.is_error() {
            Err(CallFailure::read(received.tag, utcb))
        } else {
            Ok(received.tag)
        }
    }

    #[cold]
    fn read(tag: Tag, utcb: &Utcb) -> CallFailure {
        let error = IpcError::from_code(utcb.word(utcb::ERROR_WORD));
        let failure = match error {
            IpcError::CloneRefused => Some(CallFailure::Refused(Error::from_number(-tag.label()))),
            IpcError::CloneFailed => {
                let mut words = [0; CloneFailure::WORDS];
                utcb.read(0, &mut words);
                CloneFailure::from_words(words).map(CallFailure::Clone)
            }
            _ => None,
        };
        failure.unwrap_or(CallFailure::Ipc(error))
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallFailure::Refused(error) => write!(f, "no clone was begun: {error}"),
            CallFailure::Ipc(error) => write!(f, "{}", Error::Ipc(*error)),
            CallFailure::Clone(failure) => match failure.reason {
                FailureReason::Fault => write!(
                    f,
                    "the clone faulted (vector {}, error {:#x}, address {:#x}, instruction {:#x})",
                    failure.vector, failure.error, failure.address, failure.ip
                ),
                FailureReason::Deadline => f.write_str("the clone did not answer in time"),
                FailureReason::Quota => f.write_str("the clone's memory limit is reached"),
                FailureReason::Exited => write!(
                    f,
                    "the clone ended without an answer (exit code {})",
                    failure.exit_code
                ),
                FailureReason::Destroyed => f.write_str("the clone was destroyed"),
            },
        }
    }
}

impl core::error::Error for CallFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_counts_survive_the_wire() {
        for reason in 0..FailureReason::COUNT as u64 {
            let words = [reason, 14, 6, 0x1000, 0x40_0000, 0x7000, 3];
            assert_eq!(
                CloneFailure::from_words(words).map(CloneFailure::to_words),
                Some(words)
            );
        }
        assert_eq!(CloneFailure::from_words([5, 0, 0, 0, 0, 0, 0]), None);
        let words = core::array::from_fn(|index| index as u64 + 7);
        assert_eq!(GateCounts::from_words(words).to_words(), words);
    }
}
