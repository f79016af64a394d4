//! Snapshots: a task is stopped in a call, and others go on from there.

use crate::harness::{FACTORY, Failure, PRIORITY, Test, TestResult, cpu_count, settled_counters};
use crate::partner::{LABEL, Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::object::{Dataspace, Factory, MapEntry, Placement, Snapshot, Spawn, Task};
use l4::protocol::EXCEPTION;
use l4::{CapIndex, Error, Rights, Tag, Utcb, syscall};
use l4re::{OwnedCap, Slot, clock, server};

pub(crate) const TESTS: &[Test] = tests![snapshots:
    clones_go_on_where_the_task_was_stopped,
    what_a_clone_changes_is_its_own,
    clones_name_themselves,
    capabilities_are_inherited_hidden_and_replaced,
    faults_of_a_clone_are_its_handlers,
    clones_keep_a_dropped_snapshot,
    deletion_takes_the_clones_along,
    the_end_of_the_account_takes_everything_along,
    snapshots_of_clones_stack,
    a_snapshot_outlives_the_tasks_capabilities,
    a_task_that_nobody_names_takes_its_snapshot_along,
    memory_that_is_being_given_back_is_waited_for,
    what_can_not_be_frozen_goes_on,
    clones_come_and_go_on_all_cpus,
];

const OWN: Task = Task(CapIndex::TASK);
/// Pages that the client fills before its first call.
const PAGES: usize = 40;
const PATIENCE_NS: u64 = 5_000_000_000;

/// What a client is told to do before it calls again.
#[repr(u64)]
pub(crate) enum Do {
    /// Add to its counters.
    Add = 1,
    /// Touch an address that nothing is at.
    Fault,
    /// Say what its capabilities are.
    LookAround,
    /// Drop a capability.
    Drop,
    /// Create something.
    Create,
    /// Use most of the account for a sub-account, delete that, and use the memory at once.
    GiveBack,
    /// Write to pages of a boot module, and look at all of it.
    Change,
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// The client: each call tells its counters, in static memory, on the heap and on the stack, and asks what to do.
pub(crate) fn run_client(gate: CapIndex) {
    let utcb = Utcb::current();
    COUNTER.store(100, Ordering::Relaxed);
    let mut heap = vec![1u64; PAGES * 512];
    let mut local = 10u64;
    let mut answer = 0;
    loop {
        let sum: u64 = heap.chunks(512).map(|page| page[7]).sum();
        utcb.write(0, &[COUNTER.load(Ordering::Relaxed), sum, local, answer]);
        if syscall::call(gate, Tag::new(1, 4, 0)).tag.is_error() {
            return;
        }
        let (command, value) = (utcb.word(0), utcb.word(1));
        answer = 0;
        match command {
            c if c == Do::Add as u64 => {
                COUNTER.fetch_add(value, Ordering::Relaxed);
                heap[(value as usize % PAGES) * 512 + 7] += value;
                local += value;
            }
            c if c == Do::Fault as u64 => crate::exceptions::touch(value),
            c if c == Do::LookAround as u64 => {
                let valid = |cap| u64::from(OWN.is_valid(cap) == Ok(true));
                let limit = FACTORY.info().map_or(0, |info| info.limit);
                answer = valid(CapIndex::TASK)
                    | valid(CapIndex::THREAD) << 1
                    | valid(CapIndex::FACTORY) << 2
                    | valid(CapIndex::LOG) << 3
                    | valid(CapIndex(value as u32)) << 4
                    | (limit / 4096) << 8;
            }
            c if c == Do::Drop as u64 => {
                answer = u64::from(OWN.drop_cap(CapIndex(value as u32)).is_ok());
            }
            c if c == Do::Create as u64 => {
                answer = u64::from(FACTORY.create_gate(0, CapIndex::NONE, CapIndex(0xf00)).is_ok());
            }
            c if c == Do::GiveBack as u64 => {
                answer = u64::from(use_and_delete(value).is_ok());
                heap.chunks_mut(512).for_each(|page| page[9] = value);
            }
            c if c == Do::Change as u64 => answer = crate::large::change(value),
            _ => {}
        }
    }
}

/// Takes so many pages for a sub-account, fills them, and deletes it.
fn use_and_delete(pages: u64) -> Result<(), Error> {
    let (account, data) = (CapIndex(0xf00), CapIndex(0xf01));
    FACTORY.create_factory(pages << 12, account)?;
    Factory(account).create_dataspace((pages - 20) << 12, data)?;
    let dataspace = Dataspace(data);
    (0..pages - 20).try_for_each(|page| dataspace.write(page << 12, &[1; 8]))?;
    OWN.delete(account)
}

/// What a client says in a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) counter: u64,
    pub(crate) sum: u64,
    local: u64,
    answer: u64,
}

impl Said {
    /// What it says first.
    const FIRST: Said = Said {
        counter: 100,
        sum: PAGES as u64,
        local: 10,
        answer: 0,
    };

    /// What it found out about its capabilities.
    pub(crate) fn answer_bits(&self) -> u64 {
        self.answer & 0xff
    }

    pub(crate) fn after(value: u64) -> Said {
        Said {
            counter: 100 + value,
            sum: PAGES as u64 + value,
            local: 10 + value,
            answer: 0,
        }
    }
}

/// Waits for a client's call through a capability with this label.
pub(crate) fn hear(label: u64) -> Result<Said, Failure> {
    let (heard, said) = hear_any()?;
    check_eq!(heard, label);
    Ok(said)
}

/// Waits for any client's call; tells its label, too.
fn hear_any() -> Result<(u64, Said), Failure> {
    let received = syscall::wait(clock::after(PATIENCE_NS));
    received.result()?;
    check_eq!(received.tag.label(), 1);
    let utcb = Utcb::current();
    let said = Said {
        counter: utcb.word(0),
        sum: utcb.word(1),
        local: utcb.word(2),
        answer: utcb.word(3),
    };
    Ok((received.label & !3, said))
}

/// Answers the client that was heard last.
pub(crate) fn tell(command: Do, value: u64) {
    Utcb::current().write(0, &[command as u64, value]);
    syscall::reply(None, Tag::new(0, 2, 0));
}

/// A snapshot of a client in its first call, in an account of its own.
pub(crate) struct Template {
    pub(crate) snapshot: OwnedCap,
    gate: OwnedCap,
}

impl Template {
    pub(crate) fn new() -> Result<Template, Failure> {
        Template::of(|_| Ok(()))
    }

    /// The same with something done to the client's task before.
    pub(crate) fn of(prepare: impl FnOnce(Task) -> Result<(), Error>) -> Result<Template, Failure> {
        let partner = Partner::start(Role::Client, Place::TASK)?;
        prepare(Task(partner.task()))?;
        let gate = Slot::fill(|slot| {
            let copy = MapEntry::copy(partner.gate.index(), slot, Rights::all());
            OWN.map(&[copy])
        })?;
        server::bind_gate(gate.index(), LABEL)?;
        check_eq!(hear(LABEL)?, Said::FIRST);
        let snapshot = freeze(partner.task())?;
        partner.forget();
        Ok(Template { snapshot, gate })
    }

    /// The gate that clones call.
    pub(crate) fn gate_cap(&self) -> CapIndex {
        self.gate.index()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.snapshot.index())
    }

    /// Begins a clone in an account of so many pages, whose calls come with `label`, and has it do something at once.
    pub(crate) fn spawn(&self, label: u64, pages: u64, command: Do, value: u64) -> Result<Clone, Failure> {
        self.spawn_at(
            label,
            pages,
            Placement {
                cpu: 0,
                priority: PRIORITY,
                slice_us: 0,
            },
            command,
            value,
        )
    }

    pub(crate) fn spawn_at(
        &self,
        label: u64,
        pages: u64,
        place: Placement,
        command: Do,
        value: u64,
    ) -> Result<Clone, Failure> {
        let account = Slot::fill(|slot| FACTORY.create_factory(pages * 4096, slot))?;
        let handler = (self.gate.index(), label + 4);
        // The client was given its gate in the first free slot.
        let entries = [MapEntry {
            label,
            ..MapEntry::copy(self.gate.index(), gate_slot(), Rights::CLIENT)
        }];
        let spawn = Spawn {
            account: account.index(),
            scheduler: CapIndex::SCHEDULER,
            place,
            handler,
            entries: &entries,
        };
        let words = [command as u64, value];
        let task = Slot::fill(|slot| self.snapshot().spawn(&spawn, 0, &words, slot))?;
        Ok(Clone { task, account })
    }
}

