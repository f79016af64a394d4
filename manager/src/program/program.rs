//! What an action runs: code that was checked, and the plan of its workers' tasks.

use crate::python;
use crate::runtimes::{RomProgram, Runtimes};
use crate::stored::{Stored, Unusable};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use interfaces::faas::{CODE_NAME, Definition, FaasError, ImageFault, RestoreFault, SUPERVISOR_NAME};
use interfaces::manifest::Runtime;
use l4::object::{Dataspace, MapEntry, Scheduler, Thread};
use l4::{CapIndex, Error, Rights};
use l4re::memory::SealedView;
use l4re::start::current_thread;
use l4re::{OwnedCap, Slot, println};
use loader::{
    Arguments, DEFAULT_STACK_SIZE, ElfError, Launched, LoadError, NamedCap, Plan, Step, named_slot,
};
use stored_image::{Digest, Identity};

/// CPUID leaf 1, EDX: the package has several logical processors (Intel SDM vol. 2A, CPUID).
const CPUID_HTT: u32 = 1 << 28;
/// CPUID leaf 0x8000_0001, ECX: these are cores (AMD APM vol. 3, CmpLegacy).
const CPUID_LEGACY_MULTIPLE: u32 = 1 << 1;

/// A program of an action: the plan of its tasks, and what they show.
pub(crate) struct Program {
    plan: Plan,
    /// What the program is told; a native one is told nothing and asks.
    told: Option<Told>,
    /// The program, if it is the code itself.
    _program: Option<loader::Program>,
    /// What tasks show beside memory of their own: the files that they are made of, and the info page.
    named: Vec<CapIndex>,
    /// Those of these files that come from `rom`.
    shared: Vec<&'static RomProgram>,
    /// Digest of what the function is besides its code.
    definition: Digest,
    /// Length of the code in bytes.
    code_bytes: u64,
    /// What is begun from instead of the start.
    stored: StoredUse,
    /// The code; it goes last.
    code: OwnedCap,
}

