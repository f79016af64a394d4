//! Stored snapshots: written to a dataspace, and made a task again.

use crate::harness::{FACTORY, Failure, Test, TestResult};
use crate::snapshots::{Do, Said, Template, gate_slot, hear, tell};
use crate::{check, check_eq, tests};
use l4::object::{CallRegisters, Dataspace, MapEntry, Snapshot, Task, Thread};
use l4::{CapIndex, Error, PAGE_SIZE, Rights};
use l4re::memory::SealedView;
use l4re::{OwnedCap, Slot};
use stored_image::{Identity, LoadFault, Source, StoreError, StoredImage, store};

pub(crate) const TESTS: &[Test] = tests![storing:
    a_stored_snapshot_goes_on_where_the_first_was_stopped,
    a_stored_snapshot_is_stored_again,
    clones_capabilities_have_to_be_known,
    a_file_that_is_too_large_is_not_written,
    only_a_new_thread_gets_registers,
    registers_are_checked,
];

/// This program's own file, which the kernel shows here, and the info page.
const NAMED: [CapIndex; 2] = [CapIndex(0x40), CapIndex::INFO_PAGE];
const FILE_SIZE: u64 = 4 << 20;
const IDENTITY: Identity = Identity {
    build: 1,
    function: 2,
};

/// What clients are given.
fn slots() -> [CapIndex; 6] {
    [
        CapIndex::TASK,
        CapIndex::THREAD,
        CapIndex::FACTORY,
        CapIndex::LOG,
        CapIndex::SCHEDULER,
        gate_slot(),
    ]
}

fn source<'a>(snapshot: Snapshot, slots: &'a [CapIndex]) -> Source<'a> {
    Source {
        snapshot,
        named: &NAMED,
        slots,
        identity: IDENTITY,
        is_single: false,
    }
}

fn dataspace(size: u64) -> Result<OwnedCap, Failure> {
    Ok(Slot::fill(|slot| FACTORY.create_dataspace(size, slot))?)
}

/// A sealed file with the template's snapshot.
fn stored(template: &Template) -> Result<OwnedCap, Failure> {
    let file = dataspace(FILE_SIZE)?;
    let to = Dataspace(file.index());
    let length = store(&source(template.snapshot(), &slots()), to, FILE_SIZE);
    check!(length.is_ok_and(|length| length > 0 && length <= FILE_SIZE));
    to.seal()?;
    Ok(file)
}

/// A snapshot from a file, whose clones call the gate of `template`.
fn loaded(template: &Template, file: &OwnedCap) -> Result<OwnedCap, Failure> {
    let view = SealedView::attach(Dataspace(file.index()))?;
    let other = Identity { build: 9, ..IDENTITY };
    check_eq!(
        StoredImage::parse(view.bytes(), other),
        Err(LoadFault::OtherBuild)
    );
    let image = StoredImage::parse(view.bytes(), IDENTITY);
    check!(image.is_ok());
    let Ok(image) = image else {
        return dataspace(PAGE_SIZE);
    };
    let task = Slot::fill(|slot| FACTORY.create_task(slot))?;
    let thread = Slot::allocate()?;
    image.fill(
        CapIndex::FACTORY,
        Task(task.index()),
        thread.index(),
        file.index(),
        &NAMED,
    )?;
    let thread = thread.filled();
    Task(task.index()).map(&[
        MapEntry::copy(task.index(), CapIndex::TASK, Rights::CLIENT),
        MapEntry::copy(thread.index(), CapIndex::THREAD, Rights::CLIENT),
        MapEntry::copy(CapIndex::FACTORY, CapIndex::FACTORY, Rights::CLIENT),
        MapEntry::copy(CapIndex::LOG, CapIndex::LOG, Rights::CLIENT),
        MapEntry::copy(template.gate_cap(), gate_slot(), Rights::all()),
    ])?;
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task.index(), thread.index(), slot))?;
    Snapshot(snapshot.index()).prepare()?;
    Ok(snapshot)
}

fn a_stored_snapshot_goes_on_where_the_first_was_stopped() -> TestResult {
    let mut template = Template::new()?;
    let file = stored(&template)?;
    let first = template.snapshot().info()?;
    template.snapshot = loaded(&template, &file)?;
    // Its pages are the file's; it owns the UTCB's.
    let info = template.snapshot().info()?;
    check!(info.pages < 8 && first.pages > 40);
    for label in [0x1000, 0x2000] {
        let clone = template.spawn(label, 200, Do::Add, 3)?;
        check_eq!(hear(label)?, Said::after(3));
        tell(Do::Add, 3);
        check_eq!(hear(label)?.counter, 106);
        tell(Do::LookAround, u64::from(gate_slot().0));
        check_eq!(hear(label)?.answer_bits(), 0b11111);
        clone.end()?;
    }
    Ok(())
}