/// Where the loader puts the capability that is named first.
pub(crate) fn gate_slot() -> CapIndex {
    CapIndex::FIRST_FREE
}

/// Makes a snapshot of a task whose call was received last.
pub(crate) fn freeze(task: CapIndex) -> Result<OwnedCap, Failure> {
    let caller = server::keep_caller()?;
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task, caller.index(), slot))?;
    Snapshot(snapshot.index()).prepare()?;
    check!(Snapshot(snapshot.index()).info()?.is_ready);
    Ok(snapshot)
}

/// A clone, which ends with its account.
pub(crate) struct Clone {
    pub(crate) task: OwnedCap,
    pub(crate) account: OwnedCap,
}

impl Clone {
    pub(crate) fn end(self) -> TestResult {
        drop(self.task);
        self.account.delete()?;
        Ok(())
    }
}

fn clones_go_on_where_the_task_was_stopped() -> TestResult {
    let template = Template::new()?;
    for label in [0x1000, 0x2000, 0x3000] {
        let clone = template.spawn(label, 200, Do::Add, 3)?;
        check_eq!(hear(label)?, Said::after(3));
        tell(Do::Add, 4);
        let said = hear(label)?;
        check_eq!((said.counter, said.sum, said.local), (107, PAGES as u64 + 7, 17));
        clone.end()?;
    }
    Ok(())
}

