//! Tables made by hand, whole and damaged.

use super::*;
use crate::physical::FakeMemory;
use proptest::prelude::{any, prop, proptest};

fn fix_checksum(mut bytes: std::vec::Vec<u8>, at: usize) -> std::vec::Vec<u8> {
    bytes[at] = 0;
    bytes[at] = 0_u8.wrapping_sub(sum(&bytes));
    bytes
}

fn make_table(signature: &[u8; 4], body: &[u8]) -> std::vec::Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_le_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(body);
    fix_checksum(bytes, 9)
}

fn make_pointer(revision: u8, rsdt: u32, xsdt: u64) -> std::vec::Vec<u8> {
    let mut bytes = b"RSD PTR \0AERIE ".to_vec();
    bytes.push(revision);
    bytes.extend(rsdt.to_le_bytes());
    bytes = fix_checksum(bytes, 8);
    bytes.extend(36_u32.to_le_bytes());
    bytes.extend(xsdt.to_le_bytes());
    bytes.extend([0; 4]);
    fix_checksum(bytes, 32)
}

fn madt_body() -> std::vec::Vec<u8> {
    let mut body = 0xfee0_0000_u32.to_le_bytes().to_vec();
    body.extend(1_u32.to_le_bytes());
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
    body.extend([0, 8, 1, 2, 1, 0, 0, 0]);
    // Not enabled, then the same id again.
    body.extend([0, 8, 2, 9, 2, 0, 0, 0]);
    body.extend([0, 8, 3, 2, 1, 0, 0, 0]);
    body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0]);
    body.extend([9, 16, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
    body
}

fn fadt_body() -> std::vec::Vec<u8> {
    let mut body = vec![0; 244 - HEADER_BYTES];
    body[76 - HEADER_BYTES..78 - HEADER_BYTES].copy_from_slice(&[0x08, 0x06]);
    body[91 - HEADER_BYTES] = 4;
    body[108 - HEADER_BYTES] = 0x32;
    body
}

fn tables(revision: u8) -> FakeMemory {
    let entries: std::vec::Vec<u8> = match revision {
        0 => [0x3000_u32, 0x4000, 0x9999]
            .iter()
            .flat_map(|a| a.to_le_bytes())
            .collect(),
        _ => [0x3000_u64, 0x4000, 0x9999]
            .iter()
            .flat_map(|a| a.to_le_bytes())
            .collect(),
    };
    let (rsdt, xsdt) = if revision == 0 { (0x2000, 0) } else { (0, 0x2000) };
    FakeMemory(vec![
        (0xe_0010, make_pointer(revision, rsdt, xsdt)),
        (
            0x2000,
            make_table(if revision == 0 { b"RSDT" } else { b"XSDT" }, &entries),
        ),
        (0x3000, make_table(b"APIC", &madt_body())),
        (0x4000, make_table(b"FACP", &fadt_body())),
    ])
}

#[test]
fn both_revisions_are_understood() {
    for revision in [0, 2] {
        let machine = Machine::discover(&tables(revision), Some(0xe_0010)).unwrap();
        assert_eq!(machine.cpus, [0, 2, 0x1234]);
        assert_eq!(machine.local_apic, 0xfee0_0000);
        assert_eq!(
            machine.io_apics,
            [IoApic {
                address: 0xfec0_0000,
                first_gsi: 0
            }]
        );
        assert_eq!(machine.isa_interrupt(0), (2, false));
        assert_eq!(machine.isa_interrupt(9), (9, true));
        assert_eq!(machine.isa_interrupt(4), (4, false));
        assert_eq!(machine.pm_timer, Some(0x608));
        assert_eq!(machine.century, Some(0x32));
    }
}

#[test]
fn the_root_pointer_is_found_where_a_pc_has_it() {
    assert!(Machine::discover(&tables(2), None).is_ok());
    assert_eq!(
        Machine::discover(&FakeMemory(vec![]), None),
        Err(AcpiError::NoRootPointer)
    );
}

#[test]
fn a_damaged_table_is_named() {
    let mut memory = tables(2);
    memory.0[2].1[50] ^= 1;
    assert_eq!(
        Machine::discover(&memory, Some(0xe_0010)),
        Err(AcpiError::Table(0x3000))
    );
    memory.0.remove(2);
    assert_eq!(Machine::discover(&memory, Some(0xe_0010)), Err(AcpiError::NoMadt));
    memory.0[1].1.truncate(20);
    assert_eq!(
        Machine::discover(&memory, Some(0xe_0010)),
        Err(AcpiError::Table(0x2000))
    );
}

#[test]
fn cpus_beyond_the_limit_are_counted() {
    let mut body = vec![0; 8];
    for id in 0..(CPU_LIMIT as u8 + 3) {
        body.extend([0, 8, id, id, 1, 0, 0, 0]);
    }
    let mut memory = tables(2);
    memory.0[2].1 = make_table(b"APIC", &body);
    let machine = Machine::discover(&memory, None).unwrap();
    assert_eq!((machine.cpus.len(), machine.cpus_ignored), (CPU_LIMIT, 3));
}

proptest! {
    /// Whatever the tables hold, reading them ends, with a result or an error.
    #[test]
    fn any_bytes_are_survived(madt in prop::collection::vec(any::<u8>(), 0..200),
                              fadt in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut memory = tables(2);
        memory.0[2].1 = make_table(b"APIC", &madt);
        memory.0[3].1 = make_table(b"FACP", &fadt);
        let _ = Machine::discover(&memory, None);
    }
}
