//! A machine that keeps accounts of everything it gave away, and fails where a test wants it to.

use crate::activation::parse_number;
use crate::body::Content;
use crate::platform::{
    Answer, DirectCalls, FreezeError, GateLimits, Launch, LaunchError, Payer, Platform, Room, StoredFile,
};
use interfaces::faas::{
    ActivationId, Completion, Definition, FaasError, ImageFault, ImageInfo, RestoreFault,
};
use interfaces::manifest::Copying;
use l4::CapIndex;
use std::collections::{BTreeMap, BTreeSet};

/// An answer as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Request {
        deadline: u64,
        depth: u32,
        body: Vec<u8>,
    },
    Result {
        completion: Completion,
        body: Vec<u8>,
    },
    Failed(FaasError),
    Accepted(ActivationId),
    Code(Result<CapIndex, FaasError>),
    Created(Result<(), FaasError>),
    Updated(Result<u32, FaasError>),
}

#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) now: u64,
    /// Reply capabilities that are out, each with whether it may go without an answer.
    pub(super) replies: BTreeSet<CapIndex>,
    pub(super) forgotten: BTreeSet<CapIndex>,
    pub(super) answers: BTreeMap<CapIndex, Seen>,
    pub(super) caps: BTreeSet<CapIndex>,
    pub(super) notified: Vec<CapIndex>,
    pub(super) programs: usize,
    /// Limits and payers of live workers.
    pub(super) workers: BTreeMap<u16, Launch>,
    pub(super) order: Vec<String>,
    /// Live images with their places, and which of them a live worker began from.
    pub(super) images: BTreeSet<u32>,
    pub(super) began_from: BTreeMap<u16, u32>,
    /// Runtimes that a live worker began from, by its place, and those below images.
    pub(super) upon: BTreeMap<u16, u32>,
    pub(super) below: BTreeMap<u32, u32>,
    /// Workers that were started without code.
    pub(super) runtimes: BTreeSet<u16>,
    /// What workers got that began from images, by their places.
    pub(super) requests: BTreeMap<u16, Seen>,
    /// Images whose gate clients hold, and those with a clone that a client began.
    pub(super) opened: BTreeSet<u32>,
    pub(super) direct: BTreeSet<u32>,
    /// How many calls each image's gate has answered; none if it is not listed.
    pub(super) answered: BTreeMap<u32, u64>,
    pub(super) refuse_open: bool,
    /// Images whose clones are to copy eagerly, and the worker that was recorded for it.
    pub(super) unrecorded: BTreeSet<u32>,
    pub(super) recorded: Vec<(u32, u16)>,
    pub(super) refuse_freeze: Option<FreezeError>,
    pub(super) image_budget: u64,
    /// What the client's account has left, and what destroyed workers will give back later.
    pub(super) memory: u64,
    pub(super) returning: Vec<(u64, Payer, u64)>,
    pub(super) refuse_launch: Option<LaunchError>,
    pub(super) refuse_load: bool,
    pub(super) is_full: bool,
    /// Programs that came with a stored snapshot, and whether its clones serve one request each.
    pub(super) stored: BTreeSet<CapIndex>,
    pub(super) stored_is_single: bool,
    /// What is wrong with stored snapshots.
    pub(super) stored_fault: Option<RestoreFault>,
    pub(super) refuse_copy: bool,
    pub(super) bad_dataspace: bool,
    next_cap: u32,
}

/// What a worker may use, and what its image keeps of it, in bytes.
pub(super) const WORKER_MEMORY: u64 = 1 << 20;
pub(super) const IMAGE_BYTES: u64 = WORKER_MEMORY / 4;
/// How long a destroyed worker's memory takes to come back.
pub(super) const TEARDOWN_NS: u64 = 300_000;

impl Machine {
    pub(super) fn new(memory: u64) -> Machine {
        Machine {
            now: 1,
            memory,
            image_budget: u64::MAX,
            next_cap: 100,
            ..Machine::default()
        }
    }

