//! Many calls at once that do without the manager: each is made by a thread of its own, since a call of a spawn gate waits.

use super::load::{BURSTS, LARGEST, SINGLE};
use super::{Failed, in_mode, report_point, total};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use interfaces::faas::{ActionConfig, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4::object::Placement;
use l4_rpc::REPLY_BYTES;
use l4re::clock;
use l4re::faas::{Function, RomFunction, Session};
use l4re::thread::{Builder, JoinHandle};

const NAME: &str = "direct";
/// Stack of a thread: a reply and what `Function::call` needs.
const STACK: u64 = 16 << 10;
/// Memory limit of a clone: as many as are called at once fit into what a client gets of 1 GiB where there are two.
const MEMORY: u64 = 128 << 10;
/// How often threads look whether all are there. A thousand that looked all the time would leave no time to the clones.
const LOOK_NS: u64 = 100_000_000;
/// Between that and the calls: all threads have looked by then.
const START_NS: u64 = 3 * LOOK_NS;

/// What the threads of a burst share.
#[derive(Default)]
struct Burst {
    ready: AtomicU64,
    /// When all call; 0 as long as that is not known.
    start: AtomicU64,
    /// When the last one was answered.
    end: AtomicU64,
    /// Calls that failed, or that passed the manager.
    others: AtomicU64,
}

/// Measures and prints.
pub(super) fn measure(session: &Arc<Session>, function: &RomFunction) -> Result<(), Failed> {
    let config = ActionConfig {
        concurrent_requests: LARGEST,
        memory_bytes: MEMORY,
        ..in_mode(function, StartMode::Snapshot)
    };
    session.create(NAME, function.code(), config, &[])?;
    for size in BURSTS {
        let (taken, count) = match size {
            1 => (one_by_one(session)?, SINGLE),
            _ => (burst(session, size)?, size),
        };
        report_point("burst", "Aerie, without the manager", size, taken, count);
    }
    Ok(session.delete(NAME)?)
}

/// Nanoseconds of [`SINGLE`] calls back to back.
fn one_by_one(session: &Session) -> Result<u64, Failed> {
    let function = session.function(NAME);
    total(SINGLE, || super::call(&function, &[]))
}

/// Nanoseconds from the time at which `count` threads call until the last one is answered.
fn burst(session: &Arc<Session>, count: u64) -> Result<u64, Failed> {
    let shared = Arc::new(Burst::default());
    let builder = Builder {
        placement: Placement {
            cpu: session.cpu(),
            priority: session.scheduler().info()?.max_priority,
            slice_us: 0,
        },
        scheduler: session.scheduler().0,
        stack_size: STACK,
        ..Builder::default()
    };
    let mut threads: Vec<JoinHandle> = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (session, shared) = (session.clone(), shared.clone());
        threads.push(builder.spawn(move || shared.take_part(&session))?);
    }
    while shared.ready.load(Ordering::Acquire) < count {
        clock::sleep(LOOK_NS);
    }
    let start = clock::after(START_NS);
    shared.start.store(start, Ordering::Release);
    for thread in threads {
        thread.join()?;
    }
    match shared.others.load(Ordering::Acquire) {
        0 => Ok(shared.end.load(Ordering::Acquire) - start),
        others => Err(Failed(format!(
            "{others} of {count} calls at once failed or passed the manager"
        ))),
    }
}

impl Burst {
    fn take_part(&self, session: &Session) {
        let function = session.function(NAME);
        // The gate is opened before it counts.
        let opened = call(&function);
        self.ready.fetch_add(1, Ordering::AcqRel);
        let start = loop {
            match self.start.load(Ordering::Acquire) {
                0 => clock::sleep(LOOK_NS),
                start => break start,
            }
        };
        l4::syscall::sleep_until(start);
        let answered = call(&function);
        self.end.fetch_max(clock::now_ns(), Ordering::AcqRel);
        let is_fine = opened && answered && function.calls_by_manager() == 0;
        self.others.fetch_add(u64::from(!is_fine), Ordering::AcqRel);
    }
}

fn call(function: &Function<'_>) -> bool {
    let mut buffer = [0; REPLY_BYTES];
    function
        .call(InvokeOptions::default(), Payload::Inline(&[]), &mut buffer)
        .is_ok()
}
