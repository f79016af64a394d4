//! The initial stack, as Linux programs expect it (AMD64 supplement of the System V ABI, §3.4.1), with the start block
//! of [`l4re::env`].

use crate::LoadError;
use alloc::vec::Vec;
use l4::CapIndex;
use l4re::env;

/// Most bytes of arguments, variables and names, and of all that points to them.
const LIMIT: usize = 64 << 10;

const AT_NULL: u64 = 0;
const AT_RANDOM: u64 = 25;

/// A capability that the program finds by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedCap<'a> {
    /// The name, 1 to 15 bytes.
    pub name: &'a str,
    /// The launcher's slot.
    pub cap: CapIndex,
    /// Rights to pass on.
    pub rights: l4::Rights,
    /// For gates whose server right the launcher has: the label of the new capability, if not 0.
    pub label: u64,
}

/// What a program is told at its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arguments<'a> {
    /// Its name and arguments.
    pub arguments: &'a [&'a str],
    /// Variables, each `NAME=VALUE`.
    pub variables: &'a [&'a str],
    /// Capabilities to find by name.
    pub caps: &'a [NamedCap<'a>],
}

/// Where things are; the rest of what the stack tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) auxiliary: &'a [(u64, u64)],
    pub(crate) random: [u64; 2],
    pub(crate) info_page: u64,
}

/// Contents of the memory below the stack's top, and the stack pointer to start with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InitialStack {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pointer: u64,
}

/// The slot of the named capability with this index: they fill the slots from the first free one on.
pub const fn named_slot(index: usize) -> CapIndex {
    CapIndex(CapIndex::FIRST_FREE.0 + index as u32)
}

impl InitialStack {
    /// Lays out a stack that ends at `top`, a multiple of 16.
    pub(crate) fn build(
        top: u64,
        arguments: &Arguments<'_>,
        facts: &Facts<'_>,
    ) -> Result<InitialStack, LoadError> {
        let mut block = block_words(arguments, facts.info_page)?;
        block.extend(facts.random);
        let strings = strings_of(arguments)?;
        let pointer_count = arguments.arguments.len() + arguments.variables.len();
        // argc, two nulls, and the auxiliary vector with its last two entries and end.
        let words = 3 + pointer_count + 2 * (facts.auxiliary.len() + 3);
        let size = (8 * (words + block.len()) + strings.len()).next_multiple_of(16);
        if size > LIMIT {
            return Err(LoadError::BadArguments);
        }
        let pointer = top - size as u64;
        let block_address = pointer + 8 * words as u64;
        let random_address = block_address + 8 * (block.len() - 2) as u64;
        let mut string_address = block_address + 8 * block.len() as u64;
        let mut bytes = Vec::with_capacity(size);
        let mut put = |word: u64| bytes.extend(word.to_le_bytes());
        put(arguments.arguments.len() as u64);
        for list in [arguments.arguments, arguments.variables] {
            for text in list {
                put(string_address);
                string_address += text.len() as u64 + 1;
            }
            put(0);
        }
        let last = [
            (AT_RANDOM, random_address),
            (env::AT_L4_ENV, block_address),
            (AT_NULL, 0),
        ];
        for (kind, value) in facts.auxiliary.iter().copied().chain(last) {
            put(kind);
            put(value);
        }
        block.into_iter().for_each(put);
        bytes.extend(strings);
        bytes.resize(size, 0);
        Ok(InitialStack { bytes, pointer })
    }
}

fn block_words(arguments: &Arguments<'_>, info_page: u64) -> Result<Vec<u64>, LoadError> {
    let mut words = Vec::new();
    words.extend([named_slot(arguments.caps.len()).word(), info_page]);
    for (index, cap) in arguments.caps.iter().enumerate() {
        if cap.name.is_empty() || cap.name.len() > env::MAX_NAME || cap.name.contains('\0') {
            return Err(LoadError::BadArguments);
        }
        let mut name = [0; 16];
        name[..cap.name.len()].copy_from_slice(cap.name.as_bytes());
        let name = u128::from_le_bytes(name);
        words.extend([name as u64, (name >> 64) as u64, named_slot(index).word()]);
    }
    words.extend([0; env::BLOCK_ENTRY_WORDS]);
    Ok(words)
}

