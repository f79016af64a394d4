//! Images: how they come, are used, and go.

use super::client::{PREPARE_NS, TIMEOUT_NS, TestService, config};
use super::fake::{IMAGE_BYTES, Seen, WORKER_MEMORY};
use crate::body::Sent;
use crate::platform::FreezeError;
use crate::service::Outcome;
use interfaces::faas::{ActionConfig, FaasError, FreezeFault, ImageState, WorkerTimes};
use interfaces::manifest::{Copying, StartMode};
use l4::CapIndex;
use l4::exception::ExceptionFrame;

fn service() -> TestService {
    let mut service = super::client::service();
    service.platform().refuse_freeze = None;
    service
}

fn snapshot() -> ActionConfig {
    config(StartMode::Snapshot)
}

/// A configuration that leaves the mode open.
fn open() -> ActionConfig {
    ActionConfig {
        mode: None,
        ..snapshot()
    }
}

fn state(service: &mut TestService, name: &str) -> ImageState {
    service.describe(name.as_bytes()).unwrap().image
}

fn is_ready(service: &mut TestService, name: &str) -> bool {
    matches!(state(service, name), ImageState::Ready(_))
}

fn call_and_finish(service: &mut TestService, name: &str) -> StartMode {
    let reply = service.call(name);
    let worker = service.newest();
    service.done(worker, Sent::Short(b"out"));
    service.result(reply).0.mode
}

#[test]
fn creation_waits_for_the_image_and_invocations_begin_from_it() {
    let mut service = service();
    let created = service.begin_create("f", snapshot());
    assert_eq!(service.seen(created), None);
    let early = service.call("f");
    assert_eq!(*service.error(early), FaasError::UnknownAction);
    service.prepare_all();
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    let reply = service.call("f");
    let worker = service.newest();
    assert!(
        matches!(&service.platform().requests[&worker.index], Seen::Request { body, .. } if body == b"in"),
        "the request is what the clone begins with"
    );
    service.done(worker, Sent::Short(b"out"));
    let (completion, body) = service.result(reply);
    assert_eq!((completion.mode, body), (StartMode::Snapshot, b"out".to_vec()));
    let counters = service.counters();
    assert_eq!(
        (counters.images, counters.image_bytes, counters.images_prepared),
        (1, IMAGE_BYTES, 1)
    );
    service.close_and_check();
}

#[test]
fn what_happens_to_the_function_is_why_creation_fails() {
    type Event = fn(&mut TestService, crate::label::WorkerId, CapIndex);
    let events: [(Event, FaasError); 4] = [
        (
            |service, id, reply| service.worker_exited(id, reply, 3),
            FaasError::Exit { code: 3 },
        ),
        (
            |service, id, reply| service.worker_faulted(id, reply, &ExceptionFrame::default()),
            FaasError::from_exception(&ExceptionFrame::default(), WORKER_MEMORY),
        ),
        (
            |service, id, reply| {
                let outcome = Outcome::Error(FaasError::failed("no module"));
                service.worker_done(id, reply, WorkerTimes::default(), outcome);
            },
            FaasError::failed("no module"),
        ),
        (
            |service, id, reply| {
                let outcome = Outcome::Result(Sent::Short(b""));
                service.worker_done(id, reply, WorkerTimes::default(), outcome);
            },
            FaasError::WorkerProtocol,
        ),
    ];
    let mut service = service();
    for (event, error) in events {
        let created = service.begin_create("f", open());
        let worker = service.preparing_worker().unwrap();
        assert!(service.worker_logged(worker, b"said before\n"));
        let reply = service.platform().reply();
        event(&mut service, worker, reply);
        service.check();
        assert_eq!(service.seen(created), Some(&Seen::Created(Err(error))));
        let mut text = [0; 32];
        let length = service.log(None, 0).unwrap().copy_last(&mut text);
        assert_eq!(&text[..length], b"said before\n");
    }
    let early = service.call("f");
    assert_eq!(*service.error(early), FaasError::UnknownAction);
    service.close_and_check();
}

#[test]
fn a_function_that_never_asks_for_a_request_is_ended() {
    let mut service = service();
    let created = service.begin_create("f", snapshot());
    service.pass(PREPARE_NS);
    let error = FaasError::Timeout { limit_ns: PREPARE_NS };
    assert_eq!(service.seen(created), Some(&Seen::Created(Err(error))));
    service.close_and_check();
}

