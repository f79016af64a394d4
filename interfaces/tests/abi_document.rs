//! The numbers in `docs/abi.md` are those of the code, and none is missing.

use std::collections::BTreeMap;

use interfaces::faas::{ActionsInterface, RegistryInterface, SupervisorInterface};
use interfaces::log::LogFactoryInterface;
use interfaces::namespace::NamespaceInterface;
use interfaces::parent::ParentInterface;
use l4_rpc::Operation;

const DOCUMENT: &str = include_str!("../../docs/abi.md");
const PROTOCOLS: &str = include_str!("../../l4/src/protocol.rs");
const CAPABILITIES: &str = include_str!("../../l4/src/cap.rs");
const UTCB: &str = include_str!("../../l4/src/utcb.rs");

type Numbers = BTreeMap<String, i64>;

fn number(text: &str) -> Option<i64> {
    let text = text
        .trim()
        .trim_end_matches(" as u64")
        .trim_end_matches("i64")
        .replace('_', "");
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The rows of the document's tables: what stands in backticks in the first cell, and the number in the second.
fn documented() -> Numbers {
    let rows = DOCUMENT.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_string(), number(cells.next()?)?))
    });
    let mut numbers = Numbers::new();
    for (name, value) in rows {
        assert_eq!(
            numbers.insert(name.clone(), value),
            None,
            "{name} stands there twice"
        );
    }
    numbers
}

/// The numeric constants of a source file, with the module inside the file that they are in.
fn constants(source: &str) -> Numbers {
    let mut module = String::new();
    let mut numbers = Numbers::new();
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("pub mod ") {
            module = format!("{}::", name.trim_end_matches(" {"));
        } else if line == "}" {
            module.clear();
        } else if let Some((name, rest)) = line
            .trim()
            .strip_prefix("pub const ")
            .and_then(|it| it.split_once(':'))
        {
            let value = rest
                .split_once('=')
                .map(|(_, value)| value.trim().trim_end_matches(';'));
            let value = value.map(|value| value.trim_start_matches("CapIndex(").trim_end_matches(')'));
            if let Some(value) = value.and_then(number) {
                numbers.insert(format!("{module}{name}"), value);
            }
        }
    }
    numbers
}

fn operations(interface: &str, operations: &[Operation]) -> Numbers {
    operations
        .iter()
        .map(|operation| {
            (
                format!("{interface}::{}", operation.name),
                operation.number as i64,
            )
        })
        .collect()
}

/// Compares all rows whose name `is_part` of the topic with the code's numbers.
fn compare(is_part: impl Fn(&str) -> bool, expected: &Numbers) {
    let found: Numbers = documented()
        .into_iter()
        .filter(|(name, _)| is_part(name))
        .collect();
    assert!(!expected.is_empty());
    for (name, value) in expected {
        assert_eq!(found.get(name), Some(value), "{name} in docs/abi.md");
    }
    for name in found.keys() {
        assert!(
            expected.contains_key(name),
            "docs/abi.md names {name}, which does not exist"
        );
    }
}

#[test]
fn protocols_operations_and_flags() {
    let expected = constants(PROTOCOLS);
    assert!(expected.len() > 60, "the source is read");
    assert_eq!(expected.get("DATASPACE"), Some(&l4::protocol::DATASPACE));
    assert_eq!(
        expected.get("factory::CREATE_TASK"),
        Some(&(l4::protocol::factory::CREATE_TASK as i64))
    );
    // Protocols stand by themselves, operations and flags behind their module; types have capitals.
    let is_part = |name: &str| match name.split_once("::") {
        Some((module, _)) => module.starts_with(char::is_lowercase) && module != "utcb",
        None => true,
    };
    compare(is_part, &expected);
}

#[test]
fn slots_of_a_new_task() {
    let mut expected = constants(CAPABILITIES);
    for other in ["LIMIT", "NONE", "SEND", "RECEIVE", "OPEN", "REPLY"] {
        expected.remove(other);
    }
    let expected = expected
        .into_iter()
        .map(|(name, value)| (format!("CapIndex::{name}"), value))
        .collect();
    compare(|name| name.starts_with("CapIndex::"), &expected);
}

#[test]
fn words_of_the_utcb() {
    let mut expected = constants(UTCB);
    for other in ["MESSAGE_WORDS", "BUFFER_COUNT", "WORDS", "FIRST_ADDRESS"] {
        assert!(expected.remove(other).is_some(), "{other}");
    }
    let expected = expected
        .into_iter()
        .map(|(name, value)| (format!("utcb::{name}"), value))
        .collect();
    compare(|name| name.starts_with("utcb::"), &expected);
}

#[test]
fn errors() {
    let named = (1..1100)
        .chain(2000..2032)
        .filter_map(|number| match l4::Error::from_number(number) {
            l4::Error::Ipc(l4::IpcError::Unknown(_)) | l4::Error::Other(_) => None,
            l4::Error::Ipc(error) => Some((format!("IpcError::{error:?}"), error.code() as i64)),
            error => Some((format!("Error::{error:?}"), number)),
        });
    let expected: Numbers = named.collect();
    assert_eq!(expected.len(), 20 + 12);
    compare(
        |name| name.starts_with("Error::") || name.starts_with("IpcError::"),
        &expected,
    );
}

#[test]
fn failures_of_clones() {
    let reasons = (0..).map_while(l4::object::FailureReason::from_word);
    let expected: Numbers = reasons
        .map(|reason| (format!("FailureReason::{reason:?}"), reason as i64))
        .collect();
    assert_eq!(expected.len(), l4::object::FailureReason::COUNT);
    compare(|name| name.starts_with("FailureReason::"), &expected);
}

#[test]
fn services() {
    let mut expected = Numbers::new();
    let mut protocols = Numbers::new();
    for (name, protocol, table) in [
        (
            "Namespace",
            NamespaceInterface::PROTOCOL,
            NamespaceInterface::OPERATIONS,
        ),
        ("Parent", ParentInterface::PROTOCOL, ParentInterface::OPERATIONS),
        (
            "LogFactory",
            LogFactoryInterface::PROTOCOL,
            LogFactoryInterface::OPERATIONS,
        ),
        (
            "Actions",
            ActionsInterface::PROTOCOL,
            ActionsInterface::OPERATIONS,
        ),
        (
            "Supervisor",
            SupervisorInterface::PROTOCOL,
            SupervisorInterface::OPERATIONS,
        ),
        (
            "Registry",
            RegistryInterface::PROTOCOL,
            RegistryInterface::OPERATIONS,
        ),
    ] {
        expected.append(&mut operations(name, table));
        protocols.insert(name.into(), protocol);
    }
    let is_service = |name: &str| {
        name.split_once("::")
            .is_some_and(|(first, _)| protocols.contains_key(first))
    };
    compare(is_service, &expected);
    for line in DOCUMENT
        .lines()
        .filter(|line| line.strip_prefix("| `").is_some_and(is_service))
    {
        let service = line
            .trim_start_matches("| `")
            .split("::")
            .next()
            .expect("it has a name");
        let protocol = line.rsplit('|').nth(1).and_then(number);
        assert_eq!(protocol, protocols.get(service).copied(), "{line}");
    }
}
