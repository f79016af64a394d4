//! A function's log: the lines come along with the invocation's failure, and to whoever follows the worker's log.
//!
//! The macros [`error!`](crate::error!) to [`trace!`](crate::trace!) work without preparation. Libraries that log through
//! the `log` crate are heard from the first use of such a macro on, or after [`install`].

use liblog::Filter;
use spin::Once;

#[doc(hidden)]
pub use liblog as backend;

/// Connects the `log` crate with the worker's log, with messages of level info and more severe ones. Further calls do
/// nothing.
pub fn install(package: &'static str) {
    install_with(package, Filter::level(log::LevelFilter::Info));
}

/// As [`install`], with another choice of messages: `worker::logging::install_with("resize", Filter::parse("debug")?)`.
pub fn install_with(package: &'static str, filter: Filter<'static>) {
    static DONE: Once<()> = Once::new();
    DONE.call_once(|| {
        // A logger that the function's author installed before is as good.
        let _ = l4re::logging::install(package, filter);
    });
}

/// Logs at the given level; the arguments are evaluated only if it is on.
#[macro_export]
macro_rules! log {
    ($level:expr, $($message:tt)+) => {{
        $crate::logging::install(::core::env!("CARGO_PKG_NAME"));
        $crate::logging::backend::log!($level, $($message)+)
    }};
}

/// Logs at level error.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log!($crate::logging::backend::facade::Level::Error, $($message)+) };
}

/// Logs at level warn.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log!($crate::logging::backend::facade::Level::Warn, $($message)+) };
}

/// Logs at level info.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log!($crate::logging::backend::facade::Level::Info, $($message)+) };
}

/// Logs at level debug.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log!($crate::logging::backend::facade::Level::Debug, $($message)+) };
}

/// Logs at level trace.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log!($crate::logging::backend::facade::Level::Trace, $($message)+) };
}
