//! What `ned` serves: signals and faults of the tasks that it started, and namespaces that scripts made.

use std::collections::VecDeque;

use interfaces::namespace::{Namespace, NamespaceError, NamespaceInterface};
use interfaces::parent::{EXIT, Parent, ParentError, ParentInterface, ParentReply};
use l4::exception::{ExceptionFrame, Reason};
use l4::object::Dataspace;
use l4::protocol::EXCEPTION;
use l4::{CapIndex, Error, Rights, Utcb};
use l4_rpc::{Caller, Cap, Incoming, Reply};
use l4re::server::Service;
use ned::{Ended, Event, Fault, TaskNumber};

/// Who calls through the gate, as its label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A task that signals its parent.
    Parent(TaskNumber),
    /// The kernel, about a fault of a task.
    Handler(TaskNumber),
    /// A client of the namespace with this number.
    Namespace(usize),
}

impl Role {
    /// Labels have their two lowest bits clear, and 0 is that of the gate itself.
    pub(super) const fn label(self) -> u64 {
        let (number, kind) = match self {
            Role::Parent(number) => (number, 1),
            Role::Handler(number) => (number, 2),
            Role::Namespace(number) => (number, 3),
        };
        (number as u64) << 4 | kind << 2
    }

    const fn of(label: u64) -> Option<Role> {
        let number = (label >> 4) as usize;
        match label >> 2 & 3 {
            1 => Some(Role::Parent(number)),
            2 => Some(Role::Handler(number)),
            3 => Some(Role::Namespace(number)),
            _ => None,
        }
    }
}

/// A file of a namespace: name, dataspace, length in bytes.
pub(super) type Entry = (String, CapIndex, u64);

/// What was served and not looked at yet.
#[derive(Default)]
pub(super) struct Duties {
    pub(super) events: VecDeque<Event>,
    pub(super) namespaces: Vec<Vec<Entry>>,
}

impl Service for Duties {
    fn serve(&mut self, incoming: &Incoming, utcb: &Utcb) -> Reply {
        match Role::of(incoming.caller().label) {
            Some(Role::Parent(_)) => ParentInterface::dispatch(self, incoming, utcb),
            Some(Role::Namespace(_)) => NamespaceInterface::dispatch(self, incoming, utcb),
            Some(Role::Handler(task)) if incoming.tag().label() == EXCEPTION => {
                let ended = Ended::Fault(fault(incoming));
                self.events.push_back(Event { task, ended });
                Reply::Deferred
            }
            _ => Reply::error(Error::BadProtocol),
        }
    }

    fn is_finished(&self) -> bool {
        !self.events.is_empty()
    }
}

fn fault(incoming: &Incoming) -> Fault {
    let mut words = [0; ExceptionFrame::WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        *word = incoming.word(index).unwrap_or(0);
    }
    let frame = ExceptionFrame::from_words(&words);
    Fault {
        reason: Reason::from_word(frame.reason),
        vector: frame.vector,
        error: frame.error,
        address: frame.address,
        instruction: frame.rip,
        stack: frame.rsp,
    }
}

impl Parent for Duties {
    fn signal(&mut self, caller: Caller, utcb: &Utcb, signal: u64, code: u64) -> Reply {
        match Role::of(caller.label) {
            Some(Role::Parent(task)) if signal == EXIT => {
                let ended = Ended::Exit(code as i64);
                self.events.push_back(Event { task, ended });
                Reply::Deferred
            }
            _ => Reply::Now(ParentReply::signal(utcb, Err(&ParentError::UnknownSignal))),
        }
    }
}

impl Duties {
    fn entries(&self, caller: Caller) -> &[Entry] {
        match Role::of(caller.label) {
            Some(Role::Namespace(number)) => self.namespaces.get(number).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }
}

impl Namespace for Duties {
    fn query(&mut self, caller: Caller, name: &str) -> Result<(Cap<Dataspace>, u64), NamespaceError> {
        let entry = self.entries(caller).iter().find(|(known, ..)| known == name);
        let (_, cap, size) = entry.ok_or(NamespaceError::NotFound)?;
        Ok((Cap::new(*cap).with_rights(Rights::READ), *size))
    }

    fn list(&mut self, caller: Caller, index: u64) -> Result<Option<(String, u64)>, NamespaceError> {
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| self.entries(caller).get(index));
        Ok(entry.map(|(name, _, size)| (name.clone(), *size)))
    }
}
