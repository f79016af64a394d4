//! What can go wrong, told so that the reader knows what to do.

use alloc::string::String;
use core::fmt;

use l4::exception::{ExceptionFrame, Reason};
use serde::{Deserialize, Serialize};

use super::end::{ExitMeaning, FaultKind};
use super::{ENVIRONMENT_MAX, ERROR_MAX, LOCATION_MAX, MESSAGE_MAX, NAME_MAX};

/// Why there is no result. New errors are added at the end: their order is their number on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaasError {
    /// There is no function of this name.
    UnknownAction,
    /// There is a function of this name already.
    ActionExists,
    /// The name cannot be one.
    InvalidName(NameFault),
    /// The code cannot be run.
    InvalidImage(ImageFault),
    /// A value of the configuration makes no sense.
    InvalidConfig(ConfigField),
    /// Start mode `snapshot` was asked for, but the function cannot be frozen.
    NotFreezable(FreezeFault),
    /// No result in time; the limit in nanoseconds.
    Timeout {
        /// The limit in nanoseconds.
        limit_ns: u64,
    },
    /// The worker needed more memory than its limit.
    MemoryLimit {
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// The worker did what the processor or the kernel does not let it do.
    Fault {
        /// What it did.
        kind: FaultKind,
        /// The address that it touched, 0 if it is not about memory.
        address: u64,
        /// Address of the instruction.
        instruction: u64,
    },
    /// The function panicked.
    Panic {
        /// What it said.
        message: String,
        /// File, line and column.
        location: String,
    },
    /// The function returned an error; its text.
    Failed(String),
    /// The worker ended itself without a response.
    Exit {
        /// Its exit code.
        code: i64,
    },
    /// The request is too large.
    RequestTooLarge {
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The function's response is too large.
    ResultTooLarge {
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A dataspace is shorter than its contents are said to be, is not sealed, or is no dataspace.
    InvalidPayload,
    /// All cores are taken.
    TooManyClients {
        /// How many clients there can be.
        limit: u64,
    },
    /// The client has as many functions as it may.
    TooManyActions {
        /// The limit.
        limit: u64,
    },
    /// The client has as many unfinished or unfetched activations as it may.
    TooManyActivations {
        /// The limit.
        limit: u64,
    },
    /// As many invocations wait for this function as may.
    QueueFull {
        /// The limit.
        limit: u64,
    },
    /// Functions called functions called functions.
    NestedTooDeep {
        /// The limit.
        limit: u64,
    },
    /// There is no such activation, or its result was fetched already.
    UnknownActivation,
    /// The activation still runs.
    NotFinished,
    /// The activation was ended on request.
    Cancelled,
    /// The environment is longer than permitted.
    EnvironmentTooLarge {
        /// Its length in bytes.
        length: u64,
    },
    /// The worker sent a message that makes no sense at that point.
    WorkerProtocol,
    /// A worker asked for what only clients may, or called a function before its first request.
    NotPermitted,
    /// The client's account is used up.
    OutOfMemory,
    /// The kernel refused what the manager needed; the error's number (`l4::Error::number`).
    System(i64),
    /// The function's snapshot cannot be stored.
    NotStorable(StoreFault),
    /// The stored snapshot that the function was to begin from cannot be used.
    NotRestored(RestoreFault),
}

impl FaasError {
    /// A short name of the kind, for tables and counts.
    pub const fn kind(&self) -> &'static str {
        match self {
            FaasError::UnknownAction => "unknown-action",
            FaasError::ActionExists => "action-exists",
            FaasError::InvalidName(_) => "invalid-name",
            FaasError::InvalidImage(_) => "invalid-image",
            FaasError::InvalidConfig(_) => "invalid-config",
            FaasError::NotFreezable(_) => "not-freezable",
            FaasError::Timeout { .. } => "timeout",
            FaasError::MemoryLimit { .. } => "memory-limit",
            FaasError::Fault { .. } => "fault",
            FaasError::Panic { .. } => "panic",
            FaasError::Failed(_) => "failed",
            FaasError::Exit { .. } => "exit",
            FaasError::RequestTooLarge { .. } => "request-too-large",
            FaasError::ResultTooLarge { .. } => "result-too-large",
            FaasError::InvalidPayload => "invalid-payload",
            FaasError::TooManyClients { .. } => "too-many-clients",
            FaasError::TooManyActions { .. } => "too-many-actions",
            FaasError::TooManyActivations { .. } => "too-many-activations",
            FaasError::QueueFull { .. } => "queue-full",
            FaasError::NestedTooDeep { .. } => "nested-too-deep",
            FaasError::UnknownActivation => "unknown-activation",
            FaasError::NotFinished => "not-finished",
            FaasError::Cancelled => "cancelled",
            FaasError::EnvironmentTooLarge { .. } => "environment-too-large",
            FaasError::WorkerProtocol => "worker-protocol",
            FaasError::NotPermitted => "not-permitted",
            FaasError::OutOfMemory => "out-of-memory",
            FaasError::System(_) => "system",
            FaasError::NotStorable(_) => "not-storable",
            FaasError::NotRestored(_) => "not-restored",
        }
    }

    /// A panic; long texts are cut so that the error fits into a message.
    pub fn panic(message: &str, location: &str) -> FaasError {
        FaasError::Panic {
            message: head(message, MESSAGE_MAX).into(),
            location: tail(location, LOCATION_MAX).into(),
        }
    }

    /// An error that the function returned; a long text is cut.
    pub fn failed(message: &str) -> FaasError {
        FaasError::Failed(head(message, ERROR_MAX).into())
    }

    /// What the exception of a worker with this memory limit means.
    pub fn from_exception(frame: &ExceptionFrame, limit_bytes: u64) -> FaasError {
        if Reason::from_word(frame.reason) == Some(Reason::Quota) {
            return FaasError::MemoryLimit { limit_bytes };
        }
        let kind = FaultKind::from_exception(frame);
        let address = if kind.has_address() { frame.address } else { 0 };
        FaasError::Fault {
            kind,
            address,
            instruction: frame.rip,
        }
    }
}

/// As much of the start of `text` as fits into `limit` bytes.
fn head(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// As much of the end of `text` as fits into `limit` bytes.
fn tail(text: &str, limit: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(limit))..]
}

