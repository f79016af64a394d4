//! What the layer needs from the task that it lives in.

use alloc::vec::Vec;

use l4::Error;
use l4::region::Access;

use crate::Errno;

/// An open file of `rom`, as the [`System`] numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RomFile {
    /// Chosen by the system.
    pub id: u32,
    /// Size in bytes.
    pub size: u64,
}

/// What a new region shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Zeroes.
    Anonymous,
    /// A file from a page-aligned offset on, read-only.
    Shared(RomFile, u64),
    /// A file from a page-aligned offset on; writes go to a private copy.
    Private(RomFile, u64),
}

/// Where a region goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Exactly there; if something is there, that is an error.
    At(u64),
    /// At the first free range at or behind.
    From(u64),
}

/// A region of the address space, as far as this layer cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Permitted use.
    pub access: Access,
    /// Zero-filled memory, not a file.
    pub anonymous: bool,
}

/// Most threads of a program, its first one included.
pub const THREAD_LIMIT: usize = 512;

/// A thread that is to be started: with its maker's registers but for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewThread {
    /// Its id.
    pub tid: u32,
    /// Its stack pointer; 0 for its maker's.
    pub stack: u64,
    /// Its FS base, if it is not its maker's.
    pub fs_base: Option<u64>,
}

/// The calling thread: what it can do beside other threads, without state that they share.
///
/// Addresses are those of the program.
pub trait Caller {
    /// The thread's number, below [`THREAD_LIMIT`]; the first thread's is 0.
    fn thread(&self) -> u32;
    /// The thread's id.
    fn tid(&self) -> u32;

    /// Copies out of the program's memory.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if not all of it is readable.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Errno>;
    /// Copies into the program's memory.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if not all of it is writable.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno>;
    /// Writes two words to the program's memory.
    ///
    /// # Errors
    /// [`Errno::FAULT`] as above.
    fn write_pair(&mut self, address: u64, words: [u64; 2]) -> Result<(), Errno> {
        self.write(address, words.map(u64::to_le_bytes).as_flattened())
    }
    /// Reads an aligned 32-bit word of the program's memory in one piece.
    ///
    /// # Errors
    /// [`Errno::FAULT`] as above.
    fn load(&mut self, address: u64) -> Result<u32, Errno>;
    /// Changes an aligned 32-bit word of the program's memory to `new` if it is `expected`. Returns what it was.
    ///
    /// # Errors
    /// [`Errno::FAULT`] as above.
    fn compare_exchange(&mut self, address: u64, expected: u32, new: u32) -> Result<u32, Errno>;

    /// The thread's stack pointer in the program.
    fn stack_pointer(&self) -> u64;
    /// Tells whether there is something that the thread should look at before it waits: see [`System::interrupt`].
    fn is_interrupted(&self) -> bool;

    /// Nanoseconds of the kernel clock.
    fn now(&mut self) -> u64;
    /// Nanoseconds since the Unix epoch at the kernel clock's zero.
    fn epoch(&mut self) -> u64;
    /// Nanoseconds of CPU time that the thread has used.
    fn cpu_time(&mut self) -> Result<u64, Error>;
    /// Fresh randomness.
    fn random(&mut self) -> Result<[u64; 4], Error>;
    /// Sets the thread's FS base.
    fn set_fs_base(&mut self, base: u64) -> Result<(), Error>;
    /// The CPUs that the program's threads may run on, one bit each.
    fn cpus(&mut self) -> u64;
    /// The number of the CPU that the thread runs on.
    fn cpu(&mut self) -> u32;

    /// Sleeps until a time of the kernel clock.
    fn sleep_until(&mut self, deadline: u64);
    /// Lets others of the same priority run.
    fn yield_now(&mut self);
    /// Waits a moment for another thread to leave a short section.
    fn pause(&mut self);
    /// Blocks until the thread is unparked or a time of the kernel clock has come. An [`Self::unpark`] that nobody waited
    /// for ends the next wait; it may end earlier for no reason.
    fn park(&mut self, deadline: u64);
    /// Ends the wait of the thread with this number, now or when it comes. There may be no such thread any more.
    fn unpark(&mut self, thread: u32);
}

/// The capabilities of the task, as operations. Everything that a Linux program can do goes through here.
///
/// Addresses are those of the program; sizes and addresses of regions are multiples of the page size.
pub trait System: Caller {
    /// Makes a region. Returns where it is.
    fn attach(&mut self, place: Place, size: u64, access: Access, contents: Contents) -> Result<u64, Error>;
    /// Removes what is in a range; gaps are fine.
    fn detach(&mut self, start: u64, size: u64) -> Result<(), Error>;
    /// Changes the permitted use of a range without gaps.
    fn protect(&mut self, start: u64, size: u64, access: Access) -> Result<(), Error>;
    /// Makes anonymous memory read as zeroes and gives its frames back.
    fn discard(&mut self, start: u64, size: u64) -> Result<(), Error>;
    /// The region at an address or the next one behind it, if there is one.
    fn find(&mut self, address: u64) -> Option<Mapping>;
    /// Tells whether a range belongs to this layer itself.
    fn is_own(&self, start: u64, size: u64) -> bool;

    /// Copies inside the program's memory; the ranges do not overlap.
    ///
    /// # Errors
    /// [`Errno::FAULT`] as above.
    fn copy(&mut self, to: u64, from: u64, size: u64) -> Result<(), Errno>;

    /// Opens a file of `rom` by its name there.
    fn open(&mut self, name: &str) -> Result<RomFile, Errno>;
    /// Copies out of an open file (the range lies inside it) into the program's memory.
    fn read_file(&mut self, file: RomFile, offset: u64, address: u64, size: u64) -> Result<(), Errno>;
    /// Closes it. Regions that show it stay.
    fn close(&mut self, file: RomFile);
    /// The names of all files in `rom`; empty without such a capability.
    fn names(&mut self) -> Vec<alloc::string::String>;

    /// The length in bytes of the request that the program serves, which is asked for at the first call.
    ///
    /// # Errors
    /// [`Errno::IO`] if there is no supervisor any more that would give one.
    fn request(&mut self) -> Result<u64, Errno>;
    /// Copies out of the request (the range lies inside it) into the program's memory.
    fn read_request(&mut self, offset: u64, address: u64, size: u64) -> Result<(), Errno>;
    /// Copies out of the program's memory into the response, whose first `offset` bytes are there.
    fn write_response(&mut self, offset: u64, address: u64, size: u64) -> Result<(), Errno>;

    /// Has a thread of the program deliver its signals before it goes on in the program, and ends its wait, if it waits.
    fn interrupt(&mut self, thread: u32);
    /// The calling thread looks at what it was interrupted for.
    fn clear_interrupt(&mut self);

    /// Writes a piece of text to the log.
    fn log(&mut self, text: &[u8]);
    /// Starts a thread. Returns its number.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if there are too many; what the task's account and capabilities permit otherwise.
    fn start_thread(&mut self, thread: NewThread) -> Result<u32, Errno>;
    /// Says that the calling thread is about to end, after which its memory can be freed.
    fn leave(&mut self);
    /// Usable memory of the machine in bytes, as far as the task may know.
    fn memory(&mut self) -> u64;
}
