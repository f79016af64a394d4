//! Anything, in any order, with failures anywhere.

use super::client::{MEMORY_WAIT_NS, PREPARE_NS, TIMEOUT_NS, TestService, config, service, service_with};
use super::fake::{IMAGE_BYTES, Machine, WORKER_MEMORY};
use crate::body::Sent;
use crate::label::WorkerId;
use crate::limits::Limits;
use crate::platform::{FreezeError, LaunchError};
use crate::service::{Invocation, Outcome, Style};
use interfaces::faas::{ActionConfig, FaasError, FreezeFault, InvokeOptions, WorkerTimes};
use interfaces::manifest::{Runtime, StartMode};
use l4::CapIndex;
use l4::exception::ExceptionFrame;
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a", "b", "nosuch"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize, u8),
    Update(usize, u8),
    Delete(usize),
    Invoke {
        from: Option<usize>,
        name: usize,
        later: bool,
        large: bool,
    },
    Burst {
        name: usize,
        count: usize,
    },
    Ready(usize),
    AsksCode(usize),
    Done {
        worker: usize,
        large: bool,
        too_large: bool,
    },
    Failed(usize),
    Faulted(usize),
    Logged(usize),
    Fetch {
        from: Option<usize>,
        pick: u64,
        wait: bool,
    },
    Cancel(Option<usize>, u64),
    Pass(u64),
    RefuseLaunch(u8),
    RefuseFreeze(u8),
    ImageBudget(u64),
    Full(bool),
    Refuse {
        load: bool,
        copy: bool,
        bad: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        2 => (name.clone(), 0..5u8).prop_map(|(name, kind)| Step::Create(name, kind)),
        1 => (name.clone(), 0..5u8).prop_map(|(name, kind)| Step::Update(name, kind)),
        1 => name.clone().prop_map(Step::Delete),
        8 => (prop::option::of(0..6usize), name, any::<bool>(), any::<bool>())
            .prop_map(|(from, name, later, large)| Step::Invoke { from, name, later, large }),
        1 => (0..NAMES.len(), 1..12usize).prop_map(|(name, count)| Step::Burst { name, count }),
        8 => (0..6usize).prop_map(Step::Ready),
        4 => (0..6usize).prop_map(Step::AsksCode),
        6 => (0..6usize, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(worker, large, too_large)| Step::Done { worker, large, too_large }),
        1 => (0..6usize).prop_map(Step::Failed),
        1 => (0..6usize).prop_map(Step::Faulted),
        1 => (0..6usize).prop_map(Step::Logged),
        2 => (prop::option::of(0..6usize), any::<u64>(), any::<bool>())
            .prop_map(|(from, pick, wait)| Step::Fetch { from, pick, wait }),
        1 => (prop::option::of(0..6usize), any::<u64>()).prop_map(|(from, pick)| Step::Cancel(from, pick)),
        3 => prop_oneof![0..1000u64, 0..2 * TIMEOUT_NS].prop_map(Step::Pass),
        1 => (0..4u8).prop_map(Step::RefuseLaunch),
        1 => (0..4u8).prop_map(Step::RefuseFreeze),
        1 => any::<bool>().prop_map(Step::Full),
        1 => (0..3u64).prop_map(|images| Step::ImageBudget(images * IMAGE_BYTES)),
        1 => (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(load, copy, bad)| Step::Refuse { load, copy, bad }),
    ]
}

/// A function of some kind.
fn kind(number: u8) -> ActionConfig {
    match number {
        0 => config(StartMode::Boot),
        1 => config(StartMode::Warm),
        2 => config(StartMode::Snapshot),
        _ => ActionConfig {
            runtime: Runtime::Python,
            ..config(StartMode::Snapshot)
        },
    }
}

/// A live worker, or one that never was.
fn pick(service: &TestService, number: usize) -> WorkerId {
    service.live().get(number).copied().unwrap_or(WorkerId {
        index: number as u16,
        generation: u32::MAX,
    })
}

/// The number of an activation, or any other.
fn activation(service: &TestService, number: u64) -> u64 {
    let numbers: Vec<u64> = service
        .activations
        .iter()
        .map(|(index, activation)| crate::activation::number(index, activation.generation))
        .collect();
    numbers
        .get(number as usize % (numbers.len() + 1))
        .copied()
        .unwrap_or(number)
}

