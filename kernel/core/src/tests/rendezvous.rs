//! Rendezvous of a client (actor 0) and a server (actor 1), with somebody third (actor 2).

use super::explore::{End, Scenario, Story};
use super::script::{Op, Seen};
use super::world::{FREE, GATE, GATE_LABEL, Place, REPLY, SIGNAL, thread};
use l4::Rights;
use l4::cap::SendItem;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

/// What a server's caller has the rights W and S for.
const LABEL: u64 = GATE_LABEL | 3;

pub(super) const fn at(cpu: u32, priority: u8) -> Place {
    Place { cpu, priority }
}

/// All ways to spread three threads over two CPUs, with equal priorities first, and some with others.
pub(super) fn placements() -> Vec<[Place; 3]> {
    let spread = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0]];
    let equal = spread.iter().map(|cpus| (cpus, [10, 10, 10]));
    let rising = spread[..4].iter().map(|cpus| (cpus, [10, 20, 30]));
    let falling = spread[..4].iter().map(|cpus| (cpus, [20, 10, 10]));
    let all = equal.chain(rising).chain(falling);
    all.map(|(cpus, priorities)| [0, 1, 2].map(|actor| at(cpus[actor], priorities[actor])))
        .collect()
}

/// Runs the scenario everywhere, by the short ways of IPC and by the ordinary ones, which must have the same outcomes
/// (with timers, who runs when differs).
pub(super) fn everywhere(scripts: &[Vec<Op>], timers: u32, check: impl Fn(&[Story])) -> BTreeSet<Vec<Story>> {
    let mut all = BTreeSet::new();
    for places in placements() {
        let mut scenario = Scenario::new(&places, scripts);
        scenario.timers = timers;
        let short = scenario.explore(&check);
        if places[0].priority == places[2].priority {
            scenario.ordinary = true;
            let ordinary = scenario.explore(&check);
            assert!(
                timers > 0 || short == ordinary,
                "the short ways make a difference at {places:?}"
            );
            scenario.ordinary = false;
            scenario.halting = places.iter().any(|place| place.cpu == 1);
            if scenario.halting {
                // Idle CPUs work on dying objects, so not all outcomes need be the same.
                all.extend(scenario.explore(&check));
            }
        }
        all.extend(short);
    }
    all
}

pub(super) fn answered(word: u64) -> Seen {
    Seen::Message(2, 0, vec![word])
}

pub(super) fn request(word: u64) -> Seen {
    Seen::Message(1, LABEL, vec![word])
}

fn server() -> Vec<Op> {
    vec![Op::wait(), Op::reply_and_wait(None, 7).for_ever()]
}

#[test]
fn calls_are_answered_once_each() {
    let client = vec![Op::call(GATE, 1), Op::call(GATE, 2)];
    let scripts = [client, server(), vec![Op::call(GATE, 3)]];
    everywhere(&scripts, 0, |stories| {
        assert_eq!(stories[0], (vec![answered(7), answered(7)], End::Finished));
        assert_eq!(stories[2], (vec![answered(7)], End::Finished));
        let (mut requests, end) = stories[1].clone();
        assert_eq!(end, End::Receiving);
        requests.sort();
        assert_eq!(requests, [request(1), request(2), request(3)]);
    });
}

/// When a test's clocks start, in nanoseconds, and times behind it.
pub(super) const SOON: u64 = 2_000_000;
pub(super) const LATER: u64 = 4_000_000;

const SEND_TIMEOUT: Seen = Seen::Error(2);
const RECEIVE_TIMEOUT: Seen = Seen::Error(3);

#[test]
fn a_message_is_sent_if_and_only_if_it_is_received() {
    let client = vec![Op::send(GATE, 1).send_by(SOON), Op::send(GATE, 2).send_by(LATER)];
    let server = vec![Op::wait().receive_by(SOON), Op::wait().receive_by(LATER)];
    let count = |stories: &[Story]| stories[0].0.iter().filter(|seen| **seen == Seen::DONE).count();
    let outcomes = everywhere(&[client, server, vec![]], 1, |stories| {
        let taken = |seen: &&Seen| **seen == request(1) || **seen == request(2);
        let received = stories[1].0.iter().filter(taken).count();
        assert_eq!(count(stories), received);
        assert!(
            stories[0]
                .0
                .iter()
                .all(|seen| [Seen::DONE, SEND_TIMEOUT].contains(seen))
        );
        assert_eq!((stories[0].1, stories[1].1), (End::Finished, End::Finished));
    });
    for sent in 0..=2 {
        assert!(
            outcomes.iter().any(|stories| count(stories) == sent),
            "{sent} messages never get through"
        );
    }
}

