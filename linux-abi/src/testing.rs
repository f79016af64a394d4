//! A task for tests: memory in a map of pages, a clock that moves only by sleeping, a log to look at.

use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use l4::region::Access;
use l4::{Error, PAGE_SIZE, USER_END};

use crate::{Caller, Contents, Errno, Futexes, Mapping, NewThread, Outcome, Place, Process, Program};
use crate::{RomFile, System, answer_alone};

/// Start of a few pages of memory for arguments.
pub(crate) const BASE: u64 = 0x20_0000;
const BASE_SIZE: u64 = 0x4000;
/// Where the program's heap starts.
pub(crate) const HEAP: u64 = 0x50_0000;
/// Where the layer's own memory is.
pub(crate) const OWN: u64 = 0x7000_0000;
/// Wall clock at boot.
pub(crate) const EPOCH: u64 = 1_700_000_000_000_000_000;
/// Contents of each file in `rom`.
pub(crate) const FILE: &[u8] = b"The quick brown fox jumps over the lazy dog.";
const NAMES: [&str; 4] = ["data", "functions/hello", "functions/hello.conf", "test"];

#[derive(Clone, Debug)]
struct Page {
    bytes: Vec<u8>,
    access: Access,
    anonymous: bool,
}

/// The fake.
#[derive(Debug)]
pub(crate) struct FakeSystem {
    pages: BTreeMap<u64, Page>,
    open: usize,
    log: Vec<u8>,
    random: u64,
    /// Kernel clock.
    pub(crate) time: u64,
    /// Stack pointer of the thread that calls.
    pub(crate) stack_pointer: u64,
    /// Threads that were interrupted.
    pub(crate) interrupted: Vec<u32>,
    /// FS base.
    pub(crate) fs_base: u64,
    /// What was written as response.
    pub(crate) response: Vec<u8>,
    /// Successful [`System::attach`] calls.
    pub(crate) attached: usize,
    /// Who calls.
    pub(crate) thread: u32,
    /// Threads that were started, the first as number 1.
    pub(crate) started: Vec<NewThread>,
    /// Most threads.
    pub(crate) thread_limit: usize,
    /// Threads that left.
    pub(crate) left: usize,
    /// Threads that were unparked.
    pub(crate) unparked: Vec<u32>,
}

impl FakeSystem {
    pub(crate) fn new() -> FakeSystem {
        let mut system = FakeSystem {
            pages: BTreeMap::new(),
            open: 0,
            log: Vec::new(),
            random: 0x0101_0101_0101_0101,
            time: 0,
            stack_pointer: BASE + BASE_SIZE / 2,
            interrupted: Vec::new(),
            fs_base: 0,
            response: Vec::new(),
            attached: 0,
            thread: 0,
            started: Vec::new(),
            thread_limit: 4,
            left: 0,
            unparked: Vec::new(),
        };
        let place = Place::At(BASE);
        system
            .attach(place, BASE_SIZE, Access::READ_WRITE, Contents::Anonymous)
            .unwrap();
        system.attached = 0;
        system
    }

    /// Where the memory for arguments ends.
    pub(crate) fn user_end(&self) -> u64 {
        BASE + BASE_SIZE
    }

    pub(crate) fn poke(&mut self, address: u64, bytes: &[u8]) {
        self.write(address, bytes).unwrap();
    }

