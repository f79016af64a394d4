//! Requests to run a function, and for the results of those that ran asynchronously.

use super::Service;
use crate::action::ActionId;
use crate::activation::{self, Activation, Caller, Links, Stage};
use crate::body::{Body, Content, Sent};
use crate::label::WorkerId;
use crate::platform::{Answer, Payer, Platform};
use crate::worker::WorkerState;
use interfaces::faas::{self, ActivationId, FaasError, InvokeOptions, PAYLOAD_MAX, Timestamps};
use interfaces::manifest::StartMode;
use l4::{CapIndex, NEVER};

/// How the caller wants its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As the answer to its request.
    Wait,
    /// Later: the answer is the activation's number.
    Later {
        /// What is triggered when the result is there.
        notify: Option<CapIndex>,
    },
}

/// A request to run a function.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The worker that asks; `None` for the client.
    pub worker: Option<WorkerId>,
    /// Answers the request.
    pub reply: CapIndex,
    /// How the result is wanted.
    pub style: Style,
    /// The action's name, as it came.
    pub name: &'a [u8],
    /// What the invocation may use.
    pub options: InvokeOptions,
    /// What the function gets.
    pub body: Sent<'a>,
}

/// What a request inherits from the activation that makes it.
struct Inheritance {
    depth: u32,
    deadline: u64,
    /// It asks for an action that waits for its answer, so it can't wait for its turn.
    recursive: bool,
}

/// An option's value: 0 means that there is none.
const fn limit(option: u64) -> u64 {
    if option == 0 { u64::MAX } else { option }
}

impl<P: Platform> Service<P> {
    /// Admits and, if it is its turn, starts an invocation. Whatever happens, the request gets its answer.
    pub fn invoke(&mut self, invocation: Invocation<'_>) {
        match self.admit(&invocation) {
            Ok((index, id, recursive)) => {
                if let Style::Later { .. } = invocation.style {
                    let generation = self
                        .activations
                        .get(index)
                        .map_or(0, |activation| activation.generation);
                    let number = activation::number(index, generation);
                    self.platform.answer(invocation.reply, Answer::Accepted(number));
                }
                if recursive {
                    self.start_out_of_turn(id, index);
                } else {
                    self.start_or_enqueue(id, index);
                }
            }
            Err(error) => {
                if let Style::Later { notify: Some(irq) } = invocation.style {
                    self.platform.discard(irq);
                }
                self.totals.failed += 1;
                self.platform.answer(invocation.reply, Answer::Failed(&error));
            }
        }
        self.serve_waiting();
    }

    /// Makes the activation. The body that was sent is used up in any case.
    fn admit(&mut self, invocation: &Invocation<'_>) -> Result<(u16, ActionId, bool), FaasError> {
        let (id, inherited) = match self.examine(invocation) {
            Ok(examined) => examined,
            Err(error) => {
                self.discard_sent(invocation.body);
                return Err(error);
            }
        };
        let body = match invocation.body {
            Sent::Short(_) => Body::Short,
            Sent::Dataspace { cap, length } => {
                self.platform.accept(cap, length)?;
                Body::Dataspace { cap, length }
            }
        };
        let now = self.platform.now();
        let generation = self.next_generation();
        let action = self.actions.get(id).ok_or(FaasError::UnknownAction)?;
        let config = &action.settings.config;
        let timeout = limit(invocation.options.timeout_ns).min(config.timeout_ns);
        let deadline = now.saturating_add(timeout).min(inherited.deadline);
        let (worker, reply) = (invocation.worker, invocation.reply);
        let caller = match invocation.style {
            Style::Wait => Caller::Waiting { worker, reply },
            Style::Later { notify } => Caller::Asynchronous {
                worker,
                notify,
                fetcher: None,
            },
        };
        let activation = Activation {
            generation,
            action: id,
            caller,
            stage: Stage::Waiting,
            body,
            deadline,
            memory: limit(invocation.options.memory_bytes).min(config.memory_bytes),
            depth: inherited.depth,
            queue: Links::ALONE,
            siblings: Links::ALONE,
            recursive: inherited.recursive,
            starved_since: 0,
            mode: StartMode::Boot,
            version: action.version,
            times: Timestamps {
                queue: now,
                ..Timestamps::default()
            },
        };
        // `examine` made sure that there is room.
        let index = self
            .activations
            .insert(activation)
            .map_err(|_| self.too_many_activations())?;
        let short = self.bodies.reach(index);
        if let Sent::Short(bytes) = invocation.body {
            short.set(bytes);
        }
        self.adopt(worker, index);
        self.expect_end(index, deadline);
        Ok((index, id, inherited.recursive))
    }

