//! Text that reaches the console in whole lines.

use alloc::string::String;
use core::fmt::{self, Write};
use l4::CapIndex;
use l4re::console;

/// Collects lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

impl Lines {
    /// Writes what was collected.
    pub(crate) fn flush(&mut self) {
        console::write(CapIndex::LOG, self.0.as_bytes());
        self.0.clear();
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if text.ends_with('\n') {
            self.flush();
        }
        Ok(())
    }
}
