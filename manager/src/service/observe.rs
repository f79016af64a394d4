//! What clients and workers may know.

use super::Service;
use crate::action::Settings;
use crate::activation::{Caller, Stage, parse_number};
use crate::label::WorkerId;
use crate::log_tail::LogTail;
use crate::platform::Platform;
use crate::totals::Totals;
use crate::worker::{Worker, WorkerState};
use interfaces::faas::{ActivationId, Counters, FaasError, FunctionInfo};

impl<P: Platform> Service<P> {
    /// What happened so far, and what there is now. Teardowns are the machine's matter.
    pub fn counters(&mut self) -> Counters {
        for index in 0..self.images.places() {
            self.count_direct_calls(index);
        }
        Counters {
            succeeded: self.totals.succeeded,
            failed: self.totals.failed,
            workers_started: self.totals.started,
            workers_live: (self.workers.len() - self.spare.starting()) as u64,
            workers_idle: self.idle_until.len() as u64,
            teardowns_pending: 0,
            actions: self.actions.len() as u64,
            activations: self.results.len() as u64,
            images: self.images.current() as u64,
            image_bytes: self.images.bytes(),
            images_prepared: self.totals.prepared,
            images_evicted: self.totals.evicted,
            spare_bytes: self.spare.bytes(),
            succeeded_directly: self.totals.succeeded_directly,
            failed_directly: self.totals.failed_directly,
        }
    }

    /// Numbers that only grow.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What the worker of an activation logged; 0 means the last finished activation. Only who asked for the
    /// activation may read it.
    ///
    /// # Errors
    /// [`FaasError::UnknownActivation`] if it neither runs nor was the last to finish.
    pub fn log(&self, worker: Option<WorkerId>, number: ActivationId) -> Result<&LogTail, FaasError> {
        if worker.is_none() && (number == 0 || number == self.last_logged) {
            return Ok(self.last_log.as_deref().unwrap_or(&LogTail::EMPTY));
        }
        let (index, generation) = parse_number(number).ok_or(FaasError::UnknownActivation)?;
        let activation = self.activations.get(index).ok_or(FaasError::UnknownActivation)?;
        if activation.generation != generation || activation.caller.worker() != worker {
            return Err(FaasError::UnknownActivation);
        }
        match activation.stage {
            Stage::Running(place) => {
                let log = self.logs.get(place).and_then(Option::as_deref);
                Ok(log.unwrap_or(&LogTail::EMPTY))
            }
            _ => Err(FaasError::UnknownActivation),
        }
    }

    /// The environment of a worker's function.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`] if that was deleted meanwhile.
    pub fn environment_of(&self, id: WorkerId) -> Result<&[u8], FaasError> {
        let worker = self.worker(id).ok_or(FaasError::NotPermitted)?;
        let (settings, _) = self.runs(worker).ok_or(FaasError::UnknownAction)?;
        Ok(&settings.environment)
    }

    /// What a worker may know of its function.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`] if that was deleted meanwhile.
    pub fn function_of(&self, id: WorkerId) -> Result<FunctionInfo, FaasError> {
        let worker = self.worker(id).ok_or(FaasError::NotPermitted)?;
        let (settings, name) = self.runs(worker).ok_or(FaasError::UnknownAction)?;
        Ok(FunctionInfo {
            name: name.into(),
            handler: settings.handler.clone(),
            version: worker.version,
            memory_bytes: worker.memory,
        })
    }

    /// Settings and name of what a worker runs.
    fn runs(&self, worker: &Worker) -> Option<(&Settings, &str)> {
        if let WorkerState::Preparing(index) = worker.state {
            return self.preparing_for(index);
        }
        let action = self.actions.get(worker.action)?;
        Some((&action.settings, &action.name))
    }

    /// An asynchronous activation of this asker.
    pub(super) fn own_activation(
        &self,
        worker: Option<WorkerId>,
        number: ActivationId,
    ) -> Result<u16, FaasError> {
        let (index, generation) = parse_number(number).ok_or(FaasError::UnknownActivation)?;
        let activation = self.activations.get(index).ok_or(FaasError::UnknownActivation)?;
        let own = matches!(activation.caller, Caller::Asynchronous { worker: asker, .. } if asker == worker);
        if own && activation.generation == generation {
            Ok(index)
        } else {
            Err(FaasError::UnknownActivation)
        }
    }
}
