//! Workers: tasks that run a function.

use crate::action::{ActionId, NONE};
use crate::label::WorkerId;
use crate::platform::Payer;
use l4::CapIndex;

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It runs up to its first request, to become the image of the preparation at this place.
    Preparing(u16),
    /// It is a runtime that starts before there is a function for it.
    Spare,
    /// It was started for an activation and has not asked for its request yet.
    Starting(u16),
    /// It works on an activation.
    Busy(u16),
    /// It waits for its next request.
    Idle {
        /// Answers the call that it waits in.
        reply: CapIndex,
        /// The idle worker of the same action that became idle before this one.
        next: u16,
        /// The one that became idle after it.
        previous: u16,
    },
}

impl WorkerState {
    /// The activation that it has.
    pub fn activation(self) -> Option<u16> {
        match self {
            WorkerState::Starting(activation) | WorkerState::Busy(activation) => Some(activation),
            WorkerState::Preparing(_) | WorkerState::Spare | WorkerState::Idle { .. } => None,
        }
    }
}

/// A task that runs a function. What it logs is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Tells it from earlier ones at the same place.
    pub generation: u32,
    /// What it runs; [`ActionId::NONE`] while that is being created.
    pub action: ActionId,
    /// The action's version when it was started.
    pub version: u32,
    /// What it does.
    pub state: WorkerState,
    /// Whose account its own is cut out of.
    pub payer: Payer,
    /// Memory limit in bytes.
    pub memory: u64,
    /// Invocations that it got.
    pub uses: u64,
    /// It said that it ends with its first request.
    pub is_single: bool,
    /// Activation that it asked for last and that is not answered yet; others are linked behind it.
    pub first_child: u16,
    /// Place of the image that it began from, or [`NONE`](crate::action::NONE).
    pub image: u16,
}

impl Worker {
    /// A worker of no action, which the client pays for and which has done nothing yet.
    pub fn new(generation: u32, state: WorkerState, memory: u64) -> Worker {
        Worker {
            generation,
            action: ActionId::NONE,
            version: 0,
            state,
            payer: Payer::Client,
            memory,
            uses: 0,
            is_single: false,
            first_child: NONE,
            image: NONE,
        }
    }

    /// Its name in labels.
    pub fn id(&self, index: u16) -> WorkerId {
        WorkerId {
            index,
            generation: self.generation,
        }
    }
}
