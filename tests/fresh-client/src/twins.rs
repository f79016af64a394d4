//! A function that was created twice, and once for each other start mode.

use alloc::format;
use alloc::string::String;
use core::cell::Cell;
use interfaces::manifest::StartMode;
use l4::CapIndex;
use l4re::faas::{FunctionError, RomFunction, Session};

/// Why a check failed, for people.
pub(crate) type Fault = String;

/// One of the functions that were made of the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Twin {
    /// Its invocations are clones.
    First,
    /// So are these, of another image.
    Second,
    /// Its code is loaded each time.
    Boot,
    /// Its worker is kept.
    Warm,
}

impl Twin {
    const ALL: [Twin; 4] = [Twin::First, Twin::Second, Twin::Boot, Twin::Warm];

    fn mode(self) -> StartMode {
        match self {
            Twin::First | Twin::Second => StartMode::Snapshot,
            Twin::Boot => StartMode::Boot,
            Twin::Warm => StartMode::Warm,
        }
    }

    fn name(self, function: &str) -> String {
        format!("{function}-{self:?}")
    }

    /// The functions with clones in turn.
    pub(crate) fn of_round(round: u64) -> Twin {
        if round.is_multiple_of(2) {
            Twin::First
        } else {
            Twin::Second
        }
    }
}

/// The functions, and the client that may invoke them.
pub(crate) struct Twins<'a> {
    session: Session,
    last_mode: Cell<StartMode>,
    pub(crate) function: &'a str,
}

impl<'a> Twins<'a> {
    /// Registers, and creates what the boot image has under this name.
    pub(crate) fn create(registry: CapIndex, function: &'a str) -> Result<Twins<'a>, FunctionError> {
        let session = Session::open(registry)?;
        session.enter_core()?;
        let found = RomFunction::find(function)?;
        for twin in Twin::ALL {
            let mut config = found.config();
            config.mode = Some(twin.mode());
            let environment = &found.manifest.environment;
            session.create(&twin.name(function), found.code(), config, environment)?;
        }
        Ok(Twins {
            session,
            last_mode: Cell::new(StartMode::Snapshot),
            function,
        })
    }

    /// How the worker of the last invocation began.
    pub(crate) fn last_mode(&self) -> StartMode {
        self.last_mode.get()
    }

    /// Invokes one of them, whose answer is a text, and makes sure that it began as it should.
    pub(crate) fn ask(&self, twin: Twin, request: &[u8]) -> Result<String, Fault> {
        let response = self
            .session
            .invoke(&twin.name(self.function), request)
            .map_err(|error| format!("{twin:?}: {error}"))?;
        let mode = response.completion.mode;
        self.last_mode.set(mode);
        if mode != twin.mode() && twin != Twin::Warm {
            return Err(format!("{twin:?} began in mode {mode:?}"));
        }
        String::from_utf8(response.bytes).map_err(|error| format!("{twin:?}: {error}"))
    }
}

/// Names and values of an answer.
pub(crate) fn lines(answer: &str) -> impl Iterator<Item = (&str, &str)> {
    answer.lines().filter_map(|line| line.split_once(' '))
}

/// The value with this name.
pub(crate) fn value<'a>(answer: &'a str, name: &str) -> Result<&'a str, Fault> {
    lines(answer)
        .find_map(|(found, value)| (found == name).then_some(value))
        .ok_or_else(|| format!("the answer has no line '{name}': {answer}"))
}

/// Reads a value as a number.
pub(crate) fn number(value: &str) -> Result<u64, Fault> {
    value.parse().map_err(|error| format!("'{value}': {error}"))
}
