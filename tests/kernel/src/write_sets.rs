//! Write sets: clones begin with pages of their own where an earlier one wrote.

use crate::gate_worker::{self, ANSWER, Do as Work};
use crate::harness::{Test, TestResult, settled_counters};
use crate::snapshots::{Do, Said, Template, hear, tell};
use crate::{check, check_eq, tests};
use alloc::vec::Vec;
use l4::object::{Factory, MapEntry, Snapshot, Task};
use l4::{CapIndex, Error, NEVER, Rights, Utcb};
use l4re::Slot;

pub(crate) const TESTS: &[Test] = tests![write_sets:
    clones_begin_with_what_another_one_wrote,
    a_write_set_is_made_once_and_of_a_clone,
    a_clone_that_answers_is_recorded_at_its_end,
    what_several_clones_wrote_is_what_all_of_them_wrote,
    clones_with_little_memory_begin_without,
];

const OWN: Task = Task(CapIndex::TASK);

fn clones_begin_with_what_another_one_wrote() -> TestResult {
    let template = Template::new()?;
    let first = template.spawn(0x1000, 200, Do::Add, 3)?;
    check_eq!(hear(0x1000)?, Said::after(3));
    let pages = template.snapshot().record(first.task.index())?;
    // Static memory, heap and stack.
    check!(pages >= 3);
    check_eq!(template.snapshot().info()?.written, pages);
    let used = |clone: &crate::snapshots::Clone| Ok::<_, Error>(Factory(clone.account.index()).info()?.used);
    let lazily = used(&first)?;
    let second = template.spawn(0x2000, 200, Do::Add, 3)?;
    // It has not run yet, and has all its pages, which it pays for.
    check_eq!(used(&second)?, lazily);
    check_eq!(hear(0x2000)?, Said::after(3));
    check_eq!(used(&second)?, lazily);
    // What it changes is its own, and what it writes elsewhere is copied when it does so.
    tell(Do::Add, 4);
    check_eq!(hear(0x2000)?.sum, Said::after(7).sum);
    check!(used(&second)? > lazily);
    let third = template.spawn(0x3000, 200, Do::Add, 9)?;
    check_eq!(hear(0x3000)?, Said::after(9));
    // It goes on without the others, and the snapshot's last capability.
    [first, second].into_iter().try_for_each(|clone| clone.end())?;
    drop(template.snapshot);
    tell(Do::Add, 1);
    check_eq!(hear(0x3000)?.counter, 110);
    third.end()
}

fn a_write_set_is_made_once_and_of_a_clone() -> TestResult {
    let (template, other) = (Template::new()?, Template::new()?);
    let snapshot = template.snapshot();
    check_eq!(snapshot.record(CapIndex::TASK), Err(Error::Invalid));
    check_eq!(snapshot.record(CapIndex::FACTORY), Err(Error::Invalid));
    let stranger = other.spawn(0x1000, 200, Do::Add, 3)?;
    check_eq!(hear(0x1000)?, Said::after(3));
    check_eq!(snapshot.record(stranger.task.index()), Err(Error::Invalid));
    stranger.end()?;
    let clone = template.spawn(0x2000, 200, Do::Add, 3)?;
    check_eq!(hear(0x2000)?, Said::after(3));
    let weak = |cap, rights| {
        Slot::fill(|slot| {
            let entry = MapEntry::copy(cap, slot, rights);
            OWN.map(&[entry])
        })
    };
    let weak_snapshot = weak(template.snapshot.index(), Rights::READ)?;
    let refused = Snapshot(weak_snapshot.index()).record(clone.task.index());
    check_eq!(refused, Err(Error::NotPermitted));
    let weak_clone = weak(clone.task.index(), Rights::READ)?;
    check_eq!(snapshot.record(weak_clone.index()), Err(Error::NotPermitted));
    check_eq!(snapshot.info()?.written, 0);
    // Who asked for that of an answer may still be told a clone.
    check_eq!(snapshot.record_answers((1, 2), 0), Err(Error::Invalid));
    check_eq!(snapshot.record_answers((1, 2), 1), Ok(()));
    check_eq!(snapshot.record_answers((1, 2), 1), Err(Error::Exists));
    check!(snapshot.record(clone.task.index())? > 0);
    check_eq!(snapshot.record(clone.task.index()), Err(Error::Exists));
    check_eq!(snapshot.record_answers((1, 2), 1), Err(Error::Exists));
    clone.end()
}

