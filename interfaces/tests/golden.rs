//! The numbers and signatures of all interfaces, and the numbers of their errors. They are promises: a change here is a
//! change for every program that was built before. New entries are fine; old ones never change their number.

use interfaces::faas::{
    ActionsInterface, ConfigField, FaasError, FaultKind, FreezeFault, ImageFault, NameFault,
    RegistryInterface, RestoreFault, StoreFault, SupervisorInterface,
};
use interfaces::log::{LogError, LogFactoryInterface};
use interfaces::namespace::{NamespaceError, NamespaceInterface};
use interfaces::parent::{ParentError, ParentInterface};
use l4_rpc::Operation;
use serde::Serialize;

fn check(operations: &[Operation], expected: &[&str]) {
    let lines: Vec<String> = operations
        .iter()
        .map(|operation| format!("{} {}{}", operation.number, operation.name, operation.signature))
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn namespace() {
    assert_eq!(NamespaceInterface::PROTOCOL, 0x4001);
    check(
        NamespaceInterface::OPERATIONS,
        &[
            "1 query(name: &str) -> Result<(Cap<Dataspace>, u64), NamespaceError>",
            "2 list(index: u64) -> Result<Option<(String, u64)>, NamespaceError>",
        ],
    );
}

#[test]
fn parent() {
    assert_eq!(ParentInterface::PROTOCOL, 0x4002);
    check(
        ParentInterface::OPERATIONS,
        &["0 signal(signal: u64, code: u64) -> Result<(), ParentError> words deferred"],
    );
}

#[test]
fn log_factory() {
    assert_eq!(LogFactoryInterface::PROTOCOL, 0x4003);
    check(
        LogFactoryInterface::OPERATIONS,
        &["1 create(tag: &str, colour: Colour) -> Result<Cap<Vcon>, LogError>"],
    );
}

#[test]
fn registry() {
    assert_eq!(RegistryInterface::PROTOCOL, 0x5003);
    check(
        RegistryInterface::OPERATIONS,
        &[
            "1 register() -> Result<Registration, FaasError> words deferred",
            "2 status() -> Result<RegistryStatus, FaasError> words",
        ],
    );
}

#[test]
fn actions() {
    assert_eq!(ActionsInterface::PROTOCOL, 0x5001);
    check(
        ActionsInterface::OPERATIONS,
        &[
            "1 create(definition: Definition<'_>, code: Cap<Dataspace>, environment: Option<Cap<Dataspace>>) \
             -> Result<(), FaasError> deferred",
            "2 update(definition: Definition<'_>, code: Cap<Dataspace>, environment: Option<Cap<Dataspace>>) \
             -> Result<u32, FaasError> deferred",
            "3 delete(name: &[u8]) -> Result<(), FaasError>",
            "4 list(after: &str) -> Result<Option<String>, FaasError>",
            "5 describe(name: &[u8]) -> Result<ActionInfo, FaasError>",
            "6 open(name: &[u8]) -> Result<OpenedAction, FaasError> words",
            "7 store(name: &[u8], into: Cap<Dataspace>) -> Result<u64, FaasError>",
            "8 restore(definition: Definition<'_>, code: Cap<Dataspace>, environment: Option<Cap<Dataspace>>, \
             snapshot: Cap<Dataspace>) -> Result<(), FaasError> deferred",
            "9 create_with_snapshot(definition: Definition<'_>, code: Cap<Dataspace>, \
             environment: Option<Cap<Dataspace>>, snapshot: Cap<Dataspace>) -> Result<(), FaasError> deferred",
            "10 invoke(name: &[u8], options: InvokeOptions, request: Payload<'_>, response: &mut [u8]) \
             -> Result<Completion, FaasError> words deferred",
            "11 invoke_async(name: &[u8], options: InvokeOptions, request: Payload<'_>, notify: Option<Cap<Irq>>) \
             -> Result<ActivationId, FaasError> words deferred",
            "12 result(activation: ActivationId, wait: bool, response: &mut [u8]) \
             -> Result<Completion, FaasError> words deferred",
            "13 cancel(activation: ActivationId) -> Result<(), FaasError> words",
            "14 log(activation: ActivationId, text: &mut [u8]) -> Result<u64, FaasError> words deferred",
            "20 counters() -> Result<Counters, FaasError> words",
        ],
    );
}

#[test]
fn supervisor() {
    assert_eq!(SupervisorInterface::PROTOCOL, 0x5002);
    check(
        SupervisorInterface::OPERATIONS,
        &[
            "1 ready(start_runtime: u64, request: &mut [u8]) -> Result<Request, FaasError> words deferred",
            "2 done(times: WorkerTimes, response: Payload<'_>, request: &mut [u8]) \
             -> Result<Request, FaasError> words deferred",
            "3 fail(times: WorkerTimes, failure: WorkerFailure<'_>, request: &mut [u8]) \
             -> Result<Request, FaasError> words deferred",
            "4 environment(offset: u64, text: &mut [u8]) -> Result<u64, FaasError> words deferred",
            "5 function() -> Result<FunctionInfo, FaasError>",
            "6 ready_once(start_runtime: u64, request: &mut [u8]) -> Result<Request, FaasError> words deferred",
            "7 code() -> Result<Block, FaasError> words deferred",
        ],
    );
}

/// The first byte on the wire of each value is its place in the list.
fn check_numbers<T: Serialize>(values: &[T]) {
    for (number, value) in values.iter().enumerate() {
        assert_eq!(
            usize::from(postcard::to_allocvec(value).expect("it has an encoding")[0]),
            number
        );
    }
}

/// One error of each kind, in the order of their numbers.
fn all_errors() -> Vec<FaasError> {
    vec![
        FaasError::UnknownAction,
        FaasError::ActionExists,
        FaasError::InvalidName(NameFault::TooLong),
        FaasError::InvalidImage(ImageFault::Truncated),
        FaasError::InvalidConfig(ConfigField::Timeout),
        FaasError::NotFreezable(FreezeFault::Threads),
        FaasError::Timeout { limit_ns: 75_000_000 },
        FaasError::MemoryLimit { limit_bytes: 1 << 20 },
        FaasError::Fault {
            kind: FaultKind::Write,
            address: 8,
            instruction: 0x20_1234,
        },
        FaasError::panic("index out of bounds", "src/main.rs:3:5"),
        FaasError::failed("no such user"),
        FaasError::Exit { code: 3 },
        FaasError::RequestTooLarge {
            length: 2 << 20,
            limit: 1 << 20,
        },
        FaasError::ResultTooLarge {
            length: 2 << 20,
            limit: 1 << 20,
        },
        FaasError::InvalidPayload,
        FaasError::TooManyClients { limit: 2 },
        FaasError::TooManyActions { limit: 64 },
        FaasError::TooManyActivations { limit: 64 },
        FaasError::QueueFull { limit: 64 },
        FaasError::NestedTooDeep { limit: 8 },
        FaasError::UnknownActivation,
        FaasError::NotFinished,
        FaasError::Cancelled,
        FaasError::EnvironmentTooLarge { length: 1 << 20 },
        FaasError::WorkerProtocol,
        FaasError::NotPermitted,
        FaasError::OutOfMemory,
        FaasError::System(22),
        FaasError::NotStorable(StoreFault::NoSnapshot),
        FaasError::NotRestored(RestoreFault::Truncated),
    ]
}

#[test]
fn numbers_of_errors() {
    check_numbers(&all_errors());
    check_numbers(&[NamespaceError::NotFound, NamespaceError::InvalidName]);
    check_numbers(&[ParentError::UnknownSignal]);
    check_numbers(&[LogError::InvalidTag, LogError::TooManyLogs]);
    check_numbers(&[NameFault::Empty, NameFault::TooLong, NameFault::NotUtf8]);
    check_numbers(&[
        ImageFault::Empty,
        ImageFault::TooLarge,
        ImageFault::NotElf,
        ImageFault::WrongKind,
        ImageFault::Dynamic,
        ImageFault::Truncated,
        ImageFault::NoSegments,
        ImageFault::BadSegment,
        ImageFault::Overlap,
        ImageFault::BadAddress,
        ImageFault::WritableCode,
        ImageFault::BadEntry,
        ImageFault::NoRuntime,
        ImageFault::Script,
        ImageFault::NotNative,
        ImageFault::IsNative,
        ImageFault::RunnerOverlap,
        ImageFault::ZipTruncated,
        ImageFault::ZipDamaged,
        ImageFault::ZipTooManyFiles,
        ImageFault::UnpackedTooLarge,
        ImageFault::ZipBadName,
        ImageFault::ZipTwice,
        ImageFault::NativeExtension,
        ImageFault::ZipEncrypted,
        ImageFault::ZipCompression,
        ImageFault::NotText,
        ImageFault::Bits32,
        ImageFault::ForeignMachine,
        ImageFault::ObjectFile,
    ]);
    check_numbers(&[
        FaultKind::Read,
        FaultKind::Write,
        FaultKind::Execute,
        FaultKind::StackOverflow,
        FaultKind::InvalidInstruction,
        FaultKind::DivideByZero,
        FaultKind::Protection,
        FaultKind::Breakpoint,
        FaultKind::FloatingPoint,
        FaultKind::Other,
    ]);
    check_numbers(&[
        ConfigField::Memory,
        ConfigField::Timeout,
        ConfigField::ConcurrentRequests,
        ConfigField::ReuseLimit,
        ConfigField::Priority,
        ConfigField::Handler,
        ConfigField::Environment,
    ]);
}

#[test]
fn every_error_has_a_text_and_a_kind_of_its_own() {
    let errors = all_errors();
    let kinds: std::collections::BTreeSet<_> = errors.iter().map(FaasError::kind).collect();
    assert_eq!(kinds.len(), errors.len());
    for error in &errors {
        let text = error.to_string();
        assert!(text.len() > 20 && text != error.kind(), "{error:?}: {text}");
    }
}

#[test]
fn texts_carry_the_values() {
    let texts: Vec<String> = all_errors().iter().map(ToString::to_string).collect();
    let joined = texts.join("\n");
    for value in [
        "75 ms",
        "1024 KiB",
        "invalid write at 0x8, instruction 0x201234",
        "index out of bounds (src/main.rs:3:5)",
        "no such user",
        "code 3",
        "2097152 bytes, 1048576 are possible",
        "8 deep",
        "invalid argument",
    ] {
        assert!(joined.contains(value), "{value} is missing in\n{joined}");
    }
}
