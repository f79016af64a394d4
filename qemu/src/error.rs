//! What can end the program, and with which exit status.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::function::FunctionError;
use crate::image::ImageError;
use crate::list::ListError;
use crate::resolve::ResolveError;
use crate::tools::ToolError;
use crate::workspace::WorkspaceError;

/// Exit status when the system, a build or a test failed.
pub const STATUS_FAILED: u8 = 1;
/// Exit status after wrong usage, and when a tool is missing.
pub const STATUS_UNUSABLE: u8 = 2;
/// Exit status after Ctrl-C, as shells have it.
pub const STATUS_INTERRUPTED: u8 = 130;

/// Why a command did not do its work.
#[derive(Debug, Error)]
pub enum Error {
    /// A tool is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The image description is wrong.
    #[error(transparent)]
    List(#[from] ListError),
    /// The image description names what is not there.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The project cannot be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// A folder is no function's.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// There is no image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An argument is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be read or written, or a program not be started.
    #[error("{}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The run did not succeed; what went wrong has been shown.
    #[error("{0}")]
    Failed(String),
    /// The command failed and has said all there is to say.
    #[error("failed")]
    Reported,
    /// The user wanted to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What helps against an error of the system, as the end of a message about it; nothing if that is not known.
#[must_use]
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free space there, and try again",
        io::ErrorKind::QuotaExceeded => "; free space there or have your quota raised, and try again",
        io::ErrorKind::FileTooLarge => "; raise the limit of a file's size (`ulimit -f`), and try again",
        _ => "",
    }
}

impl Error {
    /// What a failure to use this file or program is.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// The exit status that goes with the error.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Tool(_) | Self::Usage(_) => STATUS_UNUSABLE,
            Self::Interrupted => STATUS_INTERRUPTED,
            _ => STATUS_FAILED,
        }
    }
}
