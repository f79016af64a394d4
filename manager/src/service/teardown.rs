//! The end of activations and workers.

use super::Service;
use crate::action::{ActionId, NONE};
use crate::activation::{Caller, Stage};
use crate::body::{Body, Content, Sent};
use crate::label::WorkerId;
use crate::platform::{Answer, Platform};
use crate::preparation::Purpose;
use crate::spare::Spare;
use crate::totals::Totals;
use crate::worker::WorkerState;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use interfaces::faas::{self, FaasError};
use l4::NEVER;

impl<P: Platform> Service<P> {
    /// Ends an activation with its outcome: the caller gets it, or can fetch it from now on. The worker is not touched.
    pub(super) fn settle(&mut self, index: u16, outcome: Result<Sent<'_>, FaasError>) {
        let Some(activation) = self.activations.get_mut(index) else {
            return;
        };
        let ran = matches!(activation.stage, Stage::Running(_));
        let (succeeded, failed) = (u64::from(outcome.is_ok()), u64::from(outcome.is_err()));
        self.totals.succeeded += succeeded;
        self.totals.failed += failed;
        let id = activation.action;
        if let Some(action) = self.actions.get_mut(id) {
            action.running -= u32::from(ran);
            action.succeeded += succeeded;
            action.failed += failed;
        }
        let request = core::mem::replace(&mut activation.body, Body::Short);
        match activation.caller {
            Caller::Waiting { reply, .. } => {
                let completion = activation.completion(index, faas::Body::Inline);
                let answer = match &outcome {
                    Ok(Sent::Short(bytes)) => Answer::Result(&completion, Content::Short(bytes)),
                    Ok(Sent::Dataspace { cap, length }) => {
                        Answer::Result(&completion, Content::Given(*cap, *length))
                    }
                    Err(error) => Answer::Failed(error),
                };
                self.platform.answer(reply, answer);
                self.drop_activation(index);
            }
            Caller::Asynchronous { notify, fetcher, .. } => {
                activation.stage = Stage::Finished(outcome.map(|result| match result {
                    Sent::Short(bytes) => {
                        self.bodies[index].set(bytes);
                        Body::Short
                    }
                    Sent::Dataspace { cap, length } => Body::Dataspace { cap, length },
                }));
                self.due.clear(index);
                self.results.set(index, activation.times.end_worker);
                if let Some(irq) = notify {
                    self.platform.notify(irq);
                }
                if let Some(fetcher) = fetcher {
                    self.hand_over(index, fetcher);
                }
            }
        }
        if let Body::Dataspace { cap, .. } = request {
            self.platform.discard(cap);
        }
        self.note_servable(id);
    }

    /// Destroys a worker, and everything that it asked for. Its own activation has been settled or dropped.
    pub(super) fn end_worker(&mut self, place: u16) {
        let Some(worker) = self.workers.get(place).copied() else {
            return;
        };
        self.cancel_children(worker.id(place));
        self.workers.remove(place);
        if worker.state == WorkerState::Spare {
            self.spare = Spare::None;
        }
        self.unlink_idle(worker.action, place, worker.state);
        self.platform.destroy(place);
        self.leave_image(worker.image);
        if let WorkerState::Idle { reply, .. } = worker.state {
            self.platform.forget(reply);
        }
        // Whoever lacked memory may find some now.
        self.unserved |= self.retry_at != NEVER;
    }

    /// Drops the activations that a worker asked for and their workers, since nobody waits for them any more.
    pub(super) fn cancel_children(&mut self, id: WorkerId) {
        while let Some(child) = self
            .worker(id)
            .map(|worker| worker.first_child)
            .filter(|child| *child != NONE)
        {
            self.abandon(child);
        }
    }

