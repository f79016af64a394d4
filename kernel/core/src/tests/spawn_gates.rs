//! Spawn gates: actor 0 calls one, others end what it needs, at every moment. The call ends once, and nothing is left.

use super::cloning::{
    ANSWER, Cloning, GATE_ACCOUNT, OTHER_ACCOUNT, OTHER_SPAWN, Recorded, SNAPSHOT, SNAPSHOT_ACCOUNT, SPAWN,
    WRITTEN,
};
use super::explore::{End, Scenario, Story};
use super::rendezvous::at;
use super::script::{Op, Seen};
use super::world::{FREE, REPLY, account, task, thread};
use l4::cap::SendItem;
use l4::object::{CLONE_DEPTH_MAX, FailureReason};
use l4::protocol::{FACTORY, factory, snapshot};
use l4::{CapIndex, Error, IpcError, PAGE_SIZE, Rights};
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

const NUMBER: u64 = 7;

/// A call of the gate, with the gate itself for the clone to call.
fn request(gate: CapIndex) -> Op {
    request_with(gate, gate)
}

/// The same with another gate to call.
fn request_with(gate: CapIndex, other: CapIndex) -> Op {
    Op::object(gate, 0, &[0; 6]).passing(SendItem::map(other, Rights::all()))
}

fn failed(reason: FailureReason) -> Seen {
    Seen::Failed(reason as u64)
}

fn refused(error: Error) -> Seen {
    Seen::Refused(error.number())
}

fn ipc_error(error: IpcError) -> Seen {
    Seen::Error(error.code())
}

/// An answer by a call or a send.
fn called() -> Seen {
    Seen::Message(1, 0, vec![NUMBER])
}

/// All ways to answer, with what the caller sees.
fn answers() -> [(Op, Seen); 4] {
    let replied = Seen::Message(2, 0, vec![NUMBER]);
    [
        (Op::call(ANSWER, NUMBER), called()),
        (Op::send(ANSWER, NUMBER), called()),
        (Op::reply(Some(ANSWER), NUMBER), replied.clone()),
        (Op::reply_and_wait(Some(ANSWER), NUMBER), replied),
    ]
}

/// Runs the scenario with the caller on CPU 0 and the third actor on either.
fn anywhere(
    cloning: &Cloning,
    scripts: &[Vec<Op>],
    timers: u32,
    check: impl Fn(&[Story]),
) -> BTreeSet<Vec<Story>> {
    let mut all = BTreeSet::new();
    for (cpu, priorities) in [
        (0, [10, 10]),
        (0, [20, 10]),
        (0, [5, 10]),
        (0, [10, 30]),
        (1, [10, 10]),
    ] {
        let places = [at(0, priorities[0]), at(cpu, 10), at(cpu, priorities[1])];
        let mut scenario = Scenario::new(&places, scripts);
        scenario.cloning = Some(cloning.clone());
        scenario.timers = timers;
        all.extend(scenario.explore(&check));
        scenario.ordinary = true;
        all.extend(scenario.explore(&check));
        if cpu == 1 {
            scenario.halting = true;
            all.extend(scenario.explore(&check));
        }
    }
    all
}

/// What the caller saw of its only call.
fn seen(stories: &[Story]) -> &Seen {
    assert_eq!(stories[0].1, End::Finished);
    assert_eq!(stories[0].0.len(), 1);
    &stories[0].0[0]
}

#[test]
fn a_clone_answers_once() {
    for (answer, expected) in answers() {
        // What comes behind the answer is never done.
        let cloning = Cloning::new(&[vec![answer, Op::delete(CapIndex::FACTORY)]]);
        let scripts = [vec![request(SPAWN), request(SPAWN)], vec![], vec![]];
        anywhere(&cloning, &scripts, 0, |stories| {
            assert_eq!(
                stories[0],
                (vec![expected.clone(), expected.clone()], End::Finished)
            );
        });
    }
}

#[test]
fn a_clone_that_comes_to_no_answer_fails() {
    let ends = [
        (vec![Op::Fault], FailureReason::Fault),
        (vec![Op::exit()], FailureReason::Exited),
        (vec![Op::drop_cap(ANSWER)], FailureReason::Exited),
        (vec![Op::delete(CapIndex::THREAD)], FailureReason::Exited),
        (vec![Op::drop_cap(CapIndex::TASK)], FailureReason::Destroyed),
        (vec![Op::delete(CapIndex::TASK)], FailureReason::Destroyed),
        (vec![Op::drop_cap(CapIndex::FACTORY)], FailureReason::Destroyed),
        (vec![Op::delete(CapIndex::FACTORY)], FailureReason::Destroyed),
    ];
    for (script, reason) in ends {
        let cloning = Cloning::new(&[script]);
        anywhere(&cloning, &[vec![request(SPAWN)], vec![], vec![]], 0, |stories| {
            assert_eq!(*seen(stories), failed(reason));
        });
    }
}

