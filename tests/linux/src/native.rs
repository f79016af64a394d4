//! Native calls in a Linux program, and what capabilities it has.
#![expect(unsafe_code, reason = "the start block is found through the auxiliary vector")]

use std::process::ExitCode;
use std::ptr;

use l4::object::{Dataspace, Factory, Task};
use l4::{CapIndex, Utcb};
use l4re::{Slot, clock, env};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("native calls work beside Linux calls", both_kinds),
    ("a Linux call leaves messages alone", messages),
    ("randomness is fresh each time", randomness),
];

/// Takes note of the named capabilities that the program was started with.
pub(crate) fn adopt_environment() {
    // SAFETY: Reads the auxiliary vector, which is there in every program.
    let block = unsafe { libc::getauxval(env::AT_L4_ENV) };
    // SAFETY: Null if there is no such entry, else what the loader put there, which stays as it is.
    unsafe { env::adopt(ptr::with_exposed_provenance_mut(block as usize)) };
}

fn both_kinds() {
    let before = clock::now_ns();
    let dataspace =
        Slot::fill(|slot| Factory(CapIndex::FACTORY).create_dataspace(8192, slot)).expect("an object");
    let object = Dataspace(dataspace.index());
    object.write(4090, b"across pages").expect("it is writable");
    let mut bytes = [0; 12];
    object.read(4090, &mut bytes).expect("it is readable");
    assert_eq!(&bytes, b"across pages");
    assert!(
        std::fs::metadata("/rom/linux-tests").is_ok(),
        "a file that is opened does not take the slot"
    );
    assert_eq!(object.info().expect("it is still there").size, 8192);
    assert!(clock::now_ns() > before);
}

fn messages() {
    let utcb = Utcb::current();
    for index in 0..63 {
        utcb.set_word(index, 0xabc0_0000 + index as u64);
    }
    utcb.set_receive_slots(&[CapIndex(0x700), CapIndex(0x701)]);
    let buffers: Vec<u64> = (64..70).map(|index| utcb.word(index)).collect();
    // Calls that need the kernel and a server.
    assert!(std::fs::metadata("/rom/absent").is_err());
    println!("a line in between");
    let block = vec![1u8; 8 << 20];
    assert_eq!(block.len(), 8 << 20);
    for index in 0..63 {
        assert_eq!(
            utcb.word(index),
            0xabc0_0000 + index as u64,
            "message word {index}"
        );
    }
    assert_eq!(
        buffers,
        (64..70).map(|index| utcb.word(index)).collect::<Vec<_>>()
    );
    utcb.set_receive_slots(&[]);
}

fn randomness() {
    let draw = || {
        let mut bytes = [0u8; 40];
        // SAFETY: The buffer has 40 bytes.
        let size = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        assert_eq!(size, 40);
        bytes
    };
    assert_ne!(draw(), draw());
}

/// Slots of which programs know what is in them, with names for the script.
const USUAL: [(&str, CapIndex); 10] = [
    ("factory", CapIndex::FACTORY),
    ("log", CapIndex::LOG),
    ("icu", CapIndex::ICU),
    ("scheduler", CapIndex::SCHEDULER),
    ("platform", CapIndex::PLATFORM),
    ("debug", CapIndex::DEBUG),
    ("rom", CapIndex::ROM),
    ("parent", CapIndex::PARENT),
    ("info_page", CapIndex::INFO_PAGE),
    ("thread", CapIndex::THREAD),
];

/// Looks whether the program has exactly the capabilities of these names (and its task). Slots that nobody named are
/// looked at as well.
pub(crate) fn check_caps(names: &[&str]) -> ExitCode {
    let is_there = |cap: u32| Task(CapIndex::TASK).is_valid(CapIndex(cap)).unwrap_or(false);
    let named: Vec<(&str, u32)> = USUAL
        .iter()
        .map(|(name, cap)| (*name, cap.0))
        .chain(env::caps().map(|entry| (entry.name, entry.cap.0)))
        .collect();
    let mut found: Vec<String> = Vec::new();
    for slot in (CapIndex::TASK.0 + 1..0x1000).filter(|slot| is_there(*slot)) {
        let name = named.iter().find(|(_, cap)| *cap == slot);
        found.push(name.map_or(format!("slot {slot:#x}"), |(name, _)| (*name).to_owned()));
    }
    let mut wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    found.sort();
    wanted.sort();
    if found == wanted {
        return ExitCode::SUCCESS;
    }
    println!("capabilities are {found:?}, should be {wanted:?}");
    ExitCode::FAILURE
}
