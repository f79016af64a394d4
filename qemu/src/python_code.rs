//! The code of functions in Python: a file, a zip, or a folder that is packed as one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use python_bundle::{Bundle, BundleError, Handler, check, is_zip, pack};
use thiserror::Error;

use crate::ahead::PythonFunction;
use crate::function::{FILE_NAME, Function};
use crate::python_packages::{self, PackagesError};

/// Why code in Python cannot be packed.
#[derive(Debug, Error)]
pub enum PythonCodeError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A source file or zip, or what a folder would become as one, is refused.
    #[error("{}: {error}", path.display())]
    Bundle {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: BundleError,
    },
    /// The packages that the function needs cannot be installed.
    #[error(transparent)]
    Packages(#[from] PackagesError),
}

/// Reads a function's code from `path`, with the packages that it needs, which are kept in `target`.
///
/// # Errors
/// Something unreadable or refused, or packages that cannot be installed.
pub fn function(function: &Function, path: &Path, target: &Path) -> Result<PythonFunction, PythonCodeError> {
    let handler = function.manifest.handler.clone().unwrap_or_default();
    let code = match &function.packages {
        None => read(path)?,
        Some(list) => {
            let packages = python_packages::install(&function.folder.join(list), target)?;
            let module = Handler::of_file(&handler, &function.name).module;
            with_packages(path, &format!("{}.py", module.replace('.', "/")), &packages)?
        }
    };
    Ok(PythonFunction {
        name: function.name.clone(),
        handler,
        code,
    })
}

/// A zip of packages and code, which goes first where both have a file. Code in one file is called `module`.
fn with_packages(path: &Path, module: &str, packages: &Path) -> Result<Vec<u8>, PythonCodeError> {
    let mut files = BTreeMap::new();
    collect(packages, "", &mut files)?;
    if path.is_dir() {
        collect(path, "", &mut files)?;
    } else {
        files.insert(module.into(), read(path)?);
    }
    pack(&files).map_err(|error| PythonCodeError::Bundle {
        path: path.to_owned(),
        error,
    })
}

/// Reads code. A folder becomes a zip: what Python and its tools keep beside the sources stays out.
///
/// # Errors
/// Something unreadable or refused.
pub fn read(path: &Path) -> Result<Vec<u8>, PythonCodeError> {
    let refused = |error| PythonCodeError::Bundle {
        path: path.to_owned(),
        error,
    };
    if path.is_dir() {
        let mut files = BTreeMap::new();
        collect(path, "", &mut files)?;
        return pack(&files).map_err(refused);
    }
    let code = std::fs::read(path).map_err(|source| PythonCodeError::Read {
        path: path.to_owned(),
        source,
    })?;
    if is_zip(&code) {
        Bundle::open(&code).map_err(refused)?;
    }
    check(&code).map_err(refused)?;
    Ok(code)
}

fn is_left_out(name: &str) -> bool {
    name == "__pycache__" || name == FILE_NAME || name.starts_with('.') || name.ends_with(".pyc")
}

fn collect(
    folder: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), PythonCodeError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| PythonCodeError::Read { path, source }
    };
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if is_left_out(&name) {
            continue;
        }
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else {
            files.insert(name, std::fs::read(&path).map_err(at(&path))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PythonCodeError, read};
    use python_bundle::Bundle;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn a_folder_becomes_the_same_zip_each_time() {
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("pkg/__pycache__")).unwrap();
        for name in [
            "main.py",
            "pkg/__init__.py",
            "pkg/__pycache__/x.pyc",
            "function.toml",
            ".hidden",
        ] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let zip = read(root.path()).unwrap();
        let bundle = Bundle::open(&zip).unwrap();
        let mut names: Vec<_> = bundle.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["main.py", "pkg/__init__.py"]);
        fs::write(root.path().join("main.py"), "main.py").unwrap();
        assert_eq!(read(root.path()).unwrap(), zip);
    }

    #[test]
    fn what_cannot_run_is_refused_with_its_name() {
        let root = TempDir::new().unwrap();
        let file = root.path().join("a.py");
        assert!(matches!(read(&file), Err(PythonCodeError::Read { .. })));
        fs::write(&file, b"x = '\xff'").unwrap();
        assert!(
            read(&file)
                .unwrap_err()
                .to_string()
                .ends_with("(byte 5); save the file as UTF-8")
        );
        fs::write(&file, b"PK\x03\x04 cut off").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("cut off"));
        fs::write(root.path().join("_x.so"), "").unwrap();
        assert!(
            read(root.path())
                .unwrap_err()
                .to_string()
                .contains("`_x.so` is a compiled extension")
        );
    }
}
