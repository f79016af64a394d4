//! The modules of the boot image.

use alloc::string::String;
use alloc::vec::Vec;
use l4::CapIndex;
use l4::archive::Archive;

/// A module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name in `rom`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its dataspace.
    pub dataspace: CapIndex,
}

/// All modules, in the order of the boot image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// The modules of an archive; the dataspace of the first one is in slot `first`, the others follow.
    pub fn of_archive(archive: &Archive<'_>, first: CapIndex) -> Modules {
        let module = |(index, entry): (u32, l4::archive::Entry<'_>)| Module {
            name: entry.name.into(),
            size: entry.size,
            dataspace: CapIndex(first.0 + index),
        };
        Modules((0..).zip(archive.entries()).map(module).collect())
    }

    /// The module with this name.
    pub fn find(&self, name: &str) -> Option<&Module> {
        self.0.iter().find(|module| module.name == name)
    }

    /// The module with this number.
    pub fn get(&self, index: u64) -> Option<&Module> {
        self.0.get(usize::try_from(index).ok()?)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.0.iter()
    }
}
