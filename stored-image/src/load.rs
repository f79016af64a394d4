//! A task from a stored snapshot.

use crate::StoredImage;
use crate::format::From;
use alloc::vec::Vec;
use l4::object::{Dataspace, Factory, Task, Thread};
use l4::region::{Backing, Region};
use l4::{CapIndex, Error};

/// Most regions of one attach call.
const ATTACH_MAX: usize = 12;

impl StoredImage {
    /// Gives the empty task `task` the snapshot's memory, and a thread in the free slot `thread`; `account` pays. `file` is the
    /// sealed dataspace that [`Self::parse`] read, `named` the dataspaces that [`crate::store`] was given. The thread waits as
    /// the snapshot's did: freeze the task, do not start it.
    ///
    /// # Errors
    /// The kernel's: of attaching regions, and [`Error::NoMemory`]. [`Error::Range`] if the snapshot shows a dataspace that is not
    /// named. The task is to be deleted then.
    pub fn fill(
        &self,
        account: CapIndex,
        task: Task,
        thread: CapIndex,
        file: CapIndex,
        named: &[CapIndex],
    ) -> Result<(), Error> {
        Factory(account).create_thread(task, self.registers.utcb, CapIndex::NONE, 0, thread)?;
        let regions = self.attachable(file, named)?;
        for part in regions.chunks(ATTACH_MAX) {
            task.attach(part)?;
        }
        for region in regions.iter().filter(|region| region.backing == Backing::Private) {
            task.show(region.start, region.size)?;
        }
        Thread(thread).restore(Dataspace(file), self.utcb_offset, &self.registers)
    }

    fn attachable(&self, file: CapIndex, named: &[CapIndex]) -> Result<Vec<Region>, Error> {
        let regions = self.regions.iter().map(|entry| {
            let dataspace = match entry.from {
                From::Nothing => CapIndex(0),
                From::File => file,
                From::Named(place) => *named.get(place).ok_or(Error::Range)?,
            };
            Ok(Region {
                start: entry.start,
                size: entry.size,
                access: entry.access,
                backing: entry.backing,
                search: false,
                dataspace,
                offset: entry.offset,
            })
        });
        regions.collect()
    }
}
