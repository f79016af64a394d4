//! What can be wrong with a file, or go wrong when a task is made of it.

use core::fmt;

/// Why a file is no program that can be loaded. Numbers are indices of program headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// The file ends before its headers do.
    Truncated,
    /// It does not start like an ELF file.
    NotElf,
    /// It starts with `#!`: another program is to run it.
    Script,
    /// It is not for 64-bit x86.
    WrongMachine,
    /// It is an object file or a core dump, not a program.
    NotExecutable,
    /// It wants a dynamic linker.
    NeedsInterpreter,
    /// It wants shared libraries.
    NeedsLibraries,
    /// It would write to its own code when it relocates itself.
    TextRelocations,
    /// It has no program headers, too many, or ones of a wrong size.
    BadHeaders,
    /// It has nothing to load.
    NoSegments,
    /// It has more than [`crate::MAX_SEGMENTS`] segments to load.
    TooManySegments,
    /// The segment's bytes are not all in the file.
    OutsideFile(usize),
    /// The segment has more bytes in the file than in memory.
    SizesContradict(usize),
    /// The segment is not in the range that programs may use.
    BadAddress(usize),
    /// The segment's place in the file does not fit its address: both must have the same offset into a page.
    Misaligned(usize),
    /// The segment shares a page with the one before it, or comes before it.
    Overlap(usize),
    /// The segment could be written and executed.
    WritableExecutable(usize),
    /// The first instruction is in no executable segment.
    BadEntry,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElfError::Truncated => f.write_str("the file ends before its headers do"),
            ElfError::NotElf => f.write_str("not an ELF file"),
            ElfError::Script => f.write_str("a script: start the program that runs it"),
            ElfError::WrongMachine => f.write_str("not a program for x86-64"),
            ElfError::NotExecutable => f.write_str("not a program but another kind of ELF file"),
            ElfError::NeedsInterpreter => f.write_str("needs a dynamic linker: link it statically"),
            ElfError::NeedsLibraries => f.write_str("needs shared libraries: link it statically"),
            ElfError::TextRelocations => {
                f.write_str("relocates its own code: compile all of it with -fPIE, or link it with -no-pie")
            }
            ElfError::BadHeaders => f.write_str("program headers are missing, too many or of a wrong size"),
            ElfError::NoSegments => f.write_str("nothing to load in it"),
            ElfError::TooManySegments => {
                write!(f, "more than {} segments to load", crate::MAX_SEGMENTS)
            }
            ElfError::OutsideFile(index) => write!(f, "segment {index} is not all in the file"),
            ElfError::SizesContradict(index) => {
                write!(f, "segment {index} has more bytes in the file than in memory")
            }
            ElfError::BadAddress(index) => write!(f, "segment {index} is outside the memory of programs"),
            ElfError::Misaligned(index) => {
                write!(f, "segment {index} has different page offsets in file and memory")
            }
            ElfError::Overlap(index) => {
                write!(
                    f,
                    "segment {index} shares a page with the one before it, or precedes it"
                )
            }
            ElfError::WritableExecutable(index) => write!(f, "segment {index} is writable and executable"),
            ElfError::BadEntry => f.write_str("the first instruction is in no executable segment"),
        }
    }
}

impl core::error::Error for ElfError {}

/// What was being done when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts below say it")]
pub enum Step {
    View,
    Tail,
    Stack,
    Task,
    Thread,
    Regions,
    Capabilities,
    Start,
}

impl Step {
    const fn text(self) -> &'static str {
        match self {
            Step::View => "looking at the file",
            Step::Tail => "copying the last page of data",
            Step::Stack => "preparing the stack",
            Step::Task => "creating the task",
            Step::Thread => "creating the thread",
            Step::Regions => "attaching the regions",
            Step::Capabilities => "passing the capabilities",
            Step::Start => "starting the thread",
        }
    }

    /// Adds the step to an error of the kernel.
    pub(crate) const fn failed(self) -> impl Fn(l4::Error) -> LoadError {
        move |error| LoadError::Kernel { step: self, error }
    }
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The file is no program that can be loaded.
    Elf(ElfError),
    /// The two programs of a task overlap.
    ImagesOverlap,
    /// Arguments, variables and names take more than 64 KiB, one has a NUL in it, or a capability's name has not 1 to
    /// 15 bytes.
    BadArguments,
    /// The kernel refused.
    Kernel {
        /// What it refused.
        step: Step,
        /// Why.
        error: l4::Error,
    },
}

impl From<ElfError> for LoadError {
    fn from(error: ElfError) -> LoadError {
        LoadError::Elf(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Elf(error) => error.fmt(f),
            LoadError::ImagesOverlap => f.write_str("the program overlaps the image that runs it"),
            LoadError::BadArguments => f.write_str(
                "arguments, variables and capability names take more than 64 KiB, have a NUL, or a name is not 1 to 15 \
                 bytes long",
            ),
            LoadError::Kernel { step, error } => write!(f, "{}: {error}", step.text()),
        }
    }
}

impl core::error::Error for LoadError {}
