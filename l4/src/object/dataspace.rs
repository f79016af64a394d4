use super::request;
use crate::protocol::{DATASPACE, dataspace};
use crate::{CapIndex, Error, Tag, Utcb, syscall};

/// A dataspace: memory with a size, shown in tasks by regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dataspace(pub CapIndex);

/// Properties of a dataspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataspaceInfo {
    /// Size in bytes, a multiple of the page size.
    pub size: u64,
    /// Immutable for ever.
    pub sealed: bool,
    /// Backed by fixed frames: a boot module or device memory.
    pub fixed: bool,
}

impl Dataspace {
    /// Most bytes of one [`Self::write`] or [`Self::read`].
    pub const CHUNK: usize = 60 * 8;

    /// Size and state (any right).
    pub fn info(self) -> Result<DataspaceInfo, Error> {
        request(self.0, DATASPACE, &[dataspace::INFO])?;
        let utcb = Utcb::current();
        let flags = utcb.word(1);
        Ok(DataspaceInfo {
            size: utcb.word(0),
            sealed: flags & dataspace::SEALED != 0,
            fixed: flags & dataspace::FIXED != 0,
        })
    }

    /// Makes the contents immutable for ever (write right): writable views become read-only.
    pub fn seal(self) -> Result<(), Error> {
        // The kernel does a bounded piece at a time; 0 says that nothing is left.
        while request(self.0, DATASPACE, &[dataspace::SEAL])? != 0 {}
        Ok(())
    }

    /// Zeroes a page-aligned range and gives its frames back (write right).
    pub fn clear(self, offset: u64, size: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < size {
            request(self.0, DATASPACE, &[dataspace::CLEAR, offset + done, size - done])?;
            done += Utcb::current().word(0).max(1);
        }
        Ok(())
    }

    /// Copies `size` bytes from `source` (read right there, write right here). The kernel copies up to 64 KiB a
    /// call; this calls it as often as needed.
    pub fn copy_in(self, offset: u64, source: Dataspace, source_offset: u64, size: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < size {
            let words = [
                dataspace::COPY_IN,
                offset + done,
                source.0.word(),
                source_offset + done,
                size - done,
            ];
            request(self.0, DATASPACE, &words)?;
            done += Utcb::current().word(0).max(1);
        }
        Ok(())
    }

    /// Writes bytes at any offset (write right).
    pub fn write(self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        for (index, chunk) in bytes.chunks(Self::CHUNK).enumerate() {
            let utcb = Utcb::current();
            utcb.write(
                0,
                &[
                    dataspace::WRITE,
                    offset + (index * Self::CHUNK) as u64,
                    chunk.len() as u64,
                ],
            );
            let words = utcb.write_bytes(3, chunk);
            syscall::call(self.0, Tag::new(DATASPACE, 3 + words, 0)).result()?;
        }
        Ok(())
    }

    /// Reads bytes from any offset (read right).
    pub fn read(self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        for (index, chunk) in bytes.chunks_mut(Self::CHUNK).enumerate() {
            request(
                self.0,
                DATASPACE,
                &[
                    dataspace::READ,
                    offset + (index * Self::CHUNK) as u64,
                    chunk.len() as u64,
                ],
            )?;
            Utcb::current().read_bytes(0, chunk);
        }
        Ok(())
    }
}