impl From<l4::Error> for FaasError {
    fn from(error: l4::Error) -> FaasError {
        match error {
            l4::Error::NoMemory => FaasError::OutOfMemory,
            other => FaasError::System(other.number()),
        }
    }
}

impl fmt::Display for FaasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaasError::UnknownAction => f.write_str("no function of this name; create it first"),
            FaasError::ActionExists => f.write_str(
                "a function of this name exists already; update or delete it, or take another name",
            ),
            FaasError::InvalidName(fault) => write!(f, "not a function's name: {fault}"),
            FaasError::InvalidImage(fault) => write!(f, "the code cannot be run: {fault}"),
            FaasError::InvalidConfig(field) => write!(f, "invalid configuration: {field}"),
            FaasError::NotFreezable(fault) => {
                write!(
                    f,
                    "no snapshot of the function can be made: {fault}; use mode boot or warm"
                )
            }
            FaasError::InvalidPayload => {
                f.write_str("not a usable payload; it must be a sealed dataspace that holds all of its bytes")
            }
            FaasError::UnknownActivation => {
                f.write_str("no such activation; its result can be fetched once only")
            }
            FaasError::NotFinished => f.write_str("the activation still runs; wait, or ask again later"),
            FaasError::Cancelled => f.write_str("the activation was cancelled"),
            FaasError::NotPermitted => {
                f.write_str("a worker may only invoke functions, and not before its first request; its client creates and deletes them")
            }
            FaasError::OutOfMemory => {
                f.write_str("the client's account is used up; delete functions, or run fewer at once")
            }
            FaasError::System(number) => {
                write!(f, "the kernel refused: {}", l4::Error::from_number(*number))
            }
            FaasError::NotStorable(fault) => write!(f, "the function's snapshot cannot be stored: {fault}"),
            FaasError::NotRestored(fault) => write!(f, "the stored snapshot cannot be used: {fault}"),
            of_worker_or_limit => of_worker_or_limit.fmt_worker(f),
        }
    }
}