#[test]
fn what_cannot_be_frozen_is_loaded_each_time_unless_a_snapshot_was_asked_for() {
    let mut service = service();
    let fault = FreezeFault::Threads;
    service.platform().refuse_freeze = Some(FreezeError::NotFreezable(fault));
    assert_eq!(service.create_action("f", open()), Ok(()));
    assert_eq!(state(&mut service, "f"), ImageState::NotFreezable(fault));
    let reply = service.call("f");
    let worker = service.newest();
    service.ready(worker);
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.result(reply).0.mode, StartMode::Boot);
    assert_eq!(
        service.create_action("g", snapshot()),
        Err(FaasError::NotFreezable(fault))
    );
    service.platform().refuse_freeze = Some(FreezeError::NoMemory);
    let limit_bytes = WORKER_MEMORY;
    assert_eq!(
        service.create_action("h", open()),
        Err(FaasError::MemoryLimit { limit_bytes })
    );
    service.close_and_check();
}

#[test]
fn an_update_is_atomic_and_what_runs_ends_as_it_began() {
    let mut service = service().with_action("f", snapshot());
    let running = service.call("f");
    let old = service.newest();
    let updated = service.begin_update("f", snapshot());
    // The new version is not there yet: the old one serves.
    assert_eq!(call_and_finish(&mut service, "f"), StartMode::Snapshot);
    service.prepare_all();
    assert_eq!(service.seen(updated), Some(&Seen::Updated(Ok(2))));
    assert_eq!(service.platform().images.len(), 2, "the old image is in use");
    let reply = service.call("f");
    let new = service.newest();
    service.done(new, Sent::Short(b"new"));
    assert_eq!(service.result(reply).0.version, 2);
    service.done(old, Sent::Short(b"old"));
    let (completion, body) = service.result(running);
    assert_eq!((completion.version, body), (1, b"old".to_vec()));
    assert_eq!(service.platform().images.len(), 1);
    service.close_and_check();
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let mut service = service().with_action("f", snapshot());
    let updated = service.begin_update("f", snapshot());
    let (worker, reply) = (service.preparing_worker().unwrap(), service.platform().reply());
    service.worker_exited(worker, reply, 1);
    let error = FaasError::Exit { code: 1 };
    assert_eq!(service.seen(updated), Some(&Seen::Updated(Err(error))));
    assert_eq!(service.describe(b"f").unwrap().version, 1);
    assert_eq!(call_and_finish(&mut service, "f"), StartMode::Snapshot);
    service.close_and_check();
}

#[test]
fn an_action_deleted_meanwhile_gets_no_update() {
    let mut service = service().with_action("f", snapshot());
    let updated = service.begin_update("f", snapshot());
    service.delete(b"f").unwrap();
    service.prepare_all();
    assert_eq!(
        service.seen(updated),
        Some(&Seen::Updated(Err(FaasError::UnknownAction)))
    );
    service.close_and_check();
}

#[test]
fn of_two_creations_of_one_name_the_first_to_be_ready_stays() {
    let mut service = service();
    let first = service.begin_create("f", snapshot());
    let second = service.begin_create("f", snapshot());
    service.prepare_all();
    let outcomes = [first, second].map(|reply| service.seen(reply).cloned());
    assert!(outcomes.contains(&Some(Seen::Created(Ok(())))));
    assert!(outcomes.contains(&Some(Seen::Created(Err(FaasError::ActionExists)))));
    service.close_and_check();
}

#[test]
fn images_beyond_the_budget_are_given_up_and_prepared_again_when_they_are_needed() {
    let mut service = service();
    service.platform().image_budget = 2 * IMAGE_BYTES;
    for name in ["a", "b"] {
        assert_eq!(service.create_action(name, snapshot()), Ok(()));
        service.platform().now += 1;
    }
    call_and_finish(&mut service, "a");
    assert_eq!(service.create_action("c", snapshot()), Ok(()));
    assert_eq!(
        state(&mut service, "b"),
        ImageState::Evicted,
        "unused for longest"
    );
    assert!(is_ready(&mut service, "a") && is_ready(&mut service, "c"));
    let waiting = [service.call("b"), service.call("b"), service.call("b")];
    assert_eq!(state(&mut service, "b"), ImageState::Preparing);
    service.prepare_all();
    assert!(is_ready(&mut service, "b"));
    for reply in waiting {
        let worker = service.newest();
        service.done(worker, Sent::Short(b"out"));
        let modes = waiting.map(|reply| service.seen(reply).is_some());
        assert!(modes.contains(&true), "{reply:?}");
    }
    assert!(
        waiting
            .iter()
            .all(|reply| service.result(*reply).0.mode == StartMode::Snapshot)
    );
    assert_eq!(service.counters().images_evicted, 2);
    service.close_and_check();
}

