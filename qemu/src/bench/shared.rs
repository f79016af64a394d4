//! Programs that both guests run: the same bytes in Aerie's boot images and in the Linux guest's file system.

use std::path::{Path, PathBuf};

use crate::elf;
use crate::error::Error;

/// Programs of boot images: the entry, the name in it, the name in the Linux guest's root folder.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("bench-linux", "linux-tests", "linux-calls"),
    ("bench-faas", "functions/word-count", "word-count"),
    ("bench-python", "python-runtime", "python-runtime"),
];

/// Functions in Python, in the project's folder.
const SOURCES: [&str; 2] = [
    "bench/functions/first-line/first_line.py",
    "bench/functions/compute/compute.py",
];

/// A file of the Linux guest's root folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedFile {
    /// Its name.
    pub(super) name: String,
    /// Its contents.
    pub(super) bytes: Vec<u8>,
}

/// Takes the programs out of the folders of images that were built, without symbols, as the images have them. Programs
/// of other images are left out: what they measure will be missed.
///
/// # Errors
/// A program that should be there cannot be read or is none.
pub(super) fn files(root: &Path, images: &[(String, PathBuf)]) -> Result<Vec<SharedFile>, Error> {
    let mut files = Vec::new();
    for (entry, program, name) in PROGRAMS {
        let image = images.iter().find(|(built, _)| built == entry);
        let Some(folder) = image.and_then(|(_, image)| image.parent()) else {
            continue;
        };
        let path = folder.join("symbols").join(program);
        let bytes = elf::strip(&read(&path)?)
            .map_err(|error| Error::Failed(format!("{}: {error}", path.display())))?;
        files.push(SharedFile {
            name: name.into(),
            bytes,
        });
    }
    for source in SOURCES {
        let path = root.join(source);
        let name = path.file_name().unwrap_or_default();
        files.push(SharedFile {
            name: name.to_string_lossy().into_owned(),
            bytes: read(&path)?,
        });
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::files;
    use std::path::Path;

    #[test]
    fn functions_in_python_are_there_and_missing_images_are_no_error() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let names: Vec<_> = files(root, &[])
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(names, ["first_line.py", "compute.py"]);
        let image = ("bench-faas".to_owned(), "/nowhere/image".into());
        assert!(files(root, &[image]).is_err());
    }
}
