//! From boot information to the first task.
//!
//! The root task gets everything: the first account, all CPUs, the machine's objects, the boot modules. From there on
//! authority is only handed down.
#![expect(unsafe_code, reason = "the first account and the boot archive are raw memory")]

use crate::account::{Account, UNIT};
use crate::capability::{self, Capability};
use crate::context::{BootInfo, Context};
use crate::cpu::{self, Cpu};
use crate::machine::{machine_console_write, machine_direct_map};
use crate::memory::{Dataspace, PhysAddr, frame};
use crate::object::{Header, Kind, Object, Ref};
use crate::objects::{Debug, Device, Icu, Platform, Scheduler, Task, Vcon};
use crate::root_image;
use crate::schedule;
use crate::thread::Thread;
use core::fmt::{self, Write};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use l4::archive::{self, Archive, Entry};
use l4::info_page::{self, InfoPage};
use l4::region::{Access, Backing};
use l4::{CapIndex, Error, PAGE_SIZE, Rights};

/// Slot of the root task that holds the dataspace of the boot archive's header; the modules follow it.
pub const ARCHIVE_SLOT: CapIndex = CapIndex(0x3f);
/// Highest address of the root task's stack, and its size.
const STACK_TOP: u64 = 0x3f_c000;
const STACK_SIZE: u64 = 0x1_0000;
/// A thread starts this much below its stack's top, where zeroes read as "no arguments".
const STACK_RESERVE: u64 = 128;
const ROOT_PRIORITY: u8 = 200;

/// Why the kernel can't start the root task.
#[derive(Clone, Copy, Debug)]
enum BootError {
    NoArchive,
    Archive(archive::ArchiveError),
    RootImage(&'static str),
    Kernel(Error),
}

impl From<Error> for BootError {
    fn from(error: Error) -> BootError {
        BootError::Kernel(error)
    }
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::NoArchive => {
                f.write_str("no boot archive was loaded; make the boot image with 'make qemu'")
            }
            BootError::Archive(error) => write!(f, "the boot archive is damaged: {error:?}"),
            BootError::RootImage(cause) => write!(f, "the root task's image can't be loaded: {cause}"),
            BootError::Kernel(error) => write!(f, "{error}"),
        }
    }
}

/// A line for the console, at most 256 bytes, printed in one go.
pub(crate) struct ConsoleLine {
    bytes: [u8; 256],
    length: usize,
}

impl ConsoleLine {
    pub(crate) fn new() -> ConsoleLine {
        ConsoleLine {
            bytes: [0; 256],
            length: 0,
        }
    }

    pub(crate) fn print(&mut self) {
        self.bytes[self.length] = b'\n';
        machine_console_write(&self.bytes[..=self.length]);
    }
}

impl Write for ConsoleLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.length;
        let taken = &text.as_bytes()[..text.len().min(room)];
        self.bytes[self.length..self.length + taken.len()].copy_from_slice(taken);
        self.length += taken.len();
        if taken.len() == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// Prepares the kernel and the root task. Called once, by the first CPU, before any CPU calls [`start_cpu`].
///
/// # Panics
/// If there is no usable root task: nothing else could be done.
pub fn start(info: &BootInfo) {
    cpu::initialise();
    frame::initialise(info.memory);
    let mut line = ConsoleLine::new();
    let mebibytes = (frame::total_count() * PAGE_SIZE) >> 20;
    // The line is short enough.
    let _ = write!(
        line,
        "Aerie kernel {}: {} CPU{}, {mebibytes} MiB",
        env!("CARGO_PKG_VERSION"),
        info.cpu_count,
        if info.cpu_count == 1 { "" } else { "s" }
    );
    line.print();
    if let Err(error) = start_root(info) {
        panic!("{error}");
    }
}

/// Enters the scheduler on a CPU: returns the first thread's registers when there is one to run.
pub fn start_cpu(number: u32) -> *mut Context {
    let cpu = cpu::get(number);
    debug_assert!(core::ptr::eq(cpu, Cpu::this()));
    schedule::run_next(cpu);
    crate::entry::leave(cpu)
}

/// The account that everything comes from; it stands in a frame of its own and never ends.
fn root_account() -> Result<Ref<Account>, Error> {
    let frame = frame::allocate(true).ok_or(Error::NoMemory)?;
    let place = NonNull::new((machine_direct_map() + frame.0) as *mut Account).ok_or(Error::NoMemory)?;
    let units = size_of::<Account>().div_ceil(UNIT) as u8;
    let account = Account::new(
        Header::new(Kind::Factory, units, None),
        frame::free_count() * PAGE_SIZE,
    );
    // SAFETY: The frame is new, aligned, and large enough for an account.
    unsafe {
        place.write(account);
        Ok(Ref::from_raw(place))
    }
}

/// The root task, while it is being made.
struct Root {
    account: Ref<Account>,
    task: Ref<Task>,
    next: AtomicU32,
}

impl Root {
    fn give<T: Object>(&self, slot: CapIndex, object: Ref<T>, rights: Rights) -> Result<(), Error> {
        let capability = Capability {
            object: object.erase(),
            rights,
            label: 0,
        };
        capability::insert_root(&self.task.caps, self.account, slot, capability)
    }

