//! Deadlines, queues, memory, and names.

use super::client::{MEMORY_WAIT_NS, TIMEOUT_NS, config, definition, service, service_with};
use super::fake::{Seen, TEARDOWN_NS, WORKER_MEMORY};
use crate::body::Sent;
use crate::limits::Limits;
use crate::platform::LaunchError;
use crate::service::{Invocation, Style};
use interfaces::faas::{
    ActionConfig, ConfigField, Definition, FaasError, ImageFault, InvokeOptions, NameFault, PAYLOAD_MAX,
};
use interfaces::manifest::StartMode;

#[test]
fn what_is_late_fails_whether_it_runs_or_waits() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let calls: Vec<_> = (0..4).map(|_| service.call("f")).collect();
    let running = service.live();
    assert_eq!(running.len(), 2, "two run, two wait");
    service.ready(running[0]);
    service.pass(TIMEOUT_NS - 1);
    assert!(calls.iter().all(|call| service.seen(*call).is_none()));
    service.pass(1);
    for call in &calls {
        assert_eq!(service.error(*call), &FaasError::Timeout { limit_ns: TIMEOUT_NS });
    }
    assert_eq!(
        (service.counters().workers_live, service.counters().failed),
        (0, 4)
    );
    service.close_and_check();
}

#[test]
fn the_shorter_timeout_and_the_lower_limit_hold() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let reply = service.platform().reply();
    service.invoke(Invocation {
        worker: None,
        reply,
        style: Style::Wait,
        name: b"f",
        options: InvokeOptions {
            timeout_ns: 1000,
            memory_bytes: WORKER_MEMORY / 2,
        },
        body: Sent::Short(b""),
    });
    assert_eq!(
        service.platform().workers.values().next().unwrap().memory,
        WORKER_MEMORY / 2
    );
    service.pass(1000);
    assert_eq!(service.error(reply), &FaasError::Timeout { limit_ns: 1000 });
    service.close_and_check();
}

#[test]
fn waiting_invocations_run_in_order_and_the_queue_is_bounded() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let calls: Vec<_> = (0..6).map(|_| service.call("f")).collect();
    assert_eq!(
        service.error(calls[5]),
        &FaasError::QueueFull { limit: 3 },
        "two run and three wait"
    );
    for call in &calls[..5] {
        let oldest = service
            .live()
            .into_iter()
            .min_by_key(|worker| worker.generation)
            .unwrap();
        service.ready(oldest);
        service.done(oldest, Sent::Short(b""));
        assert!(service.seen(*call).is_some());
    }
    service.close_and_check();
}

#[test]
fn ending_workers_memory_is_waited_for() {
    let limits = Limits {
        actions: 2,
        workers: 4,
        activations: 4,
        ..Limits::default()
    };
    let mut service = service_with(limits, 1).with_action("f", config(StartMode::Boot));
    let first = service.call("f");
    let worker = service.newest();
    service.ready(worker);
    service.done(worker, Sent::Short(b""));
    service.result(first);
    let second = service.call("f");
    assert_eq!((service.counters().workers_live, service.seen(second)), (0, None));
    let mut waited = 0;
    while service.counters().workers_live == 0 {
        let step = service.wake_at() - service.platform().now;
        waited += step;
        service.pass(step);
    }
    assert!(
        waited >= TEARDOWN_NS && waited < TEARDOWN_NS + 2 * limits.memory_retry_ns,
        "{waited}"
    );
    service.close_and_check();
}

#[test]
fn memory_that_never_comes_is_an_error() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    service.platform().refuse_launch = Some(LaunchError::Later);
    let call = service.call("f");
    while service.seen(call).is_none() {
        let step = service.wake_at() - service.platform().now;
        service.pass(step);
    }
    assert_eq!(service.error(call), &FaasError::OutOfMemory);
    assert!(service.platform().now <= MEMORY_WAIT_NS + Limits::default().memory_retry_ns);
    service.close_and_check();
}

