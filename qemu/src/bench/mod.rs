//! The command `bench`: Aerie's figures beside Linux's, measured in the same run under the same emulator.
//!
//! Instructions are counted (`-icount`, one CPU: repeatable), and the same is measured in time. Boot time and scaling
//! exist in time only, as ratios.

mod cpio;
mod figures;
mod load;
mod peer;
mod shared;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cli::{ImageArguments, ListArguments};
use crate::compile::Profile;
use crate::console::{Interest, Outcome, Verdict, Watch, read_log};
use crate::error::Error;
use crate::machine::{Accelerator, Machine};
use crate::project::{DEFAULT_SILENCE, Project};
use crate::run::{find_qemu, interrupt_flag};
use crate::steps::Steps;
use crate::tools;

use figures::{
    BOOT, BOOT_RATIO, FIGURES, Figure, INSTRUCTIONS, LinuxOperation, NEED_PEER, Row, SCALING, TIMES, Values,
};
use peer::{Peer, Setup};
use shared::Built;

/// Image description of the tests, in the project's folder.
const LIST: &str = "tests/modules.list";

/// How the entries begin that print `BENCH` lines.
const BENCH_ENTRIES: &str = "bench";

/// How often boot and scaling are measured; the median counts.
const REPETITIONS: usize = 5;

/// What the scaling is measured with, but for the number of threads.
const SCALING_ARGUMENTS: &str = "--iterations=4000 --warmup=500 --mode=boot --format=json";

/// How the first line begins that a user program prints: the root task's greeting.
const ROOT_TASK_MARK: &str = "MOE";

/// What the first program of the Linux guest prints first.
const LINUX_MARK: &str = "PEER START";

/// CPUs of the runs in time.
const CPUS: u32 = 2;

/// What all measurements share.
struct Session<'a> {
    project: &'a Project,
    qemu: &'a Path,
    folder: PathBuf,
    interrupt: Arc<AtomicBool>,
    /// What could not be measured, and why. The rest is measured all the same.
    problems: RefCell<Vec<String>>,
}

/// Measures everything, prints the table and writes `bench/results.json` below the target folder.
///
/// # Errors
/// A figure cannot be measured or misses its goal, or a tool is missing.
pub fn bench(root: &Path, qemu: &str, has_peer: bool) -> Result<(), Error> {
    let mut steps = Steps::new(7);
    steps.next("checking tools");
    tools::check_rust()?;
    let qemu = find_qemu(qemu)?;
    let project = Project::open(root)?;
    let folder = project.target("bench");
    let session = Session {
        project: &project,
        qemu: &qemu,
        folder,
        interrupt: interrupt_flag()?,
        problems: RefCell::default(),
    };
    steps.next("building the boot images");
    let images = session.build_benchmarks()?;
    let clients = session.attempt(session.build_clients().map(Some))?;
    steps.next("preparing the Linux guest");
    let peer = has_peer
        .then(|| {
            let shared = shared::files(&project.workspace.target, &images)?;
            Peer::prepare(root, &session.folder.join("linux"), &shared)
        })
        .transpose()?;
    steps.next("counting instructions");
    let counted = session.measure(&images, peer.as_ref(), Accelerator::TcgCounted, 1)?;
    steps.next("measuring time");
    let busy = load::warning();
    let mut timed = session.measure(&images, peer.as_ref(), Accelerator::Tcg, CPUS)?;
    steps.next("measuring boot and scaling");
    let mut ratios = session.ratios(clients.as_ref(), peer.as_ref(), &mut timed)?;
    ratios.extend(figures::counted_ratios(&counted.aerie, &counted.linux));
    steps.next("results");
    let rows = rows(&counted, &timed, &ratios);
    print!("{}", figures::table(&rows));
    if let Some(note) = busy {
        println!("{note}");
    }
    session.write(&rows)?;
    session.conclude(&rows, has_peer)
}

/// What the two guests measured in one mode.
#[derive(Debug, Default)]
struct Pair {
    aerie: Values,
    linux: Values,
}