    fn give_next(&self, object: Ref<Dataspace>) -> Result<(), Error> {
        let slot = CapIndex(self.next.fetch_add(1, Ordering::Relaxed));
        self.give(slot, object, Rights::READ | Rights::STRONG | Rights::DELETE)
    }
}

fn start_root(info: &BootInfo) -> Result<(), BootError> {
    let account = root_account()?;
    let task = Task::create(account)?;
    let thread = Thread::create(account, task, l4::utcb::FIRST_ADDRESS)?;
    thread.header.set_name([u64::from_le_bytes(*b"root\0\0\0\0"), 0]);
    let root = Root {
        account,
        task,
        next: AtomicU32::new(ARCHIVE_SLOT.0),
    };
    root.give(CapIndex::TASK, task, Rights::all())?;
    root.give(CapIndex::FACTORY, account, Rights::all())?;
    root.give(CapIndex::THREAD, thread, Rights::all())?;
    root.give(CapIndex::ICU, Account::create(account, Icu::new)?, Rights::CLIENT)?;
    for (slot, device) in [
        (CapIndex::LOG, Device::Console),
        (CapIndex::DEBUGCON, Device::DebugConsole),
    ] {
        let console = Account::create(account, |header| Vcon::new(header, device))?;
        root.give(slot, console, Rights::CLIENT)?;
    }
    root.give(
        CapIndex::DEBUG,
        Account::create(account, Debug::new)?,
        Rights::CLIENT,
    )?;
    root.give(
        CapIndex::PLATFORM,
        Account::create(account, Platform::new)?,
        Rights::CLIENT,
    )?;
    let scheduler = Account::create(account, |header| Scheduler::new(header, u64::MAX, u8::MAX))?;
    root.give(CapIndex::SCHEDULER, scheduler, Rights::CLIENT)?;
    let page = info_page(account, info)?;
    root.give(CapIndex::INFO_PAGE, page, Rights::READ | Rights::STRONG)?;
    let view = Some((page, 0));
    task.space.attach(
        InfoPage::ADDRESS,
        PAGE_SIZE,
        Access::READ,
        Backing::Shared,
        view,
        false,
    )?;
    let stack = STACK_TOP - STACK_SIZE;
    task.space.attach(
        stack,
        STACK_SIZE,
        Access::READ_WRITE,
        Backing::Anonymous,
        None,
        false,
    )?;
    let entry = load(&root, info)?;
    schedule::begin(thread, 0, |domain| {
        thread.set_priority(domain, ROOT_PRIORITY);
        thread.with_context(domain, |context| {
            (context.rip, context.rsp) = (entry, STACK_TOP - STACK_RESERVE)
        });
    })?;
    Ok(())
}

/// Gives the root task the boot modules and loads its image, the first of them. Returns the first instruction.
fn load(root: &Root, info: &BootInfo) -> Result<u64, BootError> {
    let (base, size) = info.archive;
    if size == 0 {
        return Err(BootError::NoArchive);
    }
    // SAFETY: The boot loader put the archive there, and the boot code reported its memory as not usable for anything else.
    let bytes =
        unsafe { core::slice::from_raw_parts((machine_direct_map() + base) as *const u8, size as usize) };
    let archive = Archive::parse(bytes).map_err(BootError::Archive)?;
    let fixed = |offset: u64, size: u64| {
        Dataspace::create_fixed(root.account, PhysAddr(base + offset), size, true, false)
    };
    root.give_next(fixed(0, archive::header_size(archive.count()) as u64)?)?;
    let mut first: Option<(Entry<'_>, Ref<Dataspace>)> = None;
    for entry in archive.entries() {
        let dataspace = fixed(entry.offset, entry.size)?;
        root.give_next(dataspace)?;
        if first.is_none() {
            first = Some((entry, dataspace));
        }
    }
    let (entry, dataspace) = first.ok_or(BootError::RootImage("the archive has no module"))?;
    let end = entry.offset.saturating_add(entry.size) as usize;
    let image = bytes
        .get(entry.offset as usize..end)
        .ok_or(BootError::RootImage("it is cut off"))?;
    root_image::load(root.account, root.task, dataspace, image).map_err(|error| match error {
        root_image::LoadError::Malformed(cause) => BootError::RootImage(cause),
        root_image::LoadError::Kernel(error) => BootError::Kernel(error),
    })
}

fn info_page(account: Ref<Account>, info: &BootInfo) -> Result<Ref<Dataspace>, Error> {
    let page = Dataspace::create(account, PAGE_SIZE)?;
    let contents = InfoPage {
        magic: info_page::MAGIC,
        version: info_page::VERSION,
        tsc_base: info.tsc_base,
        tsc_mult: info.tsc_mult,
        wall_clock_ns: info.wall_clock_ns,
        cpu_count: info.cpu_count,
        features: 0,
        memory: frame::total_count() * PAGE_SIZE,
    };
    page.write(0, &contents.to_bytes())?;
    // Nothing shows the page yet, so this is done at once.
    page.seal(&mut { u32::MAX })?;
    Ok(page)
}
