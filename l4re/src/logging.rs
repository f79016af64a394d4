//! The `log` facade over the task's log.

use crate::sync::Mutex;
use crate::{clock, console, start};
use l4::CapIndex;
use liblog::{AlreadyInstalled, Context, Filter, Logger, Sink};

/// Held while a message is written.
static WHOLE: Mutex<()> = Mutex::new(());

struct Task;

impl Context for Task {
    fn system_time_ns(&self) -> u64 {
        clock::wall_clock_ns()
    }

    fn thread_id(&self) -> u64 {
        start::current_thread().word()
    }
}

impl Sink for Task {
    fn write(&self, message: &[u8]) {
        // A message may be longer than the console takes at once.
        let _whole = WHOLE.lock();
        console::write(CapIndex::LOG, message);
    }
}

/// A logger of the program `package` that writes to the task's log. [`Logger::install`] puts it in force.
pub const fn logger(package: &'static str) -> Logger {
    Logger::new(package, &Task, &Task)
}

/// Puts a logger in force that shows what `filter` lets through.
///
/// # Errors
/// [`AlreadyInstalled`] the second time.
pub fn install(package: &'static str, filter: Filter<'static>) -> Result<(), AlreadyInstalled> {
    logger(package).with_filter(filter).install()
}
