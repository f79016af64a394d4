//! Messages of the function.

use core::ffi::{c_char, c_int};
use std::sync::Once;

use log::{Level, LevelFilter, Record};
use worker::logging;

use crate::argument;

/// The level with this number.
pub(crate) fn level(number: c_int) -> Option<Level> {
    match number {
        1 => Some(Level::Error),
        2 => Some(Level::Warn),
        3 => Some(Level::Info),
        4 => Some(Level::Debug),
        5 => Some(Level::Trace),
        _ => None,
    }
}

/// Connects the log before the first message. The program's first argument is the function's name.
fn install() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let name = std::env::args_os().next().unwrap_or_default();
        let name = name.to_string_lossy().into_owned().leak();
        logging::install_with(name, logging::backend::Filter::level(LevelFilter::Trace));
        log::set_max_level(LevelFilter::Info);
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn aerie_log_level(number: c_int) {
    if let Some(level) = level(number) {
        install();
        log::set_max_level(level.to_level_filter());
    }
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aerie_log_text(
    number: c_int,
    file: *const c_char,
    line: c_int,
    text: *const c_char,
) {
    install();
    let level = level(number).unwrap_or(Level::Error);
    if level > log::max_level() {
        return;
    }
    // SAFETY: The caller's texts, as the header asks for.
    let (file, text) = unsafe { (argument::text(file), argument::text(text)) };
    log::logger().log(
        &Record::builder()
            .level(level)
            .target("function")
            .file(file.as_deref())
            .line(u32::try_from(line).ok())
            .args(format_args!("{}", text.unwrap_or_default()))
            .build(),
    );
}