#[test]
fn an_idle_worker_gives_way_when_memory_is_short() {
    let limits = Limits {
        actions: 2,
        workers: 4,
        activations: 4,
        ..Limits::default()
    };
    let mut service = service_with(limits, 1)
        .with_action("warm", config(StartMode::Warm))
        .with_action("other", config(StartMode::Boot));
    service.pass(TEARDOWN_NS);
    service.call("warm");
    let idle = service.newest();
    service.ready(idle);
    service.done(idle, Sent::Short(b""));
    let call = service.call("other");
    assert_eq!(service.counters().workers_live, 0, "the idle worker is gone");
    service.pass(TEARDOWN_NS);
    assert_eq!((service.counters().workers_live, service.seen(call)), (1, None));
    service.close_and_check();
}

#[test]
fn launches_that_fail_are_told_apart() {
    for (error, expected) in [
        (
            LaunchError::LimitTooLow,
            FaasError::MemoryLimit {
                limit_bytes: WORKER_MEMORY,
            },
        ),
        (LaunchError::Refused(l4::Error::Io), FaasError::System(5)),
    ] {
        let mut service = service().with_action("f", config(StartMode::Boot));
        service.platform().refuse_launch = Some(error);
        let call = service.call("f");
        assert_eq!(service.error(call), &expected);
        service.close_and_check();
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let fine = config(StartMode::Boot);
    let long = "x".repeat(1000);
    for (name, config, expected) in [
        ("f", fine.clone(), FaasError::ActionExists),
        ("", fine.clone(), FaasError::InvalidName(NameFault::Empty)),
        (&long, fine.clone(), FaasError::InvalidName(NameFault::TooLong)),
        (
            "g",
            ActionConfig {
                concurrent_requests: 0,
                ..fine.clone()
            },
            FaasError::InvalidConfig(ConfigField::ConcurrentRequests),
        ),
    ] {
        assert_eq!(service.create_action(name, config), Err(expected));
    }
    service.close_and_check();
}

#[test]
fn definitions_that_make_no_sense_are_refused() {
    let mut service = service();
    let fine = config(StartMode::Boot);
    let definitions = [
        Definition {
            code_bytes: 0,
            ..definition("g", fine.clone())
        },
        Definition {
            handler: "main",
            ..definition("g", fine.clone())
        },
        Definition {
            environment_bytes: 1 << 20,
            ..definition("g", fine.clone())
        },
        Definition {
            environment_bytes: 5,
            ..definition("g", fine.clone())
        },
        Definition {
            name: b"\xff",
            ..definition("g", fine.clone())
        },
    ];
    for definition in definitions {
        let (code, environment) = (service.platform().cap(), service.platform().cap());
        let reply = service.platform().reply();
        service.create(&definition, code, Some(environment), None, reply);
        assert!(
            matches!(service.seen(reply), Some(Seen::Created(Err(_)))),
            "{definition:?}"
        );
    }
    service.close_and_check();
}

#[test]
fn code_and_names_that_make_no_sense_are_refused() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let fine = config(StartMode::Boot);
    let long = "x".repeat(1000);
    service.platform().refuse_load = true;
    let invalid = FaasError::InvalidImage(ImageFault::NotElf);
    assert_eq!(service.create_action("g", fine.clone()), Err(invalid.clone()));
    assert_eq!(service.update_action("f", fine.clone()), Err(invalid));
    assert_eq!(service.update_action("g", fine), Err(FaasError::UnknownAction));
    for name in [&b"nosuch"[..], b"", b"\xff", long.as_bytes()] {
        let reply = service.platform().reply();
        let (style, options) = (Style::Wait, InvokeOptions::default());
        service.invoke(Invocation {
            worker: None,
            reply,
            style,
            name,
            options,
            body: Sent::Short(b""),
        });
        let is_invalid = matches!(service.error(reply), FaasError::InvalidName(_));
        assert_eq!(is_invalid, name != b"nosuch");
        assert!(service.delete(name).is_err() && service.describe(name).is_err());
    }
    assert_eq!(
        (service.name_behind("").as_deref(), service.name_behind("f")),
        (Some("f"), None)
    );
    service.close_and_check();
}

#[test]
fn without_room_idle_workers_go_and_then_callers_are_refused() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    service.call("f");
    let idle = service.newest();
    service.ready(idle);
    service.done(idle, Sent::Short(b""));
    assert_eq!(service.counters().workers_idle, 1);
    service.platform().is_full = true;
    let call = service.call("f");
    assert_eq!(service.counters().workers_idle, 0, "its worker made room");
    assert_eq!(service.seen(call), None);
    let refused = service.call("f");
    assert_eq!(
        service.error(refused),
        &FaasError::TooManyActivations { limit: 1 }
    );
    let busy = service.newest();
    service.ready(busy);
    service.done(busy, Sent::Short(b"out"));
    assert_eq!(service.result(call).1, b"out");
    assert_eq!(service.counters().workers_live, 0, "nobody is kept");
    service.close_and_check();
}

