//! The commands `bench` and `bench-report`: Aerie's figures beside Linux's, measured in the same run under the same emulator.
//!
//! Instructions are counted (`-icount`, one CPU: repeatable), and the same is measured in time. Boot time and scaling
//! exist in time only, as ratios. The report adds what needs large programs on Linux's side, and makes a page of all.

mod cpio;
mod figures;
mod lines;
mod load;
mod machines;
mod peer;
mod ratios;
mod report;
mod shared;
mod table;

use std::cell::RefCell;
use std::path::Path;

use crate::cli::{ImageArguments, ListArguments};
use crate::compile::Profile;
use crate::error::Error;
use crate::machine::{Accelerator, Emulator};
use crate::project::Project;
use crate::run::{find_qemu, interrupt_flag};
use crate::steps::Steps;
use crate::tools;

use figures::{Figure, NEED_PEER, Row};
use machines::Session;
use peer::{Extras, Peer};
use ratios::CPUS;
use shared::Built;

/// Image description of the tests, in the project's folder.
const LIST: &str = "tests/modules.list";

/// How the entries begin that print `BENCH` lines.
const BENCH_ENTRIES: &str = "bench";

/// How much is measured, and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Aerie alone.
    Alone,
    /// Aerie and Linux.
    Both,
    /// Aerie, Linux, CPython and Wasmtime, as a page with plots.
    Report,
}

/// Measures everything, prints the table and writes `bench/results.json` below the target folder; for the report
/// `bench/report.json` and `bench/report.html` as well.
///
/// # Errors
/// A figure cannot be measured or misses its goal, or a tool is missing. For a report, parts of Linux's side that cannot
/// be had are no error: the page says so.
pub fn bench(root: &Path, qemu: &str, scope: Scope) -> Result<(), Error> {
    let is_report = scope == Scope::Report;
    let mut steps = Steps::new(7);
    steps.next("checking tools");
    tools::check_rust()?;
    // Whatever is measured is measured under the translator.
    let emulator = Emulator {
        accelerator: Some(Accelerator::Tcg),
        ..Emulator::of(qemu)
    };
    let qemu = find_qemu(qemu)?;
    let project = Project::open(root, emulator)?;
    let session = Session {
        project: &project,
        qemu: &qemu,
        folder: project.target("bench"),
        interrupt: interrupt_flag()?,
        problems: RefCell::default(),
    };
    steps.next("building the boot images");
    let images = session.build_benchmarks()?;
    let clients = session.attempt(session.build_clients(is_report))?;
    steps.next("preparing the Linux guest");
    let extras = session.extras(root, scope)?;
    let peer = session.peer(root, scope, &images, &extras)?;
    steps.next("counting instructions");
    let counted = session.measure(&images, peer.as_ref(), Accelerator::TcgCounted, 1)?;
    steps.next("measuring time");
    let busy = load::warning();
    let mut timed = session.measure(&images, peer.as_ref(), Accelerator::Tcg, CPUS)?;
    steps.next("measuring boot and scaling");
    let mut ratios = session.ratios(&clients, peer.as_ref(), &mut timed)?;
    ratios.extend(figures::counted_ratios(&counted));
    ratios.extend(figures::timed_ratios(&timed));
    steps.next("results");
    let rows = figures::rows(&counted, &timed, &ratios);
    print!("{}", table::table(&rows));
    if let Some(note) = &busy {
        println!("{note}");
    }
    session.write("results.json", &rows)?;
    if is_report {
        let mut facts = report::facts(root, &session, &extras, peer.as_ref());
        facts.extend(busy.map(|note| ("Load", note.trim_start_matches("note: ").to_owned())));
        session.report(facts, &rows, &counted, &timed)?;
    }
    session.conclude(&rows, peer.is_some())
}

