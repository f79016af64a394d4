//! The other side of a test: a thread of this task or of another one, on this CPU or another.

use crate::harness::{FACTORY, Failure, PRIORITY};
use l4::object::{Dataspace, MapEntry, Placement, Task, Vcon};
use l4::syscall::{self, Received};
use l4::{CapIndex, Error, NEVER, Rights, Tag, Utcb, utcb};
use l4re::{OwnedCap, Slot, env, server, thread};
use loader::{Arguments, Launch, Launched, NamedCap, Plan, Program};

/// The kernel shows this program's own file here.
const OWN_FILE: Dataspace = Dataspace(CapIndex(0x40));
/// Label of a partner's gate.
pub(crate) const LABEL: u64 = 0x700;

/// What a partner does with its gate. It uses no slots beyond those that it is given, since it may be killed at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Answers with the words and the label that came.
    Echo,
    /// Answers with the label, the tag, and how many words behind those of the message are not as they were.
    Describe,
    /// Offers two slots; answers with the number of items, and whether a capability arrived in each.
    TakeCaps,
    /// Takes a request and ends without an answer.
    Desert,
    /// Takes a request and never answers.
    Sleep,
    /// Faults at the address in the first word.
    Touch,
    /// Runs for ever.
    Spin,
    /// Calls the gate, which the test serves, and does what the answers say.
    Client,
    /// Calls the gate once, and does what the answer says, for a spawn gate's caller.
    Worker,
}

const ROLES: [(&str, Role); 9] = [
    ("echo", Role::Echo),
    ("describe", Role::Describe),
    ("take-caps", Role::TakeCaps),
    ("desert", Role::Desert),
    ("sleep", Role::Sleep),
    ("touch", Role::Touch),
    ("spin", Role::Spin),
    ("client", Role::Client),
    ("worker", Role::Worker),
];

/// Where a partner runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) other_task: bool,
    pub(crate) cpu: u32,
    pub(crate) priority: u8,
}

impl Place {
    /// A thread of this task on this CPU.
    pub(crate) const HERE: Place = Place {
        other_task: false,
        cpu: 0,
        priority: PRIORITY,
    };
    /// Another task on this CPU.
    pub(crate) const TASK: Place = Place {
        other_task: true,
        ..Place::HERE
    };

    /// This or another task, on this or (if there is one) another CPU.
    pub(crate) fn all() -> Result<impl Iterator<Item = Place>, Failure> {
        let cpus = crate::harness::cpu_count()?.min(2);
        let places = [Place::HERE, Place::TASK];
        Ok((0..cpus).flat_map(move |cpu| places.into_iter().map(move |place| Place { cpu, ..place })))
    }
}

enum Runs {
    Thread(thread::JoinHandle),
    Task { task: OwnedCap, thread: OwnedCap },
}

/// A partner; dropping it ends it.
pub(crate) struct Partner {
    pub(crate) gate: OwnedCap,
    runs: Option<Runs>,
    _program: Option<Program>,
}

impl Partner {
    /// Starts a partner.
    pub(crate) fn start(role: Role, place: Place) -> Result<Partner, Failure> {
        Partner::start_with(role, place, CapIndex::NONE)
    }

    /// Starts a partner whose faults go to `handler`.
    pub(crate) fn start_with(role: Role, place: Place, handler: CapIndex) -> Result<Partner, Failure> {
        let gate = Slot::fill(|slot| FACTORY.create_gate(LABEL, CapIndex::NONE, slot))?;
        let placement = Placement {
            cpu: place.cpu,
            priority: place.priority,
            slice_us: 0,
        };
        let (runs, program) = if place.other_task {
            let program = Program::prepare(OWN_FILE, None)?;
            (
                start_task(&program, role, gate.index(), placement, handler)?,
                Some(program),
            )
        } else {
            let cap = gate.index();
            let builder = thread::Builder {
                placement,
                handler,
                ..thread::Builder::default()
            };
            (Runs::Thread(builder.spawn(move || serve(role, cap))?), None)
        };
        Ok(Partner {
            gate,
            runs: Some(runs),
            _program: program,
        })
    }

    /// Gives the partner up: it has become something else, or ends in another way.
    pub(crate) fn forget(mut self) {
        self.runs = None;
    }

    /// The partner's thread.
    pub(crate) fn thread(&self) -> CapIndex {
        match &self.runs {
            Some(Runs::Thread(thread)) => thread.cap(),
            Some(Runs::Task { thread, .. }) => thread.index(),
            None => CapIndex::NONE,
        }
    }

    /// The partner's task, if it is another.
    pub(crate) fn task(&self) -> CapIndex {
        match &self.runs {
            Some(Runs::Task { task, .. }) => task.index(),
            _ => CapIndex::TASK,
        }
    }

    /// Calls the partner with words; returns how many words came back, and leaves them in the UTCB.
    pub(crate) fn call(&self, words: &[u64]) -> Result<Received, Error> {
        Utcb::current().write(0, words);
        let received = syscall::call(self.gate.index(), Tag::new(1, words.len(), 0));
        received.result().map(|_| received)
    }

    /// Ends the partner's thread or task.
    pub(crate) fn kill(&mut self) {
        match self.runs.take() {
            Some(Runs::Thread(thread)) => {
                let _ = thread.kill();
            }
            Some(Runs::Task { task, thread }) => {
                let _ = task.delete();
                drop(thread);
            }
            None => {}
        }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.kill();
    }
}

