//! The tasks that scripts started.

use mlua::Function;

use crate::system::Ended;

/// A task, as long as the script can ask for it.
#[derive(Debug)]
pub(crate) struct Task {
    /// How it is called in messages.
    pub(crate) name: String,
    /// `None` while it runs.
    pub(crate) ended: Option<Ended>,
    /// It was ended on purpose, which is no failure.
    pub(crate) killed: bool,
    /// Called with the exit code when it ends.
    pub(crate) exit_handler: Option<Function>,
}

impl Task {
    /// Exit code; `None` while it runs.
    pub(crate) fn code(&self) -> Option<i64> {
        self.ended.map(|ended| match ended {
            Ended::Exit(code) => code,
            Ended::Fault(fault) => fault.code(),
        })
    }

    /// What its end means for the verdict: an exit code, 0 if it was ended on purpose.
    pub(crate) fn verdict(&self) -> i64 {
        if self.killed { 0 } else { self.code().unwrap_or(0) }
    }
}
