//! The command `test`: everything that shows that the project works, with one count at the end.
//!
//! Tests on the host are cargo's; kernel tests and system scenarios are machines whose consoles are read: all images are
//! built first, then two machines at a time run. In the end the guides are followed.

mod check;
mod guides;
mod host;
mod machines;
mod python_runtime;
mod report;
mod scenario;
mod tap;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::lock::lock;
use crate::machine::Emulator;
use crate::project::Project;
use crate::run::{find_qemu, interrupt_flag};
use crate::tools;

pub use report::{Report, Tests};

/// What a run of the tests works with.
pub struct Session<'a> {
    /// The project.
    pub project: &'a Project,
    /// The QEMU program.
    pub qemu: &'a Path,
    /// Only tests whose name contains this.
    pub only: &'a str,
    /// Set when the user wants to stop.
    pub interrupt: Arc<AtomicBool>,
}

impl Session<'_> {
    /// Whether the test called `name` is wanted and the user did not stop the run.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        name.contains(self.only) && !self.interrupt.load(Ordering::Relaxed)
    }
}

/// Runs all tests whose name contains `only`; the last line printed is `N passed, N failed`.
///
/// # Errors
/// A test failed, none ran, or the tools or the project's folder cannot be used.
pub fn test(root: &Path, qemu: &str, only: &str) -> Result<(), Error> {
    tools::check_rust()?;
    let emulator = Emulator::of(qemu);
    let qemu = find_qemu(qemu)?;
    let project = Project::open(root, emulator)?;
    let folder = project.target("test");
    std::fs::create_dir_all(&folder).map_err(|source| Error::Io {
        path: folder.clone(),
        source,
    })?;
    let interrupt = interrupt_flag()?;
    // Two runs would take each other's images and logs away.
    let _lock = lock(&folder.join("lock"), || -> Result<_, Error> {
        println!("waiting for another run of the tests in {}", folder.display());
        Ok(Arc::clone(&interrupt))
    })?;
    let report = Report::new(folder);
    let session = Session {
        project: &project,
        qemu: &qemu,
        only,
        interrupt,
    };
    host::run(&session, &report);
    python_runtime::run(&session, &report);
    machines::run(&session, &report);
    guides::run(&session, &report);
    let (passed, failed) = report.counts();
    if failed > 0 {
        println!("the output of each test is in {}", report.folder().display());
    } else if passed == 0 {
        println!("no test has a name with `{only}` in it");
    }
    println!("{passed} passed, {failed} failed");
    if session.interrupt.load(Ordering::Relaxed) {
        Err(Error::Interrupted)
    } else if failed > 0 || passed == 0 {
        Err(Error::Reported)
    } else {
        Ok(())
    }
}