#[test]
fn an_image_that_clients_use_without_the_manager_is_not_given_up_for_one_that_nobody_uses() {
    let mut service = service();
    service.platform().image_budget = 2 * IMAGE_BYTES;
    for name in ["a", "b"] {
        assert_eq!(service.create_action(name, snapshot()), Ok(()));
    }
    let a = service.open(b"a").unwrap().gate.unwrap().index().0;
    service.platform().answered.insert(a, 1);
    assert_eq!(service.create_action("c", snapshot()), Ok(()));
    assert_eq!(state(&mut service, "b"), ImageState::Evicted);
    assert!(is_ready(&mut service, "a") && is_ready(&mut service, "c"));
    // Since then nobody has called it, while the manager itself has used the other one.
    call_and_finish(&mut service, "c");
    assert_eq!(service.create_action("d", snapshot()), Ok(()));
    assert_eq!(state(&mut service, "a"), ImageState::Evicted);
    service.delete(b"b").unwrap();
    // If all are in use, the one whose use was seen first goes.
    for image in 0..=u32::from(u8::MAX) {
        service.platform().answered.insert(image, 9);
    }
    assert_eq!(service.create_action("e", snapshot()), Ok(()));
    assert_eq!(state(&mut service, "c"), ImageState::Evicted);
    assert!(is_ready(&mut service, "d") && is_ready(&mut service, "e"));
    service.close_and_check();
}

#[test]
fn if_the_image_cannot_be_prepared_again_who_waits_gets_the_reason() {
    let mut service = service().with_action("a", snapshot());
    service.platform().image_budget = 0;
    assert_eq!(service.create_action("b", snapshot()), Ok(()));
    let waiting = [service.call("a"), service.call("a")];
    let (worker, reply) = (service.preparing_worker().unwrap(), service.platform().reply());
    service.worker_exited(worker, reply, 9);
    for reply in waiting {
        assert_eq!(*service.error(reply), FaasError::Exit { code: 9 });
    }
    let again = service.call("a");
    service.prepare_all();
    let worker = service.newest();
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.result(again).0.mode, StartMode::Snapshot);
    service.close_and_check();
}

#[test]
fn images_give_way_to_workers() {
    let mut service = service()
        .with_action("a", snapshot())
        .with_action("b", snapshot());
    // Nothing is left for a worker but what the other image takes.
    service.platform().memory = WORKER_MEMORY - IMAGE_BYTES;
    let reply = service.call("a");
    assert_eq!(state(&mut service, "b"), ImageState::Evicted);
    service.pass(1_000_000);
    let worker = service.newest();
    service.done(worker, Sent::Short(b"out"));
    assert!(service.seen(reply).is_some());
    service.platform().memory = 100 * WORKER_MEMORY;
    service.close_and_check();
}

#[test]
fn the_phases_before_a_clone_began_are_not_counted_as_its_own() {
    let mut service = service();
    service.platform().now = 1000;
    let mut service = service.with_action("f", snapshot());
    service.platform().now = 5000;
    let reply = service.call("f");
    let (worker, own) = (service.newest(), service.platform().reply());
    let times = WorkerTimes {
        start_runtime: 900,
        start_load: 950,
        start_function: 5100,
        end_function: 5200,
        end_runtime: 5300,
    };
    service.platform().now = 5400;
    service.worker_done(worker, own, times, Outcome::Result(Sent::Short(b"")));
    let times = service.result(reply).0.times;
    assert_eq!(
        (times.start_runtime, times.start_load, times.start_function),
        (5100, 5100, 5100)
    );
    service.close_and_check();
}

#[test]
fn a_warm_worker_begins_from_an_image_and_is_kept() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    assert_eq!(call_and_finish(&mut service, "f"), StartMode::Snapshot);
    assert_eq!(service.counters().workers_idle, 1);
    assert_eq!(call_and_finish(&mut service, "f"), StartMode::Warm);
    service.delete(b"f").unwrap();
    assert!(service.platform().images.is_empty());
    service.close_and_check();
}

#[test]
fn a_clone_of_what_ends_with_its_request_is_not_kept() {
    let mut service = service();
    let created = service.begin_create("f", config(StartMode::Warm));
    let worker = service.preparing_worker().unwrap();
    service.ready_once(worker);
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    for _ in 0..2 {
        assert_eq!(call_and_finish(&mut service, "f"), StartMode::Snapshot);
        assert_eq!(service.counters().workers_live, 0);
    }
    service.close_and_check();
}

#[test]
fn an_image_stays_until_the_last_clone_that_a_client_began_has_ended() {
    let mut service = service().with_action("f", snapshot());
    let opened = service.open(b"f").unwrap();
    assert_eq!((opened.version, opened.timeout_ns), (1, TIMEOUT_NS));
    let image = opened.gate.unwrap().index().0;
    service.platform().direct.insert(image);
    service.platform().answered.insert(image, 3);
    assert_eq!(service.update_action("f", snapshot()), Ok(2));
    assert!(
        service.platform().opened.is_empty(),
        "no new clones of the old version"
    );
    service.pass(1_000_000);
    assert!(service.platform().images.contains(&image));
    service.platform().direct.clear();
    service.pass(1_000_000);
    assert!(!service.platform().images.contains(&image));
    assert_eq!(service.counters().succeeded_directly, 3);
    service.close_and_check();
}

