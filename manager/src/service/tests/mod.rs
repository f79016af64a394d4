//! The service on a fake machine.

mod client;
mod fake;
mod limits;
mod nested;
mod prepare;
mod random;
mod single;
mod spare;
mod stored;

use super::Service;
use crate::action::{ImageUse, NONE};
use crate::activation::Stage;
use crate::preparation::Purpose;
use crate::spare::Spare;
use crate::worker::WorkerState;
use fake::Machine;

/// What holds between any two events.
impl Service<Machine> {
    fn check(&self) {
        for (id, action) in self.actions.iter() {
            let running = self
                .activations
                .iter()
                .filter(|(_, activation)| {
                    activation.action == id && matches!(activation.stage, Stage::Running(_))
                })
                .count() as u32;
            assert_eq!(running, action.running, "running activations of {}", action.name);
            let mut queue = Vec::new();
            let mut place = action.waiting.first;
            while place != NONE {
                let activation = self.activations.get(place).expect("a queue holds what exists");
                assert_eq!((activation.action, &activation.stage), (id, &Stage::Waiting));
                queue.push(place);
                place = activation.queue.next;
            }
            assert_eq!(queue.len(), action.waiting.length as usize);
            assert_eq!(queue.last().copied().unwrap_or(NONE), action.waiting.last);
            let (mut before, mut idle, mut idle_count) = (NONE, action.idle, 0);
            while idle != NONE {
                let worker = self.workers.get(idle).expect("an idle list holds what exists");
                let WorkerState::Idle { next, previous, .. } = worker.state else {
                    panic!("not idle")
                };
                assert!(worker.action == id && worker.version == action.version);
                assert_eq!(previous, before);
                (before, idle) = (idle, next);
                idle_count += 1;
            }
            assert_eq!(idle_count, action.idle_count);
        }
        self.check_workers();
        self.check_activations();
        self.check_images();
        assert!(!self.unserved && self.servable.is_empty());
        self.check_deadlines();
    }

    fn check_workers(&self) {
        for (place, worker) in self.workers.iter() {
            assert!(self.platform.workers.contains_key(&place));
            let children = self
                .activations
                .iter()
                .filter(|(_, activation)| activation.caller.worker() == Some(worker.id(place)))
                .count();
            let (mut before, mut child, mut listed) = (NONE, worker.first_child, 0);
            while child != NONE {
                let activation = self
                    .activations
                    .get(child)
                    .expect("a worker knows what it asked for");
                assert_eq!(activation.siblings.previous, before);
                (before, child, listed) = (child, activation.siblings.next, listed + 1);
            }
            assert_eq!(children, listed);
            if let Some(index) = worker.state.activation() {
                assert_eq!(
                    self.activations.get(index).map(|a| &a.stage),
                    Some(&Stage::Running(place))
                );
            }
        }
        assert_eq!(self.platform.workers.len(), self.workers.len());
    }

    fn check_deadlines(&self) {
        let finished = self
            .activations
            .iter()
            .filter(|(_, activation)| matches!(activation.stage, Stage::Finished(_)))
            .count();
        assert_eq!(self.results.len(), finished);
        assert_eq!(self.due.len(), self.activations.len() - finished);
        let idle = self
            .workers
            .iter()
            .filter(|(_, worker)| matches!(worker.state, WorkerState::Idle { .. }))
            .count();
        assert_eq!(self.idle_until.len(), idle);
        assert_eq!(self.preparing_until.len(), self.preparations.len());
        for deadlines in [&self.due, &self.idle_until, &self.preparing_until] {
            assert!(self.wake_at() <= deadlines.earliest());
        }
        for (id, action) in self.actions.iter() {
            let entries = self.queued.iter().filter(|listed| **listed == id).count();
            assert_eq!(entries, usize::from(action.is_listed));
        }
        assert!(
            self.queued.len() <= self.actions.len(),
            "deleted actions stay listed"
        );
    }

    fn check_images(&self) {
        let mut current = 0;
        for (id, action) in self.actions.iter() {
            let is_rebuilt = self.preparations.iter().any(|(_, preparation)| {
                preparation.purpose
                    == Purpose::Rebuild {
                        id,
                        version: action.version,
                    }
            });
            assert_eq!(action.image == ImageUse::Preparing, is_rebuilt, "{}", action.name);
            if let ImageUse::Ready(index) = action.image {
                let image = self.images.get(index).expect("an image that is there");
                assert!(image.is_current && image.action == id);
                assert!(self.platform.images.contains(&image.frozen.memory));
                current += 1;
            }
        }
        assert_eq!(current, self.images.current());
        for (index, preparation) in self.preparations.iter() {
            assert!(self.wake_at() <= preparation.deadline);
            match preparation.worker.and_then(|place| self.workers.get(place)) {
                Some(worker) => assert_eq!(worker.state, WorkerState::Preparing(index)),
                None => assert_ne!(self.retry_at, l4::NEVER, "a preparation waits for nothing"),
            }
        }
        let spares = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.state == WorkerState::Spare)
            .map(|(place, _)| place);
        let starting = match &self.spare {
            Spare::Starting(place) => Some(*place),
            Spare::Ready(frozen) => {
                assert!(self.platform.images.contains(&frozen.memory));
                None
            }
            Spare::None => None,
        };
        assert_eq!(spares.collect::<Vec<_>>(), Vec::from_iter(starting));
        let users = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.image != NONE)
            .count();
        assert_eq!(users, self.platform.began_from.len());
    }

    fn check_activations(&self) {
        for (_, activation) in self.activations.iter() {
            if let Some(caller) = activation.caller.worker() {
                assert!(self.worker(caller).is_some(), "a nested call outlives its caller");
            }
            match &activation.stage {
                Stage::Waiting => {
                    let action = self
                        .actions
                        .get(activation.action)
                        .expect("what waits waits for something");
                    let may_run = action.running < action.settings.config.concurrent_requests;
                    let waits = self.retry_at != l4::NEVER
                        || action.image == ImageUse::Preparing
                        || action.image == ImageUse::Evicted && self.preparations.is_full();
                    assert!(!may_run || waits, "waits for nothing");
                    assert!(self.wake_at() <= activation.deadline && action.is_listed);
                }
                Stage::Running(_) => assert!(self.wake_at() <= activation.deadline),
                Stage::Finished(_) => {}
            }
        }
    }
}
