//! What an action runs: code that was checked, and the plan of its workers' tasks.

use crate::python;
use crate::runtimes::Runtimes;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use interfaces::faas::{CODE_NAME, Definition, FaasError, ImageFault, SUPERVISOR_NAME};
use interfaces::manifest::Runtime;
use l4::object::{Dataspace, MapEntry, Scheduler, Thread};
use l4::{CapIndex, Rights};
use l4re::start::current_thread;
use l4re::{OwnedCap, Slot};
use loader::{
    Arguments, DEFAULT_STACK_SIZE, ElfError, Launched, LoadError, NamedCap, Plan, Step, named_slot,
};

/// A program of an action: the plan of its tasks, and what they show.
pub(crate) struct Program {
    plan: Plan,
    /// What the program is told; a native one is told nothing and asks.
    told: Option<Told>,
    /// The program, if it is the code itself.
    _program: Option<loader::Program>,
    /// The code; it goes last.
    code: OwnedCap,
}

/// What a program with a C library is told at its start.
struct Told {
    /// Its arguments.
    words: Vec<String>,
    /// Its variables, each `NAME=value`.
    variables: Vec<String>,
    /// Whether it gets the code as a capability.
    has_code: bool,
    /// The CPU that its threads run on: that of its client.
    cpu: u32,
}

impl Program {
    /// Checks the sealed code and plans the tasks that run it.
    pub(crate) fn new(
        code: OwnedCap,
        definition: &Definition<'_>,
        environment: &[u8],
        runtimes: &Runtimes,
    ) -> Result<Program, FaasError> {
        let runtime = definition.config.runtime;
        let own = match runtime {
            Runtime::Native | Runtime::Linux => Some(
                loader::Program::prepare(Dataspace(code.index()), Some(definition.code_bytes))
                    .map_err(image_error)?,
            ),
            Runtime::Python => {
                python::check(Dataspace(code.index()), definition.code_bytes)?;
                None
            }
        };
        let (program, runner) = match (runtime, &own) {
            (Runtime::Native, Some(own)) if own.image().is_native => (own, None),
            (Runtime::Native, _) => return Err(FaasError::InvalidImage(ImageFault::NotNative)),
            (Runtime::Linux, Some(own)) if !own.image().is_native => (own, Some(runtimes.linux_abi()?)),
            (Runtime::Linux, _) => return Err(FaasError::InvalidImage(ImageFault::IsNative)),
            (Runtime::Python, _) => (runtimes.python()?, Some(runtimes.linux_abi()?)),
        };
        let plan =
            Plan::new(program, runner, DEFAULT_STACK_SIZE, CapIndex::INFO_PAGE).map_err(image_error)?;
        Ok(Program {
            plan,
            told: runner.map(|_| Told::new(definition, environment)),
            _program: own,
            code,
        })
    }

    /// The slots in which a worker has the capability to its supervisor.
    pub(crate) fn supervisor_slots(&self) -> &'static [CapIndex] {
        const SLOTS: [CapIndex; 2] = [CapIndex::PARENT, named_slot(0)];
        // Only who is told something is told of its supervisor by name.
        if self.told.is_some() { &SLOTS } else { &SLOTS[..1] }
    }

    /// Makes a worker's task. `supervisor` is the gate and label that a program which is told something finds its
    /// supervisor by.
    pub(crate) fn launch(
        &self,
        launch: &loader::Launch<'_>,
        supervisor: (CapIndex, u64),
        slots: Launched,
    ) -> Result<(), LoadError> {
        let Some(told) = &self.told else {
            return self.plan.launch(launch, slots);
        };
        let words: Vec<&str> = told.words.iter().map(String::as_str).collect();
        let variables: Vec<&str> = told.variables.iter().map(String::as_str).collect();
        let caps = [
            NamedCap {
                name: SUPERVISOR_NAME,
                cap: supervisor.0,
                rights: Rights::CLIENT,
                label: supervisor.1,
            },
            NamedCap {
                name: CODE_NAME,
                cap: self.code.index(),
                rights: Rights::READ,
                label: 0,
            },
        ];
        let arguments = Arguments {
            arguments: &words,
            variables: &variables,
            caps: if told.has_code { &caps } else { &caps[..1] },
        };
        let scheduler = told.scheduler(launch)?;
        let mut capabilities = launch.capabilities.to_vec();
        capabilities.push(MapEntry::copy(
            scheduler.index(),
            CapIndex::SCHEDULER,
            Rights::CLIENT,
        ));
        let launch = loader::Launch {
            arguments: Some(&arguments),
            capabilities: &capabilities,
            ..*launch
        };
        self.plan.launch(&launch, slots)
    }
}

impl Told {
    /// Arguments: the function's name; for code that is no program itself also the code's length in bytes and the
    /// handler. Variables: the function's environment.
    fn new(definition: &Definition<'_>, environment: &[u8]) -> Told {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let has_code = definition.config.runtime == Runtime::Python;
        let mut words = vec![text(definition.name)];
        if has_code {
            words.push(alloc::format!("{}", definition.code_bytes));
            words.push(definition.handler.into());
        }
        let variables = environment
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
            .map(text)
            .collect();
        // A thread can always ask for its own state.
        let cpu = Thread(current_thread()).stats().map_or(0, |stats| stats.cpu);
        Told {
            words,
            variables,
            has_code,
            cpu,
        }
    }

    /// What lets the program start threads: on its client's CPU, with no more than its own priority, paid for by its own
    /// account.
    fn scheduler(&self, launch: &loader::Launch<'_>) -> Result<OwnedCap, LoadError> {
        let priority = launch.placement.priority;
        let derive = |slot| Scheduler(launch.scheduler).derive(launch.account, 1 << self.cpu, priority, slot);
        Slot::fill(derive).map_err(|error| LoadError::Kernel {
            step: Step::Start,
            error,
        })
    }
}

/// What an error of the loader means to the client.
fn image_error(error: LoadError) -> FaasError {
    let fault = match error {
        LoadError::Kernel { error, .. } => return error.into(),
        LoadError::BadArguments => ImageFault::BadAddress,
        LoadError::ImagesOverlap => ImageFault::RunnerOverlap,
        LoadError::Elf(error) => match error {
            ElfError::Truncated | ElfError::OutsideFile(_) => ImageFault::Truncated,
            ElfError::NotElf => ImageFault::NotElf,
            ElfError::Script => ImageFault::Script,
            ElfError::Not64Bit => ImageFault::Bits32,
            ElfError::WrongMachine(_) => ImageFault::ForeignMachine,
            ElfError::ObjectFile => ImageFault::ObjectFile,
            ElfError::NotExecutable => ImageFault::WrongKind,
            ElfError::NeedsInterpreter | ElfError::NeedsLibraries => ImageFault::Dynamic,
            ElfError::NoSegments => ImageFault::NoSegments,
            ElfError::BadHeaders
            | ElfError::TooManySegments
            | ElfError::SizesContradict(_)
            | ElfError::Misaligned(_) => ImageFault::BadSegment,
            ElfError::BadAddress(_) => ImageFault::BadAddress,
            ElfError::Overlap(_) => ImageFault::Overlap,
            ElfError::WritableExecutable(_) | ElfError::TextRelocations => ImageFault::WritableCode,
            ElfError::BadEntry => ImageFault::BadEntry,
        },
    };
    FaasError::InvalidImage(fault)
}
