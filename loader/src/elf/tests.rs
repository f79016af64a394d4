use super::*;
use proptest::prelude::*;

/// One program header: type, flags, offset, address, file size, memory size.
#[derive(Clone, Copy, Debug)]
struct Header(u32, u32, u64, u64, u64, u64);

const TEXT: Header = Header(1, 5, 0, 0x20_0000, 0x1234, 0x1234);
const DATA: Header = Header(1, 6, 0x2010, 0x20_2010, 0x100, 0x5000);

fn file(kind: u16, entry: u64, headers: &[Header]) -> std::vec::Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(kind.to_le_bytes());
    bytes.extend(MACHINE_X86_64.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    for word in [entry, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64, 56, headers.len() as u16, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for Header(kind, flags, offset, address, file_size, memory_size) in headers {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for word in [*offset, *address, *address, *file_size, *memory_size, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

fn parse(headers: &[Header]) -> Result<Image, ElfError> {
    Image::parse(&file(TYPE_EXECUTABLE, 0x20_0010, headers), 0x4000)
}

#[test]
fn reads_an_ordinary_program() {
    let image = parse(&[Header(6, 4, 64, 0x20_0040, 112, 112), TEXT, DATA]).unwrap();
    assert_eq!((image.kind, image.entry), (Kind::Fixed, 0x20_0010));
    assert_eq!((image.headers, image.header_count), (0x20_0040, 3));
    assert!(!image.is_native);
    assert_eq!(image.segments[0].access, Access::READ_EXECUTE);
    assert_eq!(image.segments[1].access, Access::READ_WRITE);
    assert_eq!(image.bounds(), (0x20_0000, 0x20_8000));
    assert!(image.touches(0x20_7fff, u64::MAX) && !image.touches(0x20_8000, u64::MAX));
}

#[test]
fn knows_a_native_program() {
    assert!(
        parse(&[Header(SEGMENT_NATIVE, 0, 0, 0, 0, 0), TEXT])
            .unwrap()
            .is_native
    );
}

#[test]
fn moves_a_relocatable_program() {
    let text = Header(1, 5, 0, 0, 0x1234, 0x1234);
    let image = Image::parse(&file(TYPE_SHARED, 0x10, &[text]), 0x4000).unwrap();
    assert_eq!(image.kind, Kind::Relocatable);
    let moved = image.clone().moved(0x1000_0000).unwrap();
    assert_eq!((moved.entry, moved.headers), (0x1000_0010, 0x1000_0040));
    assert_eq!(moved.segments[0].address, 0x1000_0000);
    assert_eq!(
        image.clone().moved(USER_END - 0x1000),
        Err(ElfError::BadAddress(0))
    );
    assert_eq!(image.moved(u64::MAX), Err(ElfError::BadAddress(0)));
}

/// A relocatable program whose part for the dynamic linker has these entries.
fn self_relocating(entries: &[(u64, u64)]) -> std::vec::Vec<u8> {
    let text = Header(1, 5, 0, 0, 0x1000, 0x1000);
    let size = 16 * entries.len() as u64;
    let data = Header(1, 6, 0x1000, 0x2000, size.max(1), 0x5000);
    let mut bytes = file(
        TYPE_SHARED,
        0x10,
        &[text, Header(2, 6, 0x1000, 0x2000, size, size), data],
    );
    bytes.resize(0x1000, 0);
    for (tag, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.resize(0x4000, 0);
    bytes
}

fn parse_self_relocating(entries: &[(u64, u64)]) -> Result<Image, ElfError> {
    Image::parse(&self_relocating(entries), 0x4000)
}

/// What `gcc -static-pie` writes: relocations (`DT_RELA`, `DT_RELASZ`), a table of strings, `DF_1_PIE`.
const RELOCATIONS: [(u64, u64); 4] = [(7, 0x500), (8, 24), (5, 0x400), (0x6fff_fffb, 0x0800_0000)];

#[test]
fn a_program_that_relocates_itself_is_accepted() {
    let image = parse_self_relocating(&RELOCATIONS).unwrap();
    assert_eq!((image.kind, image.bounds()), (Kind::Relocatable, (0, 0x7000)));
    assert_eq!(
        image.moved(0x1000_0000).unwrap().bounds(),
        (0x1000_0000, 0x1000_7000)
    );
    assert!(parse_self_relocating(&[]).is_ok());
    // What stands behind the end counts for nothing.
    assert!(parse_self_relocating(&[(0, 0), (1, 1)]).is_ok());
}

#[test]
fn what_needs_a_dynamic_linker_or_writes_to_its_code_is_refused() {
    let with = |entry| parse_self_relocating(&[&RELOCATIONS[..], &[entry, (0, 0)]].concat());
    assert_eq!(with((1, 17)), Err(ElfError::NeedsLibraries));
    assert_eq!(with((22, 0)), Err(ElfError::TextRelocations));
    assert_eq!(with((30, 4 | 8)), Err(ElfError::TextRelocations));
    assert!(with((30, 8)).is_ok());
    // An executable can name libraries, too.
    let mut fixed = self_relocating(&[(1, 17)]);
    fixed[16] = TYPE_EXECUTABLE as u8;
    for header in [0, 1, 2] {
        fixed[64 + 56 * header + 18] = 0x20;
    }
    fixed[26] = 0x20;
    assert_eq!(Image::parse(&fixed, 0x4000), Err(ElfError::NeedsLibraries));
    // The file ends within what is for the dynamic linker; its other parts are there.
    let bytes = self_relocating(&RELOCATIONS);
    let mut cut = bytes.clone();
    cut[64 + 56 + 8..][..8].copy_from_slice(&0x3ff0u64.to_le_bytes());
    assert_eq!(Image::parse(&cut, 0x4000), Err(ElfError::OutsideFile(1)));
    cut[64 + 56 + 8..][..8].fill(0xff);
    assert_eq!(Image::parse(&cut, 0x4000), Err(ElfError::OutsideFile(1)));
}

#[test]
fn a_dynamically_linked_program_is_refused_with_the_reason() {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(
        Image::parse(&bytes, bytes.len() as u64),
        Err(ElfError::NeedsInterpreter)
    );
}

#[test]
fn every_cut_is_refused() {
    let bytes = file(TYPE_EXECUTABLE, 0x20_0010, &[TEXT, DATA]);
    for length in 0..bytes.len() {
        assert_eq!(
            Image::parse(&bytes[..length], 0x4000),
            Err(ElfError::Truncated),
            "{length}"
        );
        // As it is in a dataspace, with zeroes behind its end.
        let mut page = bytes.clone();
        page[length..].fill(0);
        assert_eq!(
            Image::parse(&page, length as u64),
            Err(ElfError::Truncated),
            "{length}"
        );
    }
}

#[test]
fn foreign_files_are_told_apart() {
    let good = file(TYPE_EXECUTABLE, 0x20_0010, &[TEXT]);
    for (at, byte, error) in [
        (0, 0, ElfError::NotElf),
        (4, 1, ElfError::Not64Bit),
        (5, 2, ElfError::WrongMachine(62 << 8)),
        (18, 40, ElfError::WrongMachine(40)),
        (16, 1, ElfError::ObjectFile),
        (16, 4, ElfError::NotExecutable),
        (54, 32, ElfError::BadHeaders),
        (56, 0, ElfError::BadHeaders),
        (56, 65, ElfError::BadHeaders),
        (39, 0xff, ElfError::Truncated),
    ] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        assert_eq!(Image::parse(&bytes, 0x4000), Err(error), "byte {at} = {byte}");
    }
    assert_eq!(Image::parse(b"#!/bin/sh\n", 10), Err(ElfError::Script));
}

#[test]
fn bad_segments_are_refused() {
    let cases = [
        (
            Header(1, 5, 0, 0x20_0000, 0x4001, 0x4001),
            ElfError::OutsideFile(1),
        ),
        (
            Header(1, 5, u64::MAX - 0xfff, 0x30_0000, 0x1000, 0x1000),
            ElfError::OutsideFile(1),
        ),
        (
            Header(1, 5, 0, 0x20_0000, 0x1001, 0x1000),
            ElfError::SizesContradict(1),
        ),
        (Header(1, 5, 0, 0x10, 0x10, 0x10), ElfError::BadAddress(1)),
        (
            Header(1, 5, 0, USER_END - 0x1000, 0x1000, 0x1001),
            ElfError::BadAddress(1),
        ),
        (
            Header(1, 5, 0, 0xffff_8000_0000_0000, 0x1000, 0x1000),
            ElfError::BadAddress(1),
        ),
        (Header(1, 5, 0, 0x30_0000, 0, u64::MAX), ElfError::BadAddress(1)),
        (Header(1, 5, 0, 0, 0x10, 0x10), ElfError::BadAddress(1)),
        (Header(1, 5, 0x10, 0x30_0000, 0x10, 0x10), ElfError::Misaligned(1)),
        (Header(1, 5, 0x1234, 0x20_1234, 0x10, 0x10), ElfError::Overlap(1)),
        (Header(1, 5, 0, 0x10_0000, 0x10, 0x10), ElfError::Overlap(1)),
        (
            Header(1, 7, 0, 0x30_0000, 0x10, 0x10),
            ElfError::WritableExecutable(1),
        ),
        (Header(3, 4, 0, 0, 0x10, 0x10), ElfError::NeedsInterpreter),
    ];
    for (header, error) in cases {
        assert_eq!(parse(&[TEXT, header]), Err(error), "{header:x?}");
    }
}

#[test]
fn the_program_as_a_whole_is_checked() {
    assert_eq!(parse(&[Header(2, 4, 0, 0, 0, 0)]), Err(ElfError::NoSegments));
    assert_eq!(
        parse(&[Header(1, 5, 0, 0x20_0000, 0, 0)]),
        Err(ElfError::NoSegments)
    );
    assert_eq!(parse(&[DATA]), Err(ElfError::BadEntry));
    let readable = Header(1, 4, 0, 0x20_0000, 0x1000, 0x1000);
    assert_eq!(
        parse(&[readable]),
        Err(ElfError::BadEntry),
        "entry in a segment without execute"
    );
    let many: std::vec::Vec<_> = (0..9)
        .map(|index| Header(1, 5, 0, 0x20_0000 + index * 0x1000, 0x10, 0x10))
        .collect();
    assert_eq!(parse(&many), Err(ElfError::TooManySegments));
}

/// What the rest of the loader relies on.
fn assert_sound(image: &Image, file_size: u64) {
    let mut previous_end = 0;
    for segment in &image.segments {
        assert!(segment.first_page() >= previous_end && segment.end_page() > segment.first_page());
        assert!(segment.end_page() <= USER_END);
        assert!(segment.file_size <= segment.memory_size);
        assert!(segment.file_size == 0 || segment.file_offset + segment.file_size <= file_size);
        assert!(!segment.access.contains(Access::WRITE | Access::EXECUTE));
        previous_end = segment.end_page();
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), size: u64) {
        if let Ok(image) = Image::parse(&bytes, size) {
            assert_sound(&image, size);
        }
    }

    #[test]
    fn damaged_programs_never_panic(
        changes in prop::collection::vec((0usize..232, any::<u8>()), 0..12),
        kind in 2u16..4,
        size: u64,
        distance: u64,
    ) {
        let mut bytes = file(kind, 0x20_0010, &[TEXT, DATA, DATA]);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Ok(image) = Image::parse(&bytes, size) {
            assert_sound(&image, size);
            if let Ok(moved) = image.moved(distance) {
                assert_sound(&moved, size);
            }
        }
    }

    #[test]
    fn random_entries_for_the_dynamic_linker_never_panic(
        entries in prop::collection::vec((0u64..40, any::<u64>()), 0..300),
        offset: u64,
        size in 0u64..0x5000,
    ) {
        let mut bytes = self_relocating(&entries);
        if let Ok(image) = Image::parse(&bytes, 0x4000) {
            assert_sound(&image, 0x4000);
            let names_libraries = entries.iter().take(256).take_while(|(tag, _)| *tag != 0).any(|(tag, _)| *tag == 1);
            prop_assert!(!names_libraries);
        }
        bytes[64 + 56 + 8..][..8].copy_from_slice(&(offset >> 50).to_le_bytes());
        bytes[64 + 56 + 32..][..8].copy_from_slice(&size.to_le_bytes());
        let _ = Image::parse(&bytes, 0x4000);
    }

    #[test]
    fn random_headers_never_panic(
        headers in prop::collection::vec((0u32..8, 0u32..8, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 0..12),
        entry: u64,
    ) {
        let headers: std::vec::Vec<_> =
            headers.into_iter().map(|(a, b, c, d, e, f)| Header(a, b, c, d >> 17, e >> 40, f >> 40)).collect();
        if let Ok(image) = Image::parse(&file(TYPE_EXECUTABLE, entry, &headers), u64::MAX) {
            assert_sound(&image, u64::MAX);
        }
    }
}
