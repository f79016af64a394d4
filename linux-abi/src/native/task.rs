//! The task's capabilities as the layer's [`System`].
#![expect(unsafe_code, reason = "program memory is accessed by address")]

use alloc::string::String;
use alloc::vec::Vec;

use l4::object::Task;
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE};
use linux_abi::{Caller, Contents, Errno, Mapping, NewThread, Place, RomFile, System};

use super::copy::copy;
use super::message::{Short, Whole};
use super::own::{Own, check_target, info_page};
use super::rom::{self, Rom};
use super::supervisor::Exchange;
use super::threads::{self, Threads};

/// Slots that this layer takes from the front of those that are free for the program.
pub(super) const SLOTS: u32 = rom::SLOTS + threads::SLOTS;

const TASK: Task = Task(CapIndex::TASK);

/// Exit code of a worker whose supervisor does not answer, or whose response can't be handed over.
const LOST: i32 = 126;

/// Ends the program.
pub(super) fn exit(code: i32) -> ! {
    l4re::exit(i64::from(code))
}

/// The task that this image is in.
pub(super) struct OwnTask {
    rom: Rom,
    /// The request, in a worker.
    pub(super) exchange: Exchange,
    threads: Threads,
}

impl OwnTask {
    /// `first_slot` is the first of [`SLOTS`] free ones.
    pub(super) const fn new(first_slot: CapIndex) -> OwnTask {
        OwnTask {
            rom: Rom::new(first_slot),
            exchange: Exchange::new(),
            threads: Threads::new(),
        }
    }

    /// Ends the program with the first `length` bytes of its response.
    pub(super) fn respond(&mut self, length: u64) -> ! {
        self.exchange.respond(length, || Own.now());
        exit(LOST)
    }

    /// Ends the program because its response would have `length` bytes, more than it may.
    pub(super) fn refuse(&mut self, length: u64) -> ! {
        self.exchange.refuse(length, || Own.now());
        exit(LOST)
    }
}

macro_rules! as_caller {
    ($($name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        impl Caller for OwnTask {
            fn thread(&self) -> u32 {
                Own.thread()
            }

            fn tid(&self) -> u32 {
                Own.tid()
            }

            fn stack_pointer(&self) -> u64 {
                Own.stack_pointer()
            }

            fn is_interrupted(&self) -> bool {
                Own.is_interrupted()
            }

            $(
                fn $name(&mut self, $($argument: $kind),*) $(-> $result)? {
                    Own.$name($($argument),*)
                }
            )*
        }
    };
}

as_caller! {
    read(address: u64, bytes: &mut [u8]) -> Result<(), Errno>;
    write(address: u64, bytes: &[u8]) -> Result<(), Errno>;
    load(address: u64) -> Result<u32, Errno>;
    compare_exchange(address: u64, expected: u32, new: u32) -> Result<u32, Errno>;
    now() -> u64;
    epoch() -> u64;
    cpu_time() -> Result<u64, Error>;
    random() -> Result<[u64; 4], Error>;
    set_fs_base(base: u64) -> Result<(), Error>;
    cpus() -> u64;
    cpu() -> u32;
    sleep_until(deadline: u64);
    yield_now();
    pause();
    park(deadline: u64);
    unpark(thread: u32);
}

impl System for OwnTask {
    fn attach(&mut self, place: Place, size: u64, access: Access, contents: Contents) -> Result<u64, Error> {
        let (start, search) = match place {
            Place::At(start) => (start, false),
            Place::From(start) => (start, true),
        };
        let (backing, dataspace, offset) = match contents {
            Contents::Anonymous => (Backing::Anonymous, CapIndex(0), 0),
            Contents::Shared(file, offset) => (Backing::Shared, self.rom.slot(file), offset),
            Contents::Private(file, offset) => (Backing::Private, self.rom.slot(file), offset),
        };
        let _message = Short::new();
        TASK.attach(&[Region {
            start,
            size,
            access,
            backing,
            search,
            dataspace,
            offset,
        }])
    }

    fn detach(&mut self, start: u64, size: u64) -> Result<(), Error> {
        let _message = Short::new();
        TASK.detach(start, size)
    }

    fn protect(&mut self, start: u64, size: u64, access: Access) -> Result<(), Error> {
        let _message = Short::new();
        TASK.protect(start, size, access)
    }

    fn discard(&mut self, start: u64, size: u64) -> Result<(), Error> {
        let _message = Short::new();
        TASK.discard(start, size)
    }

    fn find(&mut self, address: u64) -> Option<Mapping> {
        let _message = Short::new();
        let region = TASK.find(address / PAGE_SIZE * PAGE_SIZE).ok()?;
        Some(Mapping {
            start: region.start,
            size: region.size,
            access: region.access,
            anonymous: region.backing == Backing::Anonymous,
        })
    }

    fn is_own(&self, start: u64, size: u64) -> bool {
        check_target(start, size).is_err()
    }

    fn copy(&mut self, to: u64, from: u64, size: u64) -> Result<(), Errno> {
        check_target(to, size)?;
        // SAFETY: Both ranges are the program's, and the target is not this image.
        unsafe { copy(to, from, size) }
    }

    fn open(&mut self, name: &str) -> Result<RomFile, Errno> {
        self.rom.open(name)
    }

    fn read_file(&mut self, file: RomFile, offset: u64, address: u64, size: u64) -> Result<(), Errno> {
        let view = self.rom.view(file)?;
        self.copy(address, view + offset, size)
    }

    fn close(&mut self, file: RomFile) {
        self.rom.close(file);
    }

    fn names(&mut self) -> Vec<String> {
        self.rom.names()
    }

    fn request(&mut self) -> Result<u64, Errno> {
        self.exchange.fetch()
    }

    fn read_request(&mut self, offset: u64, address: u64, size: u64) -> Result<(), Errno> {
        check_target(address, size)?;
        self.exchange.read(offset, address, size)
    }

    fn write_response(&mut self, offset: u64, address: u64, size: u64) -> Result<(), Errno> {
        self.exchange.write(offset, address, size)
    }

    fn interrupt(&mut self, thread: u32) {
        threads::interrupt(thread);
    }

    fn clear_interrupt(&mut self) {
        threads::clear_interrupt();
    }

    fn log(&mut self, text: &[u8]) {
        let _message = Whole::new();
        l4re::console::log(text);
    }

    fn start_thread(&mut self, thread: NewThread) -> Result<u32, Errno> {
        self.threads.start(thread)
    }

    fn leave(&mut self) {
        self.threads.leave();
    }

    fn memory(&mut self) -> u64 {
        info_page().memory
    }
}
