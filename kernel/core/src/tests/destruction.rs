//! Threads, tasks, gates, capabilities and accounts that go while others use them: everybody who waits is told, and
//! nothing is left.

use super::explore::{End, Story};
use super::rendezvous::{answered, everywhere, request};
use super::script::{Op, Seen};
use super::world::{ALL, FREE, GATE, GATE_LABEL, REPLY, SIGNAL, UNBOUND, account, task, thread};
use l4::Rights;
use l4::cap::SendItem;
use std::format;
use std::vec;
use std::vec::Vec;

const NOT_EXISTENT: Seen = Seen::Error(4);
const PARTNER_GONE: Seen = Seen::Error(5);

fn server() -> Vec<Op> {
    vec![Op::wait(), Op::reply_and_wait(None, 7).for_ever()]
}

/// The caller of one call saw one of these, and went on.
fn ended_with(story: &Story, allowed: &[Seen]) {
    assert_eq!(story.1, End::Finished);
    assert!(allowed.contains(&story.0[0]), "{:?}", story.0);
}

#[test]
fn senders_learn_that_the_receiver_ended() {
    for end in [Op::delete(thread(1)), Op::delete(task(1)), Op::delete(account(1))] {
        let scripts = [vec![Op::call(GATE, 1)], vec![], vec![end]];
        everywhere(&scripts, 0, |stories| {
            ended_with(&stories[0], &[NOT_EXISTENT]);
            assert_eq!((stories[1].1, stories[2].1), (End::Gone, End::Finished));
        });
    }
}

#[test]
fn callers_learn_that_nobody_will_answer() {
    let servers = [
        vec![Op::wait(), Op::sleep()],
        vec![Op::wait().reply_to(REPLY), Op::sleep()],
        vec![Op::wait(), Op::take_reply(REPLY), Op::exit()],
        vec![Op::wait(), Op::Fault],
    ];
    for server in servers {
        for end in [Op::delete(thread(1)), Op::delete(task(1)), Op::delete(account(1))] {
            let scripts = [vec![Op::call(GATE, 1)], server.clone(), vec![end.clone()]];
            everywhere(&scripts, 0, |stories| {
                // A reply capability in a slot outlives its thread, but not the task.
                if stories[0].1 == End::Calling {
                    assert!(server.len() > 1 && format!("{end:?}") == format!("{:?}", Op::delete(thread(1))));
                } else {
                    ended_with(&stories[0], &[NOT_EXISTENT, PARTNER_GONE]);
                }
                assert_eq!((stories[1].1, stories[2].1), (End::Gone, End::Finished));
            });
        }
    }
}

#[test]
fn who_drops_a_reply_capability_tells_the_caller() {
    let server = vec![
        Op::wait().reply_to(REPLY),
        Op::drop_cap(REPLY),
        Op::wait(),
        Op::wait(),
    ];
    let scripts = [vec![Op::call(GATE, 1)], server, vec![Op::call(GATE, 2)]];
    everywhere(&scripts, 0, |stories| {
        ended_with(&stories[0], &[PARTNER_GONE]);
        ended_with(&stories[2], &[PARTNER_GONE]);
    });
}

#[test]
fn a_server_survives_the_end_of_its_callers() {
    for end in [Op::delete(thread(0)), Op::delete(task(0)), Op::delete(account(0))] {
        for server in [
            server(),
            vec![
                Op::wait().reply_to(REPLY),
                Op::reply_and_wait(Some(REPLY), 7).reply_to(REPLY).for_ever(),
            ],
        ] {
            let scripts = [
                vec![Op::call(GATE, 1)],
                server,
                vec![end.clone(), Op::call(GATE, 2)],
            ];
            everywhere(&scripts, 0, |stories| {
                assert_eq!(stories[0].1, End::Gone);
                assert_eq!(stories[2].1, End::Finished);
                assert_eq!(stories[2].0[1], answered(7));
                assert_eq!(stories[1].1, End::Receiving);
                assert!(stories[1].0.contains(&request(2)));
            });
        }
    }
}

#[test]
fn a_gate_ends_while_senders_wait() {
    let scripts = [
        vec![Op::call(UNBOUND, 1)],
        vec![Op::call(UNBOUND, 2)],
        vec![Op::delete(UNBOUND)],
    ];
    everywhere(&scripts, 0, |stories| {
        ended_with(&stories[0], &[NOT_EXISTENT]);
        ended_with(&stories[1], &[NOT_EXISTENT]);
    });
    let scripts = [vec![Op::call(GATE, 1)], server(), vec![Op::delete(GATE)]];
    everywhere(&scripts, 0, |stories| {
        ended_with(&stories[0], &[NOT_EXISTENT, answered(7)]);
        assert_eq!(stories[1].1, End::Receiving);
    });
}

#[test]
fn one_gate_is_deleted_twice_at_once() {
    let scripts = [vec![Op::delete(GATE)], server(), vec![Op::delete(GATE)]];
    everywhere(&scripts, 0, |stories| {
        assert_eq!(stories[0].1, End::Finished);
        assert_eq!(stories[2].1, End::Finished);
    });
}