fn a_stored_snapshot_is_stored_again() -> TestResult {
    let mut template = Template::new()?;
    for _ in 0..3 {
        let file = stored(&template)?;
        template.snapshot = loaded(&template, &file)?;
    }
    // And a snapshot above it, whose pages are the file's, the lower one's and its own.
    let clone = template.spawn(0x1000, 200, Do::Add, 5)?;
    check_eq!(hear(0x1000)?, Said::after(5));
    template.snapshot = crate::snapshots::freeze(clone.task.index())?;
    let file = stored(&template)?;
    template.snapshot = loaded(&template, &file)?;
    check_eq!(template.snapshot().info()?.depth, 0);
    let last = template.spawn(0x2000, 200, Do::Add, 4)?;
    check_eq!(hear(0x2000)?, Said::after(9));
    last.end()?;
    clone.end()
}

fn clones_capabilities_have_to_be_known() -> TestResult {
    let template = Template::new()?;
    let file = dataspace(FILE_SIZE)?;
    let fewer = &slots()[..5];
    let refused = store(
        &source(template.snapshot(), fewer),
        Dataspace(file.index()),
        FILE_SIZE,
    );
    check_eq!(refused, Err(StoreError::Capability(gate_slot())));
    Ok(())
}

fn a_file_that_is_too_large_is_not_written() -> TestResult {
    let template = Template::new()?;
    let small = dataspace(4 * PAGE_SIZE)?;
    let to = Dataspace(small.index());
    let needed = store(&source(template.snapshot(), &slots()), to, 4 * PAGE_SIZE);
    check!(needed.is_ok_and(|length| length > 40 * PAGE_SIZE && length < FILE_SIZE));
    let mut start = [1; 8];
    to.read(0, &mut start)?;
    check_eq!(start, [0; 8]);
    Ok(())
}

fn only_a_new_thread_gets_registers() -> TestResult {
    let page = dataspace(PAGE_SIZE)?;
    let registers = CallRegisters::default();
    let refused = Thread(CapIndex::THREAD).restore(Dataspace(page.index()), 0, &registers);
    check!(matches!(refused, Err(Error::Busy | Error::Invalid)));
    // Nor is a thread that has none taken for one that waits.
    let task = Slot::fill(|slot| FACTORY.create_task(slot))?;
    let thread =
        Slot::fill(|slot| FACTORY.create_thread(Task(task.index()), 0x10_0000, CapIndex::NONE, 0, slot))?;
    let frozen = Slot::fill(|slot| Snapshot::freeze(task.index(), thread.index(), slot));
    check_eq!(frozen.map(drop), Err(Error::Invalid));
    Ok(())
}

fn registers_are_checked() -> TestResult {
    let page = dataspace(PAGE_SIZE)?;
    let task = Slot::fill(|slot| FACTORY.create_task(slot))?;
    let utcb = 0x10_0000;
    let thread = Slot::fill(|slot| FACTORY.create_thread(Task(task.index()), utcb, CapIndex::NONE, 0, slot))?;
    let good = CallRegisters {
        rip: 0x20_0000,
        utcb,
        rflags: u64::MAX,
        mxcsr: u32::MAX,
        fcw: u16::MAX,
        rsp: u64::MAX,
        ..CallRegisters::default()
    };
    let restore = |offset, registers: &CallRegisters| {
        Thread(thread.index()).restore(Dataspace(page.index()), offset, registers)
    };
    let kernel = 0xffff_8000_0000_0000;
    for bad in [
        CallRegisters { rip: kernel, ..good },
        CallRegisters {
            fs_base: kernel,
            ..good
        },
        CallRegisters {
            gs_base: 1 << 47,
            ..good
        },
        CallRegisters {
            personality: kernel,
            ..good
        },
        CallRegisters {
            fault_entry: kernel,
            ..good
        },
    ] {
        check_eq!(restore(0, &bad), Err(Error::BadAddress));
    }
    check_eq!(
        restore(
            0,
            &CallRegisters {
                utcb: 0x20_0000,
                ..good
            }
        ),
        Err(Error::Invalid)
    );
    check_eq!(restore(8, &good), Err(Error::Invalid));
    check_eq!(restore(PAGE_SIZE, &good), Err(Error::Range));
    // Flags and control words that nobody may have are left out: its first instruction faults, and nothing else happens.
    check_eq!(restore(0, &good), Ok(()));
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task.index(), thread.index(), slot))?;
    Snapshot(snapshot.index()).prepare()?;
    let registers = Snapshot(snapshot.index()).registers()?;
    check_eq!(
        (registers.rip, registers.utcb, registers.mxcsr),
        (0x20_0000, utcb, 0xffff)
    );
    check!(registers.rflags & 0x3000 == 0);
    Ok(())
}
