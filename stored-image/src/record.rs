//! How stored snapshots leave the machine: records, one behind the other, on a console that the host takes into a file.
//!
//! A record is a head of [`HEAD_WORDS`] words (64 bits, lowest byte first): magic, length of the function's name in bytes, length
//! of the file, digest of the other three, the name and the file. Name and file follow.

use crate::Digest;
use alloc::vec::Vec;
use core::fmt;

/// "AerieRec".
const MAGIC: u64 = u64::from_le_bytes(*b"AerieRec");
const HEAD_WORDS: usize = 4;
const HEAD_BYTES: usize = HEAD_WORDS * 8;

/// A stored snapshot with its function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The function.
    pub name: &'a str,
    /// The stored snapshot.
    pub file: &'a [u8],
}

/// Why bytes are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// They end in the middle of one.
    Truncated,
    /// No record begins where one should.
    NotARecord,
    /// A record's digest is not that of its contents, or its name is no text.
    Damaged,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecordFault::Truncated => "what the machine wrote is cut off",
            RecordFault::NotARecord => "the machine wrote something else than records of snapshots",
            RecordFault::Damaged => "a record is damaged: its digest is wrong",
        })
    }
}

impl core::error::Error for RecordFault {}

impl<'a> Record<'a> {
    /// What is to be written before the file: the head and the name.
    pub fn head(&self) -> Vec<u8> {
        let words = [
            MAGIC,
            self.name.len() as u64,
            self.file.len() as u64,
            self.digest(),
        ];
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        bytes.chain(self.name.bytes()).collect()
    }

    /// The records that `bytes` consists of.
    ///
    /// # Errors
    /// [`RecordFault`].
    pub fn read_all(mut bytes: &'a [u8]) -> Result<Vec<Record<'a>>, RecordFault> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (record, rest) = Record::read(bytes)?;
            records.push(record);
            bytes = rest;
        }
        Ok(records)
    }

    /// The first record, and what is behind it.
    fn read(bytes: &'a [u8]) -> Result<(Record<'a>, &'a [u8]), RecordFault> {
        let (head, rest) = bytes
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(RecordFault::Truncated)?;
        let word = |index: usize| {
            let words = head.as_chunks::<8>().0;
            u64::from_le_bytes(words[index])
        };
        if word(0) != MAGIC {
            return Err(RecordFault::NotARecord);
        }
        let part = |from: &'a [u8], length: u64| {
            let length = usize::try_from(length).map_err(|_| RecordFault::Truncated)?;
            from.split_at_checked(length).ok_or(RecordFault::Truncated)
        };
        let (name, rest) = part(rest, word(1))?;
        let (file, rest) = part(rest, word(2))?;
        let name = core::str::from_utf8(name).map_err(|_| RecordFault::Damaged)?;
        let record = Record { name, file };
        if record.digest() != word(3) {
            return Err(RecordFault::Damaged);
        }
        Ok((record, rest))
    }

    /// Of lengths and contents.
    fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        digest.add_bytes(self.name.as_bytes());
        digest.add_bytes(self.file);
        digest.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    const RECORDS: [Record<'_>; 2] = [
        Record {
            name: "hello",
            file: b"0123456789",
        },
        Record { name: "", file: b"" },
    ];

    fn written() -> Vec<u8> {
        let mut bytes = vec![];
        for record in RECORDS {
            bytes.extend(record.head());
            bytes.extend_from_slice(record.file);
        }
        bytes
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        assert_eq!(Record::read_all(&written()), Ok(RECORDS.into()));
        assert_eq!(Record::read_all(&[]), Ok(vec![]));
    }

    #[test]
    fn every_damage_and_every_cut_is_refused() {
        let mut bytes = written();
        for index in 0..bytes.len() {
            bytes[index] ^= 1 << (index % 8);
            assert!(Record::read_all(&bytes).is_err(), "byte {index}");
            bytes[index] ^= 1 << (index % 8);
        }
        let first = RECORDS[0].head().len() + RECORDS[0].file.len();
        for length in 1..bytes.len() {
            let cut = Record::read_all(&bytes[..length]);
            assert_eq!(cut.is_ok(), length == first, "{length}: {cut:?}");
        }
        assert_eq!(Record::read_all(&[7; 64]), Err(RecordFault::NotARecord));
    }
}
