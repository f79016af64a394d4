//! Dataspaces that clients gave: kept so that nobody changes them or takes them away.

use super::{Machine, drop_cap};
use interfaces::faas::{FaasError, ImageFault};
use l4::object::{Dataspace, Factory, MapEntry, Task};
use l4::{CapIndex, Error, Rights};
use l4re::{OwnedCap, Slot, memory};

impl Machine {
    /// A sealed copy of the first `length` bytes of a dataspace, in a slot of the pool.
    pub(super) fn sealed_copy(
        &mut self,
        source: CapIndex,
        length: u64,
        account: CapIndex,
    ) -> Result<CapIndex, Error> {
        let size = memory::round_up(length)?;
        let slot = self.pool.pop().ok_or(Error::NoSpace)?;
        let copied = Factory(account).create_dataspace(size, slot).and_then(|copy| {
            copy.copy_in(0, Dataspace(source), 0, length)?;
            copy.seal()
        });
        if copied.is_err() {
            drop_cap(slot);
            self.pool.push(slot);
        }
        copied.map(|()| slot)
    }

    /// A dataspace with a stored snapshot that nobody can change or take away, as [`Self::keep_code`].
    pub(super) fn keep_file(&mut self, file: CapIndex) -> Result<OwnedCap, FaasError> {
        let size = Dataspace(file)
            .info()
            .map_err(|_| FaasError::InvalidPayload)?
            .size;
        self.keep_code(file, size)
    }

    /// A dataspace with the code that neither the client nor anybody else can change or take away: that of a boot
    /// module itself, else a copy.
    pub(super) fn keep_code(&mut self, code: CapIndex, length: u64) -> Result<OwnedCap, FaasError> {
        let info = Dataspace(code).info().map_err(|_| FaasError::InvalidPayload)?;
        if info.size < length {
            return Err(FaasError::InvalidImage(ImageFault::TooLarge));
        }
        if info.sealed && info.fixed {
            let copy = |slot| Task(CapIndex::TASK).map(&[MapEntry::copy(code, slot, Rights::READ)]);
            return Slot::fill(copy).map_err(FaasError::from);
        }
        let too_large = |error| match error {
            Error::NoMemory => FaasError::InvalidImage(ImageFault::TooLarge),
            other => FaasError::from(other),
        };
        let copy = self.sealed_copy(code, length, self.account).map_err(too_large)?;
        // The program owns the slot from now on; the pool gets another one.
        let replacement = Slot::allocate().map_err(FaasError::from)?;
        self.pool.push(replacement.filled().leak());
        Ok(OwnedCap::adopt(copy))
    }
}