fn spoil(machine: &mut Machine, step: Step) {
    match step {
        Step::RefuseLaunch(how) => {
            machine.refuse_launch = match how {
                0 => Some(LaunchError::Later),
                1 => Some(LaunchError::LimitTooLow),
                2 => Some(LaunchError::Refused(l4::Error::NoMemory)),
                _ => None,
            };
        }
        Step::RefuseFreeze(how) => {
            machine.refuse_freeze = match how {
                0 => Some(FreezeError::NoMemory),
                1 => Some(FreezeError::NotFreezable(FreezeFault::Threads)),
                _ => None,
            };
        }
        Step::ImageBudget(bytes) => machine.image_budget = bytes,
        Step::Full(is_full) => machine.is_full = is_full,
        Step::Refuse { load, copy, bad } => {
            (machine.refuse_load, machine.refuse_copy, machine.bad_dataspace) = (load, copy, bad);
        }
        other => unreachable!("{other:?} spoils nothing"),
    }
}

fn take_from_worker(service: &mut TestService, step: Step) {
    match step {
        Step::Ready(number) => {
            let worker = pick(service, number);
            service.ready(worker);
        }
        Step::AsksCode(number) => {
            let worker = pick(service, number);
            service.asks_code(worker);
        }
        Step::Done {
            worker,
            large,
            too_large,
        } => {
            let worker = pick(service, worker);
            let length = if too_large { u64::MAX } else { 5000 };
            let cap = (large || too_large).then(|| service.platform().cap());
            let result = cap.map_or(Sent::Short(b"out"), |cap| Sent::Dataspace { cap, length });
            let reply = service.platform().reply();
            service.worker_done(worker, reply, WorkerTimes::default(), Outcome::Result(result));
        }
        Step::Failed(number) => {
            let (worker, reply) = (pick(service, number), service.platform().reply());
            let outcome = if number % 2 == 0 {
                Outcome::Error(FaasError::failed("no"))
            } else {
                Outcome::Broken(FaasError::panic("no", "f.rs:1:1"))
            };
            service.worker_done(worker, reply, WorkerTimes::default(), outcome);
        }
        Step::Faulted(number) => {
            let (worker, reply) = (pick(service, number), service.platform().reply());
            service.worker_faulted(worker, reply, &ExceptionFrame::default());
        }
        Step::Logged(number) => drop(service.worker_logged(pick(service, number), b"line\n")),
        other => unreachable!("{other:?} comes from no worker"),
    }
}

/// So many asynchronous invocations, and nothing that is looked at in between.
fn burst(service: &mut TestService, name: &str, count: usize) {
    for _ in 0..count {
        let reply = service.platform().reply();
        service.invoke(Invocation {
            worker: None,
            reply,
            style: Style::Later { notify: None },
            name: name.as_bytes(),
            options: InvokeOptions::default(),
            body: Sent::Short(b"in"),
        });
    }
}

/// Has each live worker get its request, and each that has one be done with it.
fn sweep(service: &mut TestService) {
    for worker in service.live() {
        let reply = service.platform().reply();
        service.worker_ready(worker, reply);
    }
    for worker in service.live() {
        let (reply, times) = (service.platform().reply(), WorkerTimes::default());
        let outcome = Outcome::Result(Sent::Short(b"out"));
        service.worker_done(worker, reply, times, outcome);
    }
    service.check();
}

