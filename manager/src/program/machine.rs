//! The machine below a client's service: system calls.

mod files;
mod launch;
mod messages;
mod places;

use crate::answers::encode;
use crate::image::{self, Image};
use crate::program::Program;
use crate::runtimes::Runtimes;
use crate::stored;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use interfaces::faas::{Definition, FaasError, FreezeFault, ImageInfo, RestoreFault};
use interfaces::manifest::Copying;
use l4::object::{Dataspace, Factory, Irq, Spawn, Task, Thread};
use l4::syscall;
use l4::{CapIndex, Error, Tag, Utcb};
use l4_rpc::MAX_CAPS;
use l4re::{clock, println, start};
use launch::{not_begun, placement};
use manager::label::Sender;
use manager::pieces::Pieces;
use manager::platform::{
    Answer, DirectCalls, FreezeError, GateLimits, Launch, LaunchError, Payer, Platform, Room, StoredFile,
};
use places::WorkerPlace;
pub(crate) use places::WorkerSlots;

/// What a worker's account keeps for itself when a nested call takes a part of it.
const CALLER_RESERVE: u64 = 32 << 10;

/// The part of a client's memory that its images may take: one in so many.
const IMAGE_SHARE: u64 = 2;

/// How many reply capabilities of destroyed workers are left alone. The later one is dropped, the better: its slot is
/// empty as soon as the kernel is through with the worker, which else would notice the drop.
const DYING: usize = 64;

/// Slots that are taken at the start: for reply capabilities, bodies, and what messages bring.
const POOL_SLOTS: usize = 128;

/// An answer that is sent with the next wait, or before the next system call.
#[derive(Clone, Copy)]
struct Pending {
    reply: CapIndex,
    tag: Tag,
}

/// System calls for one client's service.
pub(crate) struct Machine {
    /// The client's account; [`CapIndex::NONE`] without a client.
    account: CapIndex,
    /// The gate that workers call, with labels minted for each.
    gate: CapIndex,
    /// What programs need that are not native.
    runtimes: &'static Runtimes,
    /// The workers' slots and limits, by their places.
    workers: Pieces<WorkerPlace>,
    /// Sum of the limits.
    live_bytes: u64,
    /// Memory of images that have not been dropped.
    image_bytes: u64,
    /// Limit of the client's account.
    memory: u64,
    /// Empty slots.
    pool: Vec<CapIndex>,
    /// Slots that may still be taken.
    slots_left: usize,
    /// Where the next message's reply capability goes.
    reply_slot: CapIndex,
    /// Where the next message's capabilities go.
    offered: [CapIndex; MAX_CAPS],
    pending: Option<Pending>,
    /// Reply capabilities whose owners are being destroyed.
    dying: VecDeque<CapIndex>,
    /// Limit of the worker that was started last.
    last_limit: u64,
    /// Randomness that was not given away yet.
    seeds: Vec<u64>,
}

impl Machine {
    /// The machine below a service. It takes more slots when there are more workers and callers than ever before, up to
    /// `slots`.
    pub(crate) fn new(gate: CapIndex, slots: usize, runtimes: &'static Runtimes) -> Result<Machine, Error> {
        let mut machine = Machine {
            account: CapIndex::NONE,
            gate,
            runtimes,
            workers: Pieces::default(),
            live_bytes: 0,
            image_bytes: 0,
            memory: 0,
            pool: Vec::new(),
            slots_left: slots,
            reply_slot: CapIndex::NONE,
            offered: [CapIndex::NONE; MAX_CAPS],
            pending: None,
            dying: VecDeque::with_capacity(2 * DYING),
            last_limit: 0,
            seeds: Vec::with_capacity(4),
        };
        machine.reply_slot = machine.take_slot()?;
        for index in 0..MAX_CAPS {
            machine.offered[index] = machine.take_slot()?;
        }
        for _ in 0..POOL_SLOTS {
            let slot = machine.take_slot()?;
            machine.pool.push(slot);
        }
        Ok(machine)
    }

    /// The client's account from now on.
    pub(crate) fn set_account(&mut self, account: CapIndex) {
        self.account = account;
        self.memory = Factory(account).info().map_or(0, |info| info.limit);
    }

    /// Two words that nobody else gets.
    fn seed(&mut self) -> [u64; 2] {
        if self.seeds.len() < 2 {
            self.flush();
            let words = Thread(start::current_thread()).random().unwrap_or_default();
            self.seeds.extend_from_slice(&words);
        }
        [
            self.seeds.pop().unwrap_or_default(),
            self.seeds.pop().unwrap_or_default(),
        ]
    }

    fn account_of(&self, payer: Payer) -> CapIndex {
        match payer {
            Payer::Client => self.account,
            Payer::Worker(place) => self.workers[place].slots.account,
        }
    }

    /// How many ended workers' memory has not come back to the client's account yet: an estimate from what it has in
    /// use beside the limits of the live ones, in units of the last limit.
    pub(crate) fn teardowns_pending(&mut self) -> u64 {
        self.flush();
        let live = self.live_bytes + self.image_bytes;
        match Factory(self.account).info() {
            Ok(info) if self.last_limit > 0 => info.used.saturating_sub(live) / self.last_limit,
            _ => 0,
        }
    }
}