fn what_a_clone_changes_is_its_own() -> TestResult {
    let template = Template::new()?;
    let pages = template.snapshot().info()?.pages;
    check!(pages > PAGES as u64);
    let clones = (1..=8u64)
        .map(|number| template.spawn(number << 12, 64, Do::Add, number))
        .collect::<Result<Vec<_>, _>>()?;
    // A clone whose time slice ends before its call has its turn after the others.
    let mut silent: Vec<u64> = (1..=8).collect();
    while !silent.is_empty() {
        let (label, said) = hear_any()?;
        check_eq!(said, Said::after(label >> 12));
        check!(silent.contains(&(label >> 12)));
        silent.retain(|number| *number != label >> 12);
    }
    // Each pays for what it changed, and for no more: that is little.
    for clone in &clones {
        let used = Factory(clone.account.index()).info()?.used;
        check!(used <= 16 * 4096);
    }
    check_eq!(template.snapshot().info()?.pages, pages);
    clones.into_iter().try_for_each(Clone::end)
}

fn clones_name_themselves() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 77, Do::LookAround, 0)?;
    let said = hear(0x1000)?;
    check_eq!(said.answer & 0xff, 0b1111);
    // Its factory is its own account, not the template's.
    check_eq!(said.answer >> 8, 77);
    let before = Factory(clone.account.index()).info()?.used;
    tell(Do::Create, 0);
    check_eq!(hear(0x1000)?.answer, 1);
    check!(Factory(clone.account.index()).info()?.used >= before);
    clone.end()
}

fn capabilities_are_inherited_hidden_and_replaced() -> TestResult {
    let template = Template::new()?;
    let first = template.spawn(0x1000, 100, Do::Drop, CapIndex::LOG.word())?;
    check_eq!(hear(0x1000)?.answer, 1);
    tell(Do::LookAround, 0);
    check_eq!(hear(0x1000)?.answer & 0xff, 0b0111);
    // What one clone drops, others have still.
    let second = template.spawn(0x2000, 100, Do::LookAround, u64::from(gate_slot().0))?;
    check_eq!(hear(0x2000)?.answer & 0xff, 0b11111);
    first.end()?;
    second.end()
}

