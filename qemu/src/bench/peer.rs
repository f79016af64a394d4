//! The Linux guest: Debian's kernel for virtual machines, the measuring program of `bench/linux-peer/`, and programs that
//! Aerie's guest runs as well.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::cpio::Cpio;
use super::shared::SharedFile;
use crate::error::Error;
use crate::machine::{Accelerator, Machine};
use crate::tools;

/// The package that depends on the current kernel package.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";

/// The sources of the measuring program, in the project's folder.
const SOURCES: &str = "bench/linux-peer";

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
    /// Fetches the kernel, once, builds the measuring program, and packs it with the shared files.
    ///
    /// # Errors
    /// The kernel cannot be fetched or the program not be built; the message has the remedy.
    pub(super) fn prepare(root: &Path, folder: &Path, shared: &[SharedFile]) -> Result<Self, Error> {
        create(folder)?;
        let kernel = folder.join("vmlinuz");
        if !kernel.is_file() {
            fetch_kernel(folder, &kernel)?;
        }
        let init = compile(root, folder, &["init.c", "programs.c"], &["-O2", "-static"])?;
        let noop = compile(
            root,
            folder,
            &["noop.S"],
            &["-static", "-nostdlib", "-Wl,--build-id=none,-z,noseparate-code"],
        )?;
        let own = [("init", read(&init)?), ("noop", read(&noop)?)];
        let own = own.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
        let shared = shared
            .iter()
            .map(|file| (file.name.as_str(), file.bytes.as_slice()));
        Ok(Self {
            kernel,
            boot_file_system: pack(folder.join("boot.cpio"), own.clone())?,
            file_system: pack(folder.join("initrd.cpio"), own.chain(shared))?,
        })
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

/// Downloads the kernel package without installing it, and takes the kernel out of it.
fn fetch_kernel(folder: &Path, kernel: &Path) -> Result<(), Error> {
    for (program, package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        tools::require(program, package)?;
    }
    let package = match kernel_package() {
        Some(package) => package,
        None => {
            tools::update_package_lists()?;
            kernel_package().ok_or_else(|| {
                Error::Failed(format!(
                    "apt knows no package {KERNEL_PACKAGE}; the Linux guest needs Debian's. \
                     Measure without it: cargo run -p aerie-qemu -- bench --no-peer"
                ))
            })?
        }
    };
    let downloads = folder.join("package");
    create(&downloads)?;
    execute(
        Command::new("apt-get")
            .args(["download", "-q", &package])
            .current_dir(&downloads),
    )?;
    let archive = first_file(&downloads, ".deb")?;
    let unpacked = downloads.join("unpacked");
    execute(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&unpacked))?;
    let image = first_file(&unpacked.join("boot"), "vmlinuz")?;
    std::fs::copy(&image, kernel).map_err(|source| Error::Io { path: image, source })?;
    // The package has hundreds of megabytes of drivers that nobody needs.
    std::fs::remove_dir_all(&downloads).map_err(|source| Error::Io {
        path: downloads,
        source,
    })
}

/// The package that [`KERNEL_PACKAGE`] stands for today.
fn kernel_package() -> Option<String> {
    let output = Command::new("apt-cache")
        .args(["depends", KERNEL_PACKAGE])
        .output()
        .ok()?;
    depended_kernel(&String::from_utf8_lossy(&output.stdout))
}

fn depended_kernel(depends: &str) -> Option<String> {
    let names = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    names
        .map(str::trim)
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
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

fn execute(command: &mut Command) -> Result<(), Error> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Io {
            path: command.get_program().into(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Failed(format!(
        "{}: {}:\n{errors}",
        command.get_program().display(),
        output.status
    )))
}

/// A file in `folder` whose name contains `part`.
fn first_file(folder: &Path, part: &str) -> Result<PathBuf, Error> {
    let error = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    for file in std::fs::read_dir(folder).map_err(error)? {
        let path = file.map_err(error)?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains(part))
        {
            return Ok(path);
        }
    }
    Err(Error::Failed(format!(
        "{} has no file with `{part}` in its name",
        folder.display()
    )))
}

fn create(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        path: folder.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::depended_kernel;

    #[test]
    fn the_kernel_package_is_found() {
        let answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            depended_kernel(answer).as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(depended_kernel("linux-image-cloud-amd64\n"), None);
    }
}
