//! Compiles functions in Python ahead, with the runtime of the image: so imports need not compile, and wrong syntax is
//! seen when the image is made.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use python_bundle::{Handler, is_zip, pack};

use crate::image::ImageError;
use crate::steps;

/// A function's code as it is packed, and what its runtime needs to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonFunction {
    /// Its name.
    pub name: String,
    /// The handler that its description names, or nothing.
    pub handler: String,
    /// A source file or a zip.
    pub code: Vec<u8>,
}

/// The runtime of an image as a program of the host, with a folder for what it compiled before.
pub(crate) struct Ahead<'a> {
    /// What tells this runtime from others.
    version: u64,
    program: PathBuf,
    folder: PathBuf,
    log: Option<&'a Path>,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { path, source }
}

impl<'a> Ahead<'a> {
    /// Makes the program. Warnings are appended to `log`, or shown.
    pub(crate) fn new(runtime: &[u8], target: &Path, log: Option<&'a Path>) -> Result<Self, ImageError> {
        let folder = target.join("python-code");
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let version = hash(&[runtime]);
        let program = folder.join(format!("runtime-{version:016x}"));
        if !program.is_file() {
            // A program that runs cannot be written to, so it appears as a whole.
            let draft = program.with_extension(std::process::id().to_string());
            fs::write(&draft, runtime).map_err(io(&draft))?;
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).map_err(io(&draft))?;
            fs::rename(&draft, &program).map_err(io(&program))?;
        }
        Ok(Self {
            version,
            program,
            folder,
            log,
        })
    }

    /// The function's code as a zip with compiled code beside its sources. What cannot be compiled stays as it is, and
    /// a warning names it: nobody may ever import it, and who does gets the error.
    pub(crate) fn compile(&self, function: &PythonFunction) -> Result<Vec<u8>, ImageError> {
        let zip = as_zip(function);
        let key = hash(&[&self.version.to_le_bytes(), &zip]);
        let compiled = self.folder.join(format!("{key:016x}.zip"));
        let warnings = self.folder.join(format!("{key:016x}.warnings"));
        if !compiled.is_file() {
            let source = self.folder.join(format!("{key:016x}.source"));
            fs::write(&source, &zip).map_err(io(&source))?;
            let text = self.run(&source, &compiled)?;
            fs::write(&warnings, text).map_err(io(&warnings))?;
            fs::remove_file(&source).map_err(io(&source))?;
        }
        let text = fs::read_to_string(&warnings).map_err(io(&warnings))?;
        for line in text.lines() {
            let line = format!("warning: function {}: {line}", function.name);
            steps::announce(self.log, &line).map_err(io(self.log.unwrap_or(Path::new("stderr"))))?;
        }
        match fs::read(&compiled) {
            Ok(bytes) => Ok(bytes),
            Err(_) => Ok(zip),
        }
    }

    /// Has the runtime compile; returns what it says.
    fn run(&self, source: &Path, compiled: &Path) -> Result<String, ImageError> {
        let draft = compiled.with_extension("draft");
        let output = Command::new(&self.program)
            .arg("--compile")
            .args([source, &draft])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(io(&self.program))?;
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            fs::rename(&draft, compiled).map_err(io(compiled))?;
        } else {
            text.push_str(&format!("not compiled ahead ({})\n", output.status));
        }
        Ok(text)
    }
}

/// A single file becomes a zip with the module that the runtime takes it for.
fn as_zip(function: &PythonFunction) -> Vec<u8> {
    if is_zip(&function.code) {
        return function.code.clone();
    }
    let module = Handler::of_file(&function.handler, &function.name).module;
    let file = format!("{}.py", module.replace('.', "/"));
    // A name that no zip can have stays a plain file, which the runtime takes as well.
    pack(&BTreeMap::from([(file, function.code.clone())])).unwrap_or_else(|_| function.code.clone())
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{Ahead, PythonFunction};
    use python_bundle::Bundle;
    use std::fs;
    use tempfile::TempDir;

    fn function() -> PythonFunction {
        PythonFunction {
            name: "say-hello".into(),
            handler: String::new(),
            code: b"def main(arg): return arg\n".to_vec(),
        }
    }

    #[test]
    fn code_is_compiled_once_and_warnings_stay() {
        let folder = TempDir::new().unwrap();
        let (calls, log) = (folder.path().join("calls"), folder.path().join("log"));
        let script = format!(
            "#!/bin/sh\necho called >> '{}'\necho 'a.py:1: wrong' >&2\n/bin/cp \"$2\" \"$3\"\n",
            calls.display()
        );
        let ahead = Ahead::new(script.as_bytes(), folder.path(), Some(&log)).unwrap();
        for _ in 0..2 {
            let zip = ahead.compile(&function()).unwrap();
            assert!(Bundle::open(&zip).unwrap().has_file("say_hello.py"));
        }
        assert_eq!(fs::read_to_string(&calls).unwrap(), "called\n");
        let line = "warning: function say-hello: a.py:1: wrong\n";
        assert_eq!(fs::read_to_string(&log).unwrap(), line.repeat(2));
    }

    #[test]
    fn a_runtime_that_fails_leaves_the_source() {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("log");
        let ahead = Ahead::new(b"#!/bin/sh\nexit 3\n", folder.path(), Some(&log)).unwrap();
        let zip = ahead.compile(&function()).unwrap();
        let bundle = Bundle::open(&zip).unwrap();
        assert_eq!(
            bundle.read("say_hello.py").unwrap().as_deref(),
            Some(&function().code[..])
        );
        assert!(
            fs::read_to_string(&log)
                .unwrap()
                .contains("not compiled ahead (exit status: 3)")
        );
    }
}