    fn fresh(&mut self) -> CapIndex {
        self.next_cap += 1;
        CapIndex(self.next_cap)
    }

    pub(super) fn reply(&mut self) -> CapIndex {
        let reply = self.fresh();
        self.replies.insert(reply);
        reply
    }

    pub(super) fn cap(&mut self) -> CapIndex {
        let cap = self.fresh();
        self.caps.insert(cap);
        cap
    }

    fn use_up(&mut self, cap: CapIndex) {
        assert!(self.caps.remove(&cap), "{cap:?} was used up before");
    }

    fn body(&mut self, content: Content<'_>) -> Vec<u8> {
        match content {
            Content::Short(bytes) => bytes.to_vec(),
            Content::Lent(cap, length) => {
                assert!(self.caps.contains(&cap), "{cap:?} is gone");
                vec![0xda; length as usize]
            }
            Content::Given(cap, length) => {
                self.use_up(cap);
                vec![0xda; length as usize]
            }
        }
    }

    fn see(&mut self, answer: Answer<'_>) -> Seen {
        match answer {
            Answer::Request {
                activation,
                deadline_ns,
                depth,
                body,
            } => {
                assert!(parse_number(activation).is_some());
                Seen::Request {
                    deadline: deadline_ns,
                    depth,
                    body: self.body(body),
                }
            }
            Answer::Code(code) => Seen::Code(code.map(|(cap, _)| cap).map_err(Clone::clone)),
            Answer::Result(completion, body) => Seen::Result {
                completion: *completion,
                body: self.body(body),
            },
            Answer::Failed(error) => Seen::Failed(error.clone()),
            Answer::Accepted(number) => Seen::Accepted(number),
            Answer::Created(created) => Seen::Created(created.map_err(Clone::clone)),
            Answer::Updated(updated) => Seen::Updated(updated.map_err(Clone::clone)),
        }
    }

    fn settle_accounts(&mut self) {
        let now = self.now;
        let back: u64 = self
            .returning
            .iter()
            .filter(|(at, payer, _)| *at <= now && *payer == Payer::Client)
            .map(|(_, _, bytes)| bytes)
            .sum();
        self.returning.retain(|(at, _, _)| *at > now);
        self.memory += back;
    }
}

impl Platform for Machine {
    type Program = CapIndex;
    type Image = u32;

    fn now(&mut self) -> u64 {
        self.now
    }

    fn answer(&mut self, reply: CapIndex, answer: Answer<'_>) {
        assert!(
            self.replies.remove(&reply),
            "{reply:?} is answered twice, or after it was dropped"
        );
        let seen = self.see(answer);
        self.order.push(format!("answer {reply:?}"));
        self.answers.insert(reply, seen);
    }

    fn forget(&mut self, reply: CapIndex) {
        assert!(self.replies.remove(&reply), "{reply:?} is dropped twice");
        self.forgotten.insert(reply);
    }

    fn refuse(&mut self, reply: CapIndex) {
        assert!(self.replies.remove(&reply), "{reply:?} is dropped twice");
    }

    fn discard(&mut self, cap: CapIndex) {
        self.use_up(cap);
    }

    fn notify(&mut self, irq: CapIndex) {
        assert!(self.caps.contains(&irq));
        self.notified.push(irq);
    }

    fn read(&mut self, dataspace: CapIndex, length: u64) -> Result<Box<[u8]>, FaasError> {
        self.use_up(dataspace);
        if self.bad_dataspace {
            return Err(FaasError::InvalidPayload);
        }
        let entry = b"NAME=value\0".iter().copied();
        Ok(entry.cycle().take(length as usize).collect())
    }

    fn load(
        &mut self,
        code: CapIndex,
        _: &Definition<'_>,
        _: &[u8],
        stored: Option<StoredFile>,
    ) -> Result<CapIndex, FaasError> {
        self.use_up(code);
        if let Some(StoredFile { file, is_required }) = stored {
            self.use_up(file);
            match self.stored_fault {
                Some(fault) if is_required => return Err(FaasError::NotRestored(fault)),
                Some(_) => {}
                None => {
                    self.stored.insert(code);
                }
            }
        }
        if self.refuse_load {
            return Err(FaasError::InvalidImage(ImageFault::NotElf));
        }
        self.programs += 1;
        Ok(code)
    }

