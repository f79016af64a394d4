//! What an invocation costs by the memory that its function has, and by the memory that it changes: `touch` fills a heap before
//! its first request, and writes to as many pages of it as a request says.

use super::{Failed, INSTRUCTIONS, MODES, call, in_mode, lazy, report, report_point, total};
use crate::machine::Machine;
use alloc::format;
use alloc::string::ToString;
use interfaces::faas::ActionConfig;
use interfaces::manifest::StartMode;
use l4re::faas::{RomFunction, Session};

/// The measured sizes of the heap.
const SIZES_KIB: [u64; 6] = [100, 1 << 10, 4 << 10, 16 << 10, 32 << 10, 64 << 10];
/// Measured invocations of each, back to back; fewer where each fills the heap anew.
const COUNT: u64 = 100;
const COUNT_FRESH: u64 = 5;
/// Memory of the function besides its heap.
const REST_KIB: u64 = 1 << 10;
/// The heap in which pages are written, and how many.
const TOUCHED_KIB: u64 = 2 << 10;
const TOUCHED_PAGES: &[u8] = b"16";

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    let touch = Touch {
        machine,
        session,
        function,
    };
    let (mut smallest, mut largest) = (None, 0);
    for size in SIZES_KIB {
        for (mode, line) in MODES {
            let count = if mode == StartMode::Boot {
                COUNT_FRESH
            } else {
                COUNT
            };
            let config = in_mode(function, mode);
            let taken = touch.with_heap(config, size, b"0", count)?;
            report_point("image_size", line, size << 10, taken, count);
            if mode == StartMode::Snapshot {
                smallest.get_or_insert(taken);
                largest = taken;
            }
        }
    }
    report("image_growth", "ratio", largest, smallest.unwrap_or(1));
    for (figure, config) in [
        ("invoke_touch16", in_mode(function, StartMode::Snapshot)),
        ("invoke_touch16_lazy", lazy(function)),
    ] {
        let taken = touch.with_heap(config, TOUCHED_KIB, TOUCHED_PAGES, COUNT)?;
        report(figure, INSTRUCTIONS, taken, COUNT);
    }
    Ok(())
}

struct Touch<'a> {
    machine: &'a Machine,
    session: &'a Session,
    function: &'a RomFunction,
}

impl Touch<'_> {
    /// Nanoseconds of `count` invocations of the function with such a heap.
    fn with_heap(
        &self,
        config: ActionConfig,
        size_kib: u64,
        request: &[u8],
        count: u64,
    ) -> Result<u64, Failed> {
        let name = "touch";
        let config = ActionConfig {
            memory_bytes: (size_kib + REST_KIB) << 10,
            ..config
        };
        let mode = config.mode;
        let environment = [("HEAP_KIB".to_string(), size_kib.to_string())];
        self.session
            .create(name, self.function.code(), config, &environment)?;
        self.machine.quiet()?;
        let called = self.session.function(name);
        let taken = total(count, || call(&called, request));
        self.session.delete(name)?;
        taken.map_err(|Failed(why)| Failed(format!("{size_kib} KiB in mode {mode:?}: {why}")))
    }
}