    /// Everything that can be wrong with a request, but for its body's dataspace.
    fn examine(&mut self, invocation: &Invocation<'_>) -> Result<(ActionId, Inheritance), FaasError> {
        let Some(id) = self.actions.find(invocation.name) else {
            return Err(faas::check_name(invocation.name)
                .err()
                .unwrap_or(FaasError::UnknownAction));
        };
        let inherited = self.inherit(invocation.worker, id)?;
        let length = invocation.body.len();
        if length > PAYLOAD_MAX {
            return Err(FaasError::RequestTooLarge {
                length,
                limit: PAYLOAD_MAX,
            });
        }
        let action = self.actions.get(id).ok_or(FaasError::UnknownAction)?;
        let config = &action.settings.config;
        let is_busy = action.running >= config.concurrent_requests;
        if is_busy && !inherited.recursive && action.waiting.length >= config.queue_length {
            return Err(FaasError::QueueFull {
                limit: u64::from(config.queue_length),
            });
        }
        if self.activations.is_full() && !self.forget_oldest_result() {
            return Err(self.too_many_activations());
        }
        if self.platform.is_full() && !self.end_longest_idle() {
            let limit = self.activations.len() as u64;
            return Err(FaasError::TooManyActivations { limit });
        }
        Ok((id, inherited))
    }

    fn too_many_activations(&self) -> FaasError {
        FaasError::TooManyActivations {
            limit: u64::from(self.limits.activations),
        }
    }

    /// What an invocation by `worker` inherits.
    fn inherit(&self, worker: Option<WorkerId>, action: ActionId) -> Result<Inheritance, FaasError> {
        let Some(id) = worker else {
            return Ok(Inheritance {
                depth: 0,
                deadline: NEVER,
                recursive: false,
            });
        };
        let caller = self.worker(id).ok_or(FaasError::WorkerProtocol)?;
        if let WorkerState::Preparing(_) = caller.state {
            // Nobody's request would wait, pay, or get the error.
            return Err(FaasError::NotPermitted);
        }
        let parent = self.activation_of(id).ok_or(FaasError::WorkerProtocol)?;
        if parent.depth >= self.limits.depth {
            return Err(FaasError::NestedTooDeep {
                limit: u64::from(self.limits.depth),
            });
        }
        let mut recursive = false;
        let mut above = Some(parent);
        while let Some(activation) = above {
            recursive |= activation.action == action;
            above = activation
                .caller
                .worker()
                .and_then(|worker| self.activation_of(worker));
        }
        Ok(Inheritance {
            depth: parent.depth + 1,
            deadline: parent.deadline,
            recursive,
        })
    }

    fn activation_of(&self, worker: WorkerId) -> Option<&Activation> {
        self.activations.get(self.worker(worker)?.state.activation()?)
    }

    /// Whose account pays for what is made for an activation.
    pub(super) fn payer_of(activation: &Activation) -> Payer {
        activation
            .caller
            .worker()
            .map_or(Payer::Client, |worker| Payer::Worker(worker.index))
    }

    /// Answers with the result of an asynchronous activation, which is gone then. Only who asked for it may fetch it.
    /// If it is not finished, the answer waits until it is, or says so.
    pub fn fetch(&mut self, worker: Option<WorkerId>, reply: CapIndex, number: ActivationId, wait: bool) {
        if let Err(error) = self.try_fetch(worker, reply, number, wait) {
            self.platform.answer(reply, Answer::Failed(&error));
        }
    }