impl FaasError {
    /// The texts about what became of a worker.
    fn fmt_worker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaasError::Timeout { limit_ns } => {
                write!(
                    f,
                    "no result within {} ms; raise the timeout, or ask for less",
                    limit_ns / 1_000_000
                )
            }
            FaasError::MemoryLimit { limit_bytes } => {
                write!(
                    f,
                    "the worker needs more memory than its limit of {} KiB; raise it",
                    limit_bytes >> 10
                )
            }
            FaasError::Fault {
                kind,
                address,
                instruction,
            } if kind.has_address() => {
                write!(
                    f,
                    "the worker crashed: {kind} at {address:#x}, instruction {instruction:#x}"
                )
            }
            FaasError::Fault {
                kind, instruction, ..
            } => {
                write!(f, "the worker crashed: {kind}, instruction {instruction:#x}")
            }
            FaasError::Panic { message, location } => {
                write!(f, "the function panicked: {message} ({location})")
            }
            FaasError::Failed(message) => write!(f, "the function returned an error: {message}"),
            FaasError::Exit { code } => {
                write!(
                    f,
                    "the worker exited with code {code}{} instead of giving a response; see its log",
                    ExitMeaning(*code)
                )
            }
            FaasError::WorkerProtocol => {
                f.write_str("the worker broke the protocol; build it with this version of worker-lib")
            }
            limit => limit.fmt_limit(f),
        }
    }

    /// The texts about limits.
    fn fmt_limit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaasError::RequestTooLarge { length, limit } => {
                write!(
                    f,
                    "the request has {length} bytes, {limit} are possible; send less"
                )
            }
            FaasError::ResultTooLarge { length, limit } => {
                write!(
                    f,
                    "the response has {length} bytes, {limit} are possible; return less"
                )
            }
            FaasError::TooManyClients { limit } => {
                write!(
                    f,
                    "all {limit} cores have a client; start QEMU with a larger -smp, or use fewer threads"
                )
            }
            FaasError::TooManyActions { limit } => {
                write!(f, "a client can have {limit} functions; delete some")
            }
            FaasError::TooManyActivations { limit } => {
                write!(
                    f,
                    "a client can have {limit} activations; fetch the results of finished ones"
                )
            }
            FaasError::QueueFull { limit } => {
                write!(
                    f,
                    "{limit} invocations wait for this function already; try again later"
                )
            }
            FaasError::NestedTooDeep { limit } => {
                write!(
                    f,
                    "invocations can be nested {limit} deep; does the function call itself?"
                )
            }
            FaasError::EnvironmentTooLarge { length } => {
                write!(
                    f,
                    "the environment has {length} bytes, {ENVIRONMENT_MAX} are possible; shorten it"
                )
            }
            other => f.write_str(other.kind()),
        }
    }
}

impl core::error::Error for FaasError {}

/// Small enumerations whose variants are texts.
macro_rules! texts {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident: $text:expr;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($name::$variant => write!(f, $text),)*
                }
            }
        }
    };
}

pub(super) use texts;

texts! {
    /// What is wrong with a name.
    NameFault {
        /// It has no bytes.
        Empty: "it is empty";
        /// It has more than [`NAME_MAX`] bytes.
        TooLong: "it has more than {NAME_MAX} bytes";
        /// It is not UTF-8.
        NotUtf8: "it is not UTF-8";
    }
}

texts! {
    /// Why no snapshot of a function can be made where it asks for its first request.
    FreezeFault {
        /// It has more than one thread, or somebody waits for it.
        Threads: "it has several threads, or serves others, when it asks for its first request";
        /// More regions or layers than the kernel takes.
        TooComplex: "its memory consists of too many regions";
        /// The snapshot and one worker need more memory than the client has.
        TooLarge: "the snapshot and a worker do not fit into the client's memory together";
        /// Anything else that the kernel does not permit.
        Refused: "the kernel refused";
    }
}

texts! {
    /// Why a stored snapshot cannot be used.
    RestoreFault {
        /// It is shorter than it says, or than any.
        Truncated: "the file is truncated; store it again";
        /// It does not begin as one does.
        NotASnapshot: "the file is no stored snapshot";
        /// It has another version of the format.
        OtherFormat: "the file has the format of another version; store it again";
        /// Its digest is not that of its contents.
        Damaged: "the file is damaged: its digest is wrong; store it again";
        /// It was made by another build of the system, or on a processor with other features.
        OtherBuild: "it was stored by another build, or for another processor; store it again";
        /// It is one of another function, or of one with other code or another configuration.
        OtherFunction: "it is one of another function, other code or another configuration; store it again";
        /// What it says of memory makes no sense.
        BadLayout: "what the file says of the task's memory makes no sense";
        /// The kernel refused what reading it needs.
        Refused: "the kernel refused what reading it needs: memory above all";
    }
}

texts! {
    /// Why a function's snapshot cannot be stored.
    StoreFault {
        /// There is none now.
        NoSnapshot: "there is none; it has mode boot, cannot be frozen, or was not invoked since its snapshot was given up";
        /// The worker has capabilities besides those that it was given.
        Capabilities: "it keeps capabilities that it made itself; let it make them at its first request";
        /// The worker shows memory that others may change.
        ChangingMemory: "it shares memory that is not sealed; let it attach that at its first request";
        /// Too many pieces of memory.
        TooComplex: "its memory is in too many pieces";
    }
}

