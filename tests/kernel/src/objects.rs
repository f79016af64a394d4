//! The kernel's own objects answer, and refuse what they should.

use crate::harness::{FACTORY, PRIORITY, Test, TestResult, other_cpu};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::object::{Debug, Factory, Icu, Irq, MapEntry, Placement, Scheduler, Task, Thread, Vcon};
use l4::protocol::{DEBUG, FACTORY as FACTORY_PROTOCOL, factory};
use l4::{CapIndex, Error, Rights, Tag, Utcb, syscall};
use l4re::thread::Builder;
use l4re::{Slot, clock, start};

pub(crate) const TESTS: &[Test] = tests![objects:
    null_call_answers,
    wrong_protocols_and_operations_are_refused,
    short_messages_are_refused,
    creating_nothing_known_is_refused,
    rights_are_checked,
    the_console_checks_lengths,
    the_debug_console_is_another_device,
    counters_count_objects,
    counters_without_dying_objects_are_final,
    cpu_counters_rise,
    the_info_page_tells_the_time,
    random_words_differ,
    interrupt_lines_are_checked,
];

const OWN: Task = Task(CapIndex::TASK);
const DEBUGGER: Debug = Debug(CapIndex::DEBUG);

fn null_call_answers() -> TestResult {
    DEBUGGER.null()?;
    Ok(())
}

fn raw(cap: CapIndex, protocol: i64, words: &[u64]) -> Result<u64, Error> {
    Utcb::current().write(0, words);
    syscall::call(cap, Tag::new(protocol, words.len(), 0)).result()
}

fn wrong_protocols_and_operations_are_refused() -> TestResult {
    for cap in [
        CapIndex::TASK,
        CapIndex::FACTORY,
        CapIndex::THREAD,
        CapIndex::SCHEDULER,
        CapIndex::DEBUG,
    ] {
        check_eq!(raw(cap, 0x7777, &[0]), Err(Error::BadProtocol));
    }
    check_eq!(raw(CapIndex::DEBUG, DEBUG, &[0x99]), Err(Error::NoSystemCall));
    check_eq!(
        raw(CapIndex::TASK, l4::protocol::TASK, &[0x99]),
        Err(Error::NoSystemCall)
    );
    check_eq!(
        raw(CapIndex::SCHEDULER, l4::protocol::SCHEDULER, &[0x99]),
        Err(Error::NoSystemCall)
    );
    Ok(())
}

fn short_messages_are_refused() -> TestResult {
    check_eq!(raw(CapIndex::DEBUG, DEBUG, &[]), Err(Error::MessageTooShort));
    check_eq!(
        raw(
            CapIndex::TASK,
            l4::protocol::TASK,
            &[l4::protocol::task::DETACH, 1]
        ),
        Err(Error::MessageTooShort)
    );
    check_eq!(
        raw(CapIndex::FACTORY, FACTORY_PROTOCOL, &[]),
        Err(Error::MessageTooShort)
    );
    Utcb::current().set_receive_slots(&[CapIndex(0xf00)]);
    let result = raw(
        CapIndex::FACTORY,
        FACTORY_PROTOCOL,
        &[factory::CREATE_THREAD, CapIndex::TASK.word()],
    );
    Utcb::current().set_receive_slots(&[]);
    check_eq!(result, Err(Error::MessageTooShort));
    // Without a place for the capability nothing is created.
    check_eq!(
        raw(CapIndex::FACTORY, FACTORY_PROTOCOL, &[factory::CREATE_TASK]),
        Err(Error::MissingArgument)
    );
    Ok(())
}

fn creating_nothing_known_is_refused() -> TestResult {
    Utcb::current().set_receive_slots(&[CapIndex(0xf00)]);
    let result = raw(CapIndex::FACTORY, FACTORY_PROTOCOL, &[0x1234]);
    Utcb::current().set_receive_slots(&[]);
    check_eq!(result, Err(Error::NoDevice));
    check_eq!(OWN.is_valid(CapIndex(0xf00)), Ok(false));
    Ok(())
}

