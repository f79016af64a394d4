//! Deadlines.

use super::Service;
use crate::activation::{Activation, Stage};
use crate::platform::Platform;
use crate::worker::WorkerState;
use interfaces::faas::FaasError;
use l4::NEVER;

impl<P: Platform> Service<P> {
    /// Fails what is late, ends what has been idle for too long, and tries again what lacked memory.
    pub fn on_time(&mut self) {
        let now = self.platform.now();
        if now >= self.retry_at {
            self.retry_at = NEVER;
            self.unserved = true;
        }
        if now >= self.wake_at {
            self.expire_activations(now);
            self.expire_workers(now);
            self.expire_preparations(now);
            self.wake_at = self.earliest();
        }
        self.serve_waiting();
    }

    fn expire_activations(&mut self, now: u64) {
        for index in 0..self.limits.activations {
            if self
                .activations
                .get(index)
                .is_some_and(|activation| activation.deadline <= now)
            {
                self.fail_activation(index, Activation::timeout);
            }
        }
    }

    fn expire_workers(&mut self, now: u64) {
        for place in 0..self.limits.workers {
            let state = self.workers.get(place).map(|worker| worker.state);
            if let Some(WorkerState::Idle { until, .. }) = state
                && until <= now
            {
                self.end_worker(place);
            }
        }
    }

    fn expire_preparations(&mut self, now: u64) {
        for index in 0..self.limits.preparations {
            if let Some(preparation) = self.preparations.get(index)
                && preparation.deadline <= now
            {
                let limit_ns = preparation.deadline - preparation.since;
                self.finish_preparation(index, Err(FaasError::Timeout { limit_ns }));
            }
        }
    }

    /// The earliest deadline there is.
    fn earliest(&self) -> u64 {
        let activations = self
            .activations
            .iter()
            .filter_map(|(_, activation)| match activation.stage {
                Stage::Finished(_) => None,
                _ => Some(activation.deadline),
            });
        let workers = self.workers.iter().filter_map(|(_, worker)| match worker.state {
            WorkerState::Idle { until, .. } => Some(until),
            _ => None,
        });
        let preparations = self
            .preparations
            .iter()
            .map(|(_, preparation)| preparation.deadline);
        activations
            .chain(workers)
            .chain(preparations)
            .min()
            .unwrap_or(NEVER)
    }
}
