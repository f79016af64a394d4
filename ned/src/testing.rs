//! A system for tests: it remembers what scripts did, and tasks end as the test says.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use l4::CapIndex;

use crate::system::{Ended, Event, Launch, LogRequest, System, TaskNumber};
use crate::{Options, run};

/// What scripts did.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) launches: Vec<Launch>,
    pub(crate) made: Vec<String>,
    pub(crate) removed: Vec<TaskNumber>,
    pub(crate) said: Vec<String>,
}

/// The fake.
pub(crate) struct FakeSystem {
    script: String,
    seen: Rc<RefCell<Seen>>,
    ends: VecDeque<Ended>,
    waited: usize,
}

impl FakeSystem {
    pub(crate) fn new() -> FakeSystem {
        FakeSystem {
            script: String::new(),
            seen: Rc::default(),
            ends: VecDeque::new(),
            waited: 0,
        }
    }

    /// Tasks will end like this, in the order in which they were started.
    pub(crate) fn ending(mut self, ends: impl IntoIterator<Item = Ended>) -> FakeSystem {
        self.ends.extend(ends);
        self
    }

    fn make(&mut self, what: String) -> Result<CapIndex, String> {
        let made = &mut self.seen.borrow_mut().made;
        made.push(what);
        Ok(CapIndex(0x100 + made.len() as u32))
    }
}

impl System for FakeSystem {
    fn environment(&mut self) -> Vec<(String, CapIndex)> {
        [
            ("factory", CapIndex::FACTORY),
            ("log", CapIndex::LOG),
            ("rom", CapIndex::ROM),
            ("scheduler", CapIndex::SCHEDULER),
        ]
        .map(|(name, cap)| (name.to_owned(), cap))
        .into()
    }

    fn read_file(&mut self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "rom/test.cfg" => Ok(self.script.clone().into_bytes()),
            _ => Err(format!("there is no file '{path}'")),
        }
    }

    fn create_channel(&mut self) -> Result<CapIndex, String> {
        self.make("channel".to_owned())
    }

    fn query(&mut self, _: CapIndex, name: &str) -> Result<(CapIndex, u64), String> {
        match name {
            "app" => Ok((CapIndex(0x80), 1000)),
            _ => Err("no such name".to_owned()),
        }
    }

    fn create_factory(&mut self, _: CapIndex, limit: u64) -> Result<CapIndex, String> {
        self.make(format!("factory {limit}"))
    }

    fn available(&mut self, _: CapIndex) -> Result<u64, String> {
        Ok(1 << 30)
    }

    fn create_dataspace(&mut self, _: CapIndex, size: u64) -> Result<CapIndex, String> {
        self.make(format!("dataspace {size}"))
    }

    fn scheduler_info(&mut self, _: CapIndex) -> Result<(u64, u8), String> {
        Ok((0b11, 200))
    }

    fn derive_scheduler(&mut self, _: CapIndex, cpus: u64, max_priority: u8) -> Result<CapIndex, String> {
        self.make(format!("scheduler {cpus:#b} {max_priority}"))
    }

    fn create_log(&mut self, request: &LogRequest) -> Result<CapIndex, String> {
        self.make(format!("log {} {:?}", request.tag, request.colour))
    }

    fn create_namespace(&mut self, entries: Vec<(String, CapIndex, u64)>) -> Result<CapIndex, String> {
        let names: Vec<String> = entries.into_iter().map(|(name, ..)| name).collect();
        self.make(format!("namespace {}", names.join(" ")))
    }

    fn start(&mut self, number: TaskNumber, launch: &Launch) -> Result<(), String> {
        if launch.program != "app" {
            return Err("no such name".to_owned());
        }
        let launches = &mut self.seen.borrow_mut().launches;
        assert_eq!(number, launches.len());
        launches.push(launch.clone());
        Ok(())
    }

    fn remove(&mut self, number: TaskNumber) {
        self.seen.borrow_mut().removed.push(number);
    }

    fn wait(&mut self) -> Event {
        let ended = self
            .ends
            .pop_front()
            .expect("the script waits for more tasks than the test has");
        self.waited += 1;
        Event {
            task: self.waited - 1,
            ended,
        }
    }

    fn say(&mut self, line: &str) {
        self.seen.borrow_mut().said.push(line.to_owned());
    }
}

/// Runs a script as `rom/test.cfg`. Returns the exit code and what it did.
pub(crate) fn run_script(script: &str, mut system: FakeSystem) -> (i64, Rc<RefCell<Seen>>) {
    system.script = script.to_owned();
    let seen = Rc::clone(&system.seen);
    let options = Options {
        scripts: vec!["rom/test.cfg".to_owned()],
        arguments: vec!["--threads=2".to_owned(), "b".to_owned()],
        ..Options::default()
    };
    (run(&options, Box::new(system)), seen)
}

/// Runs a script that must fail. Returns what was said last.
pub(crate) fn failure(script: &str) -> String {
    let (code, seen) = run_script(script, FakeSystem::new());
    assert_eq!(code, 1, "{script} should fail");
    seen.borrow().said.last().cloned().unwrap_or_default()
}