/// Copies a capability with fewer rights.
fn weaker(cap: CapIndex, rights: Rights) -> Result<l4re::OwnedCap, Error> {
    Slot::fill(|slot| OWN.map(&[MapEntry::copy(cap, slot, rights)]))
}

fn rights_are_checked() -> TestResult {
    let readable = weaker(CapIndex::FACTORY, Rights::READ)?;
    let slot = Slot::allocate()?;
    check_eq!(
        Factory(readable.index()).create_task(slot.index()),
        Err(Error::NotPermitted)
    );
    check_eq!(OWN.is_valid(slot.index()), Ok(false));
    let task = weaker(CapIndex::TASK, Rights::READ)?;
    check_eq!(
        Task(task.index()).drop_cap(slot.index()),
        Err(Error::NotPermitted)
    );
    check_eq!(
        Task(task.index()).detach(0x1000, 0x1000),
        Err(Error::NotPermitted)
    );
    let thread = weaker(start::current_thread(), Rights::READ | Rights::WRITE)?;
    check_eq!(Thread(thread.index()).yield_now(), Err(Error::NotPermitted));
    check_eq!(
        Thread(thread.index()).ex_regs(u64::MAX, u64::MAX, 0),
        Err(Error::NotPermitted)
    );
    let console = weaker(CapIndex::LOG, Rights::READ)?;
    check_eq!(
        Vcon(console.index()).write(b"never seen\n"),
        Err(Error::NotPermitted)
    );
    let scheduler = weaker(CapIndex::SCHEDULER, Rights::READ)?;
    let derived = Scheduler(scheduler.index()).derive(CapIndex::FACTORY, 1, 1, slot.index());
    check_eq!(derived, Err(Error::NotPermitted));
    Ok(())
}

fn the_console_checks_lengths() -> TestResult {
    let write = |length| {
        raw(
            CapIndex::LOG,
            l4::protocol::VCON,
            &[l4::protocol::vcon::WRITE, length],
        )
    };
    check_eq!(write(1), Err(Error::MessageTooShort));
    check_eq!(write(u64::MAX), Err(Error::TooBig));
    check_eq!(write(0), Ok(0));
    Ok(())
}

fn the_debug_console_is_another_device() -> TestResult {
    let readable = weaker(CapIndex::DEBUGCON, Rights::READ)?;
    check_eq!(Vcon(readable.index()).write(b"no"), Err(Error::NotPermitted));
    // The machine of this test has none.
    check_eq!(Vcon(CapIndex::DEBUGCON).write(b"nobody"), Err(Error::Io));
    let long = [l4::protocol::vcon::WRITE, u64::MAX];
    check_eq!(
        raw(CapIndex::DEBUGCON, l4::protocol::VCON, &long),
        Err(Error::TooBig)
    );
    Ok(())
}

fn counters_count_objects() -> TestResult {
    let before = crate::harness::settled_counters()?;
    let gate = Slot::fill(|slot| FACTORY.create_gate(0, CapIndex::NONE, slot))?;
    let irq = Slot::fill(|slot| FACTORY.create_irq(0, CapIndex::NONE, slot))?;
    let dataspace = l4re::memory::create_dataspace(0x3000)?;
    let after = DEBUGGER.counters()?;
    check_eq!(after.gates, before.gates + 1);
    check_eq!(after.irqs, before.irqs + 1);
    check_eq!(after.dataspaces, before.dataspaces + 1);
    check_eq!(after.capabilities, before.capabilities + 3);
    check!(after.free_frames < after.total_frames);
    DEBUGGER.set_name(gate.index(), "a name that is longer than fifteen bytes")?;
    drop((gate, irq, dataspace));
    Ok(())
}