fn strings_of(arguments: &Arguments<'_>) -> Result<Vec<u8>, LoadError> {
    let mut strings = Vec::new();
    for text in arguments.arguments.iter().chain(arguments.variables) {
        if text.contains('\0') || strings.len() + text.len() >= LIMIT {
            return Err(LoadError::BadArguments);
        }
        strings.extend(text.as_bytes());
        strings.push(0);
    }
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use l4::Rights;

    const FACTS: Facts<'static> = Facts {
        auxiliary: &[(6, 4096), (9, 0x40_1000)],
        random: [11, 12],
        info_page: 0x3f_e000,
    };
    const TOP: u64 = 0x3f_c000;

    fn word(stack: &InitialStack, address: u64) -> u64 {
        let at = (address - stack.pointer) as usize;
        u64::from_le_bytes(stack.bytes[at..at + 8].try_into().unwrap())
    }

    fn text(stack: &InitialStack, address: u64) -> &str {
        let bytes = &stack.bytes[(address - stack.pointer) as usize..];
        std::ffi::CStr::from_bytes_until_nul(bytes)
            .unwrap()
            .to_str()
            .unwrap()
    }

    fn named(name: &str) -> NamedCap<'_> {
        NamedCap {
            name,
            cap: CapIndex(0x99),
            rights: Rights::READ,
            label: 0,
        }
    }

    #[test]
    fn a_program_finds_all_of_it() {
        let arguments = Arguments {
            arguments: &["ned", "rom/x.cfg", ""],
            variables: &["A=1"],
            caps: &[named("rom"), named("a-15-byte-name!")],
        };
        let stack = InitialStack::build(TOP, &arguments, &FACTS).unwrap();
        let sp = stack.pointer;
        assert_eq!((sp % 16, sp + stack.bytes.len() as u64), (0, TOP));
        assert_eq!(word(&stack, sp), 3);
        assert_eq!(text(&stack, word(&stack, sp + 8)), "ned");
        assert_eq!(text(&stack, word(&stack, sp + 16)), "rom/x.cfg");
        assert_eq!(text(&stack, word(&stack, sp + 24)), "");
        assert_eq!(word(&stack, sp + 32), 0);
        assert_eq!(text(&stack, word(&stack, sp + 40)), "A=1");
        assert_eq!(word(&stack, sp + 48), 0);
        let auxiliary: std::vec::Vec<_> = (0..5)
            .map(|index| {
                (
                    word(&stack, sp + 56 + 16 * index),
                    word(&stack, sp + 64 + 16 * index),
                )
            })
            .collect();
        assert_eq!(auxiliary[..2], [(6, 4096), (9, 0x40_1000)]);
        assert_eq!(
            (auxiliary[2].0, auxiliary[3].0, auxiliary[4]),
            (AT_RANDOM, env::AT_L4_ENV, (0, 0))
        );
        assert_eq!(
            (word(&stack, auxiliary[2].1), word(&stack, auxiliary[2].1 + 8)),
            (11, 12)
        );
        let block = auxiliary[3].1;
        assert_eq!((word(&stack, block), word(&stack, block + 8)), (0x18, 0x3f_e000));
        assert_eq!(
            (text(&stack, block + 16), word(&stack, block + 32)),
            ("rom", 0x16)
        );
        assert_eq!(
            (text(&stack, block + 40), word(&stack, block + 56)),
            ("a-15-byte-name!", 0x17)
        );
        assert_eq!(word(&stack, block + 64), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = "x".repeat(LIMIT);
        let half = "x".repeat(LIMIT / 2);
        let bad = |arguments: Arguments<'_>| {
            assert_eq!(
                InitialStack::build(TOP, &arguments, &FACTS),
                Err(LoadError::BadArguments)
            );
        };
        bad(Arguments {
            arguments: &[&long],
            ..Arguments::default()
        });
        bad(Arguments {
            arguments: &[&half, &half],
            ..Arguments::default()
        });
        bad(Arguments {
            arguments: &["a\0b"],
            ..Arguments::default()
        });
        bad(Arguments {
            variables: &["a\0b"],
            ..Arguments::default()
        });
        for name in ["", "a-name-of-16-byt", "a\0b"] {
            bad(Arguments {
                caps: &[named(name)],
                ..Arguments::default()
            });
        }
    }

    #[test]
    fn nothing_to_tell_is_fine() {
        let stack = InitialStack::build(TOP, &Arguments::default(), &FACTS).unwrap();
        assert_eq!(
            (word(&stack, stack.pointer), word(&stack, stack.pointer + 8)),
            (0, 0)
        );
    }
}
