//! Tasks of this program: the neighbour that answers, and the attackers.

use l4::object::{Dataspace, Factory, Gate, MapEntry, Placement};
use l4::syscall;
use l4::{CapIndex, Error, NEVER, Rights, Tag};
use l4re::{OwnedCap, Slot, env, println};
use loader::{Arguments, Launch, Launched, NamedCap, Plan, Program};

/// The kernel shows this program's own file here.
const OWN_FILE: Dataspace = Dataspace(CapIndex(0x40));
/// Limit of a task's account in bytes.
const MEMORY: u64 = 4 << 20;
const STACK: u64 = 64 << 10;
/// Label of the neighbour's gate.
const ECHO_LABEL: u64 = 0x700;

/// A task with an account of its own. Dropping it destroys the account and all that the task made with it.
pub(crate) struct Child {
    account: Option<OwnedCap>,
    _parts: [OwnedCap; 2],
}

impl Drop for Child {
    fn drop(&mut self) {
        // An attacker that had the right to do so may have destroyed its account itself.
        if let Some(account) = self.account.take()
            && let Err(error) = account.delete()
            && error != Error::NotFound
        {
            println!("chaos: an account can't be destroyed: {error}");
        }
    }
}

/// What a child gets and where it runs.
pub(crate) struct Birth<'a> {
    /// The program's arguments.
    pub(crate) arguments: &'a [&'a str],
    /// Where it runs.
    pub(crate) placement: Placement,
    /// Who gets its faults.
    pub(crate) handler: CapIndex,
    /// The gate that it serves.
    pub(crate) gate: Option<CapIndex>,
    /// Rights to its own task, its thread and its account.
    pub(crate) own_rights: Rights,
    /// Further capabilities.
    pub(crate) capabilities: &'a [MapEntry],
}

impl Birth<'_> {
    /// Starts the child.
    pub(crate) fn start(&self) -> Result<Child, Error> {
        let account = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_factory(MEMORY, slot))?;
        let (task, thread) = (Slot::allocate()?, Slot::allocate()?);
        let slots = Launched {
            task: task.index(),
            thread: thread.index(),
        };
        if let Err(error) = self.launch(account.index(), slots) {
            println!("chaos: a task can't be started: {error}");
            account.delete()?;
            return Err(Error::Io);
        }
        Ok(Child {
            account: Some(account),
            _parts: [task.filled(), thread.filled()],
        })
    }

    fn launch(&self, account: CapIndex, slots: Launched) -> Result<(), loader::LoadError> {
        let program = Program::prepare(OWN_FILE, None)?;
        let plan = Plan::new(&program, None, STACK, CapIndex::INFO_PAGE)?;
        let mut capabilities = alloc::vec![
            MapEntry::copy(slots.task, CapIndex::TASK, self.own_rights),
            MapEntry::copy(slots.thread, CapIndex::THREAD, self.own_rights),
        ];
        // Without the right to create anything, an account would be a way to ask for its use only.
        if self.own_rights.contains(Rights::STRONG) {
            capabilities.push(MapEntry::copy(account, CapIndex::FACTORY, self.own_rights));
        }
        capabilities.extend_from_slice(self.capabilities);
        let gate = self.gate.map(|cap| NamedCap {
            name: "gate",
            cap,
            rights: Rights::all(),
            label: 0,
        });
        plan.launch(
            &Launch {
                account,
                scheduler: CapIndex::SCHEDULER,
                placement: self.placement,
                handler: self.handler,
                handler_label: 0,
                capabilities: &capabilities,
                arguments: Some(&Arguments {
                    arguments: self.arguments,
                    variables: &[],
                    caps: gate.as_slice(),
                }),
            },
            slots,
        )
    }
}

/// What the neighbour does: it answers with the words that came.
pub(crate) fn serve_echo() -> Result<(), Error> {
    let gate = env::cap("gate").ok_or(Error::NotFound)?;
    Gate(gate).bind(ECHO_LABEL, CapIndex::THREAD)?;
    let mut got = syscall::wait(NEVER);
    loop {
        got = syscall::reply_and_wait(None, Tag::new(0, got.tag.words(), 0), NEVER);
    }
}
