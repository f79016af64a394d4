use super::{MapEntry, Placement, create, request};
use crate::protocol::{SNAPSHOT, TASK, snapshot, task};
use crate::{CapIndex, Error, Tag, Utcb, syscall};

/// A snapshot: a task that was stopped in a call, and from which others begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot(pub CapIndex);

/// What a snapshot consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Tasks can begin.
    pub is_ready: bool,
    /// Pages that it owns.
    pub pages: u64,
    /// Page tables that it owns.
    pub tables: u64,
    /// Snapshots below it, whose pages it shares.
    pub depth: u64,
    /// Pages of its write set, which tasks begin with copies of.
    pub written: u64,
}

/// Words of a [`snapshot::SPAWN`] request.
pub mod spawn_words {
    /// Account (low half) and scheduler (high half).
    pub const OBJECTS: usize = 1;
    /// CPU (bits 0–31), priority (32–39), number of entries (from 40 on).
    pub const PLACE: usize = 2;
    /// Where the number of entries stands in [`PLACE`].
    pub const ENTRIES_SHIFT: u32 = 40;
    /// Time slice in microseconds, 0 for the usual one.
    pub const SLICE: usize = 3;
    /// Gate for the thread's faults, or none.
    pub const HANDLER: usize = 4;
    /// Its label.
    pub const HANDLER_LABEL: usize = 5;
    /// Tag of the message.
    pub const TAG: usize = 6;
    /// First of the entries, of two words each; the message's words and items stand behind them.
    pub const ENTRIES: usize = 7;
}

/// How a task is to begin.
#[derive(Clone, Copy, Debug)]
pub struct Spawn<'a> {
    /// Account that pays for everything the task changes (strong right).
    pub account: CapIndex,
    /// Scheduler that permits the place (strong right).
    pub scheduler: CapIndex,
    /// Where its thread runs.
    pub place: Placement,
    /// Gate that gets the thread's faults, or [`CapIndex::NONE`], and its label.
    pub handler: (CapIndex, u64),
    /// Capabilities in place of, or besides, the snapshot's.
    pub entries: &'a [MapEntry],
}

impl Snapshot {
    /// Makes `task`, all of whose capabilities go, a snapshot in the free slot `slot`. `reply` is the reply capability of
    /// the call that the task's only thread waits in; it is used up.
    ///
    /// # Errors
    /// [`Error::NotPermitted`]: the task's write and delete right are needed; [`Error::NotFound`]: no such reply
    /// capability; [`Error::Invalid`]: it is for a thread of another task, or one that faulted; [`Error::Busy`]: the task
    /// has other threads, or serves gates, notifications or callers; [`Error::Again`]; [`Error::Range`]: more than 512
    /// regions, or more than 8 snapshots below one another; [`Error::NoMemory`]. The task goes on as before then.
    pub fn freeze(task: CapIndex, reply: CapIndex, slot: CapIndex) -> Result<Snapshot, Error> {
        create(task, TASK, &[task::FREEZE, reply.word()], slot)?;
        Ok(Snapshot(slot))
    }

    /// Does what has to be done before tasks can begin from it.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if the frozen task's account can't pay for the records, [`Error::Range`] if the task had more than
    /// eight capabilities to itself.
    pub fn prepare(self) -> Result<(), Error> {
        while request(self.0, SNAPSHOT, &[snapshot::PREPARE])? == 0 {}
        Ok(())
    }

    /// What it consists of.
    pub fn info(self) -> Result<SnapshotInfo, Error> {
        request(self.0, SNAPSHOT, &[snapshot::INFO])?;
        let utcb = Utcb::current();
        Ok(SnapshotInfo {
            is_ready: utcb.word(0) != 0,
            pages: utcb.word(1),
            tables: utcb.word(2),
            depth: utcb.word(3),
            written: utcb.word(4),
        })
    }