/// What another CPU still takes apart is counted among the dying as long as any counter counts it.
fn counters_without_dying_objects_are_final() -> TestResult {
    const ROUNDS: u64 = 1000;
    let placement = Placement {
        cpu: other_cpu()?,
        priority: PRIORITY,
        slice_us: 0,
    };
    let memory = Slot::allocate()?.filled();
    let (slot, ended) = (memory.index(), Arc::new(AtomicU64::new(0)));
    let looked_at = Arc::new(AtomicU64::new(0));
    let (counted, seen) = (ended.clone(), looked_at.clone());
    let mut existing = Vec::with_capacity(ROUNDS as usize);
    let thread = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        for _ in 0..ROUNDS {
            let made = FACTORY.create_dataspace(0x2000, slot);
            if made.and_then(|_| OWN.delete(slot)).is_err() {
                return counted.store(u64::MAX, Ordering::SeqCst);
            }
            counted.fetch_add(1, Ordering::SeqCst);
            // The CPU is idle meanwhile, and works on the dataspace.
            while seen.load(Ordering::SeqCst) < counted.load(Ordering::SeqCst) {
                clock::sleep(100_000);
            }
        }
    })?;
    for number in 1..=ROUNDS {
        while ended.load(Ordering::SeqCst) < number {}
        let mut counters = DEBUGGER.counters()?;
        while counters.dying > 0 {
            // Looks come at other moments of the other CPU's work each time.
            for _ in 0..number % 100 * 20 {
                core::hint::spin_loop();
            }
            counters = DEBUGGER.counters()?;
        }
        existing.push(counters.dataspaces);
        looked_at.store(number, Ordering::SeqCst);
    }
    thread.join()?;
    check_eq!(ended.load(Ordering::SeqCst), ROUNDS);
    let least = existing.iter().min().copied().unwrap_or_default();
    let early = existing.iter().filter(|number| **number > least).count();
    check_eq!(early, 0);
    Ok(())
}

fn cpu_counters_rise() -> TestResult {
    let before = DEBUGGER.cpu_counters(0)?;
    DEBUGGER.null()?;
    let after = DEBUGGER.cpu_counters(0)?;
    check!(after.system_calls >= before.system_calls + 2);
    check_eq!(DEBUGGER.cpu_counters(64), Err(Error::Range));
    Ok(())
}

fn the_info_page_tells_the_time() -> TestResult {
    let page = clock::info_page();
    check_eq!(
        (page.magic, page.version),
        (l4::info_page::MAGIC, l4::info_page::VERSION)
    );
    check_eq!(page.cpu_count, crate::harness::cpu_count()?);
    check!(page.memory >= 64 << 20);
    // After 2020-01-01: the machine's clock was read.
    check!(clock::wall_clock_ns() > 1_577_836_800_000_000_000);
    let start = clock::now_ns();
    clock::sleep(2_000_000);
    let slept = clock::now_ns() - start;
    check!(slept >= 2_000_000);
    Ok(())
}

fn random_words_differ() -> TestResult {
    let thread = Thread(start::current_thread());
    let (one, other) = (thread.random()?, thread.random()?);
    for (index, word) in one.iter().enumerate() {
        check!(!other.contains(word) && !one[index + 1..].contains(word));
    }
    Ok(())
}

fn interrupt_lines_are_checked() -> TestResult {
    let icu = Icu(CapIndex::ICU);
    let lines = icu.lines()? as u32;
    let irq = Slot::fill(|slot| FACTORY.create_irq(0, CapIndex::NONE, slot))?;
    check_eq!(icu.bind(lines, irq.index()), Err(Error::Range));
    check_eq!(icu.bind(5, CapIndex::TASK), Err(Error::Invalid));
    icu.bind(5, irq.index())?;
    check_eq!(icu.bind(5, irq.index()), Err(Error::Busy));
    icu.unbind(5)?;
    check_eq!(icu.unbind(5), Err(Error::NotFound));
    Irq(irq.index()).trigger()?;
    Ok(())
}