    fn unload(&mut self, _program: CapIndex) {
        self.programs -= 1;
    }

    fn launch(&mut self, _program: &CapIndex, launch: Launch) -> Result<(), LaunchError> {
        self.settle_accounts();
        if let Some(error) = self.refuse_launch {
            return Err(error);
        }
        // An account has whole pages.
        if launch.payer == Payer::Client && launch.memory < l4::PAGE_SIZE {
            return Err(LaunchError::Refused(l4::Error::Invalid));
        }
        match launch.payer {
            Payer::Client if launch.memory > self.memory => return Err(LaunchError::Later),
            Payer::Client => self.memory -= launch.memory,
            Payer::Worker(parent) => {
                assert!(self.workers.contains_key(&parent), "a dead worker pays");
                if launch.memory == 0 {
                    return Err(LaunchError::LimitTooLow);
                }
            }
        }
        assert!(self.workers.insert(launch.worker.index, launch).is_none());
        Ok(())
    }

    fn launch_runtime(&mut self, program: &CapIndex, launch: Launch) -> Result<(), LaunchError> {
        self.launch(program, launch)?;
        self.runtimes.insert(launch.worker.index);
        Ok(())
    }

    fn launch_upon(&mut self, layer: &u32, program: &CapIndex, launch: Launch) -> Result<(), LaunchError> {
        assert!(self.images.contains(layer), "a worker begins from what is gone");
        self.launch(program, launch)?;
        self.upon.insert(launch.worker.index, *layer);
        Ok(())
    }

    fn unused_snapshot(&self, program: &CapIndex) -> Option<RestoreFault> {
        self.stored_fault.filter(|_| !self.stored.contains(program))
    }

    fn load_stored(&mut self, program: &CapIndex, launch: Launch) -> Result<Option<bool>, LaunchError> {
        if !self.stored.contains(program) {
            return Ok(None);
        }
        self.launch(program, launch)?;
        Ok(Some(self.stored_is_single))
    }

    fn store(&mut self, _: &CapIndex, image: &u32, _: bool, into: CapIndex) -> Result<u64, FaasError> {
        self.use_up(into);
        assert!(self.images.contains(image));
        Ok(IMAGE_BYTES)
    }

    fn freeze(
        &mut self,
        worker: u16,
        reply: Option<CapIndex>,
        copying: Copying,
        layer: &mut Option<u32>,
    ) -> Result<(u32, ImageInfo), FreezeError> {
        if let Some(error) = self.refuse_freeze {
            return Err(error);
        }
        if let Some(reply) = reply {
            assert!(self.replies.remove(&reply), "{reply:?} is gone");
        }
        let launch = self.workers.remove(&worker).expect("frozen after its end");
        self.memory += launch.memory - IMAGE_BYTES;
        let image = self.fresh().0;
        self.images.insert(image);
        if copying == Copying::Eager {
            self.unrecorded.insert(image);
        }
        assert_eq!(self.upon.remove(&worker), *layer, "it began from another runtime");
        self.runtimes.remove(&worker);
        let mut info = ImageInfo {
            bytes: IMAGE_BYTES,
            ..ImageInfo::default()
        };
        if let Some(layer) = layer.take() {
            assert!(
                self.below.values().all(|used| *used != layer),
                "it is another function's"
            );
            self.below.insert(image, layer);
            info.runtime_bytes = IMAGE_BYTES;
            info.bytes += IMAGE_BYTES;
        }
        Ok((image, info))
    }

    fn spawn(
        &mut self,
        program: &CapIndex,
        image: &u32,
        launch: Launch,
        request: Answer<'_>,
    ) -> Result<(), LaunchError> {
        assert!(self.images.contains(image), "a worker begins from what is gone");
        self.launch(program, launch)?;
        let request = self.see(request);
        self.requests.insert(launch.worker.index, request);
        self.began_from.insert(launch.worker.index, *image);
        Ok(())
    }