    /// Makes the pages that `clone`, a task begun from this snapshot, has written until now its write set: tasks that begin
    /// later have copies of them from the start, and pay for them. Returns their number. A snapshot gets a write set once, of
    /// at most 128 pages. If [`Self::record_answers`] asked for more than one clone, this is one of them, and the result 0 unless it
    /// is the last.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no clone of this snapshot; [`Error::Exists`] if there is a write set, or one is being made;
    /// [`Error::Busy`] if the clone has become a snapshot; [`Error::NotFound`] if its end has begun; [`Error::Again`] if the
    /// snapshot is not prepared; [`Error::NoMemory`] if the snapshot's account can't pay for the addresses.
    pub fn record(self, clone: CapIndex) -> Result<u64, Error> {
        request(self.0, SNAPSHOT, &[snapshot::RECORD, clone.word()])
    }

    /// The same with the pages that `clones` clones have all written: the next ones of a spawn gate that end with an answer whose
    /// label and first word are these. The snapshot's account pays at once.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a write set, or this was done before; [`Error::Invalid`] without a clone; [`Error::Again`] and
    /// [`Error::NoMemory`] as for [`Self::record`].
    pub fn record_answers(self, (label, first_word): (i64, u64), clones: u32) -> Result<(), Error> {
        let none = CapIndex::NONE.word();
        let words = [
            snapshot::RECORD,
            none,
            label as u64,
            first_word,
            u64::from(clones),
        ];
        request(self.0, SNAPSHOT, &words).map(drop)
    }

    /// Begins a task that goes on with `words` as the answer to its call, and stores its capability in the free slot
    /// `slot`.
    ///
    /// # Errors
    /// As [`Self::spawn_with`].
    pub fn spawn(self, spawn: &Spawn<'_>, label: i64, words: &[u64], slot: CapIndex) -> Result<(), Error> {
        if words.len() > Tag::MAX_WORDS {
            return Err(Error::MessageTooLong);
        }
        let utcb = Utcb::current();
        utcb.write(0, words);
        utcb.set_receive_slots(&[slot]);
        let result = self.spawn_with(spawn, Tag::new(label, words.len(), 0));
        utcb.set_receive_slots(&[]);
        result
    }

    /// Begins a task that goes on with the message in the UTCB as the answer to its call. `tag` tells its words and items.
    /// The task's capability goes to the first receive buffer, if there is one.
    ///
    /// # Errors
    /// Those of creating a task and a thread, of [`super::Task::map`] and [`super::Scheduler::start`];
    /// [`Error::Again`] if the snapshot is not prepared; [`Error::MessageTooLong`] if entries and message don't fit.
    pub fn spawn_with(self, spawn: &Spawn<'_>, tag: Tag) -> Result<(), Error> {
        let message = spawn_words::ENTRIES + 2 * spawn.entries.len();
        let length = tag.words() + 2 * tag.items();
        if message + length > Tag::MAX_WORDS {
            return Err(Error::MessageTooLong);
        }
        let utcb = Utcb::current();
        for index in (0..length).rev() {
            utcb.set_word(message + index, utcb.word(index));
        }
        let Placement {
            cpu,
            priority,
            slice_us,
        } = spawn.place;
        utcb.write(
            0,
            &[
                snapshot::SPAWN,
                spawn.account.word() | spawn.scheduler.word() << 32,
                u64::from(cpu)
                    | u64::from(priority) << 32
                    | (spawn.entries.len() as u64) << spawn_words::ENTRIES_SHIFT,
                u64::from(slice_us),
                spawn.handler.0.word(),
                spawn.handler.1,
                tag.0,
            ],
        );
        for (index, entry) in spawn.entries.iter().enumerate() {
            utcb.write(spawn_words::ENTRIES + 2 * index, &[entry.word(), entry.label]);
        }
        syscall::call(self.0, Tag::new(SNAPSHOT, message + length, 0))
            .result()
            .map(drop)
    }
}
