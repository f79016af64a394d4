//! The state of one slot, packed into one word so that each change of it is one atomic operation.
//!
//! | word | meaning |
//! |---|---|
//! | `0` | never used |
//! | `1..=MAX_REFERENCES` | in use, that many references |
//! | `UNMAPPING` | the last reference is gone, the caller's unmap has not returned |
//! | `FREE \| link` | on a stack of free slots; `link` names the next one |

use crate::stack::{LINK_MASK, Link};

/// The greatest number of references that one slot can have.
pub const MAX_REFERENCES: u32 = UNMAPPING - 1;

const UNMAPPING: u32 = 1 << 30;
const FREE: u32 = 1 << 31;

/// A slot's state, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    NeverUsed,
    InUse(u32),
    Unmapping,
    Free { next: Link },
}

impl SlotState {
    pub(crate) const fn to_word(self) -> u32 {
        match self {
            Self::NeverUsed => 0,
            Self::InUse(references) => references,
            Self::Unmapping => UNMAPPING,
            Self::Free { next } => FREE | next.to_bits(),
        }
    }

    pub(crate) const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::NeverUsed,
            1..=MAX_REFERENCES => Self::InUse(word),
            _ if word & FREE != 0 => Self::Free {
                next: Self::link_of(word),
            },
            _ => Self::Unmapping,
        }
    }

    /// The link in the word of a free slot; of any other word it is meaningless.
    pub(crate) const fn link_of(word: u32) -> Link {
        Link::from_bits(word & LINK_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_packing() {
        let states = [
            SlotState::NeverUsed,
            SlotState::InUse(1),
            SlotState::InUse(MAX_REFERENCES),
            SlotState::Unmapping,
            SlotState::Free {
                next: Link::from_bits(0),
            },
            SlotState::Free { next: Link::to(0) },
            SlotState::Free {
                next: Link::to(crate::MAX_SLOTS - 1),
            },
        ];
        for (i, state) in states.iter().enumerate() {
            assert_eq!(SlotState::from_word(state.to_word()), *state);
            for other in &states[i + 1..] {
                assert_ne!(state.to_word(), other.to_word(), "{state:?} and {other:?}");
            }
        }
    }
}
