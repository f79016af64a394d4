//! Macros for what those of the `log` crate do not do.

/// Logs at the given level, and evaluates the arguments only if this level is on for the target.
///
/// The macros of the `log` crate evaluate their arguments as soon as the level is on for any target; where that costs
/// something, use this one or its short forms.
///
/// ```
/// fn expensive() -> u32 { panic!("evaluated although disabled") }
/// liblog::log!(log::Level::Debug, "state: {}", expensive());
/// liblog::debug!(target: "loader::elf", "state: {}", expensive());
/// ```
#[macro_export]
macro_rules! log {
    (target: $target:expr, $level:expr, $($message:tt)+) => {
        if $crate::facade::log_enabled!(target: $target, $level) {
            $crate::facade::log!(target: $target, $level, $($message)+);
        }
    };
    ($level:expr, $($message:tt)+) => {
        $crate::log!(target: ::core::module_path!(), $level, $($message)+)
    };
}

/// [`log!`](crate::log!) at level error.
#[macro_export]
macro_rules! error {
    (target: $target:expr, $($message:tt)+) => { $crate::log!(target: $target, $crate::facade::Level::Error, $($message)+) };
    ($($message:tt)+) => { $crate::log!($crate::facade::Level::Error, $($message)+) };
}

/// [`log!`](crate::log!) at level warn.
#[macro_export]
macro_rules! warn {
    (target: $target:expr, $($message:tt)+) => { $crate::log!(target: $target, $crate::facade::Level::Warn, $($message)+) };
    ($($message:tt)+) => { $crate::log!($crate::facade::Level::Warn, $($message)+) };
}

/// [`log!`](crate::log!) at level info.
#[macro_export]
macro_rules! info {
    (target: $target:expr, $($message:tt)+) => { $crate::log!(target: $target, $crate::facade::Level::Info, $($message)+) };
    ($($message:tt)+) => { $crate::log!($crate::facade::Level::Info, $($message)+) };
}

/// [`log!`](crate::log!) at level debug.
#[macro_export]
macro_rules! debug {
    (target: $target:expr, $($message:tt)+) => { $crate::log!(target: $target, $crate::facade::Level::Debug, $($message)+) };
    ($($message:tt)+) => { $crate::log!($crate::facade::Level::Debug, $($message)+) };
}

/// [`log!`](crate::log!) at level trace.
#[macro_export]
macro_rules! trace {
    (target: $target:expr, $($message:tt)+) => { $crate::log!(target: $target, $crate::facade::Level::Trace, $($message)+) };
    ($($message:tt)+) => { $crate::log!($crate::facade::Level::Trace, $($message)+) };
}

/// Logs the first time that this place is reached with its level on, and never again.
///
/// ```
/// for call in 0..3 {
///     liblog::once!(log::Level::Warn, "this is not supported (call {call})"); // at most one message
/// }
/// ```
#[macro_export]
macro_rules! once {
    ($level:expr, $($message:tt)+) => {{
        static DONE: ::core::sync::atomic::AtomicBool = ::core::sync::atomic::AtomicBool::new(false);
        if $crate::facade::log_enabled!($level) && !DONE.swap(true, ::core::sync::atomic::Ordering::Relaxed) {
            $crate::facade::log!($level, $($message)+);
        }
    }};
}
