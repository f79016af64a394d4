//! A function that was created twice, and once for each other start mode.

use alloc::format;
use alloc::string::String;
use core::cell::Cell;
use interfaces::faas::client::{ClientError, Response};
use interfaces::faas::{ImageInfo, ImageState};
use interfaces::manifest::StartMode;
use l4re::faas::{Function, FunctionError, RomFunction, Session};
use l4re::println;

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

    /// The first one has the function's own name, which is the one that a snapshot in the boot image is for.
    fn name(self, function: &str) -> String {
        match self {
            Twin::First => function.into(),
            _ => format!("{function}-{self:?}"),
        }
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
    session: &'a Session,
    /// The first two, as they are called without the manager.
    direct: [Function<'a>; 2],
    /// Invocations so far.
    asked: Cell<u64>,
    /// Those that were made as calls of `direct`.
    directly: Cell<u64>,
    last_mode: Cell<StartMode>,
    pub(crate) function: &'a str,
}

impl<'a> Twins<'a> {
    /// Creates what the boot image has under this name.
    pub(crate) fn create(session: &'a Session, function: &'a str) -> Result<Twins<'a>, FunctionError> {
        session.enter_core()?;
        let found = RomFunction::find(function)?;
        for twin in Twin::ALL {
            let mut config = found.config();
            config.mode = Some(twin.mode());
            let (name, environment) = (twin.name(function), &found.manifest.environment);
            match twin {
                Twin::First => session.create_function(&name, &found, config)?,
                _ => session.create(&name, found.code(), config, environment)?,
            }
        }
        let first = session.describe(&Twin::First.name(function))?.image;
        if let ImageState::Ready(ImageInfo { is_loaded: true, .. }) = first {
            println!("{function}: one of two begins from the snapshot in the boot image");
        }
        Ok(Twins {
            session,
            direct: [Twin::First, Twin::Second].map(|twin| session.function(&twin.name(function))),
            asked: Cell::new(0),
            directly: Cell::new(0),
            last_mode: Cell::new(StartMode::Snapshot),
            function,
        })
    }

    /// How the worker of the last invocation began.
    pub(crate) fn last_mode(&self) -> StartMode {
        self.last_mode.get()
    }

    /// Clones that were begun and answered without the manager.
    pub(crate) fn without_manager(&self) -> u64 {
        let by_manager = self.direct.iter().map(Function::calls_by_manager).sum();
        self.directly.get().saturating_sub(by_manager)
    }

    /// Invokes one of them, whose answer is a text, and makes sure that it began as it should: twice by the manager, then
    /// twice without it where that is possible.
    pub(crate) fn ask(&self, twin: Twin, request: &[u8]) -> Result<String, Fault> {
        let turn = self.asked.replace(self.asked.get() + 1);
        let direct = match twin {
            Twin::First => self.direct.first(),
            Twin::Second => self.direct.last(),
            Twin::Boot | Twin::Warm => None,
        };
        let outcome = match direct {
            Some(direct) if turn % 4 >= 2 => {
                self.directly.update(|count| count + 1);
                direct.invoke(request)
            }
            _ => self.session.invoke(&twin.name(self.function), request),
        };
        self.text_of(twin, outcome)
    }

    /// As [`ask`](Self::ask), without the manager if that is possible, and however the next ones will go.
    pub(crate) fn ask_directly(&self, twin: Twin, request: &[u8]) -> Result<String, Fault> {
        let outcome = self.session.function(&twin.name(self.function)).invoke(request);
        self.text_of(twin, outcome)
    }

    fn text_of(&self, twin: Twin, outcome: Result<Response, ClientError>) -> Result<String, Fault> {
        let response = outcome.map_err(|error| format!("{twin:?}: {error}"))?;
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
