//! The backend itself.

use core::fmt;

use log::{Log, Metadata, Record};
use spin::Once;

use crate::buffer::Buffer;
use crate::clock::Timestamp;
use crate::filter::Filter;
use crate::format::{Format, Origin, write_message};

/// What the surroundings know about the moment of a message.
pub trait Context: Sync {
    /// The time of day in nanoseconds since 1970-01-01T00:00:00Z.
    fn system_time_ns(&self) -> u64;

    /// The number of the calling thread.
    fn thread_id(&self) -> u64;
}

/// Where messages go.
pub trait Sink: Sync {
    /// Takes one whole message: UTF-8, at most [`MESSAGE_LIMIT`](crate::MESSAGE_LIMIT) bytes, with its line end.
    ///
    /// Threads may call this at the same time. It keeps messages apart by passing each on as a whole.
    fn write(&self, message: &[u8]);
}

/// Gives each message to both sinks.
pub struct Tee(
    /// Gets each message first.
    pub &'static dyn Sink,
    /// Gets it then.
    pub &'static dyn Sink,
);

impl Sink for Tee {
    fn write(&self, message: &[u8]) {
        self.0.write(message);
        self.1.write(message);
    }
}

/// A backend of the `log` facade. See the [crate] documentation.
#[derive(Clone, Copy)]
pub struct Logger {
    package: &'static str,
    context: &'static dyn Context,
    sink: &'static dyn Sink,
    filter: Filter<'static>,
    format: Format,
}

/// The program has a logger already; it stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyInstalled;

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a logger is installed already; install one at start-up only")
    }
}

impl core::error::Error for AlreadyInstalled {}

impl Logger {
    /// A logger for the program called `package`, with plain format and level `info`.
    pub const fn new(package: &'static str, context: &'static dyn Context, sink: &'static dyn Sink) -> Self {
        let filter = Filter::level(log::LevelFilter::Info);
        Self {
            package,
            context,
            sink,
            filter,
            format: Format::Plain,
        }
    }

    /// With this filter instead.
    pub const fn with_filter(self, filter: Filter<'static>) -> Self {
        Self { filter, ..self }
    }

    /// With this format instead.
    pub const fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Makes this the program's logger.
    ///
    /// # Errors
    /// [`AlreadyInstalled`] if there is one.
    pub fn install(self) -> Result<(), AlreadyInstalled> {
        static INSTALLED: Once<Logger> = Once::new();
        let most_verbose = self.filter.most_verbose();
        // If another logger of this crate came first, it is the one that `call_once` returns, and `log` refuses it.
        log::set_logger(INSTALLED.call_once(|| self)).map_err(|_| AlreadyInstalled)?;
        log::set_max_level(most_verbose);
        Ok(())
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.filter.level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let origin = Origin {
            package: self.package,
            time: Timestamp(self.context.system_time_ns()),
            thread: self.context.thread_id(),
        };
        let mut buffer = Buffer::new();
        write_message(self.format, &origin, record, &mut buffer);
        self.sink.write(buffer.bytes());
    }

    fn flush(&self) {}
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger")
            .field("package", &self.package)
            .field("filter", &self.filter)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}