#[test]
fn a_call_is_answered_or_its_deadline_passes() {
    let client = vec![Op::call(GATE, 1).receive_by(SOON), Op::call(GATE, 2)];
    let outcomes = everywhere(&[client, server(), vec![]], 1, |stories| {
        let first = &stories[0].0[0];
        assert!(*first == answered(7) || *first == RECEIVE_TIMEOUT);
        assert_eq!(
            stories[0].0[1],
            answered(7),
            "the late answer goes to no later call"
        );
        assert_eq!(stories[1], (vec![request(1), request(2)], End::Receiving));
    });
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn callers_are_answered_in_any_order() {
    let server = vec![
        Op::wait().reply_to(REPLY),
        Op::wait(),
        Op::reply(None, 2),
        Op::reply(Some(REPLY), 1),
        Op::reply(Some(REPLY), 3),
    ];
    callers_and(server);
    let server = vec![
        Op::wait(),
        Op::take_reply(REPLY),
        Op::wait(),
        Op::reply_and_wait(Some(REPLY), 1).receive_by(l4::POLL),
        Op::reply(None, 2),
    ];
    let scripts = [vec![Op::call(GATE, 1)], server, vec![Op::call(GATE, 2)]];
    everywhere(&scripts, 0, |stories| {
        // Who waits with an answer outstanding gives up that answer.
        let seen = [&stories[0].0[0], &stories[2].0[0]];
        assert!(seen.contains(&&answered(1)) && seen.contains(&&Seen::Error(5)));
        assert_eq!(stories[1].0.last(), Some(&Seen::Error(4)));
    });
}

fn callers_and(server: Vec<Op>) {
    let scripts = [vec![Op::call(GATE, 1)], server, vec![Op::call(GATE, 2)]];
    everywhere(&scripts, 0, |stories| {
        let seen = [&stories[0].0[0], &stories[2].0[0]];
        assert!(seen.contains(&&answered(1)) && seen.contains(&&answered(2)));
        assert_eq!(
            stories[1].0.last(),
            Some(&Seen::Error(4)),
            "nobody is answered twice"
        );
        assert_eq!(stories[1].1, End::Finished);
    });
}

#[test]
fn a_closed_receive_takes_nobody_elses_message() {
    let server = vec![Op::receive(thread(0)), Op::wait()];
    let scripts = [vec![Op::send(GATE, 1)], server, vec![Op::send(GATE, 2)]];
    let outcomes = everywhere(&scripts, 0, |stories| {
        assert_eq!(stories[1], (vec![request(1), request(2)], End::Finished));
    });
    assert_eq!(outcomes.len(), 1);
}

#[test]
fn a_cancelled_wait_ends_once() {
    let third = vec![Op::cancel(thread(0)), Op::cancel(thread(1))];
    let server = vec![Op::wait(), Op::reply_and_wait(None, 7)];
    everywhere(&[vec![Op::call(GATE, 1)], server, third], 0, |stories| {
        assert_eq!(stories[2].1, End::Finished);
        for seen in &stories[0].0 {
            assert!([answered(7), Seen::Error(5), Seen::Error(6), Seen::Error(7)].contains(seen));
        }
        assert!([End::Finished, End::Sending, End::Calling].contains(&stories[0].1));
    });
}

#[test]
fn threads_that_move_lose_no_message() {
    for moves in [[(1, 1), (0, 1)], [(0, 1), (0, 0)], [(1, 1), (1, 0)]] {
        let third = moves.map(|(who, cpu)| Op::place(thread(who), cpu, 10)).to_vec();
        let client = vec![Op::call(GATE, 1).receive_by(LATER)];
        let outcomes = everywhere(&[client, server(), third], 0, |stories| {
            assert_eq!(stories[0], (vec![answered(7)], End::Finished));
            assert_eq!(stories[1], (vec![request(1)], End::Receiving));
            assert_eq!(stories[2].1, End::Finished);
        });
        assert_eq!(outcomes.len(), 1);
    }
}

#[test]
fn an_answer_brings_its_capability_to_a_caller_that_moved() {
    let item = SendItem::map(SIGNAL, Rights::WRITE);
    let server = vec![Op::wait(), Op::reply_and_wait(None, 7).passing(item).for_ever()];
    let client = vec![
        Op::place(thread(0), 1, 10),
        Op::call(GATE, 1).taking(FREE),
        Op::trigger(FREE),
        Op::place(thread(0), 0, 10),
    ];
    let outcomes = everywhere(
        &[client, server, vec![Op::place(thread(1), 1, 10)]],
        0,
        |stories| {
            assert_eq!(stories[0].0, [Seen::DONE, answered(7), Seen::DONE, Seen::DONE]);
        },
    );
    assert_eq!(outcomes.len(), 1);
}
