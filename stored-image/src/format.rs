//! The file: a head of [`HEAD_BYTES`], a page for the thread's UTCB, and the pages of memory.
//!
//! The head consists of words (64 bits, lowest byte first): magic, version, length of the file in bytes, digest of all other
//! words, build, function, flags, offset of the UTCB's page; the registers; the number of regions; the regions, sorted.

use crate::{Digest, LoadFault};
use alloc::vec::Vec;
use l4::object::CallRegisters;
use l4::region::{Access, Backing};
use l4::{PAGE_SIZE, USER_END};

/// "AerieImg".
const MAGIC: u64 = u64::from_le_bytes(*b"AerieImg");
const VERSION: u64 = 1;
/// Bytes before the first page.
pub(crate) const HEAD_BYTES: u64 = 5 * PAGE_SIZE;
const HEAD_WORDS: usize = HEAD_BYTES as usize / 8;
/// Word of the digest.
pub(crate) const DIGEST_WORD: usize = 3;
const REGISTERS: usize = 8;
const COUNT: usize = REGISTERS + CallRegisters::WORDS;
const ENTRIES: usize = COUNT + 1;
const ENTRY_WORDS: usize = 4;
/// Most regions: with the UTCB's no more than a snapshot can have.
pub(crate) const MAX_REGIONS: usize = 500;
const _: () = assert!(ENTRIES + MAX_REGIONS * ENTRY_WORDS <= HEAD_WORDS);

const FLAG_SINGLE: u64 = 1;

/// Who can use a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Digest of what the system's own part of the task consists of.
    pub build: u64,
    /// Digest of the function's code and configuration.
    pub function: u64,
}

/// What a region of a stored snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// No dataspace.
    Nothing,
    /// The file itself.
    File,
    /// One of the dataspaces that whoever loads it names.
    Named(usize),
}

/// A region of a stored snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) access: Access,
    pub(crate) backing: Backing,
    pub(crate) from: From,
    pub(crate) offset: u64,
}

impl Entry {
    fn words(&self) -> [u64; ENTRY_WORDS] {
        let backing = match self.backing {
            Backing::Anonymous => 0,
            Backing::Shared => 1,
            Backing::Private => 2,
            Backing::Reserved => 3,
        };
        let from = match self.from {
            From::Nothing => 0,
            From::File => 1,
            From::Named(place) => 2 + place as u64,
        };
        let kind = u64::from(self.access.bits()) | backing << 8 | from << 16;
        [self.start, self.size, kind, self.offset]
    }

    fn parse(words: &[u64; ENTRY_WORDS]) -> Option<Entry> {
        let [start, size, kind, offset] = *words;
        let backing = match kind >> 8 & 0xff {
            0 => Backing::Anonymous,
            1 => Backing::Shared,
            2 => Backing::Private,
            3 => Backing::Reserved,
            _ => return None,
        };
        let from = match kind >> 16 {
            0 => From::Nothing,
            1 => From::File,
            place => From::Named(usize::try_from(place - 2).ok()?),
        };
        let shows = matches!(backing, Backing::Shared | Backing::Private);
        if (from == From::Nothing) == shows || (start | size | offset) % PAGE_SIZE != 0 || size == 0 {
            return None;
        }
        Some(Entry {
            start,
            size,
            access: Access::from_bits(kind as u8)?,
            backing,
            from,
            offset,
        })
    }

    fn end(&self) -> Option<u64> {
        self.start.checked_add(self.size).filter(|end| *end <= USER_END)
    }
}

/// A stored snapshot: what its head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    pub(crate) identity: Identity,
    /// Its clones serve one request each.
    pub is_single: bool,
    pub(crate) length: u64,
    pub(crate) utcb_offset: u64,
    pub(crate) registers: CallRegisters,
    pub(crate) regions: Vec<Entry>,
}

impl StoredImage {
    /// Checks the file at the start of `bytes`, of which a task can be made if it is one of `identity`.
    ///
    /// # Errors
    /// [`LoadFault`].
    pub fn parse(bytes: &[u8], identity: Identity) -> Result<StoredImage, LoadFault> {
        let image = StoredImage::read(bytes)?;
        if image.identity.build != identity.build {
            return Err(LoadFault::OtherBuild);
        }
        if image.identity.function != identity.function {
            return Err(LoadFault::OtherFunction);
        }
        Ok(image)
    }

