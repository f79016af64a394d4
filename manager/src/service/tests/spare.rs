//! Runtimes that are started ahead.

use super::client::{TestService, config, service};
use super::fake::{IMAGE_BYTES, Seen, WORKER_MEMORY};
use crate::body::Sent;
use crate::label::WorkerId;
use crate::platform::FreezeError;
use crate::worker::WorkerState;
use interfaces::faas::{ActionConfig, FaasError, FreezeFault, ImageInfo, ImageState};
use interfaces::manifest::{Runtime, StartMode};

fn python() -> ActionConfig {
    ActionConfig {
        runtime: Runtime::Python,
        ..config(StartMode::Snapshot)
    }
}

/// A service with a function in Python, and the spare runtime on its way.
fn with_python() -> TestService {
    let mut service = service();
    service.platform().refuse_freeze = None;
    service.with_action("a", python())
}

impl TestService {
    /// The worker that is a spare runtime on its way.
    fn spare_worker(&self) -> Option<WorkerId> {
        self.workers
            .iter()
            .find(|(_, worker)| worker.state == WorkerState::Spare)
            .map(|(place, worker)| worker.id(place))
    }

    fn with_spare(mut self) -> TestService {
        let spare = self.spare_worker().expect("no spare runtime on its way");
        assert!(
            self.platform().runtimes.contains(&spare.index),
            "it was given code"
        );
        self.asks_code(spare);
        assert_eq!(self.counters().spare_bytes, IMAGE_BYTES);
        self
    }

    fn image_of(&mut self, name: &str) -> ImageInfo {
        match self.describe(name.as_bytes()).unwrap().image {
            ImageState::Ready(info) => info,
            other => panic!("{other:?} is no image"),
        }
    }
}

#[test]
fn the_next_function_begins_from_it_and_nobody_else() {
    let mut service = with_python();
    assert_eq!(service.image_of("a").runtime_bytes, 0);
    assert_eq!(service.counters().workers_live, 0, "it is nobody's worker");
    let mut service = service.with_spare();
    let created = service.begin_create("b", python());
    let worker = service.preparing_worker().unwrap();
    assert!(service.platform().upon.contains_key(&worker.index));
    assert_eq!(
        service.platform().workers[&worker.index].memory,
        WORKER_MEMORY - IMAGE_BYTES,
        "the limit is for both"
    );
    assert_eq!(service.counters().spare_bytes, 0);
    assert_eq!(service.seen(created), None);
    service.prepare_all();
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    let info = service.image_of("b");
    assert_eq!((info.bytes, info.runtime_bytes), (2 * IMAGE_BYTES, IMAGE_BYTES));
    // The next one has a runtime of its own, which is on its way.
    assert_eq!(service.create_action("c", python()), Ok(()));
    assert_eq!(service.image_of("c").runtime_bytes, 0);
    service.delete(b"b").unwrap();
    assert_eq!(service.platform().images.len(), 2, "it goes with its function");
    service.close_and_check();
}

#[test]
fn an_update_and_a_new_start_take_it_too() {
    let mut service = with_python().with_spare();
    assert_eq!(service.update_action("a", python()), Ok(2));
    assert_eq!(service.image_of("a").runtime_bytes, IMAGE_BYTES);
    let mut service = service.with_spare();
    assert!(service.evict_one(crate::action::ActionId::NONE));
    let reply = service.call("a");
    let worker = service.preparing_worker().unwrap();
    assert!(service.platform().upon.contains_key(&worker.index));
    service.prepare_all();
    let clone = service.newest();
    service.done(clone, Sent::Short(b"out"));
    assert_eq!(service.result(reply).0.mode, StartMode::Snapshot);
    assert!(
        service.spare_worker().is_none(),
        "memory is short: who was given up gets no spare"
    );
    service.close_and_check();
}

#[test]
fn only_who_needs_a_runtime_gets_one_and_only_if_there_is_room() {
    let mut service = service();
    service.platform().refuse_freeze = None;
    let mut service = service.with_action("native", config(StartMode::Snapshot));
    assert_eq!(service.spare_worker(), None);
    service.platform().image_budget = WORKER_MEMORY;
    assert_eq!(service.create_action("a", python()), Ok(()));
    assert_eq!(service.spare_worker(), None, "the images may not use so much");
    service.platform().image_budget = u64::MAX;
    service.limits.spare_memory = 0;
    assert_eq!(service.create_action("b", python()), Ok(()));
    assert_eq!(service.spare_worker(), None, "it is switched off");
    let boot = ActionConfig {
        mode: Some(StartMode::Boot),
        ..python()
    };
    service.limits.spare_memory = WORKER_MEMORY;
    assert_eq!(service.create_action("c", boot), Ok(()));
    assert_eq!(service.spare_worker(), None, "its workers start themselves");
    service.close_and_check();
}