#[test]
fn calls_without_the_manager_are_counted_as_others_are() {
    let mut service = service().with_action("f", snapshot());
    let image = service.open(b"f").unwrap().gate.unwrap().index().0;
    call_and_finish(&mut service, "f");
    for calls in [2, 2, 5] {
        service.platform().answered.insert(image, calls);
        let (info, counters) = (service.describe(b"f").unwrap(), service.counters());
        assert_eq!((info.succeeded, info.answered_directly), (1 + calls, calls));
        assert_eq!(
            (counters.succeeded, counters.succeeded_directly),
            (1 + calls, calls)
        );
    }
    // What an image was used for is not forgotten with it.
    service.platform().answered.insert(image, 7);
    assert_eq!(service.update_action("f", snapshot()), Ok(2));
    let (info, counters) = (service.describe(b"f").unwrap(), service.counters());
    assert_eq!((info.succeeded, info.answered_directly), (8, 7));
    assert_eq!((counters.succeeded, counters.failed_directly), (8, 0));
    service.close_and_check();
}

#[test]
fn only_what_begins_from_an_image_each_time_can_be_opened() {
    let mut service = service();
    for (name, mode) in [("b", StartMode::Boot), ("w", StartMode::Warm)] {
        assert_eq!(service.create_action(name, config(mode)), Ok(()));
        assert_eq!(service.open(name.as_bytes()).unwrap().gate, None);
    }
    assert_eq!(service.open(b"nobody"), Err(FaasError::UnknownAction));
    service.close_and_check();
}

#[test]
fn an_action_whose_gate_cannot_be_paid_for_is_still_invoked() {
    let mut service = service().with_action("f", snapshot());
    service.platform().refuse_open = true;
    assert_eq!(service.open(b"f").unwrap().gate, None);
    assert_eq!(call_and_finish(&mut service, "f"), StartMode::Snapshot);
    service.close_and_check();
}

#[test]
fn a_function_that_is_being_prepared_calls_no_others() {
    let mut service = service().with_action("other", snapshot());
    let created = service.begin_create("f", snapshot());
    let worker = service.preparing_worker().unwrap();
    let call = service.nested(worker, "other");
    assert_eq!(*service.error(call), FaasError::NotPermitted);
    service.prepare_all();
    assert_eq!(service.seen(created), Some(&Seen::Created(Ok(()))));
    service.close_and_check();
}

/// Pages that workers of the action begin with, as clients are told.
fn written(service: &mut TestService, name: &str) -> u64 {
    match state(service, name) {
        ImageState::Ready(info) => info.written,
        other => panic!("{other:?}"),
    }
}

#[test]
fn workers_with_a_result_are_recorded_for_each_image() {
    let mut service = service().with_action("f", snapshot());
    let failing = service.call("f");
    let worker = service.newest();
    let done = service.platform().reply();
    let outcome = Outcome::Error(FaasError::failed("no"));
    service.worker_done(worker, done, WorkerTimes::default(), outcome);
    assert_eq!(*service.error(failing), FaasError::failed("no"));
    assert!(service.platform().recorded.is_empty(), "it has not done its work");
    for _ in 0..3 {
        call_and_finish(&mut service, "f");
        assert_eq!(service.platform().recorded.len(), 1);
        assert_eq!(written(&mut service, "f"), 1);
    }
    assert_eq!(service.update_action("f", snapshot()), Ok(2));
    assert_eq!(written(&mut service, "f"), 0);
    call_and_finish(&mut service, "f");
    assert_eq!(service.platform().recorded.len(), 2);
    service.close_and_check();
}

#[test]
fn a_kept_worker_is_recorded_after_its_first_result_or_never() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    let image = *service.platform().images.first().unwrap();
    service.platform().unrecorded.clear();
    call_and_finish(&mut service, "f");
    service.platform().unrecorded.insert(image);
    call_and_finish(&mut service, "f");
    assert!(
        service.platform().recorded.is_empty(),
        "it has written more than one invocation does"
    );
    service.close_and_check();
}

#[test]
fn nothing_is_recorded_for_who_wants_to_copy_lazily() {
    let lazy = ActionConfig {
        copying: Copying::Lazy,
        ..snapshot()
    };
    let mut service = service().with_action("f", lazy);
    for _ in 0..2 {
        call_and_finish(&mut service, "f");
    }
    assert_eq!(written(&mut service, "f"), 0);
    service.close_and_check();
}
