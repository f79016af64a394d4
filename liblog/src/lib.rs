//! Logging for components without an operating system: a backend of the [`mod@log`] facade, and macros.
//!
//! Libraries log with `log::info!` & co. and know nothing of this crate. A program decides at start-up where messages go
//! and which ones:
//!
//! ```
//! use liblog::{Context, Filter, Format, Logger, Sink};
//!
//! struct Machine;
//! impl Context for Machine {
//!     fn system_time_ns(&self) -> u64 {
//!         1_795_230_298_000_000_000 // the clock of the machine
//!     }
//!     fn thread_id(&self) -> u64 {
//!         1
//!     }
//! }
//!
//! struct Console;
//! impl Sink for Console {
//!     fn write(&self, message: &[u8]) {
//!         print!("{}", String::from_utf8_lossy(message)); // one message, whole
//!     }
//! }
//!
//! let filter = Filter::parse("info,manager=debug")?;
//! let logger = Logger::new("example", &Machine, &Console).with_filter(filter).with_format(Format::Verbose);
//! logger.install()?;
//! log::info!("ready");
//! // 2026-11-21T03:04:58.000000Z INFO  example[1] src/main.rs:31 example: ready
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it promises:
//! - Each message carries source location, system time, thread id, severity and package (as far as the [`Format`] shows
//!   them).
//! - A message reaches the [`Sink`] in one call, so messages of different threads never mix. It is formatted on the
//!   caller's stack: no heap, no lock. What exceeds [`MESSAGE_LIMIT`] bytes is cut and marked.
//! - Text from outside cannot forge messages: control characters are escaped, continuation lines indented.
//! - Nothing is evaluated for a disabled level. The macros of `log` skip their arguments if the level is off
//!   everywhere; those of this crate ([`info!`] & co.) also if it is off for the target.
//! - Levels can be removed at compile time with the features of the `log` crate (`max_level_info`,
//!   `release_max_level_warn` …), which hold for the macros of both.
//! - [`Tail`] and [`Capture`] keep the last messages, for instance those of one invocation.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod buffer;
mod capture;
mod clock;
mod filter;
mod format;
mod logger;
mod macros;

pub use buffer::MESSAGE_LIMIT;
pub use capture::{Capture, Tail};
pub use clock::Timestamp;
pub use filter::{Filter, FilterError};
pub use format::{Format, UnknownFormat};
pub use logger::{AlreadyInstalled, Context, Logger, Sink, Tee};

#[doc(hidden)]
pub use log as facade;