#[test]
fn senders_that_wait_for_a_binding_get_through_with_its_label() {
    let scripts = [
        vec![Op::call(UNBOUND, 1)],
        server(),
        vec![Op::bind_gate(UNBOUND, 0x100, thread(1))],
    ];
    everywhere(&scripts, 0, |stories| {
        ended_with(&stories[0], &[answered(7)]);
        assert_eq!(stories[1].0, [Seen::Message(1, 0x103, vec![1])]);
    });
}

#[test]
fn a_gate_gets_another_thread_while_it_is_called() {
    let third = vec![
        Op::bind_gate(GATE, 0x100, thread(2)),
        Op::wait(),
        Op::reply_and_wait(None, 8).for_ever(),
    ];
    let client = vec![Op::call(GATE, 1), Op::call(GATE, 2)];
    everywhere(&[client, server(), third], 0, |stories| {
        assert_eq!(stories[0].1, End::Finished);
        assert!(
            stories[0]
                .0
                .iter()
                .all(|seen| [answered(7), answered(8)].contains(seen))
        );
        let old = Seen::Message(1, GATE_LABEL | 3, vec![1]);
        assert!(stories[1].0.is_empty() || stories[1].0[0] == old);
    });
}

#[test]
fn a_revoked_capability_names_nothing() {
    let client = vec![Op::call(GATE, 1), Op::call(GATE, 2)];
    let third = vec![Op::revoke(GATE), Op::call(GATE, 3)];
    everywhere(&[client, server(), third], 0, |stories| {
        let answers = stories[0].0.iter().filter(|seen| **seen == answered(7)).count();
        assert_eq!(
            stories[0].0[answers..],
            vec![NOT_EXISTENT; 2 - answers],
            "not again after it was revoked"
        );
        assert_eq!(stories[2].0[1], answered(7), "the first capability stays");
    });
}

#[test]
fn a_capability_is_revoked_on_its_way() {
    let item = SendItem::map(SIGNAL, Rights::WRITE);
    let server = vec![
        Op::wait().taking(FREE),
        Op::trigger(FREE),
        Op::reply(None, 7),
        Op::drop_cap(FREE),
    ];
    for end in [
        Op::revoke(SIGNAL),
        Op::delete(SIGNAL),
        Op::delete(thread(0)),
        Op::delete(task(1)),
    ] {
        let scripts = [vec![Op::call(GATE, 1).passing(item)], server.clone(), vec![end]];
        everywhere(&scripts, 0, |stories| {
            assert_ne!(stories[0].1, End::Calling);
            assert_ne!(stories[0].1, End::Sending);
            assert_eq!(stories[2].1, End::Finished);
        });
    }
}

#[test]
fn a_fault_waits_for_its_handler_or_ends_the_thread() {
    let handler = |label| vec![Op::wait(), Op::answer_fault(label).for_ever()];
    everywhere(
        &[vec![Op::Fault], handler(0), vec![Op::call(GATE, 1)]],
        0,
        |stories| {
            assert_eq!(stories[0], (vec![Seen::Resumed], End::Finished));
            assert_eq!(stories[2].1, End::Finished);
        },
    );
    everywhere(&[vec![Op::Fault], handler(-1), vec![]], 0, |stories| {
        assert_eq!(stories[0], (vec![], End::Gone));
        assert_eq!(stories[1].1, End::Receiving);
    });
}

#[test]
fn a_handler_ends_with_a_fault_unanswered() {
    for end in [
        Op::delete(thread(1)),
        Op::delete(GATE),
        Op::delete(thread(0)),
        Op::cancel(thread(0)),
    ] {
        let handler = vec![Op::wait(), Op::answer_fault(0).for_ever()];
        let lazy = vec![Op::wait(), Op::sleep()];
        for handler in [handler, lazy] {
            let scripts = [vec![Op::Fault], handler.clone(), vec![end.clone()]];
            everywhere(&scripts, 0, |stories| {
                assert_eq!(stories[2].1, End::Finished);
                assert_ne!(stories[0].1, End::Sending);
            });
        }
    }
}

#[test]
fn a_fault_of_a_thread_that_is_ending_is_nobodys_concern() {
    let ended = 2;
    let scripts = [
        vec![Op::Fault],
        vec![Op::wait(), Op::wait()],
        vec![Op::delete(thread(0)), Op::send(GATE, ended)],
    ];
    everywhere(&scripts, 0, |stories| {
        let told = |seen: &Seen| matches!(seen, Seen::Message(_, _, words) if words.as_slice() == [ended]);
        let seen = &stories[1].0;
        let after = seen.iter().skip_while(|seen| !told(seen)).skip(1);
        assert_eq!(after.count(), 0, "{seen:?}");
    });
}

#[test]
fn everything_ends_at_once() {
    for end in [
        Op::delete(ALL),
        Op::delete(account(2)),
        Op::delete(task(2)),
        Op::delete(thread(2)),
    ] {
        let server = vec![Op::wait().reply_to(REPLY), Op::wait(), Op::sleep()];
        let scripts = [
            vec![Op::call(GATE, 1)],
            server.clone(),
            vec![Op::send(GATE, 2), end.clone()],
        ];
        everywhere(&scripts, 0, |stories| assert_eq!(stories[2].1, End::Gone));
        let scripts = [vec![Op::delete(ALL)], server, vec![end.clone()]];
        everywhere(&scripts, 0, |stories| {
            assert!(stories.iter().all(|story| story.1 == End::Gone));
        });
    }
}
