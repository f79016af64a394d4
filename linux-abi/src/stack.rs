//! The stack that a program finds at its start (System V ABI, AMD64 supplement, 3.4.1).
//!
//! From the stack pointer up: argc, the pointers of the arguments, a null pointer, those of the environment, a null
//! pointer, pairs of (type, value) that end with type 0, and then the texts that these point to.

use alloc::vec::Vec;

/// Types of the auxiliary vector's entries.
#[expect(missing_docs, reason = "the names are those of getauxval(3)")]
pub mod auxv {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const EXECFN: u64 = 31;
    pub const SYSINFO_EHDR: u64 = 33;
    pub const MINSIGSTKSZ: u64 = 51;
    /// Aerie's own: the table of named capabilities.
    pub const L4_ENV: u64 = 0xf1;
}

/// An entry of the auxiliary vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuxEntry<'a> {
    /// Its type.
    pub key: u64,
    /// A number, or bytes that the entry shall point to.
    pub value: AuxValue<'a>,
}

/// Value of an [`AuxEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuxValue<'a> {
    /// A number, or the address of something that is there already.
    Number(u64),
    /// These bytes, aligned to 16.
    Bytes(&'a [u8]),
    /// This text, with a NUL byte behind it.
    Text(&'a [u8]),
}

/// What a program is told at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialStack<'a> {
    /// The arguments, the program's name first; no NUL bytes.
    pub arguments: Vec<&'a [u8]>,
    /// `NAME=value`.
    pub environment: Vec<&'a [u8]>,
    /// The auxiliary vector without its end.
    pub auxiliary: Vec<AuxEntry<'a>>,
}

/// A stack that is ready to be copied to where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackImage {
    /// The bytes from the stack pointer up to the stack's end.
    pub bytes: Vec<u8>,
    /// Where the bytes start: the program's first stack pointer, a multiple of 16.
    pub pointer: u64,
}

const ALIGNMENT: usize = 16;

impl InitialStack<'_> {
    /// Lays the stack out so that it ends at `top`, a multiple of 16.
    pub fn layout(&self, top: u64) -> StackImage {
        let mut texts = Texts::new(top, self.text_size());
        let mut words = Vec::new();
        words.push(self.arguments.len() as u64);
        for list in [&self.arguments, &self.environment] {
            words.extend(list.iter().map(|text| texts.text(text)));
            words.push(0);
        }
        for entry in &self.auxiliary {
            let value = match entry.value {
                AuxValue::Number(number) => number,
                AuxValue::Bytes(bytes) => texts.aligned(bytes),
                AuxValue::Text(text) => texts.text(text),
            };
            words.extend([entry.key, value]);
        }
        words.extend([auxv::NULL, 0]);
        let size = (words.len() * 8).next_multiple_of(ALIGNMENT);
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(size, 0);
        bytes.append(&mut texts.bytes);
        StackImage {
            pointer: texts.start - size as u64,
            bytes,
        }
    }

    /// An upper bound of what all texts need.
    fn text_size(&self) -> usize {
        let texts = self
            .arguments
            .iter()
            .chain(&self.environment)
            .map(|text| text.len() + 1);
        let values = self.auxiliary.iter().map(|entry| match entry.value {
            AuxValue::Number(_) => 0,
            AuxValue::Bytes(bytes) => bytes.len() + ALIGNMENT,
            AuxValue::Text(text) => text.len() + 1,
        });
        (texts.sum::<usize>() + values.sum::<usize>()).next_multiple_of(ALIGNMENT)
    }
}

/// The upper part of the stack, filled from its start.
struct Texts {
    start: u64,
    used: usize,
    bytes: Vec<u8>,
}

impl Texts {
    fn new(top: u64, size: usize) -> Texts {
        Texts {
            start: top - size as u64,
            used: 0,
            bytes: alloc::vec![0; size],
        }
    }

    fn put(&mut self, bytes: &[u8]) -> u64 {
        let address = self.start + self.used as u64;
        self.bytes[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
        address
    }

    fn text(&mut self, text: &[u8]) -> u64 {
        let address = self.put(text);
        self.used += 1;
        address
    }

    fn aligned(&mut self, bytes: &[u8]) -> u64 {
        self.used = self.used.next_multiple_of(ALIGNMENT);
        self.put(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 0x7fff_0000_0000;

    fn word(image: &StackImage, index: usize) -> u64 {
        let at = index * 8;
        u64::from_le_bytes(image.bytes[at..at + 8].try_into().unwrap())
    }

    fn text(image: &StackImage, address: u64) -> Vec<u8> {
        let from = (address - image.pointer) as usize;
        image.bytes[from..]
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect()
    }

    proptest! {
        #[test]
        fn everything_is_found_where_the_abi_says(
            arguments in prop::collection::vec("[a-z]{0,20}", 0..6),
            environment in prop::collection::vec("[A-Z]{1,9}=[a-z]{0,20}", 0..6),
            bytes in prop::array::uniform16(1u8..),
        ) {
            let stack = InitialStack {
                arguments: arguments.iter().map(|text| text.as_bytes()).collect(),
                environment: environment.iter().map(|text| text.as_bytes()).collect(),
                auxiliary: std::vec![
                    AuxEntry { key: auxv::PAGESZ, value: AuxValue::Number(4096) },
                    AuxEntry { key: auxv::RANDOM, value: AuxValue::Bytes(&bytes) },
                    AuxEntry { key: auxv::EXECFN, value: AuxValue::Text(b"/rom/x") },
                ],
            };
            let image = stack.layout(TOP);
            prop_assert_eq!(image.pointer % 16, 0);
            prop_assert_eq!(image.pointer + image.bytes.len() as u64, TOP);
            prop_assert_eq!(word(&image, 0), arguments.len() as u64);
            let mut at = 1;
            for list in [&arguments, &environment] {
                for expected in list {
                    prop_assert_eq!(text(&image, word(&image, at)), expected.as_bytes());
                    at += 1;
                }
                prop_assert_eq!(word(&image, at), 0);
                at += 1;
            }
            prop_assert_eq!((word(&image, at), word(&image, at + 1)), (auxv::PAGESZ, 4096));
            let random = word(&image, at + 3);
            prop_assert_eq!(random % 16, 0);
            let from = (random - image.pointer) as usize;
            prop_assert_eq!(&image.bytes[from..from + 16], &bytes);
            prop_assert_eq!(text(&image, word(&image, at + 5)), b"/rom/x");
            prop_assert_eq!((word(&image, at + 6), word(&image, at + 7)), (0, 0));
        }
    }
}