#[test]
fn what_a_call_rests_on_may_end_at_any_time() {
    let destroyed = failed(FailureReason::Destroyed);
    let gone = [refused(Error::NotFound), ipc_error(IpcError::NotExistent)];
    for script in [vec![], vec![Op::call(ANSWER, NUMBER)], vec![Op::Fault]] {
        let cloning = Cloning::new(&[script]);
        for end in [SPAWN, SNAPSHOT, SNAPSHOT_ACCOUNT, GATE_ACCOUNT] {
            let scripts = [vec![request(SPAWN)], vec![], vec![Op::delete(end)]];
            anywhere(&cloning, &scripts, 0, |stories| {
                if stories[0].1 == End::Calling {
                    // Clones of a gate that is gone go on.
                    assert_eq!(end, SPAWN);
                    return;
                }
                let seen = seen(stories);
                let by_itself = [called(), failed(FailureReason::Fault)].contains(seen);
                let by_the_end = gone.contains(seen) || (*seen == destroyed && end != SPAWN);
                assert!(by_itself || by_the_end, "{seen:?}");
            });
        }
    }
}

#[test]
fn a_caller_that_ends_takes_its_clone_along() {
    let cloning = Cloning::new(&[vec![], vec![]]);
    for end in [Op::delete(thread(0)), Op::delete(task(0)), Op::delete(account(0))] {
        let scripts = [vec![request(SPAWN)], vec![], vec![end]];
        anywhere(&cloning, &scripts, 0, |stories| {
            assert_eq!((stories[0].1, stories[2].1), (End::Gone, End::Finished));
        });
    }
    let scripts = [vec![request(SPAWN)], vec![], vec![Op::cancel(thread(0))]];
    let outcomes = anywhere(&cloning, &scripts, 0, |stories| {
        if stories[0].1 != End::Calling {
            assert_eq!(*seen(stories), ipc_error(IpcError::ReceiveCanceled));
        }
    });
    assert!(outcomes.len() > 1, "it may be cancelled before it calls");
}