    fn record(&mut self, worker: u16, image: &mut u32) {
        assert_eq!(self.began_from.get(&worker), Some(&*image), "no clone of it");
        if self.unrecorded.remove(image) {
            self.recorded.push((*image, worker));
        }
    }

    fn written(&mut self, image: &u32) -> u64 {
        self.recorded
            .iter()
            .filter(|(recorded, _)| recorded == image)
            .count() as u64
    }

    fn open(&mut self, image: &mut u32, _: GateLimits) -> Result<CapIndex, FaasError> {
        assert!(self.images.contains(image));
        if self.refuse_open {
            return Err(FaasError::OutOfMemory);
        }
        self.opened.insert(*image);
        Ok(CapIndex(*image))
    }

    fn close(&mut self, image: &mut u32) {
        self.opened.remove(image);
    }

    fn direct_calls(&mut self, image: &u32) -> DirectCalls {
        let live = u64::from(self.direct.contains(image));
        let succeeded = self.answered.get(image).copied().unwrap_or_default();
        DirectCalls {
            live,
            begun: live + succeeded,
            succeeded,
            failed: 0,
        }
    }

    fn drop_image(&mut self, image: u32) {
        assert!(!self.opened.contains(&image), "clients still hold its gate");
        assert!(self.images.remove(&image), "dropped twice");
        assert!(
            self.began_from.values().all(|used| *used != image),
            "dropped while it is used"
        );
        assert!(
            self.upon.values().all(|used| *used != image),
            "dropped while it is used"
        );
        self.memory += IMAGE_BYTES;
        if let Some(layer) = self.below.remove(&image) {
            self.drop_image(layer);
        }
    }

    fn is_full(&self) -> bool {
        self.is_full
    }

    fn image_budget(&self) -> u64 {
        self.image_budget
    }

    fn destroy(&mut self, worker: u16) {
        let launch = self.workers.remove(&worker).expect("destroyed twice");
        self.began_from.remove(&worker);
        self.upon.remove(&worker);
        self.runtimes.remove(&worker);
        let orphans = self
            .workers
            .values()
            .filter(|other| other.payer == Payer::Worker(worker))
            .count();
        assert_eq!(orphans, 0, "a nested worker outlives its payer");
        self.returning
            .retain(|(_, payer, _)| *payer != Payer::Worker(worker));
        self.returning
            .push((self.now + TEARDOWN_NS, launch.payer, launch.memory));
        self.order.push(format!("destroy {worker}"));
    }

    fn room(&mut self, worker: u16) -> Room {
        self.settle_accounts();
        let payer = Payer::Worker(worker);
        let live = self.workers.values().filter(|other| other.payer == payer);
        let live: u64 = live.map(|other| other.memory).sum();
        let ended = self.returning.iter().filter(|(_, from, _)| *from == payer);
        let returning = ended.map(|(_, _, bytes)| bytes).sum();
        Room {
            // The worker itself uses half of what it may.
            free: (self.workers[&worker].memory / 2).saturating_sub(live + returning),
            returning,
        }
    }

    fn accept(&mut self, dataspace: CapIndex, _length: u64) -> Result<(), FaasError> {
        if self.bad_dataspace {
            self.use_up(dataspace);
            return Err(FaasError::InvalidPayload);
        }
        assert!(self.caps.contains(&dataspace));
        Ok(())
    }

    fn copy(&mut self, dataspace: CapIndex, _length: u64, payer: Payer) -> Result<CapIndex, FaasError> {
        if let Payer::Worker(worker) = payer {
            assert!(self.workers.contains_key(&worker), "a dead worker pays");
        }
        self.use_up(dataspace);
        if self.refuse_copy {
            return Err(FaasError::OutOfMemory);
        }
        Ok(self.cap())
    }
}
