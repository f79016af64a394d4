//! Operations of dataspaces.

use super::call::{Call, DONE, Outcome};
use crate::memory::Dataspace;
use l4::protocol::dataspace;
use l4::{Error, Rights, Tag};

/// Work of one piece, in pages and views.
const PIECE: u32 = 256;
/// Message words before the data of a write.
const WRITE_HEADER: usize = 3;

pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<Dataspace>()?;
    match call.word(0)? {
        dataspace::INFO => {
            let info = target.info();
            let mut flags = if info.sealed { dataspace::SEALED } else { 0 };
            if info.fixed {
                flags |= dataspace::FIXED;
            }
            call.answer(&[info.size, flags])
        }
        dataspace::READ => call.need(Rights::READ).and_then(|()| read(call, &target)),
        operation => {
            call.need(Rights::WRITE)?;
            change(call, &target, operation)
        }
    }
}

fn change(call: &Call, target: &Dataspace, operation: u64) -> Result<Outcome, Error> {
    match operation {
        // Both are done in pieces: the caller asks again until nothing is left to do.
        dataspace::SEAL => {
            let done = target.seal(&mut { PIECE })?;
            Ok(Outcome::Done {
                value: i64::from(!done),
                words: 0,
            })
        }
        dataspace::CLEAR => call.answer(&[target.clear(call.word(1)?, call.word(2)?, &mut { PIECE })?]),
        dataspace::WRITE => write(call, target),
        dataspace::COPY_IN => {
            let source = call.argument::<Dataspace>(2, Rights::READ)?;
            let done = target.copy_in(call.word(1)?, &source, call.word(3)?, call.word(4)?)?;
            call.answer(&[done])
        }
        _ => Err(Error::NoSystemCall),
    }
}

fn read(call: &Call, target: &Dataspace) -> Result<Outcome, Error> {
    let (offset, length) = (call.word(1)?, call.word(2)?);
    let mut bytes = [0; Tag::MAX_WORDS * 8];
    let length = usize::try_from(length).map_err(|_| Error::TooBig)?;
    let wanted = bytes.get_mut(..length).ok_or(Error::TooBig)?;
    target.read(offset, wanted)?;
    let words = length.div_ceil(8);
    for (index, chunk) in bytes.chunks_exact(8).take(words).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        call.utcb().set(index, u64::from_le_bytes(word));
    }
    Ok(Outcome::Done { value: 0, words })
}

fn write(call: &Call, target: &Dataspace) -> Result<Outcome, Error> {
    let (offset, length) = (call.word(1)?, call.word(2)?);
    let length = usize::try_from(length).map_err(|_| Error::TooBig)?;
    let mut bytes = [0; Tag::MAX_WORDS * 8];
    let wanted = bytes.get_mut(..length).ok_or(Error::TooBig)?;
    call_bytes(call, WRITE_HEADER, wanted)?;
    target.write(offset, wanted).and(DONE)
}

/// Copies bytes out of the message from word `start` on.
pub(super) fn call_bytes(call: &Call, start: usize, bytes: &mut [u8]) -> Result<(), Error> {
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = call.word(start + index)?.to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    Ok(())
}
