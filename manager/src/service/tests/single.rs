//! One invocation, in each mode and with each end.

use super::client::{KEEPALIVE_NS, TestService, config, service};
use super::fake::{Seen, WORKER_MEMORY};
use crate::body::Sent;
use crate::service::{Outcome, Style};
use interfaces::faas::{ActionConfig, FaasError, FaultKind, PAYLOAD_MAX, WorkerTimes};
use interfaces::manifest::StartMode;
use l4::exception::{ExceptionFrame, Reason};

#[test]
fn boot_mode_answers_the_client_before_the_worker_goes() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let call = service.call("f");
    assert_eq!(service.seen(call), None);
    let worker = service.newest();
    let ready = service.ready(worker);
    match service.seen(ready) {
        Some(Seen::Request { body, depth: 0, .. }) => assert_eq!(body, b"in"),
        other => panic!("{other:?}"),
    }
    let done = service.done(worker, Sent::Short(b"out"));
    let (report, body) = service.result(call);
    assert_eq!(
        (report.mode, report.version, &body[..]),
        (StartMode::Boot, 1, &b"out"[..])
    );
    let order = &service.platform().order;
    assert_eq!(
        order[2..],
        [format!("answer {call:?}"), format!("destroy {}", worker.index)]
    );
    assert!(service.platform().forgotten.contains(&done));
    assert_eq!(
        (service.counters().succeeded, service.counters().workers_live),
        (1, 0)
    );
    service.close_and_check();
}

#[test]
fn warm_mode_keeps_the_worker_until_its_reuse_limit() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    let mut waits_in = None;
    for round in 0..6 {
        let call = service.call("f");
        let worker = service.newest();
        let fresh = round % 3 == 0;
        if fresh {
            service.ready(worker);
        } else {
            let waits_in = waits_in.unwrap();
            assert!(
                matches!(service.seen(waits_in), Some(Seen::Request { .. })),
                "no request in round {round}"
            );
        }
        waits_in = Some(service.done(worker, Sent::Short(b"")));
        let expected = if fresh { StartMode::Boot } else { StartMode::Warm };
        assert_eq!(service.result(call).0.mode, expected, "round {round}");
    }
    assert_eq!(
        (
            service.totals().started,
            service.totals().reused,
            service.counters().workers_live
        ),
        (2, 4, 0)
    );
    service.close_and_check();
}

#[test]
fn warm_mode_does_not_keep_a_worker_that_ends_with_its_request() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    for _ in 0..2 {
        let call = service.call("f");
        let worker = service.newest();
        service.ready_once(worker);
        service.done(worker, Sent::Short(b""));
        assert_eq!(service.result(call).0.mode, StartMode::Boot);
        assert_eq!(service.counters().workers_live, 0);
    }
    service.close_and_check();
}

#[test]
fn an_idle_worker_goes_after_its_keepalive() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    service.call("f");
    let worker = service.newest();
    service.ready(worker);
    service.done(worker, Sent::Short(b""));
    service.pass(KEEPALIVE_NS - 1);
    assert_eq!(service.counters().workers_live, 1);
    service.pass(1);
    assert_eq!(
        (service.counters().workers_live, service.wake_at()),
        (0, l4::NEVER)
    );
    service.close_and_check();
}

#[test]
fn single_use_beats_warm_mode() {
    let config = ActionConfig {
        single_use: true,
        ..config(StartMode::Warm)
    };
    let mut service = service().with_action("f", config);
    service.call("f");
    let worker = service.newest();
    service.ready(worker);
    service.done(worker, Sent::Short(b""));
    assert_eq!(service.counters().workers_live, 0);
    service.close_and_check();
}