fn take(service: &mut TestService, step: Step, calls: &mut Vec<CapIndex>) {
    match step {
        Step::Create(name, number) => calls.push(service.begin_create(NAMES[name], kind(number))),
        Step::Update(name, number) => calls.push(service.begin_update(NAMES[name], kind(number))),
        Step::Delete(name) => drop(service.delete(NAMES[name].as_bytes())),
        Step::Invoke {
            from,
            name,
            later,
            large,
        } => {
            let worker = from.map(|number| pick(service, number));
            let style = if later {
                Style::Later {
                    notify: Some(service.platform().cap()),
                }
            } else {
                Style::Wait
            };
            let body = if large {
                Sent::Dataspace {
                    cap: service.platform().cap(),
                    length: 5000,
                }
            } else {
                Sent::Short(b"in")
            };
            let reply = service.request(worker, style, NAMES[name], body);
            if worker.is_none() {
                calls.push(reply);
            }
        }
        Step::Burst { name, count } => burst(service, NAMES[name], count),
        Step::Ready(_)
        | Step::AsksCode(_)
        | Step::Done { .. }
        | Step::Failed(_)
        | Step::Faulted(_)
        | Step::Logged(_) => {
            take_from_worker(service, step);
        }
        Step::Fetch {
            from,
            pick: number,
            wait,
        } => {
            let worker = from.map(|number| pick(service, number));
            let number = activation(service, number);
            let reply = service.platform().reply();
            service.fetch(worker, reply, number, wait);
        }
        Step::Cancel(from, number) => {
            let worker = from.map(|number| pick(service, number));
            let number = activation(service, number);
            let _ = service.cancel(worker, number);
        }
        Step::Pass(nanoseconds) => service.pass(nanoseconds),
        Step::RefuseLaunch(_)
        | Step::RefuseFreeze(_)
        | Step::ImageBudget(_)
        | Step::Full(_)
        | Step::Refuse { .. } => spoil(service.platform(), step),
    }
    service.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Every request is answered exactly once (the fake panics on a second answer), at the latest when its time is
    /// up, and nothing is left in the end: no capability, no worker, no memory.
    #[test]
    fn nothing_leaks_and_nobody_waits_for_ever(steps in prop::collection::vec(step(), 0..80)) {
        let mut service = service();
        let mut calls = Vec::new();
        for step in steps {
            take(&mut service, step, &mut calls);
        }
        service.pass(2 * PREPARE_NS);
        service.pass(2 * PREPARE_NS);
        for call in calls {
            prop_assert!(service.seen(call).is_some(), "{:?} was never answered", call);
        }
        service.pass(2_000_000_000);
        prop_assert_eq!(service.counters().workers_live, 0, "idle workers outlive their keepalive");
        service.platform().refuse_launch = None;
        service.platform().now += 1_000_000;
        let returned: u64 = service.platform().returning.iter().filter(|(_, payer, _)| *payer == crate::platform::Payer::Client).map(|(_, _, bytes)| bytes).sum();
        let images = service.platform().images.len() as u64 * IMAGE_BYTES;
        // A runtime that never asks for code has its memory until somebody needs it.
        let spare = service.platform().workers.len() as u64 * WORKER_MEMORY;
        prop_assert_eq!(service.platform().memory + returned + images + spare, 8 * WORKER_MEMORY);
        service.close_and_check();
    }

    /// The client may go away at any time.
    #[test]
    fn closing_at_any_time_leaves_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let mut service = service();
        for step in steps {
            take(&mut service, step, &mut Vec::new());
        }
        service.close_and_check();
    }
}

/// A client whose tables become far longer than their pieces.
fn roomy_service() -> TestService {
    let limits = Limits {
        workers: 300,
        activations: 400,
        prepare_ns: PREPARE_NS,
        memory_wait_ns: MEMORY_WAIT_NS,
        ..Limits::default()
    };
    let many = |mode| ActionConfig {
        concurrent_requests: 250,
        queue_length: 400,
        ..config(mode)
    };
    service_with(limits, 280)
        .with_action("a", many(StartMode::Warm))
        .with_action("b", many(StartMode::Boot))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What holds for a few invocations holds for hundreds: tables grow and are given back, and anything may happen meanwhile.
    #[test]
    fn tables_grow_with_bursts_and_shrink_with_the_client(
        rounds in prop::collection::vec((0..2usize, 1..250usize, prop::collection::vec(step(), 0..6)), 1..4),
    ) {
        let mut service = roomy_service();
        let mut calls = Vec::new();
        for (name, count, steps) in rounds {
            burst(&mut service, NAMES[name], count);
            service.check();
            for step in steps {
                take(&mut service, step, &mut calls);
            }
            sweep(&mut service);
        }
        service.pass(2 * PREPARE_NS);
        service.pass(2 * PREPARE_NS);
        for call in calls {
            prop_assert!(service.seen(call).is_some(), "{:?} was never answered", call);
        }
        service.close_and_check();
    }
}