/// Brings the measurements into the order of the table: instructions and ratios with goals, then times.
fn rows(counted: &Pair, timed: &Pair, ratios: &Values) -> Vec<Row> {
    let row = |name: &str, unit, goal, suffix: &str, pair: &Pair, peer: LinuxOperation| {
        let value = *pair.aerie.get(name).or_else(|| ratios.get(name))?;
        let linux = peer.and_then(|(title, key)| Some((title, *pair.linux.get(key)?)));
        Some(Row {
            name: format!("{name}{suffix}"),
            unit,
            value,
            peer: linux.map(|(title, _)| title),
            peer_value: linux.map(|(_, value)| value),
            goal,
        })
    };
    let main = FIGURES.iter().filter_map(|figure| {
        let Figure {
            name,
            unit,
            goal,
            peer,
        } = *figure;
        row(name, unit, goal, "", counted, peer)
    });
    let same_in_time = FIGURES
        .iter()
        .filter(|figure| figure.unit == INSTRUCTIONS)
        .map(|figure| (figure.name, "ns", figure.peer));
    let times = same_in_time
        .chain(TIMES)
        .filter_map(|(name, unit, peer)| row(name, unit, None, "_time", timed, peer));
    main.chain(times).collect()
}

impl Session<'_> {
    /// Remembers an error and goes on with nothing, unless the user wants to stop.
    fn attempt<T: Default>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                self.problems.borrow_mut().push(error.to_string());
                Ok(T::default())
            }
            Ok(value) => Ok(value),
        }
    }

    /// Success only if every figure was measured and reaches its goal.
    fn conclude(&self, rows: &[Row], has_peer: bool) -> Result<(), Error> {
        for problem in self.problems.borrow().iter() {
            eprintln!("{problem}");
        }
        let is_missing = |figure: &&Figure| {
            let is_wanted = has_peer || !NEED_PEER.contains(&figure.name);
            is_wanted && !rows.iter().any(|row| row.name == figure.name)
        };
        let missing: Vec<_> = FIGURES
            .iter()
            .filter(is_missing)
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

    /// The images of the main job with one client and with two.
    fn build_clients(&self) -> Result<[PathBuf; 2], Error> {
        let build = |threads| {
            self.build(
                "modules.list",
                "aerie",
                &format!("--threads={threads} {SCALING_ARGUMENTS}"),
            )
        };
        Ok([build(1)?.image, build(2)?.image])
    }

    fn lists(&self, list: &str) -> ListArguments {
        ListArguments {
            modules_list: self.project.workspace.root.join(list).display().to_string(),
            module_search_path: String::new(),
        }
    }

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

    /// Runs both guests in one mode; of Linux's two setups the better one counts, figure by figure.
    fn measure(
        &self,
        images: &[Built],
        peer: Option<&Peer>,
        accelerator: Accelerator,
        cpus: u32,
    ) -> Result<Pair, Error> {
        let is_counted = accelerator == Accelerator::TcgCounted;
        let suffix = if is_counted { "counted" } else { "timed" };
        let mut aerie = Values::new();
        for Built { contents, image } in images {
            let name = format!("{}-{suffix}", contents.entry);
            let console = self.run(&self.aerie(image, accelerator, cpus), &name);
            let values = console.and_then(|console| figures::read_bench(&console).map_err(Error::Failed));
            aerie.extend(self.attempt(values)?);
        }
        let mut linux = Values::new();
        for setup in [Setup::Default, Setup::Tuned] {
            let Some(peer) = peer else { break };
            let machine = peer.machine(self.qemu, setup, accelerator, cpus);
            let console = self.run(&machine, &format!("{}-{suffix}", setup.name()));
            let values =
                console.and_then(|console| figures::read_peer(&console, is_counted).map_err(Error::Failed));
            figures::keep_better(&mut linux, self.attempt(values)?);
        }
        Ok(Pair { aerie, linux })
    }

    /// The figures that are ratios; the times to boot go to `timed` as well.
    fn ratios(
        &self,
        clients: Option<&[PathBuf; 2]>,
        peer: Option<&Peer>,
        timed: &mut Pair,
    ) -> Result<Values, Error> {
        let mut ratios = Values::new();
        let Some(clients) = clients else { return Ok(ratios) };
        if let Some(peer) = peer
            && let Some((aerie, linux)) = self.attempt(self.boot_times(&clients[0], peer))?
        {
            ratios.insert(BOOT_RATIO.to_owned(), aerie / linux);
            timed.aerie.insert(BOOT.to_owned(), aerie);
            timed.linux.insert(BOOT.to_owned(), linux);
        }
        if let Some(ratio) = self.attempt(self.scaling(clients).map(Some))? {
            ratios.insert(SCALING.to_owned(), ratio);
        }
        Ok(ratios)
    }

    /// Milliseconds from QEMU's start to the first line of a user program, Aerie's and Linux's, taken alternately.
    fn boot_times(&self, image: &Path, peer: &Peer) -> Result<Option<(f64, f64)>, Error> {
        let is_aerie = |line: &str| line.starts_with(ROOT_TASK_MARK);
        let is_linux = |line: &str| line.contains(LINUX_MARK);
        let (mut aerie, mut linux) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            let machine = self.aerie(image, Accelerator::Tcg, CPUS);
            aerie.push(self.time_to(&machine, "aerie-boot", is_aerie)?);
            let machine = peer.machine(self.qemu, Setup::BootOnly, Accelerator::Tcg, CPUS);
            linux.push(self.time_to(&machine, Setup::BootOnly.name(), is_linux)?);
        }
        Ok(figures::median(aerie).zip(figures::median(linux)))
    }

    /// Throughput of two clients on two CPUs over that of one.
    fn scaling(&self, [one, two]: &[PathBuf; 2]) -> Result<f64, Error> {
        let mut ratios = Vec::new();
        for _ in 0..REPETITIONS {
            let throughput = |image: &Path, name: &str| {
                let console = self.run(&self.aerie(image, Accelerator::Tcg, CPUS), name)?;
                figures::throughput(&console).map_err(|error| Error::Failed(format!("{name}: {error}")))
            };
            let single = throughput(one, "aerie-1-client")?;
            ratios.push(throughput(two, "aerie-2-clients")? / single);
        }
        figures::median(ratios).ok_or_else(|| Error::Failed("scaling was not measured".into()))
    }

    fn aerie(&self, image: &Path, accelerator: Accelerator, cpus: u32) -> Machine {
        Machine {
            program: self.qemu.to_owned(),
            accelerator,
            kernel: image.to_owned(),
            cpus,
            options: Vec::new(),
        }
    }

    /// Runs a machine to its success and returns its console.
    fn run(&self, machine: &Machine, name: &str) -> Result<String, Error> {
        let outcome = self.watch(machine, name, |_| Interest::None)?;
        let log = self.log(name);
        match outcome.verdict {
            Verdict::Success => read_log(&log).map_err(|source| Error::Io { path: log, source }),
            _ => Err(failure(name, &outcome, &log)),
        }
    }

    /// Milliseconds until a line of interest.
    fn time_to(&self, machine: &Machine, name: &str, is_it: impl Fn(&str) -> bool) -> Result<f64, Error> {
        let outcome = self.watch(machine, name, |line| {
            if is_it(line) {
                Interest::Stop
            } else {
                Interest::None
            }
        })?;
        match outcome.marks.first() {
            Some((time, _)) => Ok(time.as_secs_f64() * 1e3),
            None => Err(failure(name, &outcome, &self.log(name))),
        }
    }

    fn watch(
        &self,
        machine: &Machine,
        name: &str,
        observe: impl Fn(&str) -> Interest,
    ) -> Result<Outcome, Error> {
        let watch = Watch {
            log: self.log(name),
            is_shown: false,
            silence: Some(DEFAULT_SILENCE * 2),
            limit: Some(Duration::from_secs(600)),
            interrupt: self.interrupt.clone(),
        };
        let outcome = watch
            .run(machine.command(), observe)
            .map_err(|source| Error::Io {
                path: machine.program.clone(),
                source,
            })?;
        match outcome.verdict {
            Verdict::Interrupted => Err(Error::Interrupted),
            _ => Ok(outcome),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn write(&self, rows: &[Row]) -> Result<(), Error> {
        let path = self.folder.join("results.json");
        let json = serde_json::to_string_pretty(rows).map_err(|error| Error::Failed(error.to_string()))?;
        std::fs::write(&path, json + "\n").map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        println!("the figures as JSON: {}", path.display());
        Ok(())
    }
}

fn failure(name: &str, outcome: &Outcome, log: &Path) -> Error {
    let tail = outcome.tail.join("\n");
    Error::Failed(format!(
        "{tail}\n{name}: {} (console: {})",
        outcome.verdict,
        log.display()
    ))
}
