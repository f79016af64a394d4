//! Functions that call functions.

use super::client::{TIMEOUT_NS, config, service};
use super::fake::Seen;
use crate::body::Sent;
use crate::platform::Payer;
use crate::service::{Invocation, Style};
use interfaces::faas::{ActionConfig, FaasError, InvokeOptions};
use interfaces::manifest::StartMode;

#[test]
fn the_caller_gets_the_result_and_pays() {
    let mut service = service()
        .with_action("outer", config(StartMode::Boot))
        .with_action("inner", config(StartMode::Warm));
    let call = service.call("outer");
    let outer = service.newest();
    service.ready(outer);
    service.pass(1000);
    let nested = service.nested(outer, "inner");
    let inner = service.newest();
    let launch = service.platform().workers[&inner.index];
    assert_eq!(launch.payer, Payer::Worker(outer.index));
    assert!(
        launch.memory < super::fake::WORKER_MEMORY,
        "within what the caller has left"
    );
    let ready = service.ready(inner);
    let Some(Seen::Request {
        depth: 1, deadline, ..
    }) = service.seen(ready)
    else {
        panic!("not nested")
    };
    assert_eq!(*deadline, 1 + TIMEOUT_NS, "the caller's deadline");
    service.done(inner, Sent::Short(b"inner"));
    assert_eq!(service.result(nested).1, b"inner");
    assert_eq!(
        service.live(),
        [outer],
        "a worker that a caller pays for is not kept"
    );
    service.done(outer, Sent::Short(b"outer"));
    assert_eq!(service.result(call).1, b"outer");
    service.close_and_check();
}

#[test]
fn a_call_gets_the_memory_that_the_one_before_had() {
    for name in ["inner", "outer"] {
        let one = ActionConfig {
            concurrent_requests: 1,
            ..config(StartMode::Boot)
        };
        let mut service = service()
            .with_action("outer", one.clone())
            .with_action("inner", one);
        let call = service.call("outer");
        let outer = service.newest();
        service.ready(outer);
        let mut memory = Vec::new();
        for _ in 0..3 {
            let nested = service.nested(outer, name);
            while service.newest() == outer {
                let step = service.wake_at() - service.platform().now;
                service.pass(step);
                assert_eq!(service.seen(nested), None, "{name}");
            }
            let inner = service.newest();
            memory.push(service.platform().workers[&inner.index].memory);
            service.ready(inner);
            service.done(inner, Sent::Short(b"inner"));
            assert_eq!(service.result(nested).1, b"inner");
        }
        assert!(memory.iter().all(|bytes| *bytes == memory[0]), "{memory:?}");
        service.done(outer, Sent::Short(b"outer"));
        assert_eq!(service.result(call).1, b"outer");
        service.close_and_check();
    }
}

#[test]
fn the_caller_survives_a_failed_call() {
    let mut service = service().with_action("outer", config(StartMode::Boot));
    let call = service.call("outer");
    let outer = service.newest();
    service.ready(outer);
    let nested = service.nested(outer, "nosuch");
    assert_eq!(service.error(nested), &FaasError::UnknownAction);
    let nested = service.nested(outer, "outer");
    let inner = service.newest();
    service.ready(inner);
    let reply = service.platform().reply();
    service.worker_exited(inner, reply, 7);
    assert_eq!(service.error(nested), &FaasError::Exit { code: 7 });
    service.done(outer, Sent::Short(b"handled"));
    assert_eq!(service.result(call).1, b"handled");
    service.close_and_check();
}

#[test]
fn depth_is_limited_and_recursion_does_not_wait_for_itself() {
    let one = ActionConfig {
        concurrent_requests: 1,
        ..config(StartMode::Boot)
    };
    let mut service = service().with_action("f", one);
    service.call("f");
    for depth in 0..=3 {
        let worker = service.newest();
        service.ready(worker);
        let nested = service.nested(worker, "f");
        if depth < 3 {
            assert_eq!(service.seen(nested), None, "depth {depth} runs");
            assert_ne!(service.newest(), worker);
        } else {
            assert_eq!(service.error(nested), &FaasError::NestedTooDeep { limit: 3 });
        }
    }
    service.close_and_check();
}

#[test]
fn when_the_outermost_ends_everything_below_ends() {
    for asynchronous in [false, true] {
        let mut service = service().with_action("f", config(StartMode::Boot));
        let call = service.call("f");
        let outer = service.newest();
        service.ready(outer);
        let style = if asynchronous {
            let irq = service.platform().cap();
            Style::Later { notify: Some(irq) }
        } else {
            Style::Wait
        };
        service.request(Some(outer), style, "f", Sent::Short(b""));
        let middle = service.newest();
        service.ready(middle);
        let cap = service.platform().cap();
        service.request(
            Some(middle),
            Style::Wait,
            "f",
            Sent::Dataspace { cap, length: 999 },
        );
        assert_eq!(service.counters().workers_live, 3);
        let reply = service.platform().reply();
        service.worker_exited(outer, reply, 1);
        assert_eq!(service.error(call), &FaasError::Exit { code: 1 });
        assert_eq!(
            (service.counters().workers_live, service.counters().activations),
            (0, 0)
        );
        service.close_and_check();
    }
}

#[test]
fn a_deadline_covers_the_whole_tree() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    let call = service.call("f");
    let outer = service.newest();
    service.ready(outer);
    service.pass(TIMEOUT_NS / 2);
    let nested = service.nested(outer, "f");
    let inner = service.newest();
    service.ready(inner);
    service.pass(TIMEOUT_NS / 2);
    assert_eq!(service.error(call), &FaasError::Timeout { limit_ns: TIMEOUT_NS });
    let told = service.seen(nested).is_some() || service.platform().forgotten.contains(&nested);
    assert!(told && service.counters().workers_live == 0);
    service.close_and_check();
}

#[test]
fn only_a_worker_with_a_request_may_call() {
    let mut service = service().with_action("f", config(StartMode::Warm));
    service.call("f");
    let worker = service.newest();
    service.ready(worker);
    service.done(worker, Sent::Short(b""));
    let nested = service.nested(worker, "f");
    assert_eq!(service.error(nested), &FaasError::WorkerProtocol, "it is idle");
    service.close_and_check();
}

#[test]
fn asynchronous_nested_results_can_be_fetched_by_their_worker() {
    let mut service = service().with_action("f", config(StartMode::Boot));
    service.call("f");
    let outer = service.newest();
    service.ready(outer);
    let reply = service.platform().reply();
    service.invoke(Invocation {
        worker: Some(outer),
        reply,
        style: Style::Later { notify: None },
        name: b"f",
        options: InvokeOptions {
            timeout_ns: 500,
            memory_bytes: 0,
        },
        body: Sent::Short(b""),
    });
    let Some(Seen::Accepted(number)) = service.seen(reply).cloned() else {
        panic!("not accepted")
    };
    let inner = service.newest();
    service.ready(inner);
    service.pass(500);
    let fetch = service.platform().reply();
    service.fetch(Some(outer), fetch, number, false);
    assert_eq!(service.error(fetch), &FaasError::Timeout { limit_ns: 500 });
    service.done(outer, Sent::Short(b""));
    service.close_and_check();
}
