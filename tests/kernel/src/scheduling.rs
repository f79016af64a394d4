//! Schedulers: priorities, time slices, CPUs.

use crate::harness::{PRIORITY, Test, TestResult, cpu_count, eventually, other_cpu};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use l4::object::{Debug, Placement, Scheduler};
use l4::{CapIndex, Error, NEVER, Tag, Utcb, syscall};
use l4re::thread::{Builder, Ending, JoinHandle};
use l4re::{OwnedCap, Slot, clock, server, start};

pub(crate) const TESTS: &[Test] = tests![scheduling:
    info_tells_the_cpus,
    a_higher_priority_runs_first,
    a_lower_priority_waits,
    equal_priorities_share_the_time,
    a_slice_has_its_length,
    talkers_leave_time_to_others,
    an_interrupted_slice_goes_on,
    yielding_lets_the_next_one_run,
    bad_placements_are_refused,
    a_derived_scheduler_is_narrower,
    a_derived_scheduler_cannot_widen,
    threads_move_between_cpus,
    a_blocked_thread_moves,
    a_queued_thread_moves,
    a_running_thread_moves,
    a_raised_priority_takes_effect,
    idle_time_rises,
    all_cpus_run_threads,
];

const ALL: Scheduler = Scheduler(CapIndex::SCHEDULER);

fn at(cpu: u32, priority: u8) -> Placement {
    Placement {
        cpu,
        priority,
        slice_us: 0,
    }
}