    /// Drops an activation without an answer, since nobody is there to get one.
    pub(super) fn abandon(&mut self, index: u16) {
        let Some(activation) = self.activations.get(index).cloned() else {
            return;
        };
        match activation.stage {
            Stage::Waiting => self.unlink(activation.action, index),
            Stage::Running(worker) => {
                if let Some(action) = self.actions.get_mut(activation.action) {
                    action.running -= 1;
                }
                self.end_worker(worker);
                self.note_servable(activation.action);
            }
            Stage::Finished(Ok(Body::Dataspace { cap, .. })) => self.platform.discard(cap),
            Stage::Finished(_) => {}
        }
        if let Body::Dataspace { cap, .. } = activation.body {
            self.platform.discard(cap);
        }
        match activation.caller {
            Caller::Waiting { reply, .. }
            | Caller::Asynchronous {
                fetcher: Some(reply), ..
            } => match activation.caller.worker() {
                Some(_) => self.platform.forget(reply),
                None => self.platform.refuse(reply),
            },
            Caller::Asynchronous { fetcher: None, .. } => {}
        }
        self.drop_activation(index);
    }

    /// Drops a preparation, whose worker has ended, without an answer, since nobody is there to get one.
    fn abandon_preparation(&mut self, index: u16) {
        let Some(preparation) = self.preparations.remove(index) else {
            return;
        };
        self.preparing_until.clear(index);
        if let Purpose::Create { reply, .. } | Purpose::Update { reply, .. } = preparation.purpose {
            self.platform.refuse(reply);
        }
        if let Some(layer) = preparation.layer {
            self.platform.drop_image(layer);
        }
        if let Some((_, program)) = preparation.new {
            self.platform.unload(program);
        }
    }

    /// Takes a worker that was idle until now, as its `state` says, out of its action's list.
    pub(super) fn unlink_idle(&mut self, id: ActionId, place: u16, state: WorkerState) {
        let WorkerState::Idle { next, previous, .. } = state else {
            return;
        };
        self.idle_until.clear(place);
        if let Some(WorkerState::Idle { previous: link, .. }) = self.state_mut(next) {
            *link = previous;
        }
        if let Some(WorkerState::Idle { next: link, .. }) = self.state_mut(previous) {
            *link = next;
        }
        if let Some(action) = self.actions.get_mut(id) {
            action.idle_count -= 1;
            if action.idle == place {
                action.idle = next;
            }
        }
    }

    /// What the worker at a place does, if there is one.
    #[inline]
    pub(super) fn state_mut(&mut self, place: u16) -> Option<&mut WorkerState> {
        self.workers.get_mut(place).map(|worker| &mut worker.state)
    }

    /// Destroys the idle worker that would be the next to go. `false` if none is idle.
    pub(super) fn end_longest_idle(&mut self) -> bool {
        let next = self.idle_until.first();
        if let Some((_, place)) = next {
            self.end_worker(place);
        }
        next.is_some()
    }

    /// The client is gone: everything that is left of it goes too.
    pub fn close(&mut self) {
        for index in 0..self.activations.places() {
            self.abandon(index);
        }
        for place in 0..self.workers.places() {
            self.end_worker(place);
        }
        for index in 0..self.preparations.places() {
            self.abandon_preparation(index);
        }
        self.drop_spare();
        for place in 0..self.actions.places() {
            if let Some(action) = self.actions.at(place).and_then(|id| self.actions.remove(id)) {
                self.drop_image_of(&action);
                self.platform.unload(action.program);
            }
        }
        // Whatever clones the client left behind go with its account.
        for index in core::mem::take(&mut self.lingering) {
            if let Some(memory) = self.images.remove(index) {
                self.platform.drop_image(memory);
            }
        }
        self.last_logged = 0;
        self.totals = Totals::default();
        (self.wake_at, self.retry_at, self.unserved) = (NEVER, NEVER, false);
        self.shrink();
    }

    /// Gives the memory of the tables back, which are empty.
    fn shrink(&mut self) {
        self.actions.shrink();
        self.images.shrink();
        self.preparations.shrink();
        self.activations.shrink();
        self.bodies.clear();
        self.workers.shrink();
        self.logs.clear();
        self.last_log = None;
        for deadlines in [
            &mut self.due,
            &mut self.results,
            &mut self.idle_until,
            &mut self.preparing_until,
        ] {
            deadlines.shrink();
        }
        self.queued = VecDeque::new();
        self.servable = Vec::new();
    }
}