    pub(crate) fn peek(&mut self, address: u64, size: usize) -> Vec<u8> {
        let mut bytes = std::vec![0; size];
        self.read(address, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn peek_fault(&mut self, address: u64) -> bool {
        self.read(address, &mut [0]).is_err()
    }

    pub(crate) fn log_text(&self) -> String {
        String::from_utf8(self.log.clone()).unwrap()
    }

    pub(crate) fn open_files(&self) -> usize {
        self.open
    }

    fn byte(&mut self, address: u64, need: Access) -> Result<&mut u8, Errno> {
        let page = self.pages.get_mut(&(address / PAGE_SIZE)).ok_or(Errno::FAULT)?;
        if !page.access.contains(need) {
            return Err(Errno::FAULT);
        }
        Ok(&mut page.bytes[(address % PAGE_SIZE) as usize])
    }

    fn range(&self, start: u64, size: u64) -> std::ops::Range<u64> {
        assert!(start.is_multiple_of(PAGE_SIZE) && size.is_multiple_of(PAGE_SIZE) && size > 0);
        start / PAGE_SIZE..(start + size) / PAGE_SIZE
    }

    fn is_free(&self, start: u64, size: u64) -> bool {
        self.pages.range(self.range(start, size)).next().is_none()
    }
}

impl Caller for FakeSystem {
    fn thread(&self) -> u32 {
        self.thread
    }

    fn tid(&self) -> u32 {
        2
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = *self.byte(address.wrapping_add(index as u64), Access::READ)?;
        }
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        for (index, byte) in bytes.iter().enumerate() {
            *self.byte(address.wrapping_add(index as u64), Access::READ_WRITE)? = *byte;
        }
        Ok(())
    }

    fn load(&mut self, address: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn compare_exchange(&mut self, address: u64, expected: u32, new: u32) -> Result<u32, Errno> {
        let found = self.load(address)?;
        let value = if found == expected { new } else { found };
        self.write(address, &value.to_le_bytes())?;
        Ok(found)
    }

    fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.contains(&self.thread)
    }

    fn now(&mut self) -> u64 {
        self.time
    }

    fn epoch(&mut self) -> u64 {
        EPOCH
    }

    fn cpu_time(&mut self) -> Result<u64, Error> {
        Ok(self.time)
    }

    fn sleep_until(&mut self, deadline: u64) {
        self.time = self.time.max(deadline);
    }

    fn yield_now(&mut self) {}

    fn random(&mut self) -> Result<[u64; 4], Error> {
        self.random = self.random.rotate_left(3);
        Ok([self.random | 0x0101_0101_0101_0101; 4])
    }

    fn set_fs_base(&mut self, base: u64) -> Result<(), Error> {
        self.fs_base = base;
        Ok(())
    }

    fn cpus(&mut self) -> u64 {
        0b101
    }

    fn cpu(&mut self) -> u32 {
        2
    }

    fn pause(&mut self) {
        panic!("one thread alone meets no lock that is taken");
    }

    fn park(&mut self, deadline: u64) {
        assert_ne!(deadline, u64::MAX, "nobody is there to end this wait");
        self.sleep_until(deadline);
    }

    fn unpark(&mut self, thread: u32) {
        self.unparked.push(thread);
    }
}

impl System for FakeSystem {
    fn attach(&mut self, place: Place, size: u64, access: Access, contents: Contents) -> Result<u64, Error> {
        // The fake keeps each page; bigger mappings than this are only asked for by tests of refusals.
        if size > USER_END {
            return Err(Error::BadAddress);
        }
        if size > 1 << 30 {
            return Err(Error::NoMemory);
        }
        let start = match place {
            Place::At(start) => start,
            Place::From(from) => {
                let mut candidates = (from..).step_by(PAGE_SIZE as usize);
                candidates.find(|start| self.is_free(*start, size)).unwrap()
            }
        };
        if !self.is_free(start, size) || start + size > USER_END {
            return Err(Error::Exists);
        }
        for (index, number) in self.range(start, size).enumerate() {
            let mut bytes = std::vec![0; PAGE_SIZE as usize];
            if let Contents::Shared(_, offset) | Contents::Private(_, offset) = contents {
                let at = offset as usize + index * PAGE_SIZE as usize;
                let rest = FILE.get(at..).unwrap_or_default();
                bytes[..rest.len()].copy_from_slice(rest);
            }
            let page = Page {
                bytes,
                access,
                anonymous: contents == Contents::Anonymous,
            };
            self.pages.insert(number, page);
        }
        self.attached += 1;
        Ok(start)
    }

    fn detach(&mut self, start: u64, size: u64) -> Result<(), Error> {
        let range = self.range(start, size);
        self.pages.retain(|number, _| !range.contains(number));
        Ok(())
    }

    fn protect(&mut self, start: u64, size: u64, access: Access) -> Result<(), Error> {
        let range = self.range(start, size);
        if self.pages.range(range.clone()).count() as u64 != range.end - range.start {
            return Err(Error::NotFound);
        }
        self.pages
            .range_mut(range)
            .for_each(|(_, page)| page.access = access);
        Ok(())
    }

    fn discard(&mut self, start: u64, size: u64) -> Result<(), Error> {
        let range = self.range(start, size);
        self.pages
            .range_mut(range)
            .for_each(|(_, page)| page.bytes.fill(0));
        Ok(())
    }