    /// Checks the file at the start of `bytes`, whoever can use it.
    ///
    /// # Errors
    /// [`LoadFault`].
    pub fn read(bytes: &[u8]) -> Result<StoredImage, LoadFault> {
        let words = bytes.as_chunks::<8>().0;
        let word = |index: usize| words.get(index).map(|word| u64::from_le_bytes(*word));
        if word(0).ok_or(LoadFault::Truncated)? != MAGIC {
            return Err(LoadFault::NotASnapshot);
        }
        let version = word(1).ok_or(LoadFault::Truncated)?;
        if version != VERSION {
            return Err(LoadFault::OtherFormat(version));
        }
        let length = word(2).ok_or(LoadFault::Truncated)?;
        let file = usize::try_from(length / 8)
            .ok()
            .and_then(|count| words.get(..count));
        let file = file
            .filter(|file| file.len() >= HEAD_WORDS && length % PAGE_SIZE == 0)
            .ok_or(LoadFault::Truncated)?;
        let mut digest = Digest::new();
        digest.add_words(&file[..DIGEST_WORD]);
        digest.add_words(&file[DIGEST_WORD + 1..]);
        if word(DIGEST_WORD) != Some(digest.finish()) {
            return Err(LoadFault::Damaged);
        }
        let head: Vec<u64> = file[..HEAD_WORDS]
            .iter()
            .map(|word| u64::from_le_bytes(*word))
            .collect();
        StoredImage::from_head(&head).ok_or(LoadFault::BadLayout)
    }

