//! The Linux guest: Debian's kernel for virtual machines, the measuring program of `bench/linux-peer/`, programs that Aerie's
//! guest runs as well, and for the report CPython and Wasmtime.

mod debian;
mod interpreter;
mod sandbox;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpio::Cpio;
use super::shared::SharedFile;
use crate::error::Error;
use crate::machine::{Accelerator, Machine};
use debian::{create, execute, fetch_kernel};

/// The sources of the measuring program, in the project's folder.
const SOURCES: &str = "bench/linux-peer";
const MEASURING: [&str; 5] = [
    "init.c",
    "programs.c",
    "processes.c",
    "container.c",
    "interpreter.c",
];

/// Kernel options of every run: quiet, ending on a panic, with a clock that costs nothing.
const COMMON_OPTIONS: &str = "console=ttyS0 quiet panic=-1 tsc=reliable clocksource=tsc nokaslr";

/// How the Linux guest is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// As Debian ships it.
    Default,
    /// Without the protections and services that cost time.
    Tuned,
    /// Ends as soon as its first program runs.
    BootOnly,
}

impl Setup {
    /// Name for files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Default => "linux-default",
            Self::Tuned => "linux-tuned",
            Self::BootOnly => "linux-boot",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Tuned => {
                "mitigations=off init_on_alloc=0 randomize_kstack_offset=off audit=0 psi=0 apparmor=0"
            }
            Self::BootOnly => "peer=boot",
        }
    }
}

/// Programs that come from elsewhere and are not part of every run.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Their files.
    files: Vec<SharedFile>,
    /// Names and versions of what is there.
    pub(super) versions: Vec<(&'static str, String)>,
    /// What could not be had, and why.
    pub(super) problems: Vec<String>,
}

impl Extras {
    /// Fetches CPython and builds Wasmtime, once. What fails is left out.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn prepare(root: &Path, folder: &Path) -> Result<Self, Error> {
        create(folder)?;
        let mut extras = Self::default();
        match interpreter::prepare(root, folder) {
            Ok(interpreter) => {
                extras.files.extend(interpreter.files);
                extras.versions.push(("CPython", interpreter.version));
            }
            Err(error) => extras.problems.push(format!("CPython is not measured: {error}")),
        }
        match sandbox::prepare(root, folder) {
            Ok(sandbox) => {
                extras.files.push(sandbox.file);
                extras.versions.push(("Wasmtime", sandbox.version));
            }
            Err(error) => extras.problems.push(format!("Wasmtime is not measured: {error}")),
        }
        Ok(extras)
    }
}

/// A Linux guest that is ready to run.
#[derive(Debug)]
pub(super) struct Peer {
    kernel: PathBuf,
    /// The measuring program alone: nothing else makes the boot longer.
    boot_file_system: PathBuf,
    /// With the programs that both guests run.
    file_system: PathBuf,
}

impl Peer {
    /// Fetches the kernel, once, builds the measuring program, and packs it with the shared files and the extras.
    ///
    /// # Errors
    /// The kernel cannot be fetched or the program not be built; the message has the remedy.
    pub(super) fn prepare(
        root: &Path,
        folder: &Path,
        shared: &[SharedFile],
        extras: &Extras,
    ) -> Result<Self, Error> {
        create(folder)?;
        let kernel = folder.join("vmlinuz");
        if !kernel.is_file() {
            fetch_kernel(folder, &kernel)?;
        }
        let init = compile(root, folder, &MEASURING, &["-O2", "-static"])?;
        let noop = compile(
            root,
            folder,
            &["noop.S"],
            &["-static", "-nostdlib", "-Wl,--build-id=none,-z,noseparate-code"],
        )?;
        let own = [("init", read(&init)?), ("noop", read(&noop)?)];
        let own = own.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
        let others = shared
            .iter()
            .chain(&extras.files)
            .map(|file| (file.name.as_str(), file.bytes.as_slice()));
        Ok(Self {
            kernel,
            boot_file_system: pack(folder.join("boot.cpio"), own.clone())?,
            file_system: pack(folder.join("initrd.cpio"), own.chain(others))?,
        })
    }

    /// The kernel's image.
    pub(super) fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The machine that runs it.
    pub(super) fn machine(&self, qemu: &Path, setup: Setup, accelerator: Accelerator, cpus: u32) -> Machine {
        let file_system = match setup {
            Setup::BootOnly => &self.boot_file_system,
            Setup::Default | Setup::Tuned => &self.file_system,
        };
        let file_system = file_system.display().to_string();
        let options = format!("{COMMON_OPTIONS} {}", setup.options());
        Machine {
            program: qemu.to_owned(),
            accelerator,
            kernel: self.kernel.clone(),
            cpus,
            options: ["-initrd".into(), file_system, "-append".into(), options].into(),
        }
    }
}

/// Writes a file system with these programs.
fn pack<'a>(path: PathBuf, programs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<PathBuf, Error> {
    let mut archive = Cpio::default();
    for name in ["dev", "proc", "sys"] {
        archive.folder(name);
    }
    archive.device("dev/console", (5, 1));
    for (name, bytes) in programs {
        archive.program(name, bytes);
    }
    match std::fs::write(&path, archive.finish()) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Io { path, source }),
    }
}

/// Compiles the sources to a program that is called as the first of them.
fn compile(root: &Path, folder: &Path, sources: &[&str], options: &[&str]) -> Result<PathBuf, Error> {
    let output = folder
        .join(sources.first().unwrap_or(&"program"))
        .with_extension("");
    let mut command = Command::new("cc");
    command.args(options).arg("-o").arg(&output);
    command.args(sources.iter().map(|source| root.join(SOURCES).join(source)));
    execute(&mut command)?;
    Ok(output)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}
