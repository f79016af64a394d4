//! The task's capabilities as the layer's [`System`].
#![expect(unsafe_code, reason = "program memory is accessed by address")]

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::x86_64::_rdtsc;

use l4::info_page::InfoPage;
use l4::object::{Task, Thread, Vcon};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE, syscall};
use l4re::start::current_thread;
use linux_abi::{Contents, Errno, Mapping, Place, RomFile, System};

use super::copy::copy;
use super::message::{Short, Whole};
use super::rom::Rom;
use super::supervisor::Exchange;

unsafe extern "C" {
    safe static __ehdr_start: u8;
    safe static linux_abi_end: u8;
}

const TASK: Task = Task(CapIndex::TASK);

/// Exit code of a worker whose supervisor does not answer, or whose response can't be handed over.
const LOST: i32 = 126;

/// Ends the program.
pub(super) fn exit(code: i32) -> ! {
    l4re::exit(i64::from(code))
}

/// The task that this image is in.
pub(super) struct Own {
    rom: Rom,
    /// The request, in a worker.
    pub(super) exchange: Exchange,
    info_page: &'static InfoPage,
}

impl Own {
    /// `first_slot` is the first of [`super::rom::SLOTS`] free ones.
    pub(super) const fn new(first_slot: CapIndex, info_page: &'static InfoPage) -> Own {
        Own {
            rom: Rom::new(first_slot),
            exchange: Exchange::new(),
            info_page,
        }
    }

    /// The kernel clock in nanoseconds.
    pub(super) fn clock(info_page: &InfoPage) -> u64 {
        // SAFETY: Reading the time-stamp counter has no effect.
        info_page.nanoseconds(unsafe { _rdtsc() })
    }

    /// Ends the program with the first `length` bytes of its response.
    pub(super) fn respond(&mut self, length: u64) -> ! {
        let info_page = self.info_page;
        self.exchange.respond(length, || Own::clock(info_page));
        exit(LOST)
    }

    /// Ends the program because its response would have `length` bytes, more than it may.
    pub(super) fn refuse(&mut self, length: u64) -> ! {
        let info_page = self.info_page;
        self.exchange.refuse(length, || Own::clock(info_page));
        exit(LOST)
    }

    fn thread() -> Thread {
        Thread(current_thread())
    }
}

/// The memory of this image.
fn own_range() -> core::ops::Range<u64> {
    (&raw const __ehdr_start) as u64..(&raw const linux_abi_end) as u64
}

/// Tells whether the program may have this layer write there.
fn check_target(target: u64, size: u64) -> Result<(), Errno> {
    let own = own_range();
    let end = target.checked_add(size).ok_or(Errno::FAULT)?;
    if target < own.end && end > own.start {
        Err(Errno::FAULT)
    } else {
        Ok(())
    }
}

impl System for Own {
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

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        // SAFETY: The target is a slice of this layer's.
        unsafe { copy(bytes.as_mut_ptr() as u64, address, bytes.len() as u64) }
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        check_target(address, bytes.len() as u64)?;
        // SAFETY: The source is a slice, the target not this image.
        unsafe { copy(address, bytes.as_ptr() as u64, bytes.len() as u64) }
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

    fn log(&mut self, text: &[u8]) {
        let _message = Whole::new();
        // What a log refuses is lost: there is nowhere else to complain.
        let _ = Vcon(CapIndex::LOG).write(text);
    }

    fn now(&mut self) -> u64 {
        Own::clock(self.info_page)
    }

    fn epoch(&mut self) -> u64 {
        self.info_page.wall_clock_ns
    }

    fn cpu_time(&mut self) -> Result<u64, Error> {
        let _message = Short::new();
        Own::thread().cpu_time()
    }

    fn sleep_until(&mut self, deadline: u64) {
        let _message = Short::new();
        syscall::sleep_until(deadline);
    }

    fn yield_now(&mut self) {
        let _message = Short::new();
        // A thread can always yield.
        let _ = Own::thread().yield_now();
    }

    fn random(&mut self) -> Result<[u64; 4], Error> {
        let _message = Short::new();
        Own::thread().random()
    }

    fn set_fs_base(&mut self, base: u64) -> Result<(), Error> {
        let _message = Short::new();
        Own::thread().set_bases(base, u64::MAX)
    }

    fn memory(&mut self) -> u64 {
        self.info_page.memory
    }
}