#[test]
fn environments_are_limited_together() {
    let limits = Limits {
        environments: 30,
        ..Limits::default()
    };
    let mut service = service_with(limits, 9)
        .with_action("a", config(StartMode::Boot))
        .with_action("b", config(StartMode::Boot));
    // Each update brings 22 bytes.
    assert_eq!(service.update_action("a", config(StartMode::Boot)), Ok(2));
    let refused = service.update_action("b", config(StartMode::Boot));
    assert_eq!(refused, Err(FaasError::OutOfMemory));
    assert_eq!(service.delete(b"a"), Ok(()));
    assert_eq!(service.update_action("b", config(StartMode::Boot)), Ok(2));
    service.close_and_check();
}

#[test]
fn actions_come_change_and_go() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    service.call("f");
    let idle = service.newest();
    service.ready(idle);
    service.done(idle, Sent::Short(b""));
    assert_eq!(service.update_action("f", config(StartMode::Warm)), Ok(2));
    assert_eq!(
        service.counters().workers_live,
        0,
        "workers of the old version go"
    );
    assert_eq!(
        service.describe(b"f").map(|info| (info.version, info.succeeded)),
        Ok((2, 1))
    );
    assert_eq!(
        (service.delete(b"f"), service.delete(b"f")),
        (Ok(()), Err(FaasError::UnknownAction))
    );
    let call = service.call("f");
    assert_eq!(service.error(call), &FaasError::UnknownAction);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(service.create_action(name, config(StartMode::Boot)), Ok(()));
    }
    let full = service.create_action("e", config(StartMode::Boot));
    assert_eq!(full, Err(FaasError::TooManyActions { limit: 4 }));
    service.close_and_check();
}

#[test]
fn deleting_fails_what_waits_and_lets_what_runs_end() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    let calls: Vec<_> = (0..3).map(|_| service.call("f")).collect();
    let running = service.live();
    for worker in &running {
        service.ready(*worker);
    }
    assert_eq!(service.delete(b"f"), Ok(()));
    assert_eq!(service.error(calls[2]), &FaasError::Cancelled);
    for worker in running {
        service.done(worker, Sent::Short(b"out"));
    }
    assert!(calls[..2].iter().all(|call| service.result(*call).1 == b"out"));
    assert_eq!(service.counters().workers_live, 0);
    service.close_and_check();
}

#[test]
fn requests_that_are_too_large_or_lie_are_refused() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let cap = service.platform().cap();
    let call = service.request(
        None,
        Style::Wait,
        "f",
        Sent::Dataspace {
            cap,
            length: u64::MAX,
        },
    );
    assert_eq!(
        service.error(call),
        &FaasError::RequestTooLarge {
            length: u64::MAX,
            limit: PAYLOAD_MAX
        }
    );
    service.platform().bad_dataspace = true;
    let cap = service.platform().cap();
    let call = service.request(None, Style::Wait, "f", Sent::Dataspace { cap, length: 5000 });
    assert_eq!(service.error(call), &FaasError::InvalidPayload);
    service.close_and_check();
}

#[test]
fn unfetched_results_give_way_to_new_invocations() {
    let limits = Limits {
        actions: 1,
        workers: 2,
        activations: 2,
        ..Limits::default()
    };
    let mut service = service_with(limits, 9).with_action("f", config(StartMode::Warm));
    let mut started = 0;
    for round in 1..=5 {
        let irq = service.platform().cap();
        service.request(None, Style::Later { notify: Some(irq) }, "f", Sent::Short(b""));
        let worker = service.newest();
        if service.totals().started > started {
            started = service.totals().started;
            service.ready(worker);
        }
        let cap = service.platform().cap();
        service.done(worker, Sent::Dataspace { cap, length: 1000 });
        assert_eq!(service.counters().activations, round.min(2));
    }
    assert_eq!(service.counters().succeeded, 5);
    service.close_and_check();
}
