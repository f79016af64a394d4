//! Activations: invocations from request to answer.

use crate::action::{ActionId, NONE};
use crate::body::{Body, Content, ShortBody};
use crate::label::WorkerId;
use crate::platform::Answer;
use interfaces::faas::{ActivationId, Completion, FaasError, Timestamps};
use interfaces::manifest::StartMode;
use l4::CapIndex;

/// Who waits for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The client, or a worker that made a nested call: it gets an answer.
    Waiting {
        /// The worker; `None` for the client.
        worker: Option<WorkerId>,
        /// Its reply capability.
        reply: CapIndex,
    },
    /// Somebody who comes for the result later.
    Asynchronous {
        /// The worker that asked; `None` for the client.
        worker: Option<WorkerId>,
        /// What is triggered when the result is there.
        notify: Option<CapIndex>,
        /// Who has come and waits for it.
        fetcher: Option<CapIndex>,
    },
}

impl Caller {
    /// The worker that called; `None` for the client.
    pub fn worker(&self) -> Option<WorkerId> {
        match self {
            Caller::Waiting { worker, .. } | Caller::Asynchronous { worker, .. } => *worker,
        }
    }
}

/// A place in a list: the neighbours, or [`NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// Before it.
    pub previous: u16,
    /// Behind it.
    pub next: u16,
}

impl Links {
    /// In no list, or alone in one.
    pub const ALONE: Links = Links {
        previous: NONE,
        next: NONE,
    };
}

/// How far an activation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits for its turn.
    Waiting,
    /// A worker has it, or is being started for it.
    Running(u16),
    /// Its outcome waits to be fetched.
    Finished(Result<Body, FaasError>),
}

/// An invocation. Its short body (request, then result) is kept beside it.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Tells it from earlier ones at the same place.
    pub generation: u32,
    /// What is invoked.
    pub action: ActionId,
    /// Who waits.
    pub caller: Caller,
    /// How far it is.
    pub stage: Stage,
    /// The request's body.
    pub body: Body,
    /// When it must have ended, in nanoseconds of the kernel clock.
    pub deadline: u64,
    /// Memory limit of its worker in bytes.
    pub memory: u64,
    /// Invocations above it.
    pub depth: u32,
    /// Its place in its action's queue.
    pub queue: Links,
    /// Its place among what its caller asked for, if that is a worker.
    pub siblings: Links,
    /// An activation of the same action waits for its answer, so it can't wait for its turn.
    pub recursive: bool,
    /// Since when it waits for memory; 0 if it does not.
    pub starved_since: u64,
    /// How its worker came into being.
    pub mode: StartMode,
    /// Version of the action.
    pub version: u32,
    /// When what happened.
    pub times: Timestamps,
}

impl Activation {
    /// What its caller is told when it gave a result, at place `index`.
    pub fn completion(&self, index: u16, body: interfaces::faas::Body) -> Completion {
        Completion {
            activation: number(index, self.generation),
            version: self.version,
            mode: self.mode,
            is_direct: false,
            times: self.times,
            body,
        }
    }

    /// What its worker gets, at place `index`; `short` is kept beside it.
    pub fn request<'a>(&self, index: u16, short: &'a ShortBody) -> Answer<'a> {
        Answer::Request {
            activation: number(index, self.generation),
            deadline_ns: self.deadline,
            depth: self.depth,
            body: match self.body {
                Body::Short => Content::Short(short.bytes()),
                Body::Dataspace { cap, length } => Content::Lent(cap, length),
            },
        }
    }

    /// The error that says that its time is up.
    pub fn timeout(&self) -> FaasError {
        FaasError::Timeout {
            limit_ns: self.deadline.saturating_sub(self.times.queue),
        }
    }
}

/// The number that clients know an activation by. Generations count from 1 on, so it is not 0.
pub const fn number(index: u16, generation: u32) -> ActivationId {
    (generation as u64) << 16 | index as u64
}

/// The place and generation of a number that came from a client.
pub const fn parse_number(number: ActivationId) -> Option<(u16, u32)> {
    if number >> 48 != 0 {
        return None;
    }
    Some((number as u16, (number >> 16) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_place_and_generation() {
        for (index, generation) in [(0, 1), (5, 1), (u16::MAX, u32::MAX)] {
            assert_eq!(parse_number(number(index, generation)), Some((index, generation)));
            assert_ne!(number(index, generation), 0);
        }
        assert_eq!(parse_number(1 << 48), None);
    }
}
