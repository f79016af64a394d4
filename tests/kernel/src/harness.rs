//! Runs tests one by one, each in a thread of its own: a test that panics, faults, hangs or leaks objects has failed, and
//! the next one runs.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::panic::{Location, PanicInfo};
use l4::exception::ExceptionFrame;
use l4::object::{Counters, Debug, Factory, Placement, Scheduler, Task};
use l4::protocol::EXCEPTION;
use l4::{CapIndex, Error, Tag, Utcb, syscall};
use l4re::sync::Mutex;
use l4re::{clock, println, server, slots, start, thread};

/// Priority of a test's thread: below the harness, which must be able to end it.
pub(crate) const PRIORITY: u8 = 100;
/// Slots below it may be filled by the kernel.
const FIRST_FREE: CapIndex = CapIndex(0x40 + l4::archive::MAX_ENTRIES as u32);
/// Tests attach their regions here.
const TEST_AREA: core::ops::Range<u64> = 0x6000_0000_0000..0x7000_0000_0000;
const FAULT: u64 = 0x10;
const DEATH: u64 = 0x20;
/// How long a test may take, in nanoseconds.
const PATIENCE_NS: u64 = 50_000_000_000;
/// How long the kernel may take to free what a test has left.
const SETTLE_NS: u64 = 5_000_000_000;

/// A named test.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> TestResult,
}

/// Makes a suite: `tests![ipc: words_arrive, …]`.
#[macro_export]
macro_rules! tests {
    ($suite:ident: $($name:ident),+ $(,)?) => {
        &[$($crate::harness::Test {
            name: concat!(stringify!($suite), "::", stringify!($name)),
            run: $name,
        }),+]
    };
}

pub(crate) type TestResult = Result<(), Failure>;

/// Why a test did not pass.
pub(crate) enum Failure {
    Wrong(String),
    /// It can't be run on this machine.
    Skipped(&'static str),
}

impl Failure {
    #[track_caller]
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Failure {
        let place = Location::caller();
        Failure::Wrong(one_line(format!("{text} ({}:{})", place.file(), place.line())))
    }
}

/// Lets tests use `?` on results of the kernel.
impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Failure {
        Failure::new(format_args!("unexpected error: {error}"))
    }
}

impl From<loader::LoadError> for Failure {
    #[track_caller]
    fn from(error: loader::LoadError) -> Failure {
        Failure::new(format_args!("unexpected error: {error}"))
    }
}

/// Fails the test unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr) => {
        if !$condition {
            return Err($crate::harness::Failure::new(format_args!(
                "not true: {}",
                stringify!($condition)
            )));
        }
    };
}

/// Fails the test unless both values are equal.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    return Err($crate::harness::Failure::new(format_args!(
                        "{} is {:?} instead of {:?}",
                        stringify!($left),
                        left,
                        right
                    )));
                }
            }
        }
    };
}

/// Waits until `condition` holds, for a machine that is emulated on a busy host; tells whether it did in time.
pub(crate) fn eventually(condition: impl Fn() -> bool) -> bool {
    let deadline = clock::after(SETTLE_NS);
    while !condition() {
        if clock::now_ns() > deadline {
            return false;
        }
        clock::sleep(100_000);
    }
    true
}

/// A CPU other than the test's.
pub(crate) fn other_cpu() -> Result<u32, Failure> {
    if cpu_count()? > 1 {
        Ok(1)
    } else {
        Err(Failure::Skipped("one CPU"))
    }
}

/// CPUs that run.
pub(crate) fn cpu_count() -> Result<u32, Error> {
    Ok(Scheduler(CapIndex::SCHEDULER).info()?.cpus.count_ones())
}

/// The machine's counters once nothing is being taken apart any more.
pub(crate) fn settled_counters() -> Result<Counters, Error> {
    let deadline = clock::after(SETTLE_NS);
    loop {
        let counters = Debug(CapIndex::DEBUG).counters()?;
        if counters.dying == 0 || clock::now_ns() > deadline {
            return Ok(counters);
        }
        clock::sleep(100_000);
    }
}

/// The result of the test that runs, as soon as there is one.
static RESULT: Mutex<Option<TestResult>> = Mutex::new(None);