texts! {
    /// What is wrong with a function's code.
    ImageFault {
        /// The dataspace or its used part is empty.
        Empty: "it is empty";
        /// It is longer than the dataspace, or than the manager takes.
        TooLarge: "it is larger than its dataspace, or than the client's account permits";
        /// No ELF file.
        NotElf: "not an ELF file; the code must be a static program for x86-64";
        /// An ELF file of another kind.
        WrongKind: "not a program but another kind of ELF file; build it as a static executable";
        /// A dynamically linked program.
        Dynamic: "it needs a dynamic linker or shared libraries; link it statically (-static; Go: CGO_ENABLED=0)";
        /// The file ends before what its headers name.
        Truncated: "the file is shorter than its headers say; was it cut off?";
        /// No segment to load.
        NoSegments: "it has nothing to load";
        /// Too many segments, or impossible sizes or alignment.
        BadSegment: "a segment has an impossible size, offset or alignment";
        /// Segments lie on each other.
        Overlap: "two segments overlap";
        /// A segment outside user memory.
        BadAddress: "a segment lies outside the addresses that programs may use";
        /// A segment that is writable and executable.
        WritableCode: "a segment is writable and executable; link code and data apart";
        /// The entry point is in no executable segment.
        BadEntry: "the entry point is in no executable segment";
        /// The runtime that the configuration names is not part of the boot image.
        NoRuntime: "its runtime is not part of the boot image; add the modules linux-abi and, for Python, \
                    python-runtime, and pass rom to the manager";
        /// A script, which another program would have to run.
        Script: "it is a script (#!); register the program that runs it, or choose the runtime python";
        /// A Linux program that is said to be a native one.
        NotNative: "it is not linked with worker-lib as a native program; set runtime = \"linux\" for it";
        /// A native program that is said to be one for Linux.
        IsNative: "it is a native program; set runtime = \"native\" for it";
        /// It lies where the image that runs it does.
        RunnerOverlap: "a segment lies at 0x70000000, where linux-abi is; link the program elsewhere";
        /// A zip without its end.
        ZipTruncated: "the zip is cut off; copy it again";
        /// A zip whose headers contradict each other.
        ZipDamaged: "the zip is damaged; make it again";
        /// A zip with too many files.
        ZipTooManyFiles: "the zip has more than 8192 files; leave tests and documentation out";
        /// A zip or source file with too many bytes.
        UnpackedTooLarge: "its files have more than 64 MiB unpacked; leave data out";
        /// A zip with a name that leads out of it.
        ZipBadName: "the zip has a file whose name is absolute, has `..`, backslashes or control characters, or more \
                     than 255 bytes; rename it";
        /// A zip that has a name twice.
        ZipTwice: "the zip has a file twice; make it again";
        /// A compiled extension module among Python files.
        NativeExtension: "the zip has a compiled extension module, which cannot be loaded; take packages in pure Python";
        /// A zip that needs a password.
        ZipEncrypted: "the zip is encrypted; make it without a password";
        /// A zip that is compressed by something else than "deflate".
        ZipCompression: "the zip is compressed in an unusual way; make it with `zip -r` or zipfile";
        /// Neither a zip nor source text.
        NotText: "neither a zip nor source text in UTF-8; save the file as UTF-8";
        /// A program for 32 bits, x32 included.
        Bits32: "it is a 32-bit program; compile it without -m32 and -mx32";
        /// A program for another processor.
        ForeignMachine: "it is a program for another processor; compile it for x86-64";
        /// An object file.
        ObjectFile: "it is an object file; link it to a static program";
    }
}

texts! {
    /// A part of a configuration.
    ConfigField {
        /// The memory limit.
        Memory: "the memory limit must be 64 KiB or more";
        /// The timeout.
        Timeout: "the timeout must not be 0";
        /// The number of concurrent requests.
        ConcurrentRequests: "concurrent requests must not be 0";
        /// The reuse limit.
        ReuseLimit: "the reuse limit must not be 0";
        /// The priority.
        Priority: "the priority must be 1 to 100";
        /// The handler's name.
        Handler: "this runtime cannot choose a handler, or the handler's name is too long";
        /// The environment.
        Environment: "the environment must be NAME=value strings, each ended by a zero byte";
    }
}
