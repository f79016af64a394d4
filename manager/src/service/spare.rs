//! The spare runtime: started when the client's core has nothing better to do, so that the next function need not wait for it.

use super::Service;
use crate::action::ActionId;
use crate::image::Frozen;
use crate::label::WorkerId;
use crate::platform::{Answer, Launch, Payer, Platform};
use crate::spare::Spare;
use crate::worker::{Worker, WorkerState};
use interfaces::faas::FaasError;
use interfaces::manifest::{Copying, Runtime};
use l4::CapIndex;

/// Its worker's priority: below that of all functions, unless they want to be last themselves.
const PRIORITY: u8 = 1;

impl<P: Platform> Service<P> {
    /// Has a runtime started for the client's next function that is like this one, which was just created: who has one function in
    /// Python may have more. There is one at most, and only if what the client's images may use allows for it.
    pub(super) fn start_spare(&mut self, like: ActionId) {
        let memory = self.limits.spare_memory;
        let has_room = self.images.bytes() + memory <= self.platform.image_budget();
        if memory == 0 || !has_room || !self.spare.is_none() || self.platform.is_full() {
            return;
        }
        let worker = Worker::new(self.next_generation(), WorkerState::Spare, memory);
        let action = self.actions.get(like);
        let Some(action) = action.filter(|action| action.settings.config.runtime == Runtime::Python) else {
            return;
        };
        let Ok(place) = self.workers.insert(worker) else {
            return;
        };
        let launch = Launch {
            worker: worker.id(place),
            payer: Payer::Client,
            memory,
            priority: PRIORITY,
        };
        if self.platform.launch_runtime(&action.program, launch).is_ok() {
            self.clear_log(place);
            self.spare = Spare::Starting(place);
        } else {
            // The next function starts its own.
            self.workers.remove(place);
        }
    }

    /// A worker asks for its function's code: a runtime that was started ahead, which is kept as it is now. Others have got theirs.
    pub fn worker_asks_code(&mut self, id: WorkerId, reply: CapIndex) {
        match self.worker(id).map(|worker| worker.state) {
            Some(WorkerState::Spare) => self.keep_spare(id, reply),
            Some(_) => self
                .platform
                .answer(reply, Answer::Code(Err(&FaasError::NotPermitted))),
            None => self.platform.forget(reply),
        }
    }

    fn keep_spare(&mut self, id: WorkerId, reply: CapIndex) {
        match self
            .platform
            .freeze(id.index, Some(reply), Copying::Lazy, &mut None)
        {
            Ok((memory, info)) => {
                self.cancel_children(id);
                self.workers.remove(id.index);
                self.spare = Spare::Ready(Frozen {
                    memory,
                    info,
                    is_single: false,
                });
                self.keep_within_budget(ActionId::NONE);
            }
            Err(_) => {
                self.end_worker(id.index);
                self.platform.forget(reply);
            }
        }
        self.serve_waiting();
    }

    /// Gives up the spare runtime, on its way or ready. `false` if there is none.
    pub(super) fn drop_spare(&mut self) -> bool {
        match core::mem::replace(&mut self.spare, Spare::None) {
            Spare::None => return false,
            Spare::Starting(place) => self.end_worker(place),
            Spare::Ready(frozen) => self.platform.drop_image(frozen.memory),
        }
        true
    }
}