fn a_clone_that_answers_is_recorded_at_its_end() -> TestResult {
    const PAGES: u64 = 30;
    let template = gate_worker::Template::new()?;
    let gate = template.gate()?;
    let snapshot = Snapshot(template.snapshot.index());
    let own_pages =
        || gate_worker::call(gate.cap.index(), Work::Account, 0, NEVER).map(|_| Utcb::current().word(1));
    let before = own_pages();
    snapshot.record_answers((ANSWER, PAGES), 1)?;
    // Other answers, and no answer.
    check_eq!(gate.call(Work::Dirty, PAGES + 10), Ok(PAGES + 10));
    check!(gate.call(Work::Exit, PAGES).is_err());
    settled_counters()?;
    check_eq!(snapshot.info()?.written, 0);
    check_eq!(own_pages(), before);
    check_eq!(gate.call(Work::Dirty, PAGES), Ok(PAGES));
    settled_counters()?;
    let written = snapshot.info()?.written;
    check!((PAGES..PAGES + 10).contains(&written));
    // From now on a clone that writes little has these pages all the same.
    check!(own_pages().is_ok_and(|pages| pages >= PAGES && before.is_ok_and(|before| pages > before + 20)));
    for round in 1..=20 {
        check_eq!(gate.call(Work::Dirty, round), Ok(round));
    }
    check_eq!(snapshot.info()?.written, written);
    check_eq!(gate.settled()?.live, 0);
    Ok(())
}

fn what_several_clones_wrote_is_what_all_of_them_wrote() -> TestResult {
    let template = Template::new()?;
    let snapshot = template.snapshot();
    // They change different pages of the heap, the same variables, and the stack.
    snapshot.record_answers((1, 2), 3)?;
    let mut used = 0;
    for (label, value) in [(0x1000, 3), (0x2000, 3), (0x3000, 5)] {
        let clone = template.spawn(label, 200, Do::Add, value)?;
        check_eq!(hear(label)?, Said::after(value));
        let pages = snapshot.record(clone.task.index())?;
        check_eq!(pages, snapshot.info()?.written);
        check_eq!(pages > 0, label == 0x3000);
        used = Factory(clone.account.index()).info()?.used;
        clone.end()?;
    }
    // Less than each of them: what the page of the heap takes.
    let clone = template.spawn(0x4000, 200, Do::Add, 9)?;
    check!(Factory(clone.account.index()).info()?.used < used);
    check_eq!(hear(0x4000)?, Said::after(9));
    check_eq!(Factory(clone.account.index()).info()?.used, used);
    clone.end()
}

fn clones_with_little_memory_begin_without() -> TestResult {
    let template = gate_worker::Template::new()?;
    let gate = template.gate()?;
    let snapshot = Snapshot(template.snapshot.index());
    snapshot.record_answers((ANSWER, 40), 1)?;
    check_eq!(gate.call(Work::Dirty, 40), Ok(40));
    settled_counters()?;
    check!(snapshot.info()?.written >= 40);
    // A clone that wants to write a few pages needs no more memory than before.
    let answers: Vec<_> = (12..40)
        .map(|pages| {
            let binding = l4::object::GateBinding {
                memory_bytes: pages << 12,
                ..template.binding()
            };
            template
                .bind(&binding)?
                .call(Work::Dirty, 1)
                .map_err(|_| Error::NoMemory)
        })
        .collect();
    let enough = answers.iter().position(|answer| answer.is_ok());
    check!(
        enough.is_some_and(|enough| answers[enough..].iter().all(|answer| answer.is_ok()) && enough <= 12)
    );
    Ok(())
}
