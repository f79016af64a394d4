//! Snapshots of functions, prepared with the image: a small image stores each once, and what it wrote is packed.
//!
//! That image has the function, what runs it, and `cfg/store-snapshot.cfg`. Its machine writes the snapshot to a debug console,
//! which the emulator takes into a file. The result is kept ([`kept`]) under a hash of all that it depends on: the image and the
//! emulator's kind.

mod kept;

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interfaces::manifest::{self, FileDigests, ManifestError};
use stored_image::{Digest, LoadFault, Record, RecordFault, StoredImage};
use thiserror::Error;

use crate::compile::Compiler;
use crate::console::{Interest, Verdict, Watch};
use crate::error::{Error, remedy};
use crate::image::{self, Packed};
use crate::list::{List, Variables};
use crate::machine::{Accelerator, Machine, choose_accelerator};
use crate::project::{DEFAULT_SILENCE, Project};
use crate::resolve::{PYTHON_RUNTIME, Resolver};
use crate::run::{find_qemu, interrupt_flag};
use crate::steps;
use kept::Kept;

/// What the small image consists of besides the function, unless the wanted one has a module of that name.
const MODULES: &str = "module ned\nmodule linux-abi\nmodule manager\nmodule snapshot-writer\n";
/// What runs functions that are no native programs.
const RUNTIMES: [&str; 2] = ["linux-abi", PYTHON_RUNTIME];
const SCRIPT: &str = "store-snapshot.cfg";
/// Memory of the machine in MiB: twice the usual, since a snapshot and its file are there at the same time.
const MEMORY_MIB: &str = "2048";
/// One CPU for the manager's client, one for everything else.
const CPUS: u32 = 2;
/// A run that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(600);
/// Bytes with which a file is tried that may be cut off: more than the rest of its last block has room for.
const TRIAL_BYTES: usize = 64 << 10;

/// Why there is no snapshot.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The small image cannot be built, or the emulator is missing.
    #[error(transparent)]
    Image(#[from] Error),
    /// A file cannot be read or written, or the emulator not be started.
    #[error("{}: {source}{}", path.display(), remedy(source))]
    Io {
        /// The file or program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine that was to store it did not.
    #[error("the machine that stores it: {verdict}; its last lines:\n{tail}(all: {})", log.display())]
    Machine {
        /// How it ended.
        verdict: Verdict,
        /// Its last words.
        tail: String,
        /// All that it said.
        log: PathBuf,
    },
    /// What the machine wrote is not what it should be.
    #[error(transparent)]
    Records(#[from] RecordFault),
    /// What the machine wrote is no snapshot of this function alone.
    #[error("the machine wrote other snapshots than this one")]
    OtherRecords,
    /// The file is none that can be loaded.
    #[error("what the machine wrote: {0}")]
    File(LoadFault),
}

impl SnapshotError {
    /// Whether the user wanted to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Self::Image(Error::Interrupted))
    }
}

/// Prepares snapshots of a project's functions.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots<'a> {
    /// The project.
    pub project: &'a Project,
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { path, source }
}

impl Snapshots<'_> {
    /// The stored snapshot of a function, whose modules are among those of the image that it is for.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub(crate) fn of(
        &self,
        name: &str,
        wanted: &[Packed],
        compiler: &Compiler<'_>,
    ) -> Result<Vec<u8>, SnapshotError> {
        let kept = Kept::open(self.project.target("snapshots"), || {
            announce(
                compiler,
                "waiting for another build, which has the folder of snapshots",
            )?;
            Ok(interrupt_flag()?)
        })?;
        let image = self.image(name, wanted, compiler, kept.work())?;
        let qemu = find_qemu(&self.project.emulator.program)?;
        let chosen = self.project.emulator.accelerator;
        let accelerator = chosen.unwrap_or_else(|| choose_accelerator(&qemu));
        let file_name = file_name(name, &image, accelerator);
        if let Some(file) = kept.read(&file_name) {
            return Ok(file);
        }
        announce(compiler, &format!("storing a snapshot of {name}"))?;
        let kernel = kept.work().join("image");
        fs::write(&kernel, image).map_err(io(&kernel))?;
        let machine = Machine {
            program: qemu,
            accelerator,
            kernel,
            cpus: CPUS,
            options: Vec::new(),
        };
        let file = store(name, machine, kept.work(), kept.log(name))?;
        kept.keep(name, &file_name, &file)?;
        Ok(file)
    }

    /// The image that stores the snapshot. What the wanted image has as well is taken from there.
    fn image(
        &self,
        name: &str,
        wanted: &[Packed],
        compiler: &Compiler<'_>,
        work: &Path,
    ) -> Result<Vec<u8>, SnapshotError> {
        let list = work.join("modules.list");
        let text = format!("entry store\nmoe {SCRIPT} -- {name}\n{MODULES}");
        fs::write(&list, text).map_err(io(&list))?;
        let list = List::read(&list, Variables::new()).map_err(Error::from)?;
        let entry = list.select("store").map_err(Error::from)?;
        let resolver = Resolver {
            workspace: &self.project.workspace,
            search_path: &[],
        };
        let contents = resolver.resolve(&entry).map_err(Error::from)?;
        let parts = image::collect(&contents, compiler, work).map_err(Error::from)?;
        let code = format!("{}{name}", manifest::FOLDER);
        let needed = [
            code.as_str(),
            &format!("{code}{}", manifest::SUFFIX),
            PYTHON_RUNTIME,
        ];
        let find = |name: &str| wanted.iter().find(|module| module.name == name);
        // The first one has the command line of this image.
        let own = parts.modules.iter().enumerate();
        let own = own.map(|(index, module)| find(&module.name).filter(|_| index > 0).unwrap_or(module));
        let modules: Vec<_> = own.chain(needed.into_iter().filter_map(find)).collect();
        Ok(image::link(&contents.kernel, &parts.kernel, &modules).map_err(Error::from)?)
    }
}

