//! The task that `ned` runs in.

use std::collections::BTreeMap;
use std::fs;

use interfaces::log::LogFactoryClient;
use interfaces::namespace::NamespaceClient;
use l4::object::{Factory, Scheduler, Task};
use l4::{CapIndex, Error};
use l4re::server::{self, Server};
use l4re::{Channel, OwnedCap, Slot, env};
use loader::Program;
use ned::{Event, Launch, LogRequest, ProgramLog, System, TaskNumber};

use super::launch::{Running, launch, mint, prepare};
use super::service::{Duties, Role};

/// Runs programs for Linux.
const RUNNER: &str = "linux-abi";
/// The service that makes logs, under this name in the environment.
const LOG_FACTORY: &str = "log_factory";

const USUAL_CAPS: [(&str, CapIndex); 8] = [
    ("factory", CapIndex::FACTORY),
    ("log", CapIndex::LOG),
    ("icu", CapIndex::ICU),
    ("scheduler", CapIndex::SCHEDULER),
    ("platform", CapIndex::PLATFORM),
    ("debug", CapIndex::DEBUG),
    ("debugcon", CapIndex::DEBUGCON),
    ("rom", CapIndex::ROM),
];

/// The task's capabilities, and what `ned` made of them.
pub(crate) struct OwnTask {
    gate: OwnedCap,
    server: Server,
    duties: Duties,
    running: BTreeMap<TaskNumber, Running>,
    /// Slots of the namespaces that `ned` serves itself, by their numbers.
    namespaces: Vec<CapIndex>,
    runner: Option<Program>,
}

impl OwnTask {
    /// Makes the gate that tasks and the kernel report to.
    pub(crate) fn new() -> Result<OwnTask, String> {
        let failed = |error: Error| format!("cannot make a gate for signals: {error}");
        Ok(OwnTask {
            gate: server::create_gate(0).map_err(failed)?,
            server: Server::new().map_err(failed)?,
            duties: Duties::default(),
            running: BTreeMap::new(),
            namespaces: Vec::new(),
            runner: None,
        })
    }

    /// The runner of Linux programs, prepared when the first one starts. `None` if there is none.
    fn prepare_runner(&mut self) -> Result<(), String> {
        if self.runner.is_none()
            && let Ok(file) = self.query(CapIndex::ROM, RUNNER)
        {
            self.runner = Some(prepare(file)?);
        }
        Ok(())
    }
}

fn made(cap: Result<OwnedCap, Error>, what: &str) -> Result<CapIndex, String> {
    cap.map(OwnedCap::leak)
        .map_err(|error| format!("cannot make {what}: {error}"))
}

impl System for OwnTask {
    fn environment(&mut self) -> Vec<(String, CapIndex)> {
        let is_there = |cap| Task(CapIndex::TASK).is_valid(cap).unwrap_or(false);
        let usual = USUAL_CAPS.into_iter().filter(|(_, cap)| is_there(*cap));
        let named = env::caps().map(|entry| (entry.name, entry.cap));
        usual
            .chain(named)
            .map(|(name, cap)| (name.to_owned(), cap))
            .collect()
    }

    fn read_file(&mut self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| format!("cannot read '{path}': {error}"))
    }

    fn create_channel(&mut self) -> Result<CapIndex, String> {
        let create = |slot| Factory(CapIndex::FACTORY).create_gate(0, CapIndex::NONE, slot);
        made(Slot::fill(create), "a channel")
    }

    fn query(&mut self, namespace: CapIndex, name: &str) -> Result<(CapIndex, u64), String> {
        // Nobody would answer a call to a namespace of one's own.
        if let Some(number) = self.namespaces.iter().position(|own| *own == namespace) {
            let entry = self.duties.namespaces[number]
                .iter()
                .find(|(known, ..)| known == name);
            return entry
                .map(|(_, cap, size)| (*cap, *size))
                .ok_or_else(|| format!("there is no '{name}'"));
        }
        let answer = NamespaceClient::new(Channel(namespace)).query(name);
        let (cap, size) = answer.map_err(|error| format!("'{name}': {error}"))?;
        Ok((cap.index(), size))
    }

    fn create_factory(&mut self, parent: CapIndex, limit: u64) -> Result<CapIndex, String> {
        let create = |slot| Factory(parent).create_factory(limit, slot);
        made(Slot::fill(create), &format!("an account of {limit} bytes"))
    }

    fn available(&mut self, factory: CapIndex) -> Result<u64, String> {
        let info = Factory(factory).info().map_err(|error| error.to_string())?;
        Ok(info.limit.saturating_sub(info.used))
    }

    fn create_dataspace(&mut self, factory: CapIndex, size: u64) -> Result<CapIndex, String> {
        let create = |slot| Factory(factory).create_dataspace(size, slot);
        made(Slot::fill(create), &format!("a dataspace of {size} bytes"))
    }

    fn scheduler_info(&mut self, scheduler: CapIndex) -> Result<(u64, u8), String> {
        let info = Scheduler(scheduler).info().map_err(|error| error.to_string())?;
        Ok((info.cpus, info.max_priority))
    }

    fn derive_scheduler(
        &mut self,
        parent: CapIndex,
        cpus: u64,
        max_priority: u8,
    ) -> Result<CapIndex, String> {
        let derive = |slot| Scheduler(parent).derive(CapIndex::FACTORY, cpus, max_priority, slot);
        made(Slot::fill(derive), "a scheduler")
    }

    fn create_log(&mut self, request: &LogRequest) -> Result<CapIndex, String> {
        let factory = env::cap(LOG_FACTORY).ok_or("ned has no capability 'log_factory'")?;
        let log = LogFactoryClient::new(Channel(factory)).create(&request.tag, request.colour);
        let log = log.map_err(|error| format!("cannot make the log '{}': {error}", request.tag))?;
        Ok(log.index())
    }

    fn create_namespace(&mut self, entries: Vec<(String, CapIndex, u64)>) -> Result<CapIndex, String> {
        let cap = mint(self.gate.index(), Role::Namespace(self.namespaces.len()))?.leak();
        self.duties.namespaces.push(entries);
        self.namespaces.push(cap);
        Ok(cap)
    }

    fn start(&mut self, number: TaskNumber, wanted: &Launch) -> Result<(), String> {
        let file = self.query(CapIndex::ROM, &wanted.program)?;
        // The regions of the task keep what they show.
        let _file = OwnedCap::adopt(file.0);
        self.prepare_runner()?;
        let log = match &wanted.log {
            ProgramLog::Given(cap) => (*cap, None),
            ProgramLog::New(request) => {
                let cap = self.create_log(request)?;
                (cap, Some(OwnedCap::adopt(cap)))
            }
        };
        let running = launch(number, wanted, file, self.runner.as_ref(), self.gate.index(), log)?;
        self.running.insert(number, running);
        Ok(())
    }

    fn remove(&mut self, number: TaskNumber) {
        if let Some(running) = self.running.remove(&number) {
            running.remove();
        }
    }

    fn wait(&mut self) -> Event {
        loop {
            if let Some(event) = self.duties.events.pop_front() {
                return event;
            }
            self.server.run(&mut self.duties);
        }
    }

    fn say(&mut self, line: &str) {
        println!("Ned: {line}");
    }
}
