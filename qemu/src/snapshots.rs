//! Snapshots of functions, prepared with the image: a small image stores each once, and what it wrote is packed.
//!
//! That image has the function, what runs it, and `cfg/store-snapshot.cfg`. Its machine writes the snapshot to a debug console,
//! which the emulator takes into a file. The result is kept under a hash of all that it depends on: the image and the
//! emulator's kind.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
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
/// How many snapshots of functions of one name are kept. Those of other builds are of no use any more.
const KEPT: usize = 8;

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
        let folder = self.project.target("snapshots");
        let work = folder.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&work).map_err(io(&work))?;
        let snapshot = self.prepare(name, wanted, compiler, &work);
        // The console's log is elsewhere; a leftover harms nobody.
        let _ = fs::remove_dir_all(&work);
        snapshot
    }

    fn prepare(
        &self,
        name: &str,
        wanted: &[Packed],
        compiler: &Compiler<'_>,
        work: &Path,
    ) -> Result<Vec<u8>, SnapshotError> {
        let image = self.image(name, wanted, compiler, work)?;
        let qemu = find_qemu(&self.project.emulator.program)?;
        let chosen = self.project.emulator.accelerator;
        let accelerator = chosen.unwrap_or_else(|| choose_accelerator(&qemu));
        let folder = self.project.target("snapshots");
        let kept = folder.join(file_name(name, &image, accelerator));
        if let Ok(file) = fs::read(&kept)
            && StoredImage::read(&file).is_ok()
        {
            return Ok(file);
        }
        let line = format!("storing a snapshot of {name}");
        steps::announce(compiler.log, &line).map_err(io(compiler.log.unwrap_or(Path::new("stderr"))))?;
        let kernel = work.join("image");
        fs::write(&kernel, image).map_err(io(&kernel))?;
        let machine = Machine {
            program: qemu,
            accelerator,
            kernel,
            cpus: CPUS,
            options: Vec::new(),
        };
        let file = store(name, machine, work, folder.join(format!("{name}.log")))?;
        // Whoever reads it at this moment finds it whole or not at all.
        let draft = work.join("draft");
        fs::write(&draft, &file).map_err(io(&draft))?;
        fs::rename(&draft, &kept).map_err(io(&kept))?;
        forget_old(&folder, name)?;
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
    only_record(&bytes, name)
}

/// The file in the only record, which has to be a snapshot of this function.
fn only_record(bytes: &[u8], name: &str) -> Result<Vec<u8>, SnapshotError> {
    let records = Record::read_all(bytes)?;
    let [record] = records.as_slice() else {
        return Err(SnapshotError::OtherRecords);
    };
    let image = StoredImage::read(record.file).map_err(SnapshotError::File)?;
    if record.name != name || image.length() != record.file.len() as u64 {
        return Err(SnapshotError::OtherRecords);
    }
    Ok(record.file.to_vec())
}

/// Removes all but the youngest snapshots of functions of this name.
fn forget_old(folder: &Path, name: &str) -> Result<(), SnapshotError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let hash = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(manifest::SNAPSHOT_SUFFIX));
        if hash.is_some_and(|hash| u64::from_str_radix(hash, 16).is_ok())
            && let Ok(time) = entry.metadata().and_then(|metadata| metadata.modified())
        {
            files.push((time, entry.path()));
        }
    }
    files.sort();
    for (_, path) in files.iter().rev().skip(KEPT) {
        fs::remove_file(path).map_err(io(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{KEPT, file_name, forget_old};
    use crate::machine::Accelerator;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};
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
    fn the_oldest_files_of_a_name_go() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for number in 0..KEPT as u64 + 2 {
            let file = File::create(path(&format!("a-{number:016x}.snapshot"))).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - number);
            file.set_modified(time).unwrap();
        }
        let others = ["a-b-0000000000000001.snapshot", "a.log", "a-x.snapshot"];
        for name in others {
            fs::write(path(name), "").unwrap();
        }
        forget_old(folder.path(), "a").unwrap();
        for number in 0..KEPT as u64 + 2 {
            let is_kept = path(&format!("a-{number:016x}.snapshot")).exists();
            assert_eq!(is_kept, number < KEPT as u64, "{number}");
        }
        assert!(others.iter().all(|name| path(name).exists()));
    }
}