fn spawn(place: Placement, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle, Error> {
    Builder {
        placement: place,
        ..Builder::default()
    }
    .spawn(body)
}

fn info_tells_the_cpus() -> TestResult {
    let info = ALL.info()?;
    check_eq!(info.cpus, u64::MAX >> (64 - cpu_count()?));
    check_eq!(info.max_priority, 255);
    Ok(())
}

fn a_higher_priority_runs_first() -> TestResult {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let thread = spawn(at(0, PRIORITY + 1), move || set.store(true, Ordering::SeqCst))?;
    // It ran to its end before the call that started it came back.
    check!(flag.load(Ordering::SeqCst));
    thread.join()?;
    Ok(())
}

fn busy(duration_ns: u64) {
    let until = clock::after(duration_ns);
    while clock::now_ns() < until {
        core::hint::spin_loop();
    }
}

fn a_lower_priority_waits() -> TestResult {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let thread = spawn(at(0, PRIORITY - 1), move || set.store(true, Ordering::SeqCst))?;
    busy(30_000_000);
    check!(!flag.load(Ordering::SeqCst));
    thread.join()?;
    check!(flag.load(Ordering::SeqCst));
    Ok(())
}

/// Threads that count until they are told to stop.
fn counters(place: Placement, number: usize) -> Result<Vec<(JoinHandle, Arc<AtomicU64>)>, Error> {
    (0..number)
        .map(|_| {
            let count = Arc::new(AtomicU64::new(0));
            let shared = count.clone();
            let thread = spawn(place, move || {
                loop {
                    shared.fetch_add(1, Ordering::Relaxed);
                }
            })?;
            Ok((thread, count))
        })
        .collect()
}

fn equal_priorities_share_the_time() -> TestResult {
    let threads = counters(at(0, PRIORITY - 1), 3)?;
    clock::sleep(300_000_000);
    let counts: Vec<u64> = threads
        .iter()
        .map(|(_, count)| count.load(Ordering::Relaxed))
        .collect();
    for (thread, _) in threads {
        thread.kill()?;
    }
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    check!(least.zip(most).is_some_and(|(least, most)| least * 10 > most));
    Ok(())
}

fn a_slice_has_its_length() -> TestResult {
    let place = Placement {
        slice_us: 1000,
        ..at(0, PRIORITY - 1)
    };
    let threads = counters(place, 2)?;
    // Slices of 1 ms, of which an emulated machine may lose some; with slices of 10 ms it were a tenth. A host that is
    // busy may lose nearly all, but not every time.
    let is_right = (0..100).any(|_| {
        slices_in_100_ms().is_ok_and(|(slices, passed_ms)| slices >= 20 && slices <= 2 * passed_ms + 50)
    });
    for (thread, _) in threads {
        thread.kill()?;
    }
    check!(is_right);
    Ok(())
}

/// Switches of threads on CPU 0 while the caller sleeps for 100 ms or more, and for how many milliseconds it did.
fn slices_in_100_ms() -> Result<(u64, u64), Error> {
    let since = clock::now_ns();
    let switches = || Ok(Debug(CapIndex::DEBUG).cpu_counters(0)?.thread_switches);
    let before = switches()?;
    clock::sleep(100_000_000);
    Ok((switches()? - before, (clock::now_ns() - since) / 1_000_000))
}

/// Two threads that always send to each other are no reason for a third one of their priority to wait for ever.
fn talkers_leave_time_to_others() -> TestResult {
    for place in [Place::HERE, Place::TASK] {
        let server = Partner::start(Role::Echo, place)?;
        server.call(&[1])?;
        let gate = server.gate.index();
        let client = spawn(at(0, PRIORITY), move || {
            while syscall::call(gate, Tag::new(1, 1, 0)).result().is_ok() {}
        })?;
        for _ in 0..10 {
            clock::sleep(100_000);
        }
        client.kill()?;
    }
    Ok(())
}

/// A thread that a higher priority interrupts over and over still comes to the end of its slice, and the next one runs.
fn an_interrupted_slice_goes_on() -> TestResult {
    let threads = counters(at(0, PRIORITY - 1), 2)?;
    let have_run = || threads.iter().all(|(_, count)| count.load(Ordering::Relaxed) > 0);
    // Far less than a slice at a time.
    let both = eventually(have_run);
    for (thread, _) in threads {
        thread.kill()?;
    }
    check!(both);
    Ok(())
}

fn yielding_lets_the_next_one_run() -> TestResult {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let thread = spawn(at(0, PRIORITY), move || set.store(true, Ordering::SeqCst))?;
    check!(!flag.load(Ordering::SeqCst));
    l4::object::Thread(start::current_thread()).yield_now()?;
    check!(flag.load(Ordering::SeqCst));
    thread.join()?;
    Ok(())
}

fn bad_placements_are_refused() -> TestResult {
    let partner = Partner::start(Role::Sleep, Place::HERE)?;
    let thread = partner.thread();
    let cpus = cpu_count()?;
    check_eq!(ALL.place(thread, at(cpus, PRIORITY)), Err(Error::Invalid));
    check!(ALL.place(thread, at(u32::MAX - 1, PRIORITY)).is_err());
    check!(ALL.place(thread, at(0, 0)).is_err());
    check!(ALL.place(CapIndex::DEBUG, at(0, PRIORITY)).is_err());
    check!(ALL.place(CapIndex(0xf07), at(0, PRIORITY)).is_err());
    check_eq!(ALL.idle_time(cpus), Err(Error::Invalid));
    Ok(())
}

fn derive(from: Scheduler, cpus: u64, priority: u8) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| from.derive(CapIndex::FACTORY, cpus, priority, slot))
}

fn a_derived_scheduler_is_narrower() -> TestResult {
    let derived = derive(ALL, 1, PRIORITY)?;
    let narrow = Scheduler(derived.index());
    let info = narrow.info()?;
    check_eq!((info.cpus, info.max_priority), (1, PRIORITY));
    let partner = Partner::start(Role::Echo, Place::TASK)?;
    narrow.place(partner.thread(), at(0, PRIORITY - 1))?;
    check_eq!(
        narrow.place(partner.thread(), at(0, PRIORITY + 1)),
        Err(Error::NotPermitted)
    );
    if cpu_count()? > 1 {
        check_eq!(
            narrow.place(partner.thread(), at(1, PRIORITY)),
            Err(Error::NotPermitted)
        );
        check_eq!(narrow.idle_time(1), Err(Error::NotPermitted));
    }
    partner.call(&[1])?;
    Ok(())
}

