//! Files of the `rom` namespace, and the capability slots that they need.

use alloc::string::String;
use alloc::vec::Vec;

use interfaces::namespace::{NamespaceClient, NamespaceError};
use l4::object::Task;
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE};
use l4_rpc::{CallError, Gate};
use linux_abi::{Errno, RomFile};

use super::message::{Short, Whole};

/// Slots for open files.
pub(super) const SLOTS: u32 = 256;

/// Where views of files are looked for.
const VIEWS: u64 = 0x7e00_0000_0000;

/// An open file.
#[derive(Clone, Copy, Debug)]
struct OpenFile {
    size: u64,
    /// Where it can be read, once that was asked for.
    view: Option<u64>,
}

/// The open files; a file's number plus `first` is the slot of its dataspace.
pub(super) struct Rom {
    first: CapIndex,
    open: Vec<Option<OpenFile>>,
    names: Option<Vec<String>>,
}

impl Rom {
    /// No open files; the slots start at `first`.
    pub(super) const fn new(first: CapIndex) -> Rom {
        Rom {
            first,
            open: Vec::new(),
            names: None,
        }
    }

    /// The slot of an open file's dataspace.
    pub(super) fn slot(&self, file: RomFile) -> CapIndex {
        CapIndex(self.first.0 + file.id)
    }

    pub(super) fn open(&mut self, name: &str) -> Result<RomFile, Errno> {
        let index = match self.open.iter().position(Option::is_none) {
            Some(index) => index,
            None if self.open.len() < SLOTS as usize => {
                self.open.push(None);
                self.open.len() - 1
            }
            None => return Err(Errno::MFILE),
        };
        let id = index as u32;
        let slot = self.slot(RomFile { id, size: 0 });
        let _message = Whole::new();
        let (_, size) = NamespaceClient::new(Gate::new(CapIndex::ROM).receive(&[slot]))
            .query(name)
            .map_err(errno)?;
        self.open[index] = Some(OpenFile { size, view: None });
        Ok(RomFile { id, size })
    }

    /// Where the file's contents can be read.
    pub(super) fn view(&mut self, file: RomFile) -> Result<u64, Errno> {
        let slot = self.slot(file);
        let open = self
            .open
            .get_mut(file.id as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)?;
        if let Some(view) = open.view {
            return Ok(view);
        }
        let _message = Short::new();
        let view = Task(CapIndex::TASK).attach(&[Region {
            start: VIEWS,
            size: open.size.next_multiple_of(PAGE_SIZE),
            access: Access::READ,
            backing: Backing::Shared,
            search: true,
            dataspace: slot,
            offset: 0,
        }])?;
        open.view = Some(view);
        Ok(view)
    }

    pub(super) fn close(&mut self, file: RomFile) {
        let slot = self.slot(file);
        let Some(open) = self.open.get_mut(file.id as usize).and_then(Option::take) else {
            return;
        };
        let _message = Short::new();
        let task = Task(CapIndex::TASK);
        // Both can only fail if the program removed what was there with native calls, and then it is gone as well.
        if let Some(view) = open.view {
            let _ = task.detach(view, open.size.next_multiple_of(PAGE_SIZE));
        }
        let _ = task.drop_cap(slot);
    }

    /// All names; they never change.
    pub(super) fn names(&mut self) -> Vec<String> {
        let names = self.names.get_or_insert_with(|| {
            let _message = Whole::new();
            let client = NamespaceClient::new(Gate::new(CapIndex::ROM));
            let entries = (0..).map_while(|index| client.list(index).ok().flatten());
            entries.map(|(name, _)| name).collect()
        });
        names.clone()
    }
}

fn errno(error: CallError<NamespaceError>) -> Errno {
    match error {
        CallError::Server(NamespaceError::NotFound) => Errno::NOENT,
        CallError::Server(NamespaceError::InvalidName) => Errno::NAMETOOLONG,
        // Without the capability there is no such file.
        CallError::Protocol(Error::Ipc(_)) => Errno::NOENT,
        CallError::Protocol(other) => Errno::from(other),
    }
}
