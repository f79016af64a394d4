//! Making tasks.

use l4::object::{Dataspace, Factory, MapEntry, Placement, Task};
use l4::{CapIndex, Rights};
use l4re::{OwnedCap, Slot};
use loader::{Arguments, Launched, NamedCap, Plan, Program};
use ned::{Account, Grant, Launch, TaskNumber};

use super::service::Role;

/// Capabilities that have a slot of their own in every task, if a script grants them.
const USUAL_PLACES: [(&str, CapIndex); 6] = [
    ("rom", CapIndex::ROM),
    ("scheduler", CapIndex::SCHEDULER),
    ("icu", CapIndex::ICU),
    ("platform", CapIndex::PLATFORM),
    ("debug", CapIndex::DEBUG),
    ("jdb", CapIndex::DEBUG),
];

/// What keeps a started task alive.
pub(super) struct Running {
    /// Deleted with the task; `None` if the account is shared.
    account: Option<OwnedCap>,
    task: OwnedCap,
    thread: OwnedCap,
    /// The log that was made for it.
    _log: Option<OwnedCap>,
}

impl Running {
    /// Removes the task, and with an account of its own all that it paid for.
    pub(super) fn remove(self) {
        // The thread first, so that the program does not see its capabilities go. What is gone already is gone.
        let _ = self.thread.delete();
        match self.account {
            Some(account) => {
                let _ = account.delete();
            }
            None => {
                let _ = self.task.delete();
            }
        }
    }
}

fn usual_place(name: &str) -> Option<CapIndex> {
    USUAL_PLACES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, slot)| *slot)
}

/// Starts a program whose task signals and faults go to `gate`.
pub(super) fn launch(
    number: TaskNumber,
    launch: &Launch,
    program: (CapIndex, u64),
    runner: Option<&Program>,
    gate: CapIndex,
    (log, own_log): (CapIndex, Option<OwnedCap>),
) -> Result<Running, String> {
    let program = prepare(program)?;
    let runner = match (program.image().is_native, runner) {
        (true, _) => None,
        (false, Some(runner)) => Some(runner),
        (false, None) => return Err("it is a Linux program, and the boot image has no 'linux-abi'".into()),
    };
    let plan =
        Plan::new(&program, runner, launch.stack, CapIndex::INFO_PAGE).map_err(|error| error.to_string())?;
    let (own, account) = match launch.account {
        Account::Shared(factory) => (None, factory),
        Account::Own(limit) => {
            let new = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_factory(limit, slot));
            let own = new.map_err(|error| format!("no account of {limit} bytes for it: {error}"))?;
            let index = own.index();
            (Some(own), index)
        }
    };
    let slots = [Slot::allocate(), Slot::allocate()].map(|slot| slot.map_err(|error| error.to_string()));
    let [task, thread] = slots;
    let (task, thread) = (task?, thread?);
    let launched = Launched {
        task: task.index(),
        thread: thread.index(),
    };
    let givers = Givers { account, log, gate };
    let result = start(&plan, number, launch, &givers, launched);
    if let Err(reason) = result {
        if let Some(own) = own {
            // The reason to report is the first one.
            let _ = own.delete();
        }
        return Err(reason);
    }
    Ok(Running {
        account: own,
        task: task.filled(),
        thread: thread.filled(),
        _log: own_log,
    })
}

/// Makes a program ready to be loaded.
pub(super) fn prepare((dataspace, size): (CapIndex, u64)) -> Result<Program, String> {
    Program::prepare(Dataspace(dataspace), Some(size)).map_err(|error| error.to_string())
}

/// What a task has from `ned` itself.
struct Givers {
    account: CapIndex,
    log: CapIndex,
    gate: CapIndex,
}

fn start(
    plan: &Plan,
    number: TaskNumber,
    launch: &Launch,
    &Givers { account, log, gate }: &Givers,
    launched: Launched,
) -> Result<(), String> {
    let is_usual = |grant: &&Grant| usual_place(&grant.name).is_some();
    let mut capabilities = vec![
        MapEntry::copy(account, CapIndex::FACTORY, Rights::CLIENT),
        MapEntry::copy(log, CapIndex::LOG, Rights::CLIENT),
        MapEntry::copy(CapIndex::INFO_PAGE, CapIndex::INFO_PAGE, Rights::READ),
        MapEntry {
            from: gate,
            to: CapIndex::PARENT,
            rights: Rights::CLIENT,
            grant: false,
            label: Role::Parent(number).label(),
        },
    ];
    for grant in launch.grants.iter().filter(is_usual) {
        let place = usual_place(&grant.name).unwrap_or(CapIndex::NONE);
        capabilities.push(MapEntry::copy(grant.cap, place, grant.rights));
    }
    let caps: Vec<NamedCap<'_>> = launch
        .grants
        .iter()
        .filter(|grant| !is_usual(grant))
        .map(|grant| NamedCap {
            name: &grant.name,
            cap: grant.cap,
            rights: grant.rights,
            label: 0,
        })
        .collect();
    let words: Vec<&str> = launch.arguments.iter().map(String::as_str).collect();
    let variables: Vec<&str> = launch.variables.iter().map(String::as_str).collect();
    let arguments = Arguments {
        arguments: &words,
        variables: &variables,
        caps: &caps,
    };
    let launch = loader::Launch {
        account,
        scheduler: launch.scheduler,
        placement: Placement {
            cpu: launch.cpu.unwrap_or(Placement::SAME_CPU),
            priority: launch.priority,
            slice_us: 0,
        },
        handler: gate,
        handler_label: Role::Handler(number).label(),
        capabilities: &capabilities,
        arguments: Some(&arguments),
    };
    plan.launch(&launch, launched).map_err(|error| error.to_string())
}

/// Derives a capability with a label of its own from the gate.
pub(super) fn mint(gate: CapIndex, role: Role) -> Result<OwnedCap, String> {
    let entry = |slot| MapEntry {
        from: gate,
        to: slot,
        rights: Rights::CLIENT,
        grant: false,
        label: role.label(),
    };
    Slot::fill(|slot| Task(CapIndex::TASK).map(&[entry(slot)])).map_err(|error| error.to_string())
}