fn a_derived_scheduler_cannot_widen() -> TestResult {
    let derived = derive(ALL, 1, PRIORITY)?;
    let wider = derive(Scheduler(derived.index()), u64::MAX, 255);
    if let Ok(wider) = wider {
        let info = Scheduler(wider.index()).info()?;
        check_eq!((info.cpus, info.max_priority), (1, PRIORITY));
    }
    check!(derive(ALL, 0, PRIORITY).is_err());
    Ok(())
}

/// A thread that answers with a number that its CPU's idle counter can't know: its own CPU time rises where it runs.
fn threads_move_between_cpus() -> TestResult {
    let cpu = other_cpu()?;
    let partner = Partner::start(Role::Echo, Place::TASK)?;
    for round in 0..50 {
        ALL.place(
            partner.thread(),
            at(if round % 2 == 0 { cpu } else { 0 }, PRIORITY),
        )?;
        partner.call(&[round])?;
        check_eq!(Utcb::current().word(0), round);
    }
    Ok(())
}

fn a_blocked_thread_moves() -> TestResult {
    let cpu = other_cpu()?;
    let gate = server::create_gate(0)?;
    let cap = gate.index();
    // Blocked in the answer phase of a call, and with a deadline that is far enough for a busy host.
    let thread = spawn(at(0, PRIORITY + 1), move || {
        for _ in 0..10 {
            syscall::call(cap, Tag::new(1, 0, 0));
        }
        syscall::sleep_until(clock::after(200_000_000));
    })?;
    for round in 0..10 {
        syscall::wait(clock::after(1_000_000_000)).result()?;
        ALL.place(
            thread.cap(),
            at(if round % 2 == 0 { cpu } else { 0 }, PRIORITY + 1),
        )?;
        syscall::reply(None, Tag::new(0, 0, 0)).result()?;
    }
    clock::sleep(1_000_000);
    ALL.place(thread.cap(), at(cpu, PRIORITY + 1))?;
    check_eq!(thread.join()?, Ending::Returned);
    Ok(())
}

fn a_queued_thread_moves() -> TestResult {
    let cpu = other_cpu()?;
    let gate = server::create_gate(0)?;
    let cap = gate.index();
    for _ in 0..10 {
        let sender = spawn(at(0, PRIORITY + 1), move || {
            syscall::send(cap, Tag::new(7, 0, 0), NEVER);
        })?;
        ALL.place(sender.cap(), at(cpu, PRIORITY + 1))?;
        check_eq!(syscall::wait(clock::after(1_000_000_000)).result(), Ok(7));
        check_eq!(sender.join()?, Ending::Returned);
    }
    Ok(())
}

fn a_running_thread_moves() -> TestResult {
    let cpu = other_cpu()?;
    for (thread, count) in counters(at(cpu, PRIORITY - 1), 2)? {
        for home in [0, cpu, 0, cpu] {
            ALL.place(thread.cap(), at(home, PRIORITY - 1))?;
            let before = count.load(Ordering::Relaxed);
            check!(eventually(|| count.load(Ordering::Relaxed) > before));
        }
        thread.kill()?;
    }
    Ok(())
}

fn a_raised_priority_takes_effect() -> TestResult {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let thread = spawn(at(0, PRIORITY - 1), move || set.store(true, Ordering::SeqCst))?;
    check!(!flag.load(Ordering::SeqCst));
    ALL.place(thread.cap(), at(0, PRIORITY + 1))?;
    check!(flag.load(Ordering::SeqCst));
    thread.join()?;
    Ok(())
}

fn idle_time_rises() -> TestResult {
    let before = ALL.idle_time(0)?;
    clock::sleep(20_000_000);
    let after = ALL.idle_time(0)?;
    check!(after >= before + 5_000_000);
    busy(10_000_000);
    check!(ALL.idle_time(0)? - after < 5_000_000);
    Ok(())
}

fn all_cpus_run_threads() -> TestResult {
    for cpu in 0..cpu_count()? {
        let partner = Partner::start(Role::Echo, Place { cpu, ..Place::TASK })?;
        partner.call(&[u64::from(cpu)])?;
        check_eq!(Utcb::current().word(0), u64::from(cpu));
    }
    Ok(())
}