/// Runs all suites; tells whether no test failed.
pub(crate) fn run(suites: &[&[Test]]) -> bool {
    slots::reserve_below(FIRST_FREE);
    start::set_panic_hook(note_panic);
    println!("TAP TEST START");
    println!("1..{}", suites.iter().map(|suite| suite.len()).sum::<usize>());
    let mut failed = 0;
    for (index, test) in suites.iter().copied().flatten().enumerate() {
        let number = index + 1;
        match run_and_check(test) {
            Ok(()) => println!("ok {number} {}", test.name),
            Err(Failure::Skipped(why)) => println!("ok {number} {} # SKIP {why}", test.name),
            Err(Failure::Wrong(message)) => {
                failed += 1;
                println!("not ok {number} {} - {message}", test.name);
            }
        }
    }
    println!("TAP TEST FINISHED");
    failed == 0
}

fn note_panic(info: &PanicInfo<'_>) {
    *RESULT.lock() = Some(Err(Failure::Wrong(one_line(format!("{info}")))));
}

fn one_line(text: String) -> String {
    text.split_ascii_whitespace()
        .collect::<alloc::vec::Vec<_>>()
        .join(" ")
}

/// Runs a test and looks for objects, capabilities and slots that it left behind.
fn run_and_check(test: &Test) -> TestResult {
    let before = (settled_counters()?, slots::in_use());
    let result = run_isolated(test);
    // What a test that did not come to its end left attached must not disturb the next one.
    Task(CapIndex::TASK).detach(TEST_AREA.start, TEST_AREA.end - TEST_AREA.start)?;
    result?;
    let deadline = clock::after(SETTLE_NS);
    loop {
        let after = (settled_counters()?, slots::in_use());
        match difference(&before, &after) {
            None => return Ok(()),
            Some(text) if clock::now_ns() > deadline => return Err(Failure::Wrong(text)),
            Some(_) => clock::sleep(1_000_000),
        }
    }
}

/// What there is more or less of than before.
fn difference(before: &(Counters, usize), after: &(Counters, usize)) -> Option<String> {
    let numbers = |(counters, slots): &(Counters, usize)| {
        [
            ("factories", counters.factories),
            ("tasks", counters.tasks),
            ("threads", counters.threads),
            ("gates", counters.gates),
            ("notifications", counters.irqs),
            ("dataspaces", counters.dataspaces),
            ("schedulers", counters.schedulers),
            ("capabilities", counters.capabilities),
            ("dying objects", counters.dying),
            ("slots", *slots as u64),
        ]
    };
    let changed: Vec<String> = numbers(before)
        .into_iter()
        .zip(numbers(after))
        .filter(|(old, new)| old != new)
        .map(|((name, old), (_, new))| format!("{name} were {old}, are {new}"))
        .collect();
    (!changed.is_empty()).then(|| format!("left behind: {}", changed.join("; ")))
}

/// Runs a test in a thread and handles its faults, until it is gone.
fn run_isolated(test: &Test) -> TestResult {
    *RESULT.lock() = None;
    let gate = server::create_gate(FAULT)?;
    let run = test.run;
    let builder = thread::Builder {
        placement: Placement {
            cpu: 0,
            priority: PRIORITY,
            slice_us: 0,
        },
        stack_size: 256 << 10,
        handler: gate.index(),
        ..thread::Builder::default()
    };
    let thread = builder.spawn(move || {
        let result = run();
        RESULT.lock().get_or_insert(result);
    })?;
    thread.notify_death(DEATH)?;
    let deadline = clock::after(PATIENCE_NS);
    loop {
        let received = syscall::wait(deadline);
        if received.tag.is_error() {
            thread.kill()?;
            return Err(Failure::Wrong("no result after 50 seconds".into()));
        }
        match (received.label & !3, received.tag.label()) {
            (DEATH, _) => break,
            (FAULT, EXCEPTION) => {
                note_fault();
                // A negative answer ends the thread.
                syscall::reply(None, Tag::new(-1, 0, 0));
            }
            _ => {}
        }
    }
    thread.reap();
    RESULT
        .lock()
        .take()
        .unwrap_or_else(|| Err(Failure::Wrong("ended without a result".into())))
}

fn note_fault() {
    let mut words = [0; ExceptionFrame::WORDS];
    Utcb::current().read(0, &mut words);
    let frame = ExceptionFrame::from_words(&words);
    let text = format!(
        "fault: reason {}, vector {}, error {:#x}, address {:#x}, instruction {:#x}",
        frame.reason, frame.vector, frame.error, frame.address, frame.rip
    );
    RESULT.lock().get_or_insert(Err(Failure::Wrong(text)));
}

/// The account that pays for everything here.
pub(crate) const FACTORY: Factory = Factory(CapIndex::FACTORY);