fn faults_of_a_clone_are_its_handlers() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 100, Do::Fault, 0x10)?;
    let received = syscall::wait(clock::after(PATIENCE_NS));
    check_eq!((received.label & !3, received.tag.label()), (0x1004, EXCEPTION));
    clone.end()?;
    // An account that is too small for what the clone changes is an exception as well.
    let small = template.spawn(0x2000, 8, Do::Add, 1)?;
    let received = syscall::wait(clock::after(PATIENCE_NS));
    check_eq!((received.label & !3, received.tag.label()), (0x2004, EXCEPTION));
    small.end()
}

fn clones_keep_a_dropped_snapshot() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 100, Do::Add, 1)?;
    check_eq!(hear(0x1000)?, Said::after(1));
    let Template { snapshot, gate } = template;
    drop(snapshot);
    for round in 2..6 {
        tell(Do::Add, 1);
        check_eq!(hear(0x1000)?, Said::after(round));
    }
    clone.end()?;
    drop(gate);
    Ok(())
}

fn deletion_takes_the_clones_along() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 100, Do::Add, 1)?;
    check_eq!(hear(0x1000)?, Said::after(1));
    let caller = server::keep_caller()?;
    template.snapshot.delete()?;
    settled_counters()?;
    check!(OWN.is_valid(clone.task.index()) == Ok(false));
    check!(OWN.is_valid(caller.index()) == Ok(false));
    clone.end()
}

fn the_end_of_the_account_takes_everything_along() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 100, Do::Add, 1)?;
    check_eq!(hear(0x1000)?, Said::after(1));
    let used = Factory(clone.account.index()).info()?.used;
    check!(used > 0);
    let Clone { task, account } = clone;
    account.delete()?;
    settled_counters()?;
    check!(OWN.is_valid(task.index()) == Ok(false));
    // The snapshot goes on.
    let other = template.spawn(0x2000, 100, Do::Add, 2)?;
    check_eq!(hear(0x2000)?, Said::after(2));
    other.end()
}

fn snapshots_of_clones_stack() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 200, Do::Add, 5)?;
    check_eq!(hear(0x1000)?, Said::after(5));
    let upper = Template {
        snapshot: freeze(clone.task.index())?,
        gate: Slot::fill(|slot| {
            let copy = MapEntry::copy(template.gate.index(), slot, Rights::all());
            OWN.map(&[copy])
        })?,
    };
    let (lower_info, info) = (template.snapshot().info()?, upper.snapshot().info()?);
    check_eq!((lower_info.depth, info.depth), (0, 1));
    check!(info.pages < lower_info.pages / 2);
    // The lower one is kept by the upper one.
    let Template { snapshot, gate } = template;
    drop(snapshot);
    for label in [0x3000, 0x4000] {
        let clone = upper.spawn(label, 100, Do::Add, 2)?;
        check_eq!(hear(label)?, Said::after(7));
        clone.end()?;
    }
    // It has what the lower one had, and its own task, thread and account.
    let last = upper.spawn(0x5000, 100, Do::LookAround, 0)?;
    check_eq!(hear(0x5000)?.answer & 0xf, 0xf);
    last.end()?;
    drop(upper);
    clone.end()?;
    drop(gate);
    Ok(())
}

/// Makes a client that was heard a snapshot, and drops all capabilities to its task but its own, before that is prepared.
fn freeze_and_forget(partner: Partner) -> Result<OwnedCap, Failure> {
    let caller = server::keep_caller()?;
    let snapshot = Slot::fill(|slot| Snapshot::freeze(partner.task(), caller.index(), slot))?;
    check!(!Snapshot(snapshot.index()).info()?.is_ready);
    OWN.drop_cap(partner.task())?;
    partner.forget();
    Ok(snapshot)
}

