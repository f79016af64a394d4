//! The wiring of the root task: from the boot archive to the init program.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use interfaces::log::Colour;
use l4::archive::{Archive, ArchiveError};
use l4::object::{Dataspace, Debug, Factory, MapEntry, Placement, Platform as Machine, Task, Vcon};
use l4::{CapIndex, Error, Rights};
use l4_rpc::Cap;
use l4re::memory::SealedView;
use l4re::server::{self, Server};
use l4re::{OwnedCap, Slot, clock, println, slots};
use loader::{Arguments, Launch, Launched, LoadError, NamedCap, Plan, Program};
use moe::{CommandLine, Labels, Modules, Moe, Platform};

l4re::entry!(main);

/// The kernel shows the archive's header in this slot, and its modules in the following ones.
const ARCHIVE_HEADER: CapIndex = CapIndex(0x3f);
const FIRST_MODULE: CapIndex = CapIndex(0x40);
/// Slots that the kernel may have filled.
const FIRST_FREE: CapIndex = CapIndex(FIRST_MODULE.0 + l4::archive::MAX_ENTRIES as u32);
/// Memory that the root task keeps for itself.
const OWN_MEMORY: u64 = 8 << 20;
/// Runs programs for Linux.
const RUNNER: &str = "linux-abi";
const INIT_STACK: u64 = 1 << 20;
/// Above everything that init starts: it must be able to end what runs for ever.
const INIT_PRIORITY: u8 = 190;