/// Drops a capability. An empty slot stays empty.
fn drop_cap(cap: CapIndex) {
    let _ = Task(CapIndex::TASK).drop_cap(cap);
}

impl Platform for Machine {
    type Program = Box<Program>;
    type Image = Image;

    fn now(&mut self) -> u64 {
        clock::now_ns()
    }

    fn answer(&mut self, reply: CapIndex, answer: Answer<'_>) {
        let seed = if let Answer::Request { .. } = answer {
            self.seed()
        } else {
            [0; 2]
        };
        self.flush();
        let (tag, given) = encode(Utcb::current(), answer, seed);
        match given {
            None => self.pending = Some(Pending { reply, tag }),
            Some(given) => {
                // If nobody takes it, the slot is not empty afterwards.
                let _ = syscall::reply(Some(reply), tag);
                self.pool.push(reply);
                self.discard(given);
            }
        }
    }

    fn forget(&mut self, reply: CapIndex) {
        self.dying.push_back(reply);
    }

    fn refuse(&mut self, reply: CapIndex) {
        self.discard(reply);
    }

    fn discard(&mut self, cap: CapIndex) {
        self.flush();
        drop_cap(cap);
        self.pool.push(cap);
    }

    fn notify(&mut self, irq: CapIndex) {
        self.flush();
        // What the client gave is its own matter.
        let _ = Irq(irq).trigger();
    }

    fn read(&mut self, dataspace: CapIndex, length: u64) -> Result<Box<[u8]>, FaasError> {
        self.flush();
        let source = Dataspace(dataspace);
        let text = source
            .info()
            .map_err(|_| FaasError::InvalidPayload)
            .and_then(|info| {
                if info.size < length {
                    return Err(FaasError::InvalidPayload);
                }
                let mut text = vec![0; length as usize];
                source.read(0, &mut text).map_err(|_| FaasError::InvalidPayload)?;
                Ok(text.into_boxed_slice())
            });
        self.discard(dataspace);
        text
    }

    fn load(
        &mut self,
        code: CapIndex,
        definition: &Definition<'_>,
        environment: &[u8],
        stored: Option<StoredFile>,
    ) -> Result<Box<Program>, FaasError> {
        self.flush();
        let kept = self.keep_code(code, definition.code_bytes);
        self.discard(code);
        let stored = stored.map(|StoredFile { file, is_required }| {
            let kept = self.keep_file(file);
            self.discard(file);
            (kept, is_required)
        });
        let mut program = Program::new(kept?, definition, environment, self.runtimes)?;
        if let Some((file, is_required)) = stored {
            program.begin_from(file, is_required, definition.name)?;
        }
        Ok(Box::new(program))
    }

    fn unused_snapshot(&self, program: &Box<Program>) -> Option<RestoreFault> {
        program.unused_snapshot()
    }

    fn unload(&mut self, program: Box<Program>) {
        self.flush();
        drop(program);
    }

    fn launch(&mut self, program: &Box<Program>, launch: Launch) -> Result<(), LaunchError> {
        self.make_from_file(launch, |task, supervisor, slots| {
            program.launch(task, supervisor, slots)
        })
    }

    fn launch_runtime(&mut self, program: &Box<Program>, launch: Launch) -> Result<(), LaunchError> {
        // Its limit is like that of no invocation's worker.
        let usual_limit = self.last_limit;
        let launched = self.make_from_file(launch, |task, supervisor, slots| {
            program.launch_runtime(task, supervisor, slots)
        });
        self.last_limit = usual_limit;
        launched
    }

    fn launch_upon(
        &mut self,
        layer: &Image,
        program: &Box<Program>,
        launch: Launch,
    ) -> Result<(), LaunchError> {
        self.flush();
        let task = self.task_slot(launch.worker.index)?;
        let account = self.open_account(launch)?;
        let begun = self.begin_upon(layer, program, &launch, account, task);
        begun.map_err(|error| not_begun(account, error))?;
        self.note_limit(&launch);
        Ok(())
    }

    fn load_stored(&mut self, program: &Box<Program>, launch: Launch) -> Result<Option<bool>, LaunchError> {
        let Some(stored) = program.stored() else {
            return Ok(None);
        };
        let loaded = self.make(launch, |task, supervisor, slots| {
            program.load(stored, task, supervisor, slots)
        })?;
        match loaded {
            Ok(()) => Ok(Some(stored.is_single())),
            Err(Error::NoMemory) => Err(LaunchError::LimitTooLow),
            Err(error) if stored.is_required() => Err(LaunchError::Refused(error)),
            Err(error) => {
                println!("a stored snapshot is not used: {error}");
                Ok(None)
            }
        }
    }

    fn store(
        &mut self,
        program: &Box<Program>,
        image: &Image,
        is_single: bool,
        into: CapIndex,
    ) -> Result<u64, FaasError> {
        self.flush();
        let stored = stored::write(program, image, is_single, Dataspace(into));
        self.discard(into);
        stored
    }