#[test]
fn each_kind_of_end_has_its_error() {
    let frame = |reason: Reason, vector, error| ExceptionFrame {
        reason: reason.word(),
        vector,
        error,
        address: 0x10,
        rip: 0x20_1000,
        rsp: 0x3f_bf00,
        ..ExceptionFrame::default()
    };
    let fault = |kind: FaultKind| FaasError::Fault {
        kind,
        address: if kind.has_address() { 0x10 } else { 0 },
        instruction: 0x20_1000,
    };
    let cases = [
        (frame(Reason::PageFault, 14, 4), fault(FaultKind::Read)),
        (frame(Reason::PageFault, 14, 6), fault(FaultKind::Write)),
        (frame(Reason::PageFault, 14, 0x14), fault(FaultKind::Execute)),
        (
            frame(Reason::Exception, 6, 0),
            fault(FaultKind::InvalidInstruction),
        ),
        (
            frame(Reason::Quota, 14, 6),
            FaasError::MemoryLimit {
                limit_bytes: WORKER_MEMORY,
            },
        ),
    ];
    for (frame, expected) in cases {
        let mut service = service().with_action("f", config(StartMode::Warm));
        let call = service.call("f");
        let worker = service.newest();
        service.ready(worker);
        assert!(service.worker_logged(worker, b"last words\n"));
        let reply = service.platform().reply();
        service.worker_faulted(worker, reply, &frame);
        assert_eq!(service.error(call), &expected);
        let mut log = [0; 64];
        let length = service.log(None, 0).unwrap().copy_last(&mut log);
        assert_eq!(&log[..length], b"last words\n");
        service.close_and_check();
    }
}

#[test]
fn exits_panics_and_wrong_messages_are_told_apart() {
    for way in 0..5 {
        let mut service = service().with_action("f", config(StartMode::Warm));
        let call = service.call("f");
        let worker = service.newest();
        service.ready(worker);
        let reply = service.platform().reply();
        let panic = FaasError::panic("no", "main.rs:1:2");
        let expected = match way {
            0 => {
                service.worker_exited(worker, reply, 3);
                FaasError::Exit { code: 3 }
            }
            1 => {
                service.worker_done(
                    worker,
                    reply,
                    WorkerTimes::default(),
                    Outcome::Broken(panic.clone()),
                );
                panic
            }
            2 => {
                service.worker_ready(worker, reply);
                FaasError::WorkerProtocol
            }
            3 => {
                service.worker_confused(worker, reply);
                FaasError::WorkerProtocol
            }
            _ => {
                let cap = service.platform().cap();
                let too_long = Sent::Dataspace {
                    cap,
                    length: PAYLOAD_MAX + 1,
                };
                service.worker_done(worker, reply, WorkerTimes::default(), Outcome::Result(too_long));
                FaasError::ResultTooLarge {
                    length: PAYLOAD_MAX + 1,
                    limit: PAYLOAD_MAX,
                }
            }
        };
        assert_eq!(service.error(call), &expected);
        let stays = way == 4;
        assert_eq!(
            service.counters().workers_idle,
            u64::from(stays),
            "too long a result breaks nothing"
        );
        assert_eq!(service.counters().workers_live, u64::from(stays));
        service.close_and_check();
    }
}

/// Calls without the manager that are answered so are made again here.
#[test]
fn who_has_a_request_gets_no_other_one_by_ready_once() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    let call = service.call("f");
    let worker = service.newest();
    service.ready(worker);
    service.ready_once(worker);
    assert_eq!(service.error(call), &FaasError::WorkerProtocol);
    let counters = service.counters();
    assert_eq!((counters.failed, counters.workers_live), (1, 0));
    service.close_and_check();
}

#[test]
fn an_error_of_the_function_leaves_a_warm_worker() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    let call = service.call("f");
    let worker = service.newest();
    service.ready(worker);
    let reply = service.platform().reply();
    let error = FaasError::failed("no such user");
    service.worker_done(
        worker,
        reply,
        WorkerTimes::default(),
        Outcome::Error(error.clone()),
    );
    assert_eq!(service.error(call), &error);
    assert_eq!(
        (service.counters().workers_idle, service.counters().failed),
        (1, 1)
    );
    service.close_and_check();
}

#[test]
fn a_late_message_of_a_dead_worker_is_dropped() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    service.call("f");
    let dead = service.newest();
    service.ready(dead);
    service.done(dead, Sent::Short(b""));
    let call = service.call("f");
    let heir = service.newest();
    assert_eq!(
        (heir.index, heir.generation != dead.generation),
        (dead.index, true)
    );
    let (ready, done) = (service.ready(dead), service.done(dead, Sent::Short(b"forged")));
    assert!(service.platform().forgotten.contains(&ready) && service.platform().forgotten.contains(&done));
    assert!(!service.worker_logged(dead, b"x"));
    assert_eq!(service.seen(call), None);
    service.close_and_check();
}