/// Why the root task could not do its work.
enum BootError {
    Archive(ArchiveError),
    CommandLine,
    NoModule,
    Load(LoadError),
    Kernel(&'static str, Error),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Archive(error) => error.fmt(f),
            BootError::CommandLine => f.write_str("the root task's command line is wrong"),
            BootError::NoModule => f.write_str("init, or what runs it, is not part of the boot image"),
            BootError::Load(error) => write!(f, "init can't be started: {error}"),
            BootError::Kernel(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

impl From<LoadError> for BootError {
    fn from(error: LoadError) -> BootError {
        BootError::Load(error)
    }
}

/// Turns an error of the kernel into one that says what was tried.
fn failed(doing: &'static str) -> impl Fn(Error) -> BootError {
    move |error| BootError::Kernel(doing, error)
}

/// The real machine: the kernel's console, and this task's gate.
struct Kernel {
    gate: CapIndex,
}

impl Platform for Kernel {
    fn show(&mut self, bytes: &[u8]) {
        l4re::console::write(CapIndex::LOG, bytes);
    }

    fn mint(&mut self, label: Labels) -> Result<Cap<Vcon>, Error> {
        let cap = mint(self.gate, label, CapIndex::TASK)?;
        Ok(Cap::new(cap.leak()).granted())
    }
}

/// Derives a capability with another label from the gate, into a slot of this task.
fn mint(gate: CapIndex, label: Labels, task: CapIndex) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| {
        let rights = Rights::CLIENT;
        Task(task).map(&[MapEntry {
            from: gate,
            to: slot,
            rights,
            grant: false,
            label: label.label(),
        }])
    })
}

fn main() -> i64 {
    let is_success = match run() {
        Ok(verdict) => verdict,
        Err(error) => {
            println!("MOE: {error}");
            false
        }
    };
    println!(
        "MOE: power off ({})",
        if is_success { "success" } else { "failure" }
    );
    let error = Machine(CapIndex::PLATFORM).power_off(is_success);
    println!("MOE: the machine does not power off: {error}");
    1
}

/// Serves until init has ended; tells whether it was content.
fn run() -> Result<bool, BootError> {
    slots::reserve_below(FIRST_FREE);
    println!("MOE: Hello!");
    let view =
        SealedView::attach(Dataspace(ARCHIVE_HEADER)).map_err(failed("looking at the boot archive"))?;
    let archive = Archive::parse(view.bytes()).map_err(BootError::Archive)?;
    let modules = Modules::of_archive(&archive, FIRST_MODULE);
    introduce(&modules);
    let line = archive.entries().next().map_or("", |entry| entry.command_line);
    println!("MOE: command line: {line}");
    let line = CommandLine::parse(line).map_err(|error| {
        println!("MOE: {error}");
        BootError::CommandLine
    })?;
    let gate = server::create_gate(0).map_err(failed("creating the gate"))?;
    let mut moe = Moe::new(modules, Kernel { gate: gate.index() });
    // The first log has no tag: init's lines are shown as they are.
    let log = moe
        .create_log("", Colour::NONE)
        .map_err(|_| BootError::NoModule)?;
    let init = start_init(&moe, gate.index(), log, &line)?;
    let mut server = Server::new().map_err(failed("finding slots for the server"))?;
    server.run(&mut moe);
    drop(init);
    Ok(moe.finish())
}

fn introduce(modules: &Modules) {
    let info = clock::info_page();
    println!(
        "MOE: {} MiB of memory, {} CPU{}",
        info.memory >> 20,
        info.cpu_count,
        if info.cpu_count == 1 { "" } else { "s" }
    );
    for module in modules.iter() {
        println!("  ROMFS: {:>9} {}", module.size, module.name);
    }
}

/// What of init must stay as long as it runs.
struct Init {
    _program: Program,
    _runner: Option<Program>,
    _caps: [OwnedCap; 4],
}

fn start_init(
    moe: &Moe<Kernel>,
    gate: CapIndex,
    log: Labels,
    line: &CommandLine<'_>,
) -> Result<Init, BootError> {
    let arguments = &line.arguments;
    println!("MOE: starting rom/{} {}", line.init, arguments.join(" "));
    let program = prepare(moe.modules(), line.init)?;
    let runner = match program.image().is_native {
        true => None,
        false => Some(prepare(moe.modules(), RUNNER)?),
    };
    let plan = Plan::new(&program, runner.as_ref(), INIT_STACK, CapIndex::INFO_PAGE)?;
    let own_name = alloc::format!("rom/{}", line.init);
    let words: Vec<&str> = core::iter::once(own_name.as_str())
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let caps = launch(&plan, gate, log, &words)?;
    Ok(Init {
        _program: program,
        _runner: runner,
        _caps: caps,
    })
}

fn prepare(modules: &Modules, name: &str) -> Result<Program, BootError> {
    let module = modules.find(name).ok_or_else(|| {
        println!("MOE: there is no module '{name}'");
        BootError::NoModule
    })?;
    Ok(Program::prepare(Dataspace(module.dataspace), Some(module.size))?)
}

/// Starts init with everything that there is. Returns its account, task, thread, and the account's gate.
fn launch(plan: &Plan, gate: CapIndex, log: Labels, words: &[&str]) -> Result<[OwnedCap; 4], BootError> {
    let memory = Factory(CapIndex::FACTORY)
        .info()
        .map_err(failed("asking for the memory left"))?;
    let limit = memory.limit.saturating_sub(memory.used + OWN_MEMORY);
    let account = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_factory(limit, slot))
        .map_err(failed("creating init's account"))?;
    let [task, thread] =
        [Slot::allocate(), Slot::allocate()].map(|slot| slot.map_err(failed("finding slots")));
    let (task, thread) = (task?, thread?);
    let fault = mint(gate, Labels::Fault, CapIndex::TASK).map_err(failed("minting init's fault gate"))?;
    let capabilities = init_capabilities(account.index(), gate, log);
    let log_factory = NamedCap {
        name: "log_factory",
        cap: gate,
        rights: Rights::CLIENT,
        label: Labels::LogFactory.label(),
    };
    let launch = Launch {
        account: account.index(),
        scheduler: CapIndex::SCHEDULER,
        placement: Placement {
            cpu: Placement::SAME_CPU,
            priority: INIT_PRIORITY,
            slice_us: 0,
        },
        handler: fault.index(),
        handler_label: 0,
        capabilities: &capabilities,
        arguments: Some(&Arguments {
            arguments: words,
            variables: &[],
            caps: &[log_factory],
        }),
    };
    plan.launch(
        &launch,
        Launched {
            task: task.index(),
            thread: thread.index(),
        },
    )?;
    // Names are for dumps only: without them everything works.
    let _ = Debug(CapIndex::DEBUG).set_name(task.index(), words.first().unwrap_or(&"init"));
    Ok([account, task.filled(), thread.filled(), fault])
}

/// The capabilities of init at their usual slots: its account, what the kernel gave, what this task serves.
fn init_capabilities(account: CapIndex, gate: CapIndex, log: Labels) -> [MapEntry; 10] {
    let served = |to, label: Labels| MapEntry {
        from: gate,
        to,
        rights: Rights::CLIENT,
        grant: false,
        label: label.label(),
    };
    let passed = |cap| MapEntry::copy(cap, cap, Rights::CLIENT);
    [
        MapEntry::copy(account, CapIndex::FACTORY, Rights::CLIENT),
        passed(CapIndex::SCHEDULER),
        passed(CapIndex::ICU),
        passed(CapIndex::PLATFORM),
        passed(CapIndex::DEBUG),
        passed(CapIndex::DEBUGCON),
        passed(CapIndex::INFO_PAGE),
        served(CapIndex::ROM, Labels::Rom),
        served(CapIndex::PARENT, Labels::Parent),
        served(CapIndex::LOG, log),
    ]
}
