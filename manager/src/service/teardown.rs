//! The end of activations and workers.

use super::Service;
use crate::action::ActionId;
use crate::activation::{Caller, Stage};
use crate::body::{Body, Content, Sent};
use crate::label::WorkerId;
use crate::platform::{Answer, Platform};
use crate::preparation::Purpose;
use crate::totals::Totals;
use crate::worker::{Worker, WorkerState};
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
        if let Some(action) = self.actions.get_mut(activation.action) {
            action.running -= u32::from(ran);
            action.succeeded += succeeded;
            action.failed += failed;
            self.unserved |= action.waiting.length > 0;
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
                        self.bodies[usize::from(index)].set(bytes);
                        Body::Short
                    }
                    Sent::Dataspace { cap, length } => Body::Dataspace { cap, length },
                }));
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
    }

    /// Destroys a worker, and everything that it asked for. Its own activation has been settled or dropped.
    pub(super) fn end_worker(&mut self, place: u16) {
        let Some(worker) = self.workers.get(place).copied() else {
            return;
        };
        self.cancel_children(worker.id(place));
        self.workers.remove(place);
        if let WorkerState::Idle { next, .. } = worker.state {
            self.unlink_idle(worker.action, place, next);
        }
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
        while self.worker(id).is_some_and(|worker| worker.children > 0) {
            let child = self
                .activations
                .iter()
                .find(|(_, activation)| activation.caller.worker() == Some(id));
            let Some((index, _)) = child else {
                return;
            };
            self.abandon(index);
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
                    self.unserved |= action.waiting.length > 0;
                }
                self.end_worker(worker);
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
        if let Purpose::Create { reply, .. } | Purpose::Update { reply, .. } = preparation.purpose {
            self.platform.refuse(reply);
        }
        if let Some((_, program)) = preparation.new {
            self.platform.unload(program);
        }
    }

    /// Takes an idle worker, which is out of the table already, out of its action's list.
    fn unlink_idle(&mut self, id: ActionId, place: u16, next: u16) {
        let Some(action) = self.actions.get_mut(id) else {
            return;
        };
        action.idle_count -= 1;
        if action.idle == place {
            action.idle = next;
            return;
        }
        let mut current = action.idle;
        while let Some(Worker {
            state: WorkerState::Idle { next: link, .. },
            ..
        }) = self.workers.get_mut(current)
        {
            if *link == place {
                *link = next;
                return;
            }
            current = *link;
        }
    }

    /// Destroys the worker that has been idle for the longest time. `false` if none is idle.
    pub(super) fn end_longest_idle(&mut self) -> bool {
        let idle = self
            .workers
            .iter()
            .filter_map(|(place, worker)| match worker.state {
                WorkerState::Idle { until, .. } => Some((until, place)),
                _ => None,
            });
        let Some((_, place)) = idle.min() else {
            return false;
        };
        self.end_worker(place);
        true
    }

    /// The client is gone: everything that is left of it goes too.
    pub fn close(&mut self) {
        while let Some(index) = self.activations.first() {
            self.abandon(index);
        }
        while let Some(place) = self.workers.first() {
            self.end_worker(place);
        }
        while let Some(index) = self.preparations.first() {
            self.abandon_preparation(index);
        }
        while let Some(id) = self.actions.first() {
            if let Some(action) = self.actions.remove(id) {
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
        self.last_log.clear();
        self.last_logged = 0;
        self.totals = Totals::default();
        (self.wake_at, self.retry_at, self.unserved) = (NEVER, NEVER, false);
    }
}
