//! The images that functions need beside their own code: read once from `rom`, shared by the workers of all clients.

use core::fmt;
use interfaces::faas::{FaasError, ImageFault};
use interfaces::manifest::{DIGESTS, FileDigests};
use interfaces::namespace::{NamespaceClient, NamespaceError};
use l4::object::Dataspace;
use l4::{CapIndex, Error};
use l4_rpc::CallError;
use l4re::memory::SealedView;
use l4re::{Channel, OwnedCap, println};
use loader::{LoadError, Program};
use spin::Once;
use stored_image::Digest;

/// What answers the system calls of Linux programs.
const LINUX_ABI: &str = "linux-abi";
/// The program that runs functions written in Python.
const PYTHON: &str = "python-runtime";

/// A program of the boot image. Its sealed pages are shown in each worker; nothing is copied.
pub(crate) struct RomProgram {
    program: Program,
    /// Length of the file in bytes.
    length: u64,
    /// The file's digest, as soon as somebody has asked.
    digest: Once<u64>,
    /// It goes last.
    file: OwnedCap,
}

/// The images, as far as the boot image has them and the boot script lets the manager see them.
pub(crate) struct Runtimes {
    linux_abi: Option<RomProgram>,
    python: Option<RomProgram>,
}

impl RomProgram {
    /// The program.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// The file.
    pub(crate) fn file(&self) -> CapIndex {
        self.file.index()
    }

    /// The file's digest: that which `rom` tells, else it is computed, once.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn digest(&self) -> Result<u64, Error> {
        let compute = || -> Result<u64, Error> {
            let view = SealedView::attach(Dataspace(self.file.index()))?;
            let length = usize::try_from(self.length).map_err(|_| Error::TooBig)?;
            let mut digest = Digest::new();
            digest.add_bytes(view.bytes().get(..length).ok_or(Error::Range)?);
            Ok(digest.finish())
        };
        self.digest.try_call_once(compute).copied()
    }
}

impl fmt::Debug for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtimes")
            .field(LINUX_ABI, &self.linux_abi.is_some())
            .field(PYTHON, &self.python.is_some())
            .finish()
    }
}

impl Runtimes {
    /// Looks for the images. What is there and is no program is reported in the log, and then as good as absent.
    pub(crate) fn from_rom() -> Runtimes {
        let digests = digests();
        Runtimes {
            linux_abi: find(LINUX_ABI, &digests),
            python: find(PYTHON, &digests),
        }
    }

    /// What answers Linux calls.
    ///
    /// # Errors
    /// [`ImageFault::NoRuntime`] if the boot image does not have it.
    pub(crate) fn linux_abi(&self) -> Result<&RomProgram, FaasError> {
        present(&self.linux_abi)
    }

    /// What runs Python.
    ///
    /// # Errors
    /// [`ImageFault::NoRuntime`] if the boot image does not have it.
    pub(crate) fn python(&self) -> Result<&RomProgram, FaasError> {
        present(&self.python)
    }
}

fn present(program: &Option<RomProgram>) -> Result<&RomProgram, FaasError> {
    program
        .as_ref()
        .ok_or(FaasError::InvalidImage(ImageFault::NoRuntime))
}

/// A file of `rom` and its length in bytes, if it is there.
fn query(name: &str) -> Option<(OwnedCap, u64)> {
    match NamespaceClient::new(Channel(CapIndex::ROM)).query(name) {
        Ok((memory, length)) => Some((OwnedCap::adopt(memory.index()), length)),
        // Without `rom`, or without the module, functions that need it are refused when they are created.
        Err(CallError::Server(NamespaceError::NotFound) | CallError::Protocol(_)) => None,
        Err(CallError::Server(error)) => {
            println!("rom/{name}: {error}");
            None
        }
    }
}

/// What `rom` tells of its files. What it does not tell is computed when it is needed.
fn digests() -> FileDigests {
    let read = || {
        let (file, length) = query(DIGESTS)?;
        let view = SealedView::attach(Dataspace(file.index())).ok()?;
        FileDigests::decode(view.bytes().get(..usize::try_from(length).ok()?)?).ok()
    };
    read().unwrap_or_default()
}

fn find(name: &str, digests: &FileDigests) -> Option<RomProgram> {
    let (file, length) = query(name)?;
    match Program::prepare(Dataspace(file.index()), Some(length)) {
        Ok(program) => Some(RomProgram {
            program,
            length,
            digest: digests.of(name).map_or_else(Once::new, Once::initialized),
            file,
        }),
        Err(error) => {
            report(name, error);
            None
        }
    }
}

fn report(name: &str, error: LoadError) {
    println!("rom/{name} cannot run functions: {error}");
}