/// What became of the stored snapshot that a program came with.
enum StoredUse {
    /// There is none.
    None,
    /// Workers begin from it.
    Usable(Stored),
    /// They begin from the start.
    Unusable(RestoreFault),
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
        runtimes: &'static Runtimes,
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
        let shared = match runtime {
            Runtime::Native => vec![],
            Runtime::Linux => vec![runtimes.linux_abi()?],
            Runtime::Python => vec![runtimes.python()?, runtimes.linux_abi()?],
        };
        let mut named: Vec<_> = own.iter().map(|_| code.index()).collect();
        named.extend(shared.iter().map(|program| program.file()));
        named.push(CapIndex::INFO_PAGE);
        let (program, runner) = match (runtime, &own) {
            (Runtime::Native, Some(own)) if own.image().is_native => (own, None),
            (Runtime::Native, _) => return Err(FaasError::InvalidImage(ImageFault::NotNative)),
            (Runtime::Linux, Some(own)) if !own.image().is_native => {
                (own, Some(runtimes.linux_abi()?.program()))
            }
            (Runtime::Linux, _) => return Err(FaasError::InvalidImage(ImageFault::IsNative)),
            (Runtime::Python, _) => (
                runtimes.python()?.program(),
                Some(runtimes.linux_abi()?.program()),
            ),
        };
        let plan =
            Plan::new(program, runner, DEFAULT_STACK_SIZE, CapIndex::INFO_PAGE).map_err(image_error)?;
        Ok(Program {
            plan,
            told: runner.map(|_| Told::new(definition, environment)),
            _program: own,
            named,
            shared,
            definition: digest_of(definition, environment),
            code_bytes: definition.code_bytes,
            stored: StoredUse::None,
            code,
        })
    }

    /// Has workers begin from a stored snapshot, if it is one of this program. If not, the log says why.
    ///
    /// # Errors
    /// It is not, and `is_required`.
    pub(crate) fn begin_from(
        &mut self,
        file: Result<OwnedCap, FaasError>,
        is_required: bool,
        name: &[u8],
    ) -> Result<(), FaasError> {
        let checked = match file {
            Ok(file) => Stored::check(file, is_required, self),
            Err(error) => Err(Unusable::Unreadable(error)),
        };
        let why = match checked {
            Ok(stored) => {
                self.stored = StoredUse::Usable(stored);
                return Ok(());
            }
            Err(why) => why,
        };
        let name = String::from_utf8_lossy(name);
        println!("{name}: the stored snapshot is not used: {why}");
        if is_required {
            return Err(FaasError::NotRestored(why.fault()));
        }
        self.stored = StoredUse::Unusable(why.fault());
        Ok(())
    }

    /// What workers begin from instead of the start.
    pub(crate) fn stored(&self) -> Option<&Stored> {
        match &self.stored {
            StoredUse::Usable(stored) => Some(stored),
            StoredUse::None | StoredUse::Unusable(_) => None,
        }
    }

    /// Why the stored snapshot that it came with is not used.
    pub(crate) fn unused_snapshot(&self) -> Option<RestoreFault> {
        match self.stored {
            StoredUse::Unusable(fault) => Some(fault),
            StoredUse::None | StoredUse::Usable(_) => None,
        }
    }

    /// The dataspaces that tasks show beside memory of their own.
    pub(crate) fn named(&self) -> &[CapIndex] {
        &self.named
    }

    /// Who can use a stored snapshot of this program.
    ///
    /// # Errors
    /// A file can't be read.
    pub(crate) fn identity(&self) -> Result<Identity, Error> {
        let mut build = processor();
        for program in &self.shared {
            build.add(program.digest()?);
        }
        let mut function = self.definition.clone();
        let code = SealedView::attach(Dataspace(self.code.index()))?;
        let length = usize::try_from(self.code_bytes).map_err(|_| Error::TooBig)?;
        function.add_bytes(code.bytes().get(..length).ok_or(Error::Range)?);
        Ok(Identity {
            build: build.finish(),
            function: function.finish(),
        })
    }

    /// The slots in which a worker is given capabilities.
    pub(crate) fn worker_slots(&self) -> Vec<CapIndex> {
        let mut slots = vec![
            CapIndex::TASK,
            CapIndex::THREAD,
            CapIndex::FACTORY,
            CapIndex::PARENT,
            CapIndex::LOG,
        ];
        if let Some(told) = &self.told {
            slots.extend([CapIndex::SCHEDULER, named_slot(0)]);
            slots.extend(told.has_code.then_some(named_slot(1)));
        }
        slots
    }

    /// Makes a worker's task of a stored snapshot; it has what [`Self::launch`] would give it.
    ///
    /// # Errors
    /// The kernel's; nothing of the task is left then.
    pub(crate) fn load(
        &self,
        stored: &Stored,
        launch: &loader::Launch<'_>,
        supervisor: (CapIndex, u64),
        slots: Launched,
    ) -> Result<(), Error> {
        let mut capabilities = vec![
            MapEntry::copy(slots.task, CapIndex::TASK, Rights::CLIENT),
            MapEntry::copy(slots.thread, CapIndex::THREAD, Rights::CLIENT),
        ];
        capabilities.extend_from_slice(launch.capabilities);
        let mut scheduler = None;
        if let Some(told) = &self.told {
            let derived = told.scheduler(launch)?;
            capabilities.push(MapEntry::copy(
                derived.index(),
                CapIndex::SCHEDULER,
                Rights::CLIENT,
            ));
            scheduler = Some(derived);
            capabilities.push(MapEntry {
                from: supervisor.0,
                to: named_slot(0),
                rights: Rights::CLIENT,
                grant: false,
                label: supervisor.1,
            });
            if told.has_code {
                capabilities.push(MapEntry::copy(self.code.index(), named_slot(1), Rights::READ));
            }
        }
        let loaded = stored.fill(launch.account, &self.named, &capabilities, slots);
        drop(scheduler);
        loaded
    }

    /// The slots in which a worker has the capability to its supervisor.
    pub(crate) fn supervisor_slots(&self) -> &'static [CapIndex] {
        const SLOTS: [CapIndex; 2] = [CapIndex::PARENT, named_slot(0)];
        // Only who is told something is told of its supervisor by name.
        if self.told.is_some() { &SLOTS } else { &SLOTS[..1] }
    }

    /// The code, and its length in bytes.
    pub(crate) fn code(&self) -> (CapIndex, u64) {
        (self.code.index(), self.code_bytes)
    }

    /// What lets a worker start threads, if its program can.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn scheduler(&self, launch: &loader::Launch<'_>) -> Result<Option<OwnedCap>, Error> {
        self.told.as_ref().map(|told| told.scheduler(launch)).transpose()
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
        let supervisor = named_supervisor(supervisor);
        let code = NamedCap {
            name: CODE_NAME,
            cap: self.code.index(),
            rights: Rights::READ,
            label: 0,
        };
        let caps = [supervisor, code];
        let arguments = Arguments {
            arguments: &words,
            variables: &variables,
            caps: if told.has_code { &caps } else { &caps[..1] },
        };
        self.launch_told(told, &arguments, launch, slots)
    }

    /// Makes the task of a worker that is told nothing of the function: it asks for the code when its program has started.
    ///
    /// # Errors
    /// [`LoadError`]; for a program that is the code itself, [`LoadError::BadArguments`].
    pub(crate) fn launch_runtime(
        &self,
        launch: &loader::Launch<'_>,
        supervisor: (CapIndex, u64),
        slots: Launched,
    ) -> Result<(), LoadError> {
        let told = self.told.as_ref().filter(|told| told.has_code);
        let told = told.ok_or(LoadError::BadArguments)?;
        let arguments = Arguments {
            arguments: &[],
            variables: &[],
            caps: &[named_supervisor(supervisor)],
        };
        self.launch_told(told, &arguments, launch, slots)
    }

    fn launch_told(
        &self,
        told: &Told,
        arguments: &Arguments<'_>,
        launch: &loader::Launch<'_>,
        slots: Launched,
    ) -> Result<(), LoadError> {
        let scheduler = told.scheduler(launch).map_err(|error| LoadError::Kernel {
            step: Step::Start,
            error,
        })?;
        let mut capabilities = launch.capabilities.to_vec();
        capabilities.push(MapEntry::copy(
            scheduler.index(),
            CapIndex::SCHEDULER,
            Rights::CLIENT,
        ));
        let launch = loader::Launch {
            arguments: Some(arguments),
            capabilities: &capabilities,
            ..*launch
        };
        self.plan.launch(&launch, slots)
    }
}