#[test]
fn what_may_use_less_than_the_runtime_starts_by_itself() {
    // The second one may use more, but not by a page.
    for memory_bytes in [IMAGE_BYTES, IMAGE_BYTES + 100] {
        let mut service = with_python().with_spare();
        let small = ActionConfig {
            memory_bytes,
            ..python()
        };
        let created = service.begin_create("b", small);
        let worker = service.preparing_worker().unwrap();
        assert!(!service.platform().upon.contains_key(&worker.index));
        service.prepare_all();
        assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
        assert_eq!(service.counters().spare_bytes, IMAGE_BYTES, "it is still there");
        service.close_and_check();
    }
}

#[test]
fn it_is_used_up_by_a_function_that_fails() {
    let mut service = with_python().with_spare();
    let created = service.begin_create("b", python());
    let (worker, reply) = (service.preparing_worker().unwrap(), service.platform().reply());
    service.worker_exited(worker, reply, 1);
    service.check();
    let error = FaasError::Exit { code: 1 };
    assert_eq!(service.seen(created), Some(&Seen::Created(Err(error))));
    assert_eq!(
        (service.counters().spare_bytes, service.platform().images.len()),
        (0, 1)
    );
    service.close_and_check();
}

#[test]
fn what_cannot_be_frozen_drops_it() {
    let mut service = with_python().with_spare();
    let created = service.begin_create("b", python());
    let fault = FreezeFault::Threads;
    service.platform().refuse_freeze = Some(FreezeError::NotFreezable(fault));
    service.prepare_all();
    let refused = FaasError::NotFreezable(fault);
    assert_eq!(service.seen(created), Some(&Seen::Created(Err(refused))));
    assert_eq!(service.platform().images.len(), 1);
    // Nor is there a spare runtime if that cannot be frozen.
    service.platform().refuse_freeze = None;
    assert_eq!(service.create_action("c", python()), Ok(()));
    service.platform().refuse_freeze = Some(FreezeError::NoMemory);
    let spare = service.spare_worker().unwrap();
    service.asks_code(spare);
    assert_eq!(
        (service.spare_worker(), service.counters().spare_bytes),
        (None, 0)
    );
    service.close_and_check();
}

#[test]
fn what_lacks_memory_upon_it_starts_by_itself() {
    for lack in [
        FreezeError::NoMemory,
        FreezeError::NotFreezable(FreezeFault::TooLarge),
    ] {
        let mut service = with_python().with_spare();
        let created = service.begin_create("b", python());
        let upon = service.preparing_worker().unwrap();
        service.platform().refuse_freeze = Some(lack);
        service.ready(upon);
        assert_eq!(service.seen(created), None, "it has another chance");
        service.platform().refuse_freeze = None;
        let alone = service.preparing_worker().unwrap();
        assert!(alone != upon && service.platform().upon.is_empty());
        assert_eq!(service.platform().workers[&alone.index].memory, WORKER_MEMORY);
        service.ready(alone);
        assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
        assert_eq!(service.image_of("b").runtime_bytes, 0);
        service.close_and_check();
    }
}

#[test]
fn what_lacks_memory_by_itself_too_fails() {
    let mut service = with_python().with_spare();
    let created = service.begin_create("b", python());
    service.platform().refuse_freeze = Some(FreezeError::NoMemory);
    service.prepare_all();
    let limit_bytes = WORKER_MEMORY;
    let error = FaasError::MemoryLimit { limit_bytes };
    assert_eq!(service.seen(created), Some(&Seen::Created(Err(error))));
    service.close_and_check();
}

#[test]
fn it_goes_before_anything_else_when_memory_is_short() {
    let mut service = with_python().with_spare();
    let spare = IMAGE_BYTES;
    service.platform().memory = WORKER_MEMORY - spare;
    let reply = service.call("a");
    assert_eq!(service.counters().spare_bytes, 0);
    assert_eq!(
        service.counters().images,
        1,
        "the function's image is still there"
    );
    service.pass(service.limits.memory_retry_ns);
    let worker = service.newest();
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.result(reply).1, b"out");
    service.close_and_check();
}

#[test]
fn it_goes_while_it_is_on_its_way_when_memory_is_short() {
    let mut service = with_python();
    service.platform().memory = 0;
    let reply = service.call("a");
    assert_eq!(service.spare_worker(), None);
    service.pass(super::fake::TEARDOWN_NS);
    let worker = service.newest();
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.result(reply).1, b"out");
    service.close_and_check();
}

#[test]
fn it_goes_before_images_do_when_they_may_use_less() {
    let mut service = with_python().with_spare();
    service.platform().image_budget = 2 * IMAGE_BYTES;
    assert_eq!(
        service.create_action("native", config(StartMode::Snapshot)),
        Ok(())
    );
    assert_eq!(
        (service.counters().spare_bytes, service.counters().images),
        (0, 2)
    );
    service.close_and_check();
}

#[test]
fn others_get_no_code() {
    let mut service = with_python();
    let reply = service.call("a");
    let worker = service.newest();
    let asked = service.asks_code(worker);
    assert_eq!(
        service.seen(asked),
        Some(&Seen::Code(Err(FaasError::NotPermitted)))
    );
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.result(reply).1, b"out");
    // A runtime that asks for a request in place of code is none.
    let spare = service.spare_worker().unwrap();
    service.ready(spare);
    assert_eq!(service.spare_worker(), None);
    service.close_and_check();
}
