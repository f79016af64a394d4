//! A function that was created twice, once more upon a runtime that was started ahead if it has one, and once for each other start
//! mode.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use interfaces::faas::client::{ClientError, Response};
use interfaces::faas::{ImageInfo, ImageState};
use interfaces::manifest::{Runtime, StartMode};
use l4re::faas::{Function, FunctionError, RomFunction, Session};
use l4re::{clock, println};

/// How often is looked whether a runtime is ready.
const WAIT_NS: u64 = 1_000_000;

/// Why a check failed, for people.
pub(crate) type Fault = String;

/// One of the functions that were made of the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Twin {
    /// Its invocations are clones.
    First,
    /// So are these, of another image.
    Second,
    /// So are these, of an image upon a runtime that was started before there was the function.
    UponSpare,
    /// Its code is loaded each time.
    Boot,
    /// Its worker is kept.
    Warm,
}

impl Twin {
    const ALL: [Twin; 5] = [Twin::First, Twin::Second, Twin::UponSpare, Twin::Boot, Twin::Warm];

    fn mode(self) -> StartMode {
        match self {
            Twin::First | Twin::Second | Twin::UponSpare => StartMode::Snapshot,
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
}

/// The functions, and the client that may invoke them.
pub(crate) struct Twins<'a> {
    session: &'a Session,
    /// Those with clones, as they are called without the manager.
    cloned: Vec<(Twin, Function<'a>)>,
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
        let has_runtime = found.config().runtime == Runtime::Python;
        let mut cloned = Vec::new();
        for twin in Twin::ALL {
            match twin {
                Twin::UponSpare if !has_runtime => continue,
                Twin::UponSpare => await_spare(session)?,
                _ => {}
            }
            let mut config = found.config();
            config.mode = Some(twin.mode());
            let (name, environment) = (twin.name(function), &found.manifest.environment);
            match twin {
                Twin::First => session.create_function(&name, &found, config)?,
                _ => session.create(&name, found.code(), config, environment)?,
            }
            if twin.mode() == StartMode::Snapshot {
                cloned.push((twin, session.function(&name)));
            }
        }
        if has_runtime {
            show_layers(session, function)?;
        }
        let first = session.describe(&Twin::First.name(function))?.image;
        if let ImageState::Ready(ImageInfo { is_loaded: true, .. }) = first {
            println!("{function}: the first one begins from the snapshot in the boot image");
        }
        Ok(Twins {
            session,
            cloned,
            asked: Cell::new(0),
            directly: Cell::new(0),
            last_mode: Cell::new(StartMode::Snapshot),
            function,
        })
    }

    /// The functions with clones in turn.
    pub(crate) fn of_round(&self, round: u64) -> Twin {
        let count = self.cloned.len().max(1) as u64;
        let (twin, _) = self.cloned[(round % count) as usize];
        twin
    }

    /// Those with clones.
    pub(crate) fn cloned(&self) -> impl ExactSizeIterator<Item = Twin> {
        self.cloned.iter().map(|(twin, _)| *twin)
    }

    /// How the worker of the last invocation began.
    pub(crate) fn last_mode(&self) -> StartMode {
        self.last_mode.get()
    }

    /// Clones that were begun and answered without the manager.
    pub(crate) fn without_manager(&self) -> u64 {
        let by_manager = self
            .cloned
            .iter()
            .map(|(_, direct)| direct.calls_by_manager())
            .sum();
        self.directly.get().saturating_sub(by_manager)
    }

    /// Makes sure that each request was counted once, whichever way it went, if all were answered with [`Self::ask`].
    pub(crate) fn check_counters(&self) -> Result<(), Fault> {
        let counters = self.session.actions().counters();
        let counters = counters.map_err(|error| format!("no counters: {error}"))?;
        let mut of_actions = (0, 0);
        for (twin, _) in &self.cloned {
            let info = self.session.describe(&twin.name(self.function));
            let info = info.map_err(|error| format!("{twin:?}: {error}"))?;
            of_actions.0 += info.succeeded;
            of_actions.1 += info.answered_directly;
        }
        let expected = (self.asked.get(), self.without_manager());
        if (counters.succeeded, counters.succeeded_directly) != expected
            || of_actions != expected
            || counters.failed != 0
        {
            return Err(format!(
                "of {expected:?} requests {of_actions:?} were counted: {counters:?}"
            ));
        }
        Ok(())
    }

    /// Invokes one of them, whose answer is a text, and makes sure that it began as it should: twice by the manager, then
    /// twice without it where that is possible.
    pub(crate) fn ask(&self, twin: Twin, request: &[u8]) -> Result<String, Fault> {
        let turn = self.asked.replace(self.asked.get() + 1);
        let direct = self.cloned.iter().find(|(cloned, _)| *cloned == twin);
        let outcome = match direct {
            Some((_, direct)) if turn % 4 >= 2 => {
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

/// Waits until a runtime is ready for the next function. It starts when this core has nothing else to do.
fn await_spare(session: &Session) -> Result<(), FunctionError> {
    while session.actions().counters()?.spare_bytes == 0 {
        clock::sleep(WAIT_NS);
    }
    Ok(())
}

/// Tells what the functions with clones are made of.
fn show_layers(session: &Session, function: &str) -> Result<(), FunctionError> {
    for twin in [Twin::First, Twin::Second, Twin::UponSpare] {
        if let ImageState::Ready(info) = session.describe(&twin.name(function))?.image {
            println!(
                "{function}: {twin:?} has {} KiB, {} KiB of them a runtime's, {} below it, prepared in {} us",
                info.bytes >> 10,
                info.runtime_bytes >> 10,
                info.depth,
                info.prepare_ns / 1000
            );
        }
    }
    Ok(())
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
