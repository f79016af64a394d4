//! The project as the commands see it: from arguments to images and machines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{ImageArguments, ListArguments};
use crate::compile::{Compiler, Profile};
use crate::error::Error;
use crate::image::{self, Image, ImageError};
use crate::list::{List, Variables};
use crate::machine::Emulator;
use crate::resolve::{Contents, Resolver};
use crate::snapshots::Snapshots;
use crate::workspace::Workspace;

/// Name of the image description in the project's folder.
const LIST_NAME: &str = "modules.list";

/// A project's folder with what cargo knows of it.
#[derive(Debug)]
pub struct Project {
    /// Its packages.
    pub workspace: Workspace,
    /// What its images are run by.
    pub emulator: Emulator,
}

impl Project {
    /// Opens the project in `folder`, whose images `emulator` runs.
    ///
    /// # Errors
    /// It is no cargo workspace.
    pub fn open(folder: &Path, emulator: Emulator) -> Result<Self, Error> {
        Ok(Self {
            workspace: Workspace::of(&folder.join("Cargo.toml"))?,
            emulator,
        })
    }

    /// A folder below the target folder.
    #[must_use]
    pub fn target(&self, name: &str) -> PathBuf {
        self.workspace.target.join(name)
    }

    /// Reads the image description.
    ///
    /// # Errors
    /// It cannot be read or has a line that is no statement.
    pub fn list(&self, arguments: &ListArguments) -> Result<List, Error> {
        let path = match arguments.modules_list.as_str() {
            "" => self.workspace.root.join(LIST_NAME),
            path => PathBuf::from(path),
        };
        Ok(List::read(&path, self.variables())?)
    }

    /// Finds everything that an entry names. The client arguments are appended to the root task's, behind `--`.
    ///
    /// # Errors
    /// As [`List::select`] and [`Resolver::resolve`].
    pub fn contents(&self, arguments: &ImageArguments) -> Result<Contents, Error> {
        let entry = self.list(&arguments.lists)?.select(&arguments.entry)?;
        let search_path: Vec<PathBuf> = std::env::split_paths(&arguments.lists.module_search_path)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        let resolver = Resolver {
            workspace: &self.workspace,
            search_path: &search_path,
        };
        let mut contents = resolver.resolve(&entry)?;
        let client_arguments = arguments.client_args.trim();
        split_words("CLIENT_ARGS", client_arguments)?;
        if let Some(root_task) = contents
            .modules
            .first_mut()
            .filter(|_| !client_arguments.is_empty())
        {
            root_task.command_line = format!("{} -- {client_arguments}", root_task.command_line);
        }
        Ok(contents)
    }

    /// Builds the image of an entry in a folder of its own below the target folder, showing cargo's output.
    ///
    /// # Errors
    /// As [`image::make`].
    pub fn image(&self, contents: &Contents, profile: Profile) -> Result<Image, Error> {
        let name = match profile {
            Profile::Release => contents.entry.replace('/', "_"),
            Profile::Checked => format!("{}-checked", contents.entry.replace('/', "_")),
        };
        self.image_in(contents, profile, None, &self.target("images").join(name))
    }

    /// Builds the image of an entry in `folder`. cargo's output is appended to `log`, or shown.
    ///
    /// # Errors
    /// As [`image::make`].
    pub fn image_in(
        &self,
        contents: &Contents,
        profile: Profile,
        log: Option<&Path>,
        folder: &Path,
    ) -> Result<Image, Error> {
        let compiler = Compiler {
            workspace: &self.workspace,
            profile,
            log,
        };
        let snapshots = Snapshots { project: self };
        image::make(contents, &compiler, &snapshots, folder).map_err(|error| match error {
            ImageError::Snapshot { source, .. } if source.is_interrupted() => Error::Interrupted,
            error => error.into(),
        })
    }

    fn variables(&self) -> Variables {
        let mut variables: Variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let root = self.workspace.root.display().to_string();
        for (name, value) in [
            ("ARCH", "amd64"),
            ("BITS", "64"),
            ("AERIE_DIR", root.as_str()),
            ("SRC_BASE_ABS", root.as_str()),
        ] {
            variables.entry(name.into()).or_insert_with(|| value.into());
        }
        variables
    }
}

/// Splits options as a shell does.
///
/// # Errors
/// A quote is not closed.
pub fn split_options(options: &str) -> Result<Vec<String>, Error> {
    split_words("QEMU_OPTIONS", options)
}

/// Words as a shell reads them.
fn split_words(variable: &str, text: &str) -> Result<Vec<String>, Error> {
    shlex::split(text)
        .ok_or_else(|| Error::Usage(format!("{variable} has a quote that is not closed: {text}")))
}

/// How long a console may be silent, unless the user says otherwise.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(60);

/// Reads a limit in seconds, whole or with a fraction; 0 is none, and no text is [`DEFAULT_SILENCE`].
///
/// # Errors
/// The text is no such number.
pub fn parse_timeout(text: &str) -> Result<Option<Duration>, Error> {
    if text.is_empty() {
        return Ok(Some(DEFAULT_SILENCE));
    }
    let seconds = text.parse::<f64>().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match duration {
        Some(duration) => Ok(Some(duration).filter(|duration| !duration.is_zero())),
        None => Err(Error::Usage(format!(
            "TIMEOUT is a number of seconds, not `{text}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_timeout, split_options};
    use std::time::Duration;

    #[test]
    fn timeouts_are_seconds() {
        assert_eq!(parse_timeout("60").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(parse_timeout("0.5").unwrap(), Some(Duration::from_millis(500)));
        assert_eq!(parse_timeout("0").unwrap(), None);
        assert_eq!(parse_timeout("").unwrap(), Some(Duration::from_secs(60)));
        for text in ["-1", "1m", "nan", "inf"] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_split_as_in_a_shell() {
        assert_eq!(
            split_options("-smp 3 -append 'a b'").unwrap(),
            ["-smp", "3", "-append", "a b"]
        );
        assert!(split_options("-append 'a").is_err());
    }
}
