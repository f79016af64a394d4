//! Programs that both guests run: the same bytes in Aerie's boot images and in the Linux guest's file system.

use std::path::{Path, PathBuf};

use crate::ahead::Ahead;
use crate::elf;
use crate::error::Error;
use crate::resolve::{Contents, PYTHON_RUNTIME, Source};

/// Programs of boot images: the entry, the name in it, the name in the Linux guest's root folder.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("bench-linux", "linux-tests", "linux-calls"),
    ("bench-faas", "functions/word-count", "word-count"),
    ("bench-python", PYTHON_RUNTIME, "python-runtime"),
];

/// A file of the Linux guest's root folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedFile {
    /// Its name.
    pub(super) name: String,
    /// Its contents.
    pub(super) bytes: Vec<u8>,
}

/// A boot image that was built.
#[derive(Debug)]
pub(super) struct Built {
    /// What is in it.
    pub(super) contents: Contents,
    /// The file that is booted; its folder has the programs with their symbols.
    pub(super) image: PathBuf,
}

impl Built {
    fn program(&self, name: &str) -> Result<Vec<u8>, Error> {
        let folder = self.image.parent().unwrap_or(Path::new("."));
        let path = folder.join("symbols").join(name);
        std::fs::read(&path).map_err(|source| Error::Io { path, source })
    }

    /// Its functions in Python, packed and compiled as they are in the image.
    fn functions(&self, target: &Path) -> Result<Vec<SharedFile>, Error> {
        let sources = self.contents.modules.iter().map(|item| &item.source);
        let functions: Vec<_> = sources
            .filter_map(|source| match source {
                Source::Python(function) => Some(function),
                _ => None,
            })
            .collect();
        if functions.is_empty() {
            return Ok(Vec::new());
        }
        let ahead = Ahead::new(&self.program(PYTHON_RUNTIME)?, target, None)?;
        let packed = functions.into_iter().map(|function| {
            Ok(SharedFile {
                name: format!("{}.zip", function.name),
                bytes: ahead.compile(function)?,
            })
        });
        packed.collect()
    }
}

/// Takes the programs and the functions in Python out of the images that were built, without symbols, as the images have
/// them. Those of other images are left out: what they measure will be missed.
///
/// # Errors
/// A program that should be there cannot be read or is none.
pub(super) fn files(target: &Path, images: &[Built]) -> Result<Vec<SharedFile>, Error> {
    let mut files = Vec::new();
    for (entry, program, name) in PROGRAMS {
        let Some(built) = images.iter().find(|built| built.contents.entry == entry) else {
            continue;
        };
        let bytes = elf::strip(&built.program(program)?)
            .map_err(|error| Error::Failed(format!("{program} of {entry}: {error}")))?;
        files.push(SharedFile {
            name: name.into(),
            bytes,
        });
    }
    for built in images {
        files.extend(built.functions(target)?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{Built, files};
    use crate::cli::{ImageArguments, ListArguments};
    use crate::machine::Emulator;
    use crate::project::Project;
    use std::path::Path;

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let project = Project::open(root, Emulator::default()).unwrap();
        let arguments = ImageArguments {
            lists: ListArguments {
                modules_list: root.join("tests/modules.list").display().to_string(),
                module_search_path: String::new(),
            },
            entry: "bench-linux".into(),
            client_args: String::new(),
            checked: false,
        };
        let built = Built {
            contents: project.contents(&arguments).unwrap(),
            image: "/nowhere/image".into(),
        };
        assert!(files(Path::new("/nowhere"), &[]).unwrap().is_empty());
        let error = files(Path::new("/nowhere"), &[built]).unwrap_err();
        assert!(
            error.to_string().contains("/nowhere/symbols/linux-tests"),
            "{error}"
        );
    }
}
