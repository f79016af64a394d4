//! The service of one client: its actions, workers and activations, and what happens to them.
//!
//! One thread owns a service and feeds it one event after the other: requests of the client, messages of workers,
//! faults, the clock. Nothing here blocks or is shared. Each request is answered exactly once, at the latest when its
//! deadline passes, unless who asked is gone.
//!
//! An activation waits in its action's queue, runs in a worker, and ends with an answer; an asynchronous one then
//! stays until its result is fetched. A worker starts for one activation, as a clone of the action's image or from its
//! file; when that is done it is destroyed or, in warm mode, idles until the next one.

mod images;
mod invoke;
mod manage;
mod observe;
mod prepare;
mod queue;
mod spare;
mod teardown;
#[cfg(test)]
mod tests;
mod time;
mod work;

pub use invoke::{Invocation, Style};
pub use work::Outcome;

use crate::action::{ActionId, Actions};
use crate::activation::Activation;
use crate::body::ShortBody;
use crate::deadlines::Deadlines;
use crate::image::Images;
use crate::label::WorkerId;
use crate::limits::Limits;
use crate::log_tail::LogTail;
use crate::pieces::Pieces;
use crate::platform::Platform;
use crate::preparation::Preparation;
use crate::slab::Slab;
use crate::spare::Spare;
use crate::totals::Totals;
use crate::worker::Worker;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use interfaces::faas::ActivationId;
use l4::NEVER;

/// The service of one client.
#[derive(Debug)]
pub struct Service<P: Platform> {
    platform: P,
    limits: Limits,
    actions: Actions<P::Program>,
    images: Images<P::Image>,
    /// Images that only clones use which clients began themselves.
    lingering: Vec<u16>,
    preparations: Slab<Preparation<P::Program, P::Image>>,
    spare: Spare<P::Image>,
    activations: Slab<Activation>,
    /// Short bodies of the activations, by their places.
    bodies: Pieces<ShortBody>,
    workers: Slab<Worker>,
    /// What those workers logged that logged something, by their places.
    logs: Pieces<Option<Box<LogTail>>>,
    /// What the worker of the last finished activation logged.
    last_log: Option<Box<LogTail>>,
    /// Number of that activation.
    last_logged: ActivationId,
    /// Counts workers and activations, so that none is mistaken for an earlier one.
    generation: u32,
    /// No deadline is earlier than this. It is not put off when the earliest one goes, so that the kernel's timer can mostly
    /// stay as it is.
    wake_at: u64,
    /// Deadlines of the activations that are not finished.
    due: Deadlines,
    /// Since when results wait to be fetched.
    results: Deadlines,
    /// When idle workers are destroyed.
    idle_until: Deadlines,
    /// When preparations must be done.
    preparing_until: Deadlines,
    /// When to try again what lacked memory.
    retry_at: u64,
    /// Actions with waiting activations, each once.
    queued: VecDeque<ActionId>,
    /// Actions whose next waiting activation may have its turn now.
    servable: Vec<ActionId>,
    /// Any waiting activation, or preparation, may have its turn now.
    unserved: bool,
    totals: Totals,
}

impl<P: Platform> Service<P> {
    /// A service without actions.
    pub fn new(platform: P, limits: Limits) -> Service<P> {
        Service {
            platform,
            limits,
            actions: Actions::new(limits.actions),
            // Each action has at most one that is current, and each worker holds on to one.
            images: Images::new(limits.actions.saturating_add(limits.workers)),
            lingering: Vec::new(),
            preparations: Slab::new(limits.preparations),
            spare: Spare::None,
            activations: Slab::new(limits.activations),
            bodies: Pieces::default(),
            workers: Slab::new(limits.workers),
            logs: Pieces::default(),
            last_log: None,
            last_logged: 0,
            generation: 0,
            wake_at: NEVER,
            due: Deadlines::default(),
            results: Deadlines::default(),
            idle_until: Deadlines::default(),
            preparing_until: Deadlines::default(),
            retry_at: NEVER,
            queued: VecDeque::new(),
            servable: Vec::new(),
            unserved: false,
            totals: Totals::default(),
        }
    }

    /// The machine.
    pub fn platform(&mut self) -> &mut P {
        &mut self.platform
    }

    /// When [`Service::on_time`] is to be called, in nanoseconds of the kernel clock.
    pub fn wake_at(&self) -> u64 {
        self.wake_at.min(self.retry_at)
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// The worker, unless another one has its place now.
    fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers
            .get(id.index)
            .filter(|worker| worker.generation == id.generation)
    }

    fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers
            .get_mut(id.index)
            .filter(|worker| worker.generation == id.generation)
    }
}