/// The module that tells the manager the digests of what runs functions.
pub(crate) fn digests(modules: &[Packed]) -> Result<Vec<u8>, ManifestError> {
    let digest = |module: &Packed| {
        let mut digest = Digest::new();
        digest.add_bytes(&module.bytes);
        (module.name.clone(), digest.finish())
    };
    let runtimes = modules
        .iter()
        .filter(|module| RUNTIMES.contains(&module.name.as_str()));
    FileDigests(runtimes.map(digest).collect()).encode()
}

/// Tells the user what takes its time.
fn announce(compiler: &Compiler<'_>, line: &str) -> Result<(), SnapshotError> {
    steps::announce(compiler.log, line).map_err(io(compiler.log.unwrap_or(Path::new("stderr"))))
}

/// Name of the file that holds what this image stores on this kind of emulator.
fn file_name(name: &str, image: &[u8], accelerator: Accelerator) -> String {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    (accelerator == Accelerator::Kvm).hash(&mut hasher);
    format!("{name}-{:016x}{}", hasher.finish(), manifest::SNAPSHOT_SUFFIX)
}

/// Runs the machine and reads what it wrote.
fn store(name: &str, mut machine: Machine, work: &Path, log: PathBuf) -> Result<Vec<u8>, SnapshotError> {
    let written = work.join("records");
    // A comma ends a value, unless it is doubled.
    let path = written.display().to_string().replace(',', ",,");
    machine.options = [
        "-m",
        MEMORY_MIB,
        "-chardev",
        &format!("file,id=records,path={path}"),
        "-device",
        "isa-debugcon,iobase=0xe9,chardev=records",
    ]
    .map(str::to_owned)
    .into();
    let watch = Watch {
        log,
        is_shown: false,
        silence: Some(DEFAULT_SILENCE),
        limit: Some(LIMIT),
        interrupt: interrupt_flag()?,
    };
    let outcome = watch.run(machine.command(), |_| Interest::None)?;
    match outcome.verdict {
        Verdict::Success => {}
        Verdict::Interrupted => return Err(Error::Interrupted.into()),
        verdict => {
            return Err(SnapshotError::Machine {
                verdict,
                tail: outcome.tail.iter().map(|line| format!("{line}\n")).collect(),
                log: watch.log,
            });
        }
    }
    let bytes = fs::read(&written).map_err(io(&written))?;
    match only_record(&bytes, name) {
        Err(SnapshotError::Records(RecordFault::Truncated)) => Err(why_cut_off(&written)),
        result => result,
    }
}

/// Why a file ends too early. QEMU says nothing of what it cannot write: whoever tries to write more there learns the reason.
fn why_cut_off(written: &Path) -> SnapshotError {
    let file = File::options().append(true).open(written);
    let trial = file.and_then(|mut file| {
        file.write_all(&[0; TRIAL_BYTES])?;
        file.sync_data()
    });
    match trial {
        Ok(()) => RecordFault::Truncated.into(),
        Err(error) => io(written)(error),
    }
}

/// The file in the only record, which has to be a snapshot of this function.
fn only_record(bytes: &[u8], name: &str) -> Result<Vec<u8>, SnapshotError> {
    let records = Record::read_all(bytes)?;
    if records.is_empty() {
        return Err(RecordFault::Truncated.into());
    }
    let [record] = records.as_slice() else {
        return Err(SnapshotError::OtherRecords);
    };
    let image = StoredImage::read(record.file).map_err(SnapshotError::File)?;
    if record.name != name || image.length() != record.file.len() as u64 {
        return Err(SnapshotError::OtherRecords);
    }
    Ok(record.file.to_vec())
}

#[cfg(test)]
mod tests {
    use super::{SnapshotError, file_name, only_record, why_cut_off};
    use crate::machine::Accelerator;
    use std::fs;
    use std::path::Path;
    use stored_image::RecordFault;
    use tempfile::TempDir;

    #[test]
    fn a_file_is_named_after_all_that_it_depends_on() {
        let name = file_name("a", b"image", Accelerator::Tcg);
        assert_eq!(name, file_name("a", b"image", Accelerator::TcgCounted));
        for other in [
            file_name("b", b"image", Accelerator::Tcg),
            file_name("a", b"imagf", Accelerator::Tcg),
            file_name("a", b"image", Accelerator::Kvm),
        ] {
            assert_ne!(name, other);
        }
    }

    #[test]
    fn what_is_cut_off_by_a_full_disk_says_so() {
        let full = why_cut_off(Path::new("/dev/full")).to_string();
        assert!(full.starts_with("/dev/full: No space left on device"), "{full}");
        assert!(full.ends_with("; free space there, and try again"), "{full}");
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("records");
        fs::write(&file, "AerieRe").unwrap();
        let other = why_cut_off(&file);
        assert!(
            matches!(other, SnapshotError::Records(RecordFault::Truncated)),
            "{other}"
        );
    }

    #[test]
    fn nothing_at_all_is_cut_off() {
        let fault = only_record(&[], "a").unwrap_err();
        assert!(
            matches!(fault, SnapshotError::Records(RecordFault::Truncated)),
            "{fault}"
        );
    }
}
