//! Tests that run in QEMU: the kernel's own, and the scenarios of the whole system.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Session;
use super::check::{self, Judgement};
use super::report::{Report, Tests};
use super::scenario::{self, Scenario};
use super::tap;
use crate::backtrace;
use crate::cli::{ImageArguments, ListArguments};
use crate::compile::Profile;
use crate::console::{Interest, Outcome, Verdict, Watch, read_log};
use crate::error::Error;
use crate::machine::{Machine, choose_accelerator, cpus_for};
use crate::project::{DEFAULT_SILENCE, split_options};
use crate::python_code::PythonCodeError;
use crate::resolve::ResolveError;

/// How many machines run at once.
const PARALLEL_MACHINES: usize = 2;

/// Image description of the tests, in the project's folder.
const LIST: &str = "tests/modules.list";

/// The entry with the kernel's tests.
const KERNEL_ENTRY: &str = "kernel-tests";

/// The folder with the scenarios, in the project's folder.
const SCENARIOS: &str = "tests/system";

/// How long the kernel's tests may take.
const KERNEL_LIMIT: Duration = Duration::from_secs(300);

/// What a console is compared with.
enum Check {
    Tap,
    Scenario(Box<Scenario>),
}

/// A machine to run and judge.
struct Job {
    name: String,
    image: ImageArguments,
    profile: Profile,
    qemu_options: String,
    limit: Duration,
    silence: Duration,
    check: Check,
}

/// A job with its image built.
struct Ready {
    job: Job,
    machine: Machine,
    folder: PathBuf,
}

/// Builds all images, then runs the machines.
pub(super) fn run(session: &Session<'_>, report: &Report) {
    let mut ready = Vec::new();
    for job in jobs(session, report) {
        if !session.wants(&job.name) {
            continue;
        }
        let started = Instant::now();
        let name = job.name.clone();
        match prepare(session, report, job) {
            Ok(prepared) => ready.push(prepared),
            Err(Error::Resolve(ResolveError::PythonCode(PythonCodeError::Packages(error))))
                if error.is_hosts_fault() =>
            {
                report.skip(&name, &error.to_string());
            }
            Err(error) => report.add(&name, started.elapsed(), &Tests::failure(error.to_string())),
        }
    }
    ready.reverse();
    let queue = Mutex::new(ready);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL_MACHINES {
            scope.spawn(|| {
                while let Some(ready) = next().filter(|_| !session.interrupt.load(Ordering::Relaxed)) {
                    execute(session, report, &ready);
                }
            });
        }
    });
}

fn jobs(session: &Session<'_>, report: &Report) -> Vec<Job> {
    let root = &session.project.workspace.root;
    let mut jobs: Vec<_> = [Profile::Checked, Profile::Release]
        .map(|profile| kernel_job(root, profile))
        .into();
    match scenario::read_all(&root.join(SCENARIOS)) {
        Ok(scenarios) => {
            for (name, scenario) in scenarios {
                let name = format!("system/{name}");
                match scenario {
                    Ok(scenario) => jobs.push(scenario_job(root, name, scenario)),
                    Err(error) if session.wants(&name) => {
                        report.add(&name, Duration::ZERO, &Tests::failure(error.to_string()));
                    }
                    Err(_) => {}
                }
            }
        }
        Err(error) => report.add("system", Duration::ZERO, &Tests::failure(error.to_string())),
    }
    jobs
}

fn kernel_job(root: &Path, profile: Profile) -> Job {
    let lists = ListArguments {
        modules_list: root.join(LIST).display().to_string(),
        module_search_path: String::new(),
    };
    Job {
        name: format!("kernel/{}", profile.name()),
        image: ImageArguments {
            lists,
            entry: KERNEL_ENTRY.into(),
            client_args: String::new(),
            checked: profile == Profile::Checked,
        },
        profile,
        qemu_options: String::new(),
        limit: KERNEL_LIMIT,
        silence: DEFAULT_SILENCE,
        check: Check::Tap,
    }
}