impl Session<'_> {
    /// What only the report needs of Linux's side. What cannot be had is a problem that the page names.
    fn extras(&self, root: &Path, scope: Scope) -> Result<Extras, Error> {
        if scope != Scope::Report {
            return Ok(Extras::default());
        }
        let mut extras = self.attempt(Extras::prepare(root, &self.folder.join("linux")))?;
        self.problems.borrow_mut().append(&mut extras.problems);
        Ok(extras)
    }

    /// The Linux guest, if it is wanted. The report goes on without it.
    fn peer(
        &self,
        root: &Path,
        scope: Scope,
        images: &[Built],
        extras: &Extras,
    ) -> Result<Option<Peer>, Error> {
        let prepare = || {
            let shared = shared::files(&self.project.workspace.target, images)?;
            Peer::prepare(root, &self.folder.join("linux"), &shared, extras).map(Some)
        };
        match scope {
            Scope::Alone => Ok(None),
            Scope::Both => prepare(),
            Scope::Report => self.attempt(prepare()),
        }
    }

    /// Success only if every figure that has to reach something was measured and reaches it.
    fn conclude(&self, rows: &[Row], has_peer: bool) -> Result<(), Error> {
        for problem in self.problems.borrow().iter() {
            eprintln!("{problem}");
        }
        let missing: Vec<_> = figures::missing(rows)
            .filter(|figure| is_needed(figure, has_peer))
            .map(|figure| figure.name)
            .collect();
        let missed: Vec<_> = rows
            .iter()
            .filter(|row| row.misses())
            .map(|row| row.name.as_str())
            .collect();
        let mut reasons = Vec::new();
        for (names, what) in [(missing, "not measured"), (missed, "goal missed")] {
            if !names.is_empty() {
                reasons.push(format!("{what}: {}", names.join(", ")));
            }
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(Error::Failed(reasons.join("; ")))
        }
    }

    /// The images of all entries that measure something, as far as they can be built.
    fn build_benchmarks(&self) -> Result<Vec<Built>, Error> {
        let list = self.project.list(&self.lists(LIST))?;
        let names = list.entry_names().filter(|name| name.starts_with(BENCH_ENTRIES));
        let mut images = Vec::new();
        for name in names {
            images.extend(self.attempt(self.build(LIST, name, "").map(Some))?);
        }
        Ok(images)
    }

    fn lists(&self, list: &str) -> ListArguments {
        ListArguments {
            modules_list: self.project.workspace.root.join(list).display().to_string(),
            module_search_path: String::new(),
        }
    }

    /// Builds an image below this session's folder, one for each first client argument.
    fn build(&self, list: &str, entry: &str, client_args: &str) -> Result<Built, Error> {
        let lists = self.lists(list);
        let arguments = ImageArguments {
            lists,
            entry: entry.into(),
            client_args: client_args.into(),
            checked: false,
        };
        let contents = self.project.contents(&arguments)?;
        let name = format!(
            "{entry}{}",
            client_args.split_whitespace().next().unwrap_or_default()
        );
        let image = self.project.image_in(
            &contents,
            Profile::Release,
            None,
            &self.folder.join("images").join(name),
        )?;
        Ok(Built {
            contents,
            image: image.file,
        })
    }

    fn write(&self, name: &str, content: &impl serde::Serialize) -> Result<(), Error> {
        let path = self.folder.join(name);
        let json = serde_json::to_string_pretty(content).map_err(|error| Error::Failed(error.to_string()))?;
        std::fs::write(&path, json + "\n").map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        println!("the figures as JSON: {}", path.display());
        Ok(())
    }
}

/// Whether a figure that was not measured is a failure.
fn is_needed(figure: &Figure, has_peer: bool) -> bool {
    let is_promised = figure.goal.is_some() || figure.aim.is_none();
    is_promised && (has_peer || !NEED_PEER.contains(&figure.name))
}

#[cfg(test)]
mod tests {
    use super::figures::FIGURES;
    use super::*;

    #[test]
    fn what_is_promised_has_to_be_measured() {
        let needed = |name: &str, has_peer| {
            let figure = FIGURES.iter().find(|figure| figure.name == name).unwrap();
            is_needed(figure, has_peer)
        };
        assert!(needed("null_call", false));
        assert!(needed("python_cpu", true));
        assert!(needed("boot_ratio", true) && !needed("boot_ratio", false));
    }
}
