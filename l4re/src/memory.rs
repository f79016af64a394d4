//! Dataspaces and views of them.
#![expect(unsafe_code, reason = "a view is an address range that the kernel fills")]

use crate::slots::{OwnedCap, Slot};
use core::{ptr, slice};
use l4::object::{Dataspace, Factory, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE};

/// Where views and memory are looked for, far from the program.
const AREA: u64 = 0x1_0000_0000;

/// Rounds up to whole pages.
///
/// # Errors
/// [`Error::TooBig`] if that exceeds 64 bits.
pub fn round_up(size: u64) -> Result<u64, Error> {
    size.checked_next_multiple_of(PAGE_SIZE).ok_or(Error::TooBig)
}

/// Creates a dataspace of `size` bytes, paid for by the task's own factory.
///
/// # Errors
/// Those of [`Factory::create_dataspace`]; [`Error::NoSpace`] if no slot is free.
pub fn create_dataspace(size: u64) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| Factory(CapIndex::FACTORY).create_dataspace(size, slot))
}

/// A range of the task's addresses that shows something; dropping it detaches.
#[derive(Debug)]
pub struct Mapping {
    start: u64,
    size: u64,
}

impl Mapping {
    /// Attaches `size` bytes of a dataspace from `offset` on, at an address of the kernel's choice.
    ///
    /// # Errors
    /// Those of [`Task::attach`].
    pub fn attach(dataspace: Dataspace, offset: u64, size: u64, access: Access) -> Result<Mapping, Error> {
        Mapping::new(dataspace.0, offset, size, access, Backing::Shared)
    }

    /// Attaches zeroed memory of the task's own.
    ///
    /// # Errors
    /// Those of [`Task::attach`].
    pub fn anonymous(size: u64) -> Result<Mapping, Error> {
        Mapping::new(CapIndex(0), 0, size, Access::READ_WRITE, Backing::Anonymous)
    }

    fn new(
        cap: CapIndex,
        offset: u64,
        size: u64,
        access: Access,
        backing: Backing,
    ) -> Result<Mapping, Error> {
        let size = round_up(size)?;
        let region = Region {
            start: AREA,
            size,
            access,
            backing,
            search: true,
            dataspace: cap,
            offset,
        };
        let start = Task(CapIndex::TASK).attach(&[region])?;
        Ok(Mapping { start, size })
    }

    /// First address.
    pub fn address(&self) -> u64 {
        self.start
    }

    /// Size in bytes, a multiple of the page size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The memory as a pointer, for what others may change at any time.
    pub fn pointer(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.start as usize)
    }

    /// The address range lives on when the owner is gone.
    pub fn leak(self) -> u64 {
        core::mem::ManuallyDrop::new(self).start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A range that this owner attached can be detached.
        let _ = Task(CapIndex::TASK).detach(self.start, self.size);
    }
}

/// A view of a sealed dataspace. Nobody can change what it shows, so it is a slice of bytes.
#[derive(Debug)]
pub struct SealedView {
    mapping: Mapping,
    length: usize,
}

impl SealedView {
    /// Attaches a sealed dataspace, whole.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] if it is not sealed, [`Error::Invalid`] if it is empty; those of [`Task::attach`].
    pub fn attach(dataspace: Dataspace) -> Result<SealedView, Error> {
        let info = dataspace.info()?;
        if !info.sealed {
            return Err(Error::AccessDenied);
        }
        if info.size == 0 {
            return Err(Error::Invalid);
        }
        let mapping = Mapping::attach(dataspace, 0, info.size, Access::READ)?;
        Ok(SealedView {
            mapping,
            length: info.size as usize,
        })
    }

    /// The contents, up to the last page's end.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: The range is attached while `self` lives, readable, and backed by memory that is immutable for ever.
        // Were its owner to delete the dataspace, an access would fault instead of reading something else.
        unsafe { slice::from_raw_parts(self.mapping.pointer(), self.length) }
    }
}

/// Zeroed memory of the task's own, for one user at a time.
#[derive(Debug)]
pub struct OwnedMemory(Mapping);

impl OwnedMemory {
    /// Takes `size` bytes, rounded up to pages. The account is charged for pages that are used.
    ///
    /// # Errors
    /// Those of [`Task::attach`].
    pub fn allocate(size: u64) -> Result<OwnedMemory, Error> {
        Mapping::anonymous(size).map(OwnedMemory)
    }

    /// The memory.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: The range is attached while `self` lives, writable, zeroed at first, and nobody else knows it.
        unsafe { slice::from_raw_parts_mut(self.0.pointer(), self.0.size() as usize) }
    }
}

/// A writable view of a dataspace that others may change at the same time: bytes are copied in and out, never
/// referred to.
#[derive(Debug)]
pub struct SharedView {
    mapping: Mapping,
}

impl SharedView {
    /// Attaches the first `size` bytes of a dataspace, for reading and writing.
    ///
    /// # Errors
    /// Those of [`Task::attach`].
    pub fn attach(dataspace: Dataspace, size: u64) -> Result<SharedView, Error> {
        Ok(SharedView {
            mapping: Mapping::attach(dataspace, 0, size, Access::READ_WRITE)?,
        })
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Error::Range`] if the view is shorter.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let source = self.range(offset, bytes.len())?;
        // SAFETY: `range` checked that the bytes lie inside the view. A concurrent writer can only mix old and new
        // bytes, and any byte is a valid one.
        unsafe { ptr::copy(source, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::Range`] if the view is shorter.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let target = self.range(offset, bytes.len())?;
        // SAFETY: As in `read`.
        unsafe { ptr::copy(bytes.as_ptr(), target, bytes.len()) };
        Ok(())
    }

    fn range(&self, offset: u64, length: usize) -> Result<*mut u8, Error> {
        let end = offset.checked_add(length as u64).ok_or(Error::Range)?;
        if end > self.mapping.size() {
            return Err(Error::Range);
        }
        Ok(self.mapping.pointer().wrapping_add(offset as usize))
    }
}