    /// Length of the file in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn from_head(head: &[u64]) -> Option<StoredImage> {
        let count = usize::try_from(*head.get(COUNT)?)
            .ok()
            .filter(|count| *count <= MAX_REGIONS)?;
        let entries = head[ENTRIES..].as_chunks::<ENTRY_WORDS>().0.get(..count)?;
        let registers = head[REGISTERS..COUNT].first_chunk()?;
        let image = StoredImage {
            identity: Identity {
                build: head[4],
                function: head[5],
            },
            is_single: match head[6] {
                0 => false,
                FLAG_SINGLE => true,
                _ => return None,
            },
            length: head[2],
            utcb_offset: head[7],
            registers: CallRegisters::from_words(registers),
            regions: entries.iter().map(Entry::parse).collect::<Option<_>>()?,
        };
        image.is_sound().then_some(image)
    }

    /// Tells whether regions are sorted and lie apart from each other and the UTCB, and pages inside of the file.
    fn is_sound(&self) -> bool {
        let in_file = |offset: u64, size: u64| {
            offset >= HEAD_BYTES && offset.checked_add(size).is_some_and(|end| end <= self.length)
        };
        let utcb = self.registers.utcb;
        if !utcb.is_multiple_of(PAGE_SIZE)
            || utcb >= USER_END
            || !self.utcb_offset.is_multiple_of(PAGE_SIZE)
            || !in_file(self.utcb_offset, PAGE_SIZE)
        {
            return false;
        }
        let mut last = 0;
        self.regions.iter().all(|region| {
            let Some(end) = region.end() else {
                return false;
            };
            let apart = region.start >= last && (end <= utcb || region.start > utcb);
            last = end;
            apart && (region.from != From::File || in_file(region.offset, region.size))
        })
    }

    /// The head without a digest.
    pub(crate) fn head(&self) -> Vec<u64> {
        let flags = if self.is_single { FLAG_SINGLE } else { 0 };
        let Identity { build, function } = self.identity;
        let mut head = Vec::with_capacity(HEAD_WORDS);
        head.extend_from_slice(&[
            MAGIC,
            VERSION,
            self.length,
            0,
            build,
            function,
            flags,
            self.utcb_offset,
        ]);
        head.extend_from_slice(&self.registers.words());
        head.push(self.regions.len() as u64);
        for region in &self.regions {
            head.extend_from_slice(&region.words());
        }
        head.resize(HEAD_WORDS, 0);
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        build: 7,
        function: 8,
    };

    fn entry(page: u64, pages: u64, from: From, offset: u64) -> Entry {
        let backing = if from == From::Nothing {
            Backing::Anonymous
        } else {
            Backing::Private
        };
        Entry {
            start: 0x20_0000 + page * PAGE_SIZE,
            size: pages * PAGE_SIZE,
            access: Access::READ_WRITE,
            backing,
            from,
            offset,
        }
    }

    fn image() -> StoredImage {
        let registers = CallRegisters {
            rip: 0x20_0123,
            utcb: 0x3f_f000,
            ..CallRegisters::default()
        };
        StoredImage {
            identity: IDENTITY,
            is_single: true,
            length: HEAD_BYTES + 3 * PAGE_SIZE,
            utcb_offset: HEAD_BYTES,
            registers,
            regions: vec![
                entry(0, 4, From::Named(1), 0x3000),
                entry(4, 2, From::File, HEAD_BYTES + PAGE_SIZE),
                entry(7, 9, From::Nothing, 0),
            ],
        }
    }

    fn file(image: &StoredImage) -> Vec<u8> {
        let mut words = image.head();
        words.extend((0..3 * 512u64).map(|word| word * 0x1_0001));
        let mut digest = Digest::new();
        let all = words
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != DIGEST_WORD);
        all.for_each(|(_, word)| digest.add(*word));
        words[DIGEST_WORD] = digest.finish();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_file_says_what_was_stored() {
        let mut bytes = file(&image());
        assert_eq!(StoredImage::parse(&bytes, IDENTITY), Ok(image()));
        // A dataspace may be larger than the file.
        bytes.resize(bytes.len() + 4096, 9);
        assert_eq!(StoredImage::parse(&bytes, IDENTITY), Ok(image()));
    }

    #[test]
    fn every_damage_and_every_cut_is_refused() {
        let mut bytes = file(&image());
        for index in 0..bytes.len() {
            bytes[index] ^= 1 << (index % 8);
            assert!(StoredImage::parse(&bytes, IDENTITY).is_err(), "byte {index}");
            bytes[index] ^= 1 << (index % 8);
        }
        for length in (0..bytes.len()).step_by(13) {
            let refused = StoredImage::parse(&bytes[..length], IDENTITY);
            assert_eq!(refused, Err(LoadFault::Truncated), "{length} bytes");
        }
    }

    #[test]
    fn the_reason_is_told() {
        let parse = |bytes: &[u8], identity| StoredImage::parse(bytes, identity).unwrap_err();
        let bytes = file(&image());
        let other = |build, function| Identity { build, function };
        assert_eq!(parse(&bytes, other(1, 8)), LoadFault::OtherBuild);
        assert_eq!(parse(&bytes, other(7, 1)), LoadFault::OtherFunction);
        assert_eq!(parse(&[0; 8], IDENTITY), LoadFault::NotASnapshot);
        let mut newer = bytes.clone();
        newer[8] = 2;
        assert_eq!(parse(&newer, IDENTITY), LoadFault::OtherFormat(2));
        let mut flipped = bytes;
        flipped[HEAD_BYTES as usize + 5] ^= 1;
        assert_eq!(parse(&flipped, IDENTITY), LoadFault::Damaged);
    }

    #[test]
    fn what_makes_no_sense_is_refused_though_the_digest_is_right() {
        let refused = |change: &dyn Fn(&mut StoredImage)| {
            let mut image = image();
            change(&mut image);
            assert_eq!(
                StoredImage::parse(&file(&image), IDENTITY),
                Err(LoadFault::BadLayout)
            );
        };
        refused(&|image| image.utcb_offset = 0);
        refused(&|image| image.utcb_offset = image.length);
        refused(&|image| image.registers.utcb = 0x20_0000);
        refused(&|image| image.registers.utcb += 8);
        refused(&|image| image.registers.utcb = USER_END);
        refused(&|image| image.regions[1].start -= PAGE_SIZE);
        refused(&|image| image.regions[1].offset = 0);
        refused(&|image| image.regions[1].offset = image.length);
        refused(&|image| image.regions[1].offset = 0u64.wrapping_sub(PAGE_SIZE));
        refused(&|image| image.regions[2].size = 0);
        refused(&|image| image.regions[2].size = 0u64.wrapping_sub(PAGE_SIZE));
        refused(&|image| image.regions[2].start += 1);
        refused(&|image| image.regions[2].from = From::File);
        refused(&|image| image.regions.swap(0, 1));
    }

    #[test]
    fn a_head_of_random_words_does_no_harm() {
        let mut state = 1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2_000 {
            let mut head = image().head();
            for _ in 0..1 + random() % 4 {
                let bits = 64 - random() % 64;
                head[random() as usize % (ENTRIES + 12)] = random() >> (64 - bits);
            }
            // What is taken is sound, whatever it was.
            if let Some(image) = StoredImage::from_head(&head) {
                assert!(image.is_sound() && image.regions.len() <= MAX_REGIONS);
            }
        }
    }
}