    fn find(&mut self, address: u64) -> Option<Mapping> {
        let (first, page) = self.pages.range(address / PAGE_SIZE..).next()?;
        let is_same = |number: u64| {
            let other = self.pages.get(&number);
            other.is_some_and(|other| other.access == page.access && other.anonymous == page.anonymous)
        };
        let start = (0..=*first).rev().take_while(|number| is_same(*number)).last()?;
        let end = (*first..).find(|number| !is_same(*number))?;
        Some(Mapping {
            start: start * PAGE_SIZE,
            size: (end - start) * PAGE_SIZE,
            access: page.access,
            anonymous: page.anonymous,
        })
    }

    fn is_own(&self, start: u64, size: u64) -> bool {
        start < OWN + 0x10_0000 && start + size > OWN
    }

    fn copy(&mut self, to: u64, from: u64, size: u64) -> Result<(), Errno> {
        let mut bytes = std::vec![0; size as usize];
        self.read(from, &mut bytes)?;
        self.write(to, &bytes)
    }

    fn open(&mut self, name: &str) -> Result<RomFile, Errno> {
        let index = NAMES
            .iter()
            .position(|known| *known == name)
            .ok_or(Errno::NOENT)?;
        self.open += 1;
        Ok(RomFile {
            id: index as u32,
            size: FILE.len() as u64,
        })
    }

    fn read_file(&mut self, _: RomFile, offset: u64, address: u64, size: u64) -> Result<(), Errno> {
        let from = offset as usize;
        self.write(address, &FILE[from..from + size as usize])
    }

    fn close(&mut self, _: RomFile) {
        self.open -= 1;
    }

    fn names(&mut self) -> Vec<String> {
        NAMES[..3].iter().map(|name| String::from(*name)).collect()
    }

    fn request(&mut self) -> Result<u64, Errno> {
        Ok(FILE.len() as u64)
    }

    fn read_request(&mut self, offset: u64, address: u64, size: u64) -> Result<(), Errno> {
        let from = offset as usize;
        self.write(address, &FILE[from..from + size as usize])
    }

    fn write_response(&mut self, offset: u64, address: u64, size: u64) -> Result<(), Errno> {
        assert_eq!(offset, self.response.len() as u64);
        let bytes = self.peek(address, size as usize);
        self.response.extend_from_slice(&bytes);
        Ok(())
    }

    fn interrupt(&mut self, thread: u32) {
        self.interrupted.push(thread);
    }

    fn clear_interrupt(&mut self) {
        let own = self.thread;
        self.interrupted.retain(|thread| *thread != own);
    }

    fn log(&mut self, text: &[u8]) {
        self.log.extend_from_slice(text);
    }

    fn start_thread(&mut self, thread: NewThread) -> Result<u32, Errno> {
        if self.started.len() + 1 >= self.thread_limit {
            return Err(Errno::AGAIN);
        }
        self.started.push(thread);
        Ok(self.started.len() as u32)
    }

    fn leave(&mut self) {
        self.left += 1;
    }

    fn memory(&mut self) -> u64 {
        64 << 20
    }
}

/// A program that has just started.
pub(crate) fn process() -> Process<FakeSystem> {
    started(false)
}

/// A program that has just started, to serve the request [`FILE`].
pub(crate) fn serving() -> Process<FakeSystem> {
    started(true)
}

fn started(serves_request: bool) -> Process<FakeSystem> {
    let program = Program {
        path: String::from("/rom/test"),
        image_end: HEAP,
        stack_start: 0x7ff0_0000_0000,
        serves_request,
    };
    Process::new(FakeSystem::new(), program)
}

/// Makes a call: how it ends.
pub(crate) fn outcome(process: &mut Process<FakeSystem>, number: u64, arguments: &[u64]) -> Outcome {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let futexes = Futexes::new();
    match answer_alone(&mut process.system, &futexes, number, &all) {
        Some(value) => Outcome::Return(value),
        None => process.system_call(process.system.thread, number, &all),
    }
}

/// Makes a call that returns, at its deadline if it waits: the value, or the error number.
pub(crate) fn call(process: &mut Process<FakeSystem>, number: u64, arguments: &[u64]) -> Result<u64, u64> {
    loop {
        match outcome(process, number, arguments) {
            Outcome::Return(value) if value as i64 >= -4095 && (value as i64) < 0 => {
                return Err(value.wrapping_neg());
            }
            Outcome::Return(value) => return Ok(value),
            Outcome::Wait(deadline) => process.system.park(deadline),
            other => panic!("the call does not return: {other:?}"),
        }
    }
}