fn a_snapshot_outlives_the_tasks_capabilities() -> TestResult {
    let partner = Partner::start(Role::Client, Place::TASK)?;
    server::bind_gate(partner.gate.index(), LABEL)?;
    check_eq!(hear(LABEL)?, Said::FIRST);
    let gate = Slot::fill(|slot| OWN.map(&[MapEntry::copy(partner.gate.index(), slot, Rights::all())]))?;
    let snapshot = freeze_and_forget(partner)?;
    Snapshot(snapshot.index()).prepare()?;
    let template = Template { snapshot, gate };
    let clone = template.spawn(0x1000, 100, Do::Add, 1)?;
    check_eq!(hear(0x1000)?, Said::after(1));
    clone.end()
}

fn a_task_that_nobody_names_takes_its_snapshot_along() -> TestResult {
    let partner = Partner::start(Role::Client, Place::TASK)?;
    server::bind_gate(partner.gate.index(), LABEL)?;
    check_eq!(hear(LABEL)?, Said::FIRST);
    tell(Do::Drop, CapIndex::TASK.word());
    check_eq!(hear(LABEL)?.answer, 1);
    let snapshot = freeze_and_forget(partner)?;
    // It may be prepared before the task's end is noticed, but not stay.
    let _ = Snapshot(snapshot.index()).prepare();
    settled_counters()?;
    check!(OWN.is_valid(snapshot.index()) == Ok(false));
    Ok(())
}

fn memory_that_is_being_given_back_is_waited_for() -> TestResult {
    let template = Template::new()?;
    let clone = template.spawn(0x1000, 440, Do::GiveBack, 400)?;
    check_eq!(hear(0x1000)?.answer, 1);
    clone.end()
}

fn what_can_not_be_frozen_goes_on() -> TestResult {
    let partner = Partner::start(Role::Client, Place::TASK)?;
    server::bind_gate(partner.gate.index(), LABEL)?;
    check_eq!(hear(LABEL)?, Said::FIRST);
    let caller = server::keep_caller()?;
    let freeze = |task, reply| Slot::fill(|slot| Snapshot::freeze(task, reply, slot)).map(drop);
    check_eq!(freeze(partner.task(), CapIndex(0xf00)), Err(Error::NotFound));
    check_eq!(freeze(CapIndex::TASK, caller.index()), Err(Error::Invalid));
    // A second thread, though it never ran.
    let second = Slot::fill(|slot| {
        FACTORY.create_thread(Task(partner.task()), 0x5000_0000_0000, CapIndex::NONE, 0, slot)
    })?;
    check_eq!(freeze(partner.task(), caller.index()), Err(Error::Busy));
    drop(second);
    settled_counters()?;
    Utcb::current().write(0, &[Do::Add as u64, 1]);
    server::answer(caller, Tag::new(0, 2, 0));
    check_eq!(hear(LABEL)?, Said::after(1));
    // A thread that faulted has a pending exception.
    tell(Do::Fault, 0x10);
    Ok(())
}

fn clones_come_and_go_on_all_cpus() -> TestResult {
    let template = Template::new()?;
    let cpus = cpu_count()?;
    let rounds = |count: u64| -> TestResult {
        for round in 0..count {
            let clones = (0..8u64)
                .map(|number| {
                    let place = Placement {
                        cpu: (number % u64::from(cpus)) as u32,
                        priority: PRIORITY,
                        slice_us: 0,
                    };
                    template.spawn_at((round * 8 + number + 1) << 12, 100, place, Do::Add, 1)
                })
                .collect::<Result<Vec<_>, _>>()?;
            // Some end while they run, some while they wait.
            for clone in clones {
                clone.end()?;
            }
            while !syscall::wait(0).tag.is_error() {}
        }
        Ok(())
    };
    rounds(4)?;
    let before = settled_counters()?;
    rounds(20)?;
    let after = settled_counters()?;
    check_eq!(after.free_frames, before.free_frames);
    check_eq!(after.capabilities, before.capabilities);
    Ok(())
}