/// The capability by which a program finds its supervisor; the first of those with names.
fn named_supervisor((cap, label): (CapIndex, u64)) -> NamedCap<'static> {
    NamedCap {
        name: SUPERVISOR_NAME,
        cap,
        rights: Rights::CLIENT,
        label,
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
    fn scheduler(&self, launch: &loader::Launch<'_>) -> Result<OwnedCap, Error> {
        let priority = launch.placement.priority;
        let derive = |slot| Scheduler(launch.scheduler).derive(launch.account, 1 << self.cpu, priority, slot);
        Slot::fill(derive)
    }
}

/// Digest of what a function is besides its code, as far as its worker may know it.
fn digest_of(definition: &Definition<'_>, environment: &[u8]) -> Digest {
    let mut digest = Digest::new();
    digest.add(definition.config.runtime as u64);
    digest.add(definition.config.memory_bytes);
    digest.add_bytes(definition.name);
    digest.add_bytes(definition.handler.as_bytes());
    digest.add_bytes(environment);
    digest
}

/// Digest of what programs find out of the kernel and the processor, and may keep.
fn processor() -> Digest {
    let mut digest = Digest::new();
    digest.add_bytes(env!("CARGO_PKG_VERSION").as_bytes());
    digest.add(u64::from(l4::info_page::VERSION));
    // Names, versions and features: which instructions there are (Intel SDM vol. 2A, CPUID).
    for (leaf, part) in [(0, 0), (1, 0), (7, 0), (7, 1), (0xd, 0), (0x8000_0001, 0)] {
        let mut found = core::arch::x86_64::__cpuid_count(leaf, part);
        // How many CPUs there are, and which one asks, stands among the features, but is none.
        match leaf {
            1 => {
                found.ebx = 0;
                found.edx &= !CPUID_HTT;
            }
            0x8000_0001 => found.ecx &= !CPUID_LEGACY_MULTIPLE,
            _ => {}
        }
        digest.add(u64::from(found.eax) | u64::from(found.ebx) << 32);
        digest.add(u64::from(found.ecx) | u64::from(found.edx) << 32);
    }
    digest
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