    fn try_fetch(
        &mut self,
        worker: Option<WorkerId>,
        reply: CapIndex,
        number: ActivationId,
        wait: bool,
    ) -> Result<(), FaasError> {
        let index = self.own_activation(worker, number)?;
        let activation = self
            .activations
            .get_mut(index)
            .ok_or(FaasError::UnknownActivation)?;
        if !matches!(activation.stage, Stage::Finished(_)) {
            return match &mut activation.caller {
                Caller::Asynchronous {
                    fetcher: fetcher @ None,
                    ..
                } if wait => {
                    *fetcher = Some(reply);
                    Ok(())
                }
                _ => Err(FaasError::NotFinished),
            };
        }
        self.hand_over(index, reply);
        Ok(())
    }

    /// Answers with the outcome of a finished activation, which is gone then.
    pub(super) fn hand_over(&mut self, index: u16, reply: CapIndex) {
        let Some(activation) = self.activations.get(index) else {
            return;
        };
        let completion = activation.completion(index, faas::Body::Inline);
        let answer = match &activation.stage {
            Stage::Finished(Ok(Body::Short)) => {
                Answer::Result(&completion, Content::Short(self.bodies[index].bytes()))
            }
            Stage::Finished(Ok(Body::Dataspace { cap, length })) => {
                Answer::Result(&completion, Content::Given(*cap, *length))
            }
            Stage::Finished(Err(error)) => Answer::Failed(error),
            Stage::Waiting | Stage::Running(_) => Answer::Failed(&FaasError::NotFinished),
        };
        self.platform.answer(reply, answer);
        self.drop_activation(index);
    }

    /// Ends an asynchronous activation of this asker, unless it is finished.
    ///
    /// # Errors
    /// [`FaasError::UnknownActivation`].
    pub fn cancel(&mut self, worker: Option<WorkerId>, number: ActivationId) -> Result<(), FaasError> {
        let index = self.own_activation(worker, number)?;
        self.fail_activation(index, |_| FaasError::Cancelled);
        self.serve_waiting();
        Ok(())
    }

    /// Forgets the asynchronous result that waits for the longest time to be fetched.
    fn forget_oldest_result(&mut self) -> bool {
        let oldest = self.results.first();
        if let Some((_, index)) = oldest {
            self.abandon(index);
        }
        oldest.is_some()
    }

    /// Takes an activation out whose capabilities are all dealt with, but for what to notify.
    pub(super) fn drop_activation(&mut self, index: u16) {
        let Some(activation) = self.activations.remove(index) else {
            return;
        };
        if let Caller::Asynchronous {
            notify: Some(irq), ..
        } = activation.caller
        {
            self.platform.discard(irq);
        }
        self.due.clear(index);
        self.results.clear(index);
        self.release(&activation);
    }

    /// Notes when an activation must have ended.
    #[inline]
    fn expect_end(&mut self, index: u16, deadline: u64) {
        self.due.set(index, deadline);
        self.wake_at = self.wake_at.min(deadline);
    }

    /// Notes that a worker asked for an activation, if it was one.
    fn adopt(&mut self, worker: Option<WorkerId>, index: u16) {
        let Some(worker) = worker.and_then(|id| self.worker_mut(id)) else {
            return;
        };
        let next = core::mem::replace(&mut worker.first_child, index);
        if let Some(activation) = self.activations.get_mut(index) {
            activation.siblings.next = next;
        }
        if let Some(sibling) = self.activations.get_mut(next) {
            sibling.siblings.previous = index;
        }
    }

    /// Takes an activation, which is out of the table already, out of the list of what its caller asked for.
    fn release(&mut self, activation: &Activation) {
        let Some(caller) = activation.caller.worker() else {
            return;
        };
        let Links { previous, next } = activation.siblings;
        if let Some(sibling) = self.activations.get_mut(next) {
            sibling.siblings.previous = previous;
        }
        if let Some(sibling) = self.activations.get_mut(previous) {
            sibling.siblings.next = next;
        } else if let Some(worker) = self.worker_mut(caller) {
            worker.first_child = next;
        }
    }
}