fn start_task(
    program: &Program,
    role: Role,
    gate: CapIndex,
    placement: Placement,
    handler: CapIndex,
) -> Result<Runs, Failure> {
    let plan = Plan::new(program, None, loader::DEFAULT_STACK_SIZE, CapIndex::INFO_PAGE)?;
    let (task, thread) = (Slot::allocate()?, Slot::allocate()?);
    let name = ROLES
        .iter()
        .find(|(_, other)| *other == role)
        .map_or("", |(name, _)| name);
    let capabilities = [
        MapEntry::copy(CapIndex::FACTORY, CapIndex::FACTORY, Rights::CLIENT),
        MapEntry::copy(CapIndex::LOG, CapIndex::LOG, Rights::CLIENT),
        MapEntry::copy(CapIndex::SCHEDULER, CapIndex::SCHEDULER, Rights::CLIENT),
    ];
    let gate = NamedCap {
        name: "gate",
        cap: gate,
        rights: Rights::all(),
        label: 0,
    };
    let launch = Launch {
        account: CapIndex::FACTORY,
        scheduler: CapIndex::SCHEDULER,
        placement,
        handler,
        handler_label: 0,
        capabilities: &capabilities,
        arguments: Some(&Arguments {
            arguments: &["kernel-tests", name],
            variables: &[],
            caps: &[gate],
        }),
    };
    plan.launch(
        &launch,
        Launched {
            task: task.index(),
            thread: thread.index(),
        },
    )?;
    Ok(Runs::Task {
        task: task.filled(),
        thread: thread.filled(),
    })
}

/// What the program does in another task: the role that it was started for.
pub(crate) fn run_role(name: &str) -> i64 {
    let role = ROLES.iter().find(|(other, _)| *other == name);
    match (role, env::cap("gate")) {
        (Some((_, Role::Client)), Some(gate)) => {
            crate::snapshots::run_client(gate);
            0
        }
        (Some((_, Role::Worker)), Some(gate)) => {
            crate::gate_worker::run_worker(gate);
            0
        }
        (Some((_, role)), Some(gate)) => {
            serve(*role, gate);
            0
        }
        _ => {
            let _ = Vcon(CapIndex::LOG).write(b"a partner has no role or no gate\n");
            1
        }
    }
}

/// Slots that nobody uses: the kernel fills those below, in this task the allocator those above.
const SPARE_SLOTS: [CapIndex; 2] = [CapIndex(0xf00), CapIndex(0xf01)];

fn serve(role: Role, gate: CapIndex) {
    if server::bind_gate(gate, LABEL).is_err() {
        return;
    }
    let utcb = Utcb::current();
    match role {
        Role::Echo => {
            let mut got = syscall::wait(NEVER);
            loop {
                got = syscall::reply_and_wait(None, Tag::new(got.tag.label(), got.tag.words(), 0), NEVER);
            }
        }
        Role::Describe => describe(utcb),
        Role::TakeCaps => take_caps(utcb, SPARE_SLOTS),
        Role::Desert => {
            syscall::wait(NEVER);
        }
        Role::Sleep => {
            // Without a slot of its own the right to answer would be given up by sleeping.
            utcb.set_reply_slot(Some(SPARE_SLOTS[0]));
            syscall::wait(NEVER);
            syscall::sleep_until(NEVER);
        }
        Role::Touch => {
            syscall::wait(NEVER);
            crate::exceptions::touch(utcb.word(0));
            syscall::reply(None, Tag::new(0, 0, 0));
        }
        Role::Spin => loop {
            core::hint::spin_loop();
        },
        Role::Client => crate::snapshots::run_client(gate),
        Role::Worker => crate::gate_worker::run_worker(gate),
    }
}

const UNTOUCHED: u64 = 0x5555_aaaa_1234_fedc;

fn describe(utcb: &Utcb) {
    loop {
        for index in 0..utcb::MESSAGE_WORDS {
            utcb.set_word(index, UNTOUCHED);
        }
        let got = syscall::wait(NEVER);
        let beyond = got.tag.words() + 2 * got.tag.items()..utcb::MESSAGE_WORDS;
        let changed = beyond.filter(|index| utcb.word(*index) != UNTOUCHED).count();
        utcb.write(0, &[got.label, got.tag.0, changed as u64]);
        syscall::reply(None, Tag::new(0, 3, 0));
    }
}

fn take_caps(utcb: &Utcb, slots: [CapIndex; 2]) {
    let own = Task(CapIndex::TASK);
    loop {
        utcb.set_receive_slots(&slots);
        let got = syscall::wait(NEVER);
        utcb.set_receive_slots(&[]);
        let error = if got.tag.is_error() {
            utcb.word(utcb::ERROR_WORD)
        } else {
            0
        };
        // Asking and dropping are system calls to kernel objects: they leave the caller's reply capability alone.
        let valid = slots.map(|slot| own.is_valid(slot) == Ok(true));
        for slot in slots {
            let _ = own.drop_cap(slot);
        }
        utcb.write(
            0,
            &[got.tag.items() as u64, valid[0].into(), valid[1].into(), error],
        );
        if error == 0 {
            syscall::reply(None, Tag::new(0, 4, 0));
        }
    }
}
