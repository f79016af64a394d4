//! Running the machines of a benchmark: to their end, or to a line of interest.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::figures::Pair;
use super::lines::{self, Values};
use super::peer::{Peer, Setup};
use super::shared::Built;
use crate::console::{Interest, Outcome, Verdict, Watch, read_log};
use crate::error::Error;
use crate::machine::{Accelerator, Machine};
use crate::project::{DEFAULT_SILENCE, Project};

/// A run that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(600);

/// What all measurements share.
pub(super) struct Session<'a> {
    pub(super) project: &'a Project,
    pub(super) qemu: &'a Path,
    /// Where images, consoles and results go.
    pub(super) folder: PathBuf,
    pub(super) interrupt: Arc<AtomicBool>,
    /// What could not be measured, and why. The rest is measured all the same.
    pub(super) problems: RefCell<Vec<String>>,
}

impl Session<'_> {
    /// Remembers an error and goes on with nothing, unless the user wants to stop.
    pub(super) fn attempt<T: Default>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                self.problems.borrow_mut().push(error.to_string());
                Ok(T::default())
            }
            Ok(value) => Ok(value),
        }
    }

    /// Runs both guests in one mode; of Linux's two setups the better one counts, figure by figure.
    pub(super) fn measure(
        &self,
        images: &[Built],
        peer: Option<&Peer>,
        accelerator: Accelerator,
        cpus: u32,
    ) -> Result<Pair, Error> {
        let is_counted = accelerator == Accelerator::TcgCounted;
        let suffix = if is_counted { "counted" } else { "timed" };
        let values = |machine: &Machine, name: &str| {
            let console = self.run(machine, &format!("{name}-{suffix}"));
            self.attempt(console.and_then(|text| lines::read(&text, is_counted).map_err(Error::Failed)))
        };
        let mut pair = Pair::default();
        for Built { contents, image } in images {
            let machine = self.aerie(image, accelerator, cpus);
            pair.aerie.extend(values(&machine, &contents.entry)?);
        }
        for setup in [Setup::Default, Setup::Tuned] {
            let Some(peer) = peer else { break };
            let machine = peer.machine(self.qemu, setup, accelerator, cpus);
            let measured: Values = values(&machine, setup.name())?;
            pair.linux.keep_better(measured);
        }
        Ok(pair)
    }

    /// A machine that runs an image.
    pub(super) fn aerie(&self, image: &Path, accelerator: Accelerator, cpus: u32) -> Machine {
        Machine {
            program: self.qemu.to_owned(),
            accelerator,
            kernel: image.to_owned(),
            cpus,
            options: Vec::new(),
        }
    }

    /// Runs a machine to its success and returns its console.
    pub(super) fn run(&self, machine: &Machine, name: &str) -> Result<String, Error> {
        let outcome = self.watch(machine, name, |_| Interest::None)?;
        let log = self.log(name);
        match outcome.verdict {
            Verdict::Success => read_log(&log).map_err(|source| Error::Io { path: log, source }),
            _ => Err(failure(name, &outcome, &log)),
        }
    }

    /// Milliseconds until a line of interest.
    pub(super) fn time_to(
        &self,
        machine: &Machine,
        name: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> Result<f64, Error> {
        let outcome = self.watch(machine, name, |line| {
            if is_it(line) {
                Interest::Stop
            } else {
                Interest::None
            }
        })?;
        match outcome.marks.first() {
            Some((time, _)) => Ok(time.as_secs_f64() * 1e3),
            None => Err(failure(name, &outcome, &self.log(name))),
        }
    }

    fn watch(
        &self,
        machine: &Machine,
        name: &str,
        observe: impl Fn(&str) -> Interest,
    ) -> Result<Outcome, Error> {
        let watch = Watch {
            log: self.log(name),
            is_shown: false,
            silence: Some(DEFAULT_SILENCE * 2),
            limit: Some(LIMIT),
            interrupt: self.interrupt.clone(),
        };
        let outcome = watch.run(machine.command(), observe)?;
        match outcome.verdict {
            Verdict::Interrupted => Err(Error::Interrupted),
            _ => Ok(outcome),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

fn failure(name: &str, outcome: &Outcome, log: &Path) -> Error {
    let tail = outcome.tail.join("\n");
    Error::Failed(format!(
        "{tail}\n{name}: {} (console: {})",
        outcome.verdict,
        log.display()
    ))
}
