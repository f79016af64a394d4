//! Making a task of a plan.

use crate::stack::{Facts, InitialStack, named_slot};
use crate::{Arguments, LoadError, Plan, Step};
use heapless::Vec;
use l4::object::{Dataspace, Factory, MapEntry, Placement, Scheduler, Start, Task, Thread};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE, Rights};
use l4re::Slot;
use l4re::start::current_thread;

/// Most regions of one attach call.
const ATTACH_MAX: usize = 12;
/// What an empty stack leaves below its top: argc and three nulls, all zero.
const EMPTY_STACK: u64 = 128;

/// What differs between tasks of the same plan.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The factory that pays for task, thread and memory.
    pub account: CapIndex,
    /// The scheduler that permits the placement.
    pub scheduler: CapIndex,
    /// CPU, priority and time slice of the thread.
    pub placement: Placement,
    /// Who gets its faults: a gate, or [`CapIndex::NONE`].
    pub handler: CapIndex,
    /// The label of its fault messages, as [`Factory::create_thread`] takes it.
    pub handler_label: u64,
    /// What the task gets, beside itself and its thread ([`CapIndex::TASK`], [`CapIndex::THREAD`]).
    pub capabilities: &'a [MapEntry],
    /// What the program is told. Without it the stack is all zeroes, which reads as no arguments and costs nothing.
    pub arguments: Option<&'a Arguments<'a>>,
}

/// Where the task's capabilities go: two free slots of the launcher.
#[derive(Clone, Copy, Debug)]
pub struct Launched {
    /// The task.
    pub task: CapIndex,
    /// Its thread.
    pub thread: CapIndex,
}

impl Plan {
    /// Makes a task and starts it. If that fails, nothing of it is left, and the slots are empty.
    ///
    /// # Errors
    /// [`LoadError::Kernel`] with the step that failed; [`LoadError::BadArguments`].
    pub fn launch(&self, launch: &Launch<'_>, slots: Launched) -> Result<(), LoadError> {
        Factory(launch.account)
            .create_task(slots.task)
            .map_err(Step::Task.failed())?;
        let result = self.fill_and_start(launch, slots);
        if result.is_err() {
            let own = Task(CapIndex::TASK);
            // The error to report is the first one.
            let _ = own.delete(slots.task);
            let _ = own.drop_cap(slots.thread);
        }
        result
    }

    fn fill_and_start(&self, launch: &Launch<'_>, slots: Launched) -> Result<(), LoadError> {
        let task = Task(slots.task);
        Factory(launch.account)
            .create_thread(
                task,
                self.utcb,
                launch.handler,
                launch.handler_label,
                slots.thread,
            )
            .map_err(Step::Thread.failed())?;
        let none = Arguments::default();
        let arguments = launch.arguments.or((!self.has_usual_places()).then_some(&none));
        let sp = match arguments {
            None => {
                attach(task, &self.regions)?;
                self.stack_top - EMPTY_STACK
            }
            Some(arguments) => self.attach_with_stack(task, launch.account, arguments)?,
        };
        let named = arguments.map_or(&[][..], |arguments| arguments.caps);
        let own = [
            MapEntry::copy(slots.task, CapIndex::TASK, Rights::CLIENT),
            MapEntry::copy(slots.thread, CapIndex::THREAD, Rights::CLIENT),
        ];
        let named = named.iter().enumerate().map(|(index, cap)| MapEntry {
            from: cap.cap,
            to: named_slot(index),
            rights: cap.rights,
            grant: false,
            label: cap.label,
        });
        map(
            task,
            own.into_iter()
                .chain(launch.capabilities.iter().copied())
                .chain(named),
        )?;
        let start = Start {
            ip: self.start,
            sp,
            argument: 0,
        };
        Scheduler(launch.scheduler)
            .start(slots.thread, launch.placement, start)
            .map_err(Step::Start.failed())
    }

    /// Attaches the regions, with a stack that tells the program what it is to know. Returns the stack pointer.
    fn attach_with_stack(
        &self,
        task: Task,
        account: CapIndex,
        arguments: &Arguments<'_>,
    ) -> Result<u64, LoadError> {
        let failed = Step::Stack.failed();
        let random = Thread(current_thread()).random().map_err(&failed)?;
        let facts = Facts {
            auxiliary: &self.auxiliary,
            random: [random[0], random[1]],
            info_page: self.info_page,
        };
        let stack = InitialStack::build(self.stack_top, arguments, &facts)?;
        let size = (stack.bytes.len() as u64).next_multiple_of(PAGE_SIZE);
        let top_pages = Slot::fill(|slot| Factory(account).create_dataspace(size, slot)).map_err(&failed)?;
        let filled = Dataspace(top_pages.index());
        filled
            .write(size - stack.bytes.len() as u64, &stack.bytes)
            .map_err(&failed)?;
        // Copied when it is written, as private memory should be: clones of a snapshot of the task do not share it.
        filled.seal().map_err(&failed)?;
        let mut regions = self.regions.clone();
        let top = Region {
            start: self.stack_top - size,
            size,
            access: Access::READ_WRITE,
            backing: Backing::Private,
            search: false,
            dataspace: top_pages.index(),
            offset: 0,
        };
        match regions.last_mut() {
            // What the program is told takes the top of its stack.
            Some(rest) if rest.size > size => rest.size -= size,
            _ => return Err(failed(Error::TooBig)),
        }
        regions.push(top).map_err(|_| failed(Error::TooBig))?;
        attach(task, &regions)?;
        Ok(stack.pointer)
    }
}

fn attach(task: Task, regions: &[Region]) -> Result<(), LoadError> {
    for part in regions.chunks(ATTACH_MAX) {
        task.attach(part).map_err(Step::Regions.failed())?;
    }
    Ok(())
}

fn map(task: Task, entries: impl Iterator<Item = MapEntry>) -> Result<(), LoadError> {
    let mut batch: Vec<MapEntry, { MapEntry::MAX }> = Vec::new();
    for entry in entries {
        if let Err(entry) = batch.push(entry) {
            task.map(&batch).map_err(Step::Capabilities.failed())?;
            batch.clear();
            // There is room again.
            let _ = batch.push(entry);
        }
    }
    task.map(&batch).map_err(Step::Capabilities.failed())
}
