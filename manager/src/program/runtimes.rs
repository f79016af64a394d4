//! The images that functions need beside their own code: read once from `rom`, shared by the workers of all clients.

use core::fmt;
use interfaces::faas::{FaasError, ImageFault};
use interfaces::namespace::{NamespaceClient, NamespaceError};
use l4::CapIndex;
use l4::object::Dataspace;
use l4_rpc::CallError;
use l4re::{Channel, OwnedCap, println};
use loader::{LoadError, Program};

/// What answers the system calls of Linux programs.
const LINUX_ABI: &str = "linux-abi";
/// The program that runs functions written in Python.
const PYTHON: &str = "python-runtime";

/// A program of the boot image. Its sealed pages are shown in each worker; nothing is copied.
pub(crate) struct RomProgram {
    program: Program,
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
        Runtimes {
            linux_abi: find(LINUX_ABI),
            python: find(PYTHON),
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

fn find(name: &str) -> Option<RomProgram> {
    let (file, length) = match NamespaceClient::new(Channel(CapIndex::ROM)).query(name) {
        Ok((memory, length)) => (OwnedCap::adopt(memory.index()), length),
        // Without `rom`, or without the module, functions that need it are refused when they are created.
        Err(CallError::Server(NamespaceError::NotFound) | CallError::Protocol(_)) => return None,
        Err(CallError::Server(error)) => {
            println!("rom/{name}: {error}");
            return None;
        }
    };
    match Program::prepare(Dataspace(file.index()), Some(length)) {
        Ok(program) => Some(RomProgram { program, file }),
        Err(error) => {
            report(name, error);
            None
        }
    }
}

fn report(name: &str, error: LoadError) {
    println!("rom/{name} cannot run functions: {error}");
}