#[test]
fn large_bodies_travel_in_dataspaces() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let cap = service.platform().cap();
    let call = service.request(None, Style::Wait, "f", Sent::Dataspace { cap, length: 5000 });
    let worker = service.newest();
    let ready = service.ready(worker);
    assert!(matches!(service.seen(ready), Some(Seen::Request { body, .. }) if body.len() == 5000));
    assert!(
        service.platform().caps.contains(&cap),
        "the request stays until the function is done"
    );
    let result = service.platform().cap();
    service.done(
        worker,
        Sent::Dataspace {
            cap: result,
            length: 6000,
        },
    );
    assert_eq!(service.result(call).1.len(), 6000);
    assert!(service.platform().caps.is_empty());
    service.close_and_check();
}

#[test]
fn asynchronous_results_wait_to_be_fetched_by_their_owner() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let irq = service.platform().cap();
    let call = service.request(None, Style::Later { notify: Some(irq) }, "f", Sent::Short(b""));
    let Some(Seen::Accepted(number)) = service.seen(call).cloned() else {
        panic!("not accepted")
    };
    let worker = service.newest();
    service.ready(worker);
    let fetch = |service: &mut TestService, worker, wait| {
        let reply = service.platform().reply();
        service.fetch(worker, reply, number, wait);
        reply
    };
    let early = fetch(&mut service, None, false);
    assert_eq!(service.error(early), &FaasError::NotFinished);
    service.done(worker, Sent::Short(b"out"));
    assert_eq!(service.platform().notified, [irq]);
    let thief = fetch(&mut service, Some(worker), false);
    assert_eq!(service.error(thief), &FaasError::UnknownActivation);
    let fetched = fetch(&mut service, None, false);
    assert_eq!(service.result(fetched).1, b"out");
    let again = fetch(&mut service, None, false);
    assert_eq!(service.error(again), &FaasError::UnknownActivation);
    service.close_and_check();
}

#[test]
fn who_waits_for_an_asynchronous_result_gets_it_at_once() {
    for cancelled in [false, true] {
        let mut service = service().with_action("f", config(StartMode::Boot));
        let call = service.request(None, Style::Later { notify: None }, "f", Sent::Short(b""));
        let Some(Seen::Accepted(number)) = service.seen(call).cloned() else {
            panic!("not accepted")
        };
        let worker = service.newest();
        service.ready(worker);
        let [first, second] = [(); 2].map(|()| {
            let reply = service.platform().reply();
            service.fetch(None, reply, number, true);
            reply
        });
        assert_eq!(
            (service.seen(first), service.error(second)),
            (None, &FaasError::NotFinished)
        );
        if cancelled {
            assert_eq!(service.cancel(None, number), Ok(()));
            assert_eq!(service.error(first), &FaasError::Cancelled);
        } else {
            service.done(worker, Sent::Short(b"out"));
            assert_eq!(service.result(first).1, b"out");
        }
        assert_eq!(service.cancel(None, number), Err(FaasError::UnknownActivation));
        assert_eq!(service.counters().workers_live, 0);
        service.close_and_check();
    }
}

#[test]
fn workers_and_clients_see_what_is_theirs() {
    let mut service = service();
    assert_eq!(service.create_action("f", config(StartMode::Warm)), Ok(()));
    assert_eq!(service.update_action("f", config(StartMode::Warm)), Ok(2));
    let call = service.request(None, Style::Later { notify: None }, "f", Sent::Short(b""));
    let Some(Seen::Accepted(number)) = service.seen(call).cloned() else {
        panic!("not accepted")
    };
    let worker = service.newest();
    service.ready(worker);
    service.worker_logged(worker, b"early\n");
    assert_eq!(service.log(None, number).map(|log| log.written()), Ok(6));
    assert!(service.log(Some(worker), number).is_err() && service.log(None, number + 1).is_err());
    assert_eq!(
        service.environment_of(worker),
        Ok(&b"NAME=value\0NAME=value\0"[..])
    );
    let function = service.function_of(worker).unwrap();
    assert_eq!(
        (function.name.as_str(), function.version, function.memory_bytes),
        ("f", 2, WORKER_MEMORY)
    );
    service.done(worker, Sent::Short(b""));
    assert_eq!(service.log(None, number).map(|log| log.written()), Ok(6));
    assert_eq!(
        (service.counters().activations, service.counters().actions),
        (1, 1)
    );
    let info = service.describe(b"f").unwrap();
    assert_eq!(
        (info.succeeded, info.idle_workers, info.running, info.queued),
        (1, 1, 0, 0)
    );
    service.close_and_check();
}
