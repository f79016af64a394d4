//! Stored snapshots of functions: written for a client, and made workers that wait for their first request.

use crate::image::Image;
use crate::program::Program;
use interfaces::faas::{FaasError, RestoreFault, StoreFault};
use l4::object::{Dataspace, Factory, MapEntry, Task};
use l4::{CapIndex, Error};
use l4re::OwnedCap;
use l4re::memory::SealedView;
use loader::Launched;
use stored_image::{LoadFault, Source, StoreError, StoredImage, store};

/// A file with a snapshot of a program, which was checked.
pub(crate) struct Stored {
    image: StoredImage,
    file: OwnedCap,
    is_required: bool,
}

/// Why a file is of no use.
pub(crate) enum Unusable {
    /// What it says.
    Fault(LoadFault),
    /// It, or what it is compared with, can't be mapped.
    Kernel(Error),
    /// It can't be kept.
    Unreadable(FaasError),
}

impl Unusable {
    /// What clients are told.
    pub(crate) fn fault(&self) -> RestoreFault {
        match self {
            Unusable::Fault(fault) => match fault {
                LoadFault::Truncated => RestoreFault::Truncated,
                LoadFault::NotASnapshot => RestoreFault::NotASnapshot,
                LoadFault::OtherFormat(_) => RestoreFault::OtherFormat,
                LoadFault::Damaged => RestoreFault::Damaged,
                LoadFault::OtherBuild => RestoreFault::OtherBuild,
                LoadFault::OtherFunction => RestoreFault::OtherFunction,
                LoadFault::BadLayout => RestoreFault::BadLayout,
            },
            Unusable::Kernel(_) | Unusable::Unreadable(_) => RestoreFault::Refused,
        }
    }
}

impl core::fmt::Display for Unusable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Unusable::Fault(fault) => write!(f, "{fault}"),
            Unusable::Kernel(error) => write!(f, "{error}"),
            Unusable::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Unusable {
        Unusable::Kernel(error)
    }
}

impl Stored {
    /// Checks a sealed file, which has to be one of `program`.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(crate) fn check(file: OwnedCap, is_required: bool, program: &Program) -> Result<Stored, Unusable> {
        let identity = program.identity()?;
        let view = SealedView::attach(Dataspace(file.index()))?;
        let image = StoredImage::parse(view.bytes(), identity).map_err(Unusable::Fault)?;
        drop(view);
        Ok(Stored {
            image,
            file,
            is_required,
        })
    }

    /// Whether there is nothing else to begin from.
    pub(crate) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Whether its clones serve one request each.
    pub(crate) fn is_single(&self) -> bool {
        self.image.is_single
    }

    /// Makes a task of it, in free slots, whose thread waits. `capabilities` are what the task gets besides itself and its
    /// thread; `named` is what the program names.
    ///
    /// # Errors
    /// The kernel's; nothing is left then but the account.
    pub(crate) fn fill(
        &self,
        account: CapIndex,
        named: &[CapIndex],
        capabilities: &[MapEntry],
        slots: Launched,
    ) -> Result<(), Error> {
        Factory(account).create_task(slots.task)?;
        let task = Task(slots.task);
        let filled = self
            .image
            .fill(account, task, slots.thread, self.file.index(), named)
            .and_then(|()| task.map(capabilities));
        filled.inspect_err(|_| {
            // The error to report is the first one.
            let own = Task(CapIndex::TASK);
            let _ = own.delete(slots.task);
            let _ = own.drop_cap(slots.thread);
        })
    }
}

/// Writes the snapshot of a program's worker to a dataspace, and returns the file's length. If that is more than the dataspace has,
/// nothing was written.
///
/// # Errors
/// [`FaasError::NotStorable`]; [`FaasError::InvalidPayload`] if the dataspace can't be written.
pub(crate) fn write(
    program: &Program,
    image: &Image,
    is_single: bool,
    to: Dataspace,
) -> Result<u64, FaasError> {
    let size = to.info().map_err(|_| FaasError::InvalidPayload)?.size;
    let source = Source {
        snapshot: image.snapshot(),
        named: program.named(),
        slots: &program.worker_slots(),
        identity: program.identity()?,
        is_single,
    };
    store(&source, to, size).map_err(|error| match error {
        StoreError::Capability(_) => FaasError::NotStorable(StoreFault::Capabilities),
        StoreError::ChangingMemory(_) => FaasError::NotStorable(StoreFault::ChangingMemory),
        StoreError::TooManyRegions => FaasError::NotStorable(StoreFault::TooComplex),
        StoreError::Kernel(Error::AccessDenied | Error::NotPermitted | Error::NotFound | Error::Invalid) => {
            FaasError::InvalidPayload
        }
        StoreError::Kernel(error) => error.into(),
    })
}
