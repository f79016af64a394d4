//! Notifications between trigger, binding, timer, movement and end.

use super::explore::{End, Story};
use super::rendezvous::{LATER, SOON, everywhere};
use super::script::{Op, Seen};
use super::world::{IRQ, IRQ_LABEL, SIGNAL, thread};
use l4::protocol;
use std::vec;
use std::vec::Vec;

fn notified(label: u64) -> Seen {
    Seen::Message(protocol::IRQ, label, vec![])
}

fn count(story: &Story, label: u64) -> usize {
    story.0.iter().filter(|seen| **seen == notified(label)).count()
}

fn listener() -> Vec<Op> {
    vec![Op::wait().for_ever()]
}

#[test]
fn a_trigger_arrives_whenever_the_binding_comes() {
    let third = vec![Op::bind_irq(SIGNAL, 0x200, thread(1))];
    everywhere(&[vec![Op::trigger(SIGNAL)], listener(), third], 0, |stories| {
        assert_eq!(stories[1], (vec![notified(0x200)], End::Receiving));
    });
}

#[test]
fn a_new_binding_takes_along_what_is_pending() {
    let third = vec![Op::bind_irq(IRQ, 0x200, thread(2)), Op::wait().receive_by(SOON)];
    everywhere(&[vec![Op::trigger(IRQ)], listener(), third], 1, |stories| {
        let times = count(&stories[1], IRQ_LABEL) + count(&stories[2], 0x200);
        // It may have given up before the trigger.
        assert!(times == 1 || times == 0 && stories[2].0[1] == Seen::Error(3));
    });
}

#[test]
fn triggers_coalesce_and_none_is_lost() {
    let client = vec![Op::trigger(IRQ), Op::trigger(IRQ)];
    let outcomes = everywhere(&[client, listener(), vec![Op::trigger(IRQ)]], 0, |stories| {
        let times = count(&stories[1], IRQ_LABEL);
        assert!((1..=3).contains(&times));
        assert_eq!(stories[1].1, End::Receiving);
    });
    assert_eq!(outcomes.len(), 3);
}

#[test]
fn a_timer_fires_once_wherever_its_thread_goes() {
    let third = vec![Op::place(thread(1), 1, 10)];
    everywhere(
        &[vec![Op::set_timer(IRQ, SOON)], listener(), third],
        1,
        |stories| {
            assert_eq!(stories[1], (vec![notified(IRQ_LABEL)], End::Receiving));
        },
    );
}

#[test]
fn a_timer_that_is_cancelled_does_not_fire() {
    let client = vec![Op::set_timer(IRQ, LATER), Op::set_timer(IRQ, l4::NEVER)];
    everywhere(&[client, listener(), vec![]], 1, |stories| {
        assert!(count(&stories[1], IRQ_LABEL) <= 1);
    });
}

#[test]
fn an_end_is_told_once() {
    let third = vec![
        Op::bind_irq(SIGNAL, 0x200, thread(1)),
        Op::watch(SIGNAL, thread(0)),
        Op::delete(thread(0)),
    ];
    everywhere(&[vec![Op::wait()], listener(), third], 0, |stories| {
        assert_eq!(stories[1], (vec![notified(0x200)], End::Receiving));
        assert_eq!(stories[0].1, End::Gone);
    });
}

#[test]
fn the_watcher_may_go_before_what_it_watches() {
    let client = vec![Op::watch(SIGNAL, thread(1)), Op::delete(SIGNAL)];
    everywhere(&[client, listener(), vec![Op::delete(thread(1))]], 0, |stories| {
        assert_eq!(stories[1].1, End::Gone);
        assert_eq!((stories[0].1, stories[2].1), (End::Finished, End::Finished));
    });
}

#[test]
fn a_notification_ends_between_trigger_and_receive() {
    for end in [Op::detach_irq(IRQ), Op::delete(IRQ), Op::delete(thread(1))] {
        let client = vec![Op::trigger(IRQ), Op::trigger(IRQ)];
        everywhere(&[client, listener(), vec![end]], 0, |stories| {
            assert!(count(&stories[1], IRQ_LABEL) <= 2);
            assert_eq!((stories[0].1, stories[2].1), (End::Finished, End::Finished));
        });
    }
}
