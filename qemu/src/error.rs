//! What can end the program, and with which exit status.

use std::path::PathBuf;

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
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
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

impl Error {
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
