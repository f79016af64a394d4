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
    /// It is a 32-bit program, be it for x86 or for x86-64 (x32).
    Not64Bit,
    /// It is for another processor: the machine's number in the ELF header.
    WrongMachine(u16),
    /// It is an object file, which is still to be linked.
    ObjectFile,
    /// It is a core dump or another kind of ELF file, not a program.
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
            ElfError::Truncated => f.write_str("the file ends before its headers do: was it cut off?"),
            ElfError::NotElf => f.write_str("not an ELF file: it must be a static program for x86-64"),
            ElfError::Script => f.write_str("a script: start the program that runs it"),
            ElfError::Not64Bit => f.write_str("a 32-bit program: compile it without -m32 and -mx32"),
            ElfError::WrongMachine(machine) => write!(
                f,
                "a program for {}, not for x86-64: compile it for this processor",
                machine_name(*machine)
            ),
            ElfError::ObjectFile => f.write_str("an object file, not a program: link it"),
            ElfError::NotExecutable => f.write_str("not a program but another kind of ELF file"),
            ElfError::NeedsInterpreter => f.write_str("needs a dynamic linker: link it statically (-static)"),
            ElfError::NeedsLibraries => f.write_str("needs shared libraries: link it statically (-static)"),
            ElfError::TextRelocations => {
                f.write_str("relocates its own code: compile all of it with -fPIE, or link it with -no-pie")
            }
            ElfError::BadHeaders => f.write_str("program headers are missing, too many or of a wrong size"),
            ElfError::NoSegments => f.write_str("nothing to load in it"),
            ElfError::TooManySegments => {
                write!(f, "more than {} segments to load", crate::MAX_SEGMENTS)
            }
            ElfError::OutsideFile(index) => {
                write!(f, "segment {index} is not all in the file: was it cut off?")
            }
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

/// The processor that a number in an ELF header stands for.
const fn machine_name(machine: u16) -> &'static str {
    match machine {
        3 => "32-bit x86",
        8 => "MIPS",
        20 | 21 => "PowerPC",
        22 => "S/390",
        40 => "32-bit ARM",
        62 => "x86-64 with the other byte order",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => "another processor",
    }
}

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