fn scenario_job(root: &Path, name: String, scenario: Scenario) -> Job {
    let list = scenario
        .modules_list
        .as_deref()
        .unwrap_or(Path::new("modules.list"));
    let folders: Vec<_> = scenario
        .module_search_path
        .iter()
        .map(|folder| root.join(folder))
        .collect();
    let search_path = std::env::join_paths(folders).unwrap_or_default();
    Job {
        name,
        image: ImageArguments {
            lists: ListArguments {
                modules_list: root.join(list).display().to_string(),
                module_search_path: search_path.to_string_lossy().into_owned(),
            },
            entry: scenario.entry.clone(),
            client_args: scenario.client_args.clone(),
            checked: scenario.checked,
        },
        profile: if scenario.checked {
            Profile::Checked
        } else {
            Profile::Release
        },
        qemu_options: scenario.qemu_options.clone(),
        limit: Duration::from_secs(scenario.limit),
        silence: Duration::from_secs(scenario.silence),
        check: Check::Scenario(Box::new(scenario)),
    }
}

fn prepare(session: &Session<'_>, report: &Report, job: Job) -> Result<Ready, Error> {
    let folder = report.folder().join(job.name.replace('/', "-"));
    let contents = session.project.contents(&job.image)?;
    let build_log = report.log("build");
    let image = session
        .project
        .image_in(&contents, job.profile, Some(&build_log), &folder)?;
    let machine = Machine {
        program: session.qemu.to_owned(),
        accelerator: choose_accelerator(session.qemu),
        kernel: image.file,
        cpus: cpus_for(&job.image.client_args),
        options: split_options(&job.qemu_options)?,
    };
    Ok(Ready { job, machine, folder })
}

fn execute(session: &Session<'_>, report: &Report, ready: &Ready) {
    let name = &ready.job.name;
    let watch = Watch {
        log: report.log(name),
        is_shown: false,
        silence: Some(ready.job.silence),
        limit: Some(ready.job.limit),
        interrupt: session.interrupt.clone(),
    };
    let started = Instant::now();
    let outcome = watch.run(ready.machine.command(), |_| Interest::None);
    let mut tests = match (outcome, read_log(&watch.log)) {
        (Ok(outcome), Ok(console)) => judge(&ready.job.check, outcome, &console),
        (Err(error), _) => Tests::failure(error.to_string()),
        (_, Err(error)) => Tests::failure(format!("{}: {error}", watch.log.display())),
    };
    if let Check::Scenario(scenario) = &ready.job.check
        && tests.failures.is_empty()
    {
        match check::judge(&scenario.check, &session.project.workspace.root, &watch.log) {
            Judgement::Right => {}
            Judgement::Wrong(reason) => {
                tests.passed = 0;
                tests.failures.push(reason);
            }
            Judgement::Missing(program) => {
                report.skip(name, &format!("no {program}, which compares the results"));
                tests.skipped += 1;
            }
        }
    }
    tests
        .tail
        .extend(backtrace::explain(&tests.tail, &ready.folder.join("kernel")));
    if tests.failures.is_empty() {
        // Only the images of failures are worth their space; a leftover is overwritten by the next run.
        let _ = std::fs::remove_dir_all(&ready.folder);
    }
    report.add(name, started.elapsed(), &tests);
}

fn judge(check: &Check, outcome: Outcome, console: &str) -> Tests {
    let mut tests = match check {
        Check::Scenario(scenario) => scenario.judge(outcome.verdict, console),
        Check::Tap => {
            let mut tests = tap::parse(console);
            // A failed test makes the guest report failure; that is no second failure.
            if outcome.verdict != Verdict::Success && tests.failures.is_empty() {
                tests
                    .failures
                    .push(format!("all tests passed, but {}", outcome.verdict));
            } else if !matches!(outcome.verdict, Verdict::Success | Verdict::Failure) {
                tests.failures.push(outcome.verdict.to_string());
            }
            tests
        }
    };
    tests.tail = outcome.tail;
    tests
}
