//! The commands `run`, `image` and `list`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::backtrace;
use crate::cli::{ImageArguments, ListArguments, MachineArguments};
use crate::compile::Profile;
use crate::console::{Interest, Outcome, Verdict, Watch};
use crate::error::Error;
use crate::machine::{Emulator, Machine, choose_accelerator, cpus_for};
use crate::project::{Project, parse_timeout, split_options};
use crate::steps::Steps;
use crate::tools;

/// The emulator's program and Debian package.
const QEMU: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

/// The QEMU program: the one that was named, or the installed one, which is installed if it is missing.
///
/// # Errors
/// There is none and it cannot be installed.
pub fn find_qemu(given: &str) -> Result<PathBuf, Error> {
    match given {
        "" => Ok(tools::require(QEMU.0, QEMU.1)?),
        path => Ok(path.into()),
    }
}

/// A flag that Ctrl-C and the signals that ask for an end set.
///
/// # Errors
/// The system refuses to register the handlers.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>, Error> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(|source| Error::Io {
            path: "signal handler".into(),
            source,
        })?;
    }
    Ok(flag)
}

/// Builds an entry's image and runs it.
///
/// # Errors
/// Whatever keeps the system from running, or its verdict if that is not success.
pub fn run(
    root: &Path,
    qemu: &str,
    image: &ImageArguments,
    arguments: &MachineArguments,
) -> Result<(), Error> {
    let mut steps = Steps::new(5);
    steps.next("checking tools");
    let silence = parse_timeout(&arguments.timeout)?;
    let options = split_options(&arguments.qemu_options)?;
    tools::check_rust()?;
    let emulator = Emulator::of(qemu);
    let qemu = find_qemu(qemu)?;
    steps.next("reading modules.list");
    let project = Project::open(root, emulator)?;
    let contents = project.contents(image)?;
    steps.next(&format!(
        "building entry `{}`: kernel and {} modules",
        contents.entry,
        contents.modules.len()
    ));
    let image_file = project.image(&contents, profile(image))?;
    let accelerator = choose_accelerator(&qemu);
    let cpus = cpus_for(&image.client_args);
    let machine = Machine {
        program: qemu,
        accelerator,
        kernel: image_file.file.clone(),
        cpus,
        options,
    };
    steps.next("booting");
    let watch = Watch {
        log: image_file.folder.join("console.log"),
        is_shown: true,
        silence,
        limit: None,
        interrupt: interrupt_flag()?,
    };
    let outcome = watch.run(machine.command(), |_| Interest::None)?;
    steps.next(&format!(
        "ended after {:.1} s: {}",
        outcome.elapsed.as_secs_f64(),
        outcome.verdict
    ));
    conclude(&outcome, &watch.log, &image_file.kernel)
}

/// Builds an entry's image and prints its path. Snapshots that it is to have are for this QEMU.
///
/// # Errors
/// Whatever keeps it from being built.
pub fn image(root: &Path, qemu: &str, arguments: &ImageArguments) -> Result<(), Error> {
    tools::check_rust()?;
    let project = Project::open(root, Emulator::of(qemu))?;
    let contents = project.contents(arguments)?;
    let image = project.image(&contents, profile(arguments))?;
    println!("{}", image.file.display());
    Ok(())
}

/// Prints the entries, the first one marked as the default.
///
/// # Errors
/// The list cannot be read.
pub fn list(root: &Path, arguments: &ListArguments) -> Result<(), Error> {
    let project = Project::open(root, Emulator::default())?;
    let list = project.list(arguments)?;
    for (index, name) in list.entry_names().enumerate() {
        let root_task = list.select(name)?.root_task;
        let mark = if index == 0 { " (default)" } else { "" };
        println!("{name:<16}{} {}{mark}", root_task.file, root_task.arguments);
    }
    Ok(())
}

fn profile(arguments: &ImageArguments) -> Profile {
    if arguments.checked {
        Profile::Checked
    } else {
        Profile::Release
    }
}

/// Turns an outcome into the command's result; shows the console's tail if it is no success.
fn conclude(outcome: &Outcome, log: &Path, kernel: &Path) -> Result<(), Error> {
    match outcome.verdict {
        Verdict::Success => Ok(()),
        Verdict::Interrupted => Err(Error::Interrupted),
        verdict => {
            eprintln!(
                "---- the console's last {} lines (all: {}) ----",
                outcome.tail.len(),
                log.display()
            );
            for line in &outcome.tail {
                eprintln!("{line}");
            }
            for place in backtrace::explain(&outcome.tail, kernel) {
                eprintln!("{place}");
            }
            eprintln!("----");
            Err(Error::Failed(verdict.to_string()))
        }
    }
}