    fn freeze(
        &mut self,
        worker: u16,
        reply: Option<CapIndex>,
        copying: Copying,
        layer: &mut Option<Image>,
    ) -> Result<(Image, ImageInfo), FreezeError> {
        self.flush();
        let place = &mut self.workers[worker];
        let (mut image, mut info) = image::freeze(&mut place.slots, reply, copying)?;
        // A clone that may use as much as the whole function must fit in beside it.
        let below = layer.as_ref().map_or(0, Image::bytes);
        if info.bytes + below + place.limit + below > self.memory {
            let unused = core::mem::replace(&mut place.slots.account, image.take_apart());
            self.pool.push(unused);
            return Err(FreezeError::NotFreezable(FreezeFault::TooLarge));
        }
        self.live_bytes -= core::mem::take(&mut place.limit);
        self.image_bytes += info.bytes;
        self.pool.extend(reply);
        if let Some(layer) = layer.take() {
            image.put_upon(layer, &mut info);
        }
        Ok((image, info))
    }

    fn spawn(
        &mut self,
        program: &Box<Program>,
        image: &Image,
        launch: Launch,
        request: Answer<'_>,
    ) -> Result<(), LaunchError> {
        let seed = self.seed();
        self.flush();
        let task = match image.is_unrecorded() {
            true => Some(self.task_slot(launch.worker.index)?),
            false => None,
        };
        let account = self.open_account(launch)?;
        let mut entries = [self.minted(Sender::Log(launch.worker), CapIndex::LOG); 3];
        let supervisor = program.supervisor_slots();
        for (entry, slot) in entries[1..].iter_mut().zip(supervisor) {
            *entry = self.minted(Sender::Worker(launch.worker), *slot);
        }
        let spawn = Spawn {
            account,
            scheduler: CapIndex::SCHEDULER,
            place: placement(&launch),
            handler: (self.gate, Sender::Fault(launch.worker).label()),
            entries: &entries[..1 + supervisor.len()],
        };
        let utcb = Utcb::current();
        // What the request lends stays with its activation, so there is nothing to discard afterwards.
        let (tag, _) = encode(utcb, request, seed);
        utcb.set_receive_slots(task.as_slice());
        let spawned = image.snapshot().spawn_with(&spawn, tag);
        utcb.set_receive_slots(&[]);
        spawned.map_err(|error| not_begun(account, error))?;
        self.note_limit(&launch);
        Ok(())
    }

    fn record(&mut self, worker: u16, image: &mut Image) {
        if image.is_unrecorded() {
            self.flush();
            image.record(self.workers[worker].slots.launched.task);
        }
    }

    fn written(&mut self, image: &Image) -> u64 {
        self.flush();
        image.written()
    }

    fn open(&mut self, image: &mut Image, limits: GateLimits) -> Result<CapIndex, FaasError> {
        self.flush();
        Ok(image.open(self.account, limits)?)
    }

    fn close(&mut self, image: &mut Image) {
        self.flush();
        image.close();
    }

    fn direct_calls(&mut self, image: &Image) -> DirectCalls {
        self.flush();
        image.direct_calls()
    }

    fn drop_image(&mut self, image: Image) {
        self.flush();
        self.image_bytes -= image.bytes();
        image.delete();
    }

    fn is_full(&self) -> bool {
        self.is_short_of_slots()
    }

    fn image_budget(&self) -> u64 {
        self.memory / IMAGE_SHARE
    }

    fn destroy(&mut self, worker: u16) {
        self.flush();
        // The account pays for the task and its thread, so they go with it.
        let place = &mut self.workers[worker];
        let _ = Task(CapIndex::TASK).delete(place.slots.account);
        self.live_bytes -= core::mem::take(&mut place.limit);
    }

    fn room(&mut self, worker: u16) -> Room {
        self.flush();
        match Factory(self.workers[worker].slots.account).info() {
            Ok(info) => Room {
                free: info
                    .limit
                    .saturating_sub(info.used.saturating_add(CALLER_RESERVE)),
                returning: info.returning,
            },
            Err(_) => Room::default(),
        }
    }

    fn accept(&mut self, dataspace: CapIndex, length: u64) -> Result<(), FaasError> {
        self.flush();
        match Dataspace(dataspace).info() {
            Ok(info) if info.sealed && info.size >= length => Ok(()),
            _ => {
                self.discard(dataspace);
                Err(FaasError::InvalidPayload)
            }
        }
    }

    fn copy(&mut self, dataspace: CapIndex, length: u64, payer: Payer) -> Result<CapIndex, FaasError> {
        self.flush();
        let account = self.account_of(payer);
        let copied = match Dataspace(dataspace).info() {
            Ok(info) if info.size >= length && length > 0 => self
                .sealed_copy(dataspace, length, account)
                .map_err(FaasError::from),
            _ => Err(FaasError::InvalidPayload),
        };
        self.discard(dataspace);
        copied
    }
}