#[test]
fn a_deadline_ends_the_clone() {
    let scripts = [vec![request(SPAWN)], vec![], vec![]];
    let mut cloning = Cloning::new(&[vec![]]);
    cloning.deadline_ns = 1_000_000;
    anywhere(&cloning, &scripts, 1, |stories| {
        assert_eq!(*seen(stories), failed(FailureReason::Deadline));
    });
    let sooner = [vec![request(SPAWN).receive_by(1_100_000)], vec![], vec![]];
    anywhere(&cloning, &sooner, 1, |stories| {
        assert_eq!(*seen(stories), ipc_error(IpcError::ReceiveTimeout));
    });
    cloning.scripts = vec![vec![Op::call(ANSWER, NUMBER)]];
    let outcomes = anywhere(&cloning, &scripts, 2, |stories| {
        assert!([called(), failed(FailureReason::Deadline)].contains(seen(stories)));
    });
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn a_call_moves_with_its_caller() {
    let cloning = Cloning::new(&[vec![Op::call(ANSWER, NUMBER)]]);
    let scripts = [vec![request(SPAWN)], vec![], vec![Op::place(thread(0), 1, 10)]];
    anywhere(&cloning, &scripts, 0, |stories| {
        assert!([called(), refused(Error::AccessDenied)].contains(seen(stories)));
    });
}

#[test]
fn nested_calls_end_with_those_above() {
    let nest = || vec![request(FREE), Op::call(ANSWER, NUMBER)];
    let cloning = Cloning::new(&[nest(), nest(), vec![Op::call(ANSWER, NUMBER)]]);
    let scripts = [vec![request(SPAWN)], vec![], vec![]];
    anywhere(&cloning, &scripts, 0, |stories| {
        assert_eq!(*seen(stories), called())
    });
    // The innermost sleeps.
    let cloning = Cloning::new(&[nest(), nest(), vec![]]);
    for end in [Op::delete(thread(0)), Op::delete(account(0))] {
        let scripts = [vec![request(SPAWN)], vec![], vec![end]];
        anywhere(&cloning, &scripts, 0, |stories| {
            assert_eq!(stories[0].1, End::Gone)
        });
    }
    let scripts = [vec![request(SPAWN)], vec![], vec![Op::delete(GATE_ACCOUNT)]];
    anywhere(&cloning, &scripts, 0, |stories| {
        let gone = [refused(Error::NotFound), ipc_error(IpcError::NotExistent)];
        let seen = seen(stories);
        // The outermost may learn of the end of the one below it, and answer, before its own.
        let ended = [failed(FailureReason::Destroyed), called()];
        assert!(gone.contains(seen) || ended.contains(seen), "{seen:?}");
    });
}

#[test]
fn clones_end_with_the_account_of_their_gate() {
    // That of another gate pays for the inner one, which sleeps.
    let cloning = Cloning::new(&[vec![request(FREE), Op::call(ANSWER, NUMBER)], vec![]]);
    for ends in [
        vec![Op::delete(OTHER_ACCOUNT)],
        vec![Op::delete(OTHER_SPAWN), Op::delete(OTHER_ACCOUNT)],
    ] {
        let scripts = [vec![request_with(SPAWN, OTHER_SPAWN)], vec![], ends];
        anywhere(&cloning, &scripts, 0, |stories| {
            assert!([called(), ipc_error(IpcError::SendMapFailed)].contains(seen(stories)));
            assert_eq!(stories[2].1, End::Finished);
        });
    }
}

#[test]
fn accounts_that_a_clone_makes_are_of_its_invocation() {
    // `check_invocations` looks at them after each step.
    let create = |account| Op::object(account, FACTORY, &[factory::CREATE_FACTORY, 4 * PAGE_SIZE]);
    let script = vec![
        create(CapIndex::FACTORY).taking(FREE),
        create(FREE).taking(REPLY),
        Op::object(REPLY, FACTORY, &[factory::INFO]),
        Op::call(ANSWER, NUMBER),
    ];
    let cloning = Cloning::new(&[script]);
    for end in [vec![], vec![Op::delete(GATE_ACCOUNT)]] {
        anywhere(&cloning, &[vec![request(SPAWN)], vec![], end], 0, |stories| {
            let seen = seen(stories);
            assert!(stories[2].0.len() == 1 || *seen == called(), "{seen:?}");
        });
    }
}

#[test]
fn nesting_is_limited_by_depth() {
    let nest = vec![request(FREE), Op::call(ANSWER, NUMBER)];
    let depth = CLONE_DEPTH_MAX as usize;
    let mut cloning = Cloning::new(&vec![nest; depth + 1]);
    cloning.pages = 250;
    cloning.account_pages = 260;
    cloning.scripts.push(vec![Op::Fault]);
    let scripts = [vec![request(SPAWN)], vec![], vec![]];
    let mut scenario = Scenario::new(&[at(0, 10), at(1, 10), at(1, 10)], &scripts);
    scenario.cloning = Some(cloning);
    scenario.explore(|stories| assert_eq!(*seen(stories), called()));
}

#[test]
fn no_more_clones_than_permitted() {
    let mut cloning = Cloning::new(&[vec![]]);
    cloning.concurrent = 1;
    let scripts = [vec![request(SPAWN)], vec![], vec![request(SPAWN)]];
    let outcomes = anywhere(&cloning, &scripts, 0, |stories| {
        let refusals = [refused(Error::Again), refused(Error::AccessDenied)];
        let both = [&stories[0], &stories[2]];
        let calling = both.iter().filter(|story| story.1 == End::Calling).count();
        let refused = both
            .iter()
            .filter(|story| story.0.iter().any(|seen| refusals.contains(seen)))
            .count();
        assert_eq!((calling, refused), (1, 1));
    });
    assert!(outcomes.len() >= 2);
}

/// What the kernel says of a snapshot that is ready.
fn pages_recorded(seen: &Seen) -> u64 {
    match seen {
        Seen::Message(0, 0, words) => words[4],
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_clone_with_the_right_answer_is_recorded_at_its_end() {
    let writes = || WRITTEN.map(Op::Touch);
    let info = || Op::object(SNAPSHOT, l4::protocol::SNAPSHOT, &[snapshot::INFO]);
    for (answer, is_right) in [(Op::call(ANSWER, NUMBER), true), (Op::call(ANSWER, 8), false)] {
        let [first, second] = writes();
        let mut cloning = Cloning::new(&[vec![first, second, answer]]);
        cloning.recorded = Recorded::Answers(1, NUMBER, 1);
        let scripts = [vec![request(SPAWN), request(SPAWN), info()], vec![], vec![]];
        let outcomes = anywhere(&cloning, &scripts, 0, |stories| {
            assert_eq!(stories[0].1, End::Finished);
            let pages = pages_recorded(&stories[0].0[2]);
            assert!(pages == 0 || (is_right && pages == 2));
        });
        let is_recorded = outcomes
            .iter()
            .any(|stories| pages_recorded(&stories[0].0[2]) == 2);
        assert_eq!(is_recorded, is_right);
        for end in [SPAWN, SNAPSHOT, SNAPSHOT_ACCOUNT, GATE_ACCOUNT] {
            let scripts = [
                vec![request(SPAWN), request(SPAWN)],
                vec![],
                vec![Op::delete(end)],
            ];
            anywhere(&cloning, &scripts, 0, |_| ());
        }
    }
}

#[test]
fn what_several_clones_wrote_is_known_after_the_last_of_them() {
    let info = || Op::object(SNAPSHOT, l4::protocol::SNAPSHOT, &[snapshot::INFO]);
    let [first, second] = WRITTEN.map(Op::Touch);
    let mut cloning = Cloning::new(&[vec![first, second, Op::call(ANSWER, NUMBER)]]);
    for (clones, calls, expected) in [(1, 2, 2), (2, 4, 2), (5, 4, 0)] {
        cloning.recorded = Recorded::Answers(1, NUMBER, clones);
        let mut script = vec![request(SPAWN); calls];
        script.push(info());
        let outcomes = anywhere(&cloning, &[script, vec![], vec![]], 0, |_| ());
        let most = outcomes
            .iter()
            .map(|stories| pages_recorded(&stories[0].0[calls]));
        assert_eq!(most.max(), Some(expected));
    }
}

#[test]
fn clones_that_begin_with_pages_of_their_own_may_end_at_any_time() {
    for script in [vec![], vec![Op::Touch(WRITTEN[0]), Op::call(ANSWER, NUMBER)]] {
        let mut cloning = Cloning::new(&[script]);
        cloning.recorded = Recorded::Before;
        for end in [SPAWN, SNAPSHOT, SNAPSHOT_ACCOUNT, GATE_ACCOUNT, thread(0)] {
            let scripts = [vec![request(SPAWN)], vec![], vec![Op::delete(end)]];
            anywhere(&cloning, &scripts, 0, |_| ());
        }
    }
}

/// One order is enough: what is looked at is that nothing is left, and that more memory never makes it worse.
/// Returns how much memory is enough.
fn without_enough_memory(set: impl Fn(&mut Cloning, u64), pages: core::ops::Range<u64>) -> u64 {
    let mut enough = None;
    for pages in pages {
        let mut cloning = Cloning::new(&[vec![Op::call(ANSWER, NUMBER)]]);
        set(&mut cloning, pages);
        let scripts = [vec![request(SPAWN), request(SPAWN)], vec![], vec![]];
        let mut scenario = Scenario::new(&[at(0, 10), at(1, 10), at(1, 10)], &scripts);
        scenario.cloning = Some(cloning);
        scenario.explore(|stories| {
            let (seen, end) = &stories[0];
            assert_eq!(*end, End::Finished);
            let short = [refused(Error::NoMemory), ipc_error(IpcError::SendMapFailed)];
            assert!(
                seen.iter().all(|seen| *seen == called() || short.contains(seen)),
                "{seen:?}"
            );
            assert!(
                enough.is_none() || seen[0] == called(),
                "more memory, fewer answers"
            );
        });
        let outcomes = scenario.explore(|_| ());
        if outcomes.iter().all(|stories| stories[0].0[0] == called()) {
            enough = enough.or(Some(pages));
        }
    }
    enough.unwrap()
}

#[test]
fn clones_without_memory_leave_nothing() {
    without_enough_memory(|cloning, pages| cloning.pages = pages, 1..24);
}

#[test]
fn clones_without_memory_for_what_others_wrote_answer_all_the_same() {
    let mut enough = [0; 2];
    for (enough, recorded) in enough.iter_mut().zip([Recorded::Never, Recorded::Before]) {
        let set = |cloning: &mut Cloning, pages| {
            cloning.pages = pages;
            cloning.recorded = recorded;
        };
        *enough = without_enough_memory(set, 1..24);
    }
    assert_eq!(enough[0], enough[1]);
}

#[test]
fn gates_without_memory_leave_nothing() {
    without_enough_memory(
        |cloning, pages| {
            cloning.pages = 12;
            cloning.account_pages = pages;
        },
        1..32,
    );
}
