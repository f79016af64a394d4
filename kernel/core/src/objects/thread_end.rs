//! The end of a thread: it stops, everybody who waits for it learns so, and what it held is given back.

use super::Binding;
use crate::cpu::{Cpu, Domain};
use crate::ipc::{self, queue};
use crate::machine::machine_poke;
use crate::object::Ref;
use crate::thread::{State, Thread};
use crate::timeout::Owner;
use crate::{capability, schedule};
use core::sync::atomic::Ordering;
use l4::IpcError;

/// Takes a dead thread apart for a while. True when it is done.
pub(super) fn destroy_step(thread: Ref<Thread>, budget: &mut u32) -> bool {
    if !stop(thread) || !fail_senders(thread, budget) {
        return false;
    }
    ipc::drop_implicit_reply(thread);
    while Binding::orphan_one(thread) {}
    {
        let domain = Domain::lock_with(thread);
        ipc::forget_all_pending(&domain, thread);
    }
    capability::drop_slot(&thread.handler);
    let task = thread.task();
    if !task.header.is_dead() {
        task.space.unmap_utcb(thread.utcb().user_address());
    }
    task.remove_thread(thread);
    if task.is_left_alone() && task.account().is_some_and(|account| !account.header.is_dead()) {
        ipc::exit_clone(thread, 0);
    }
    true
}

/// Stops the thread, whatever it does. False if another CPU still has its registers.
pub(crate) fn stop(thread: Ref<Thread>) -> bool {
    ipc::die_waiting(thread);
    let domain = Domain::lock_with(thread);
    let home = thread.home();
    match thread.state.get(&domain) {
        State::Ready => {
            if home.current() != Some(thread) {
                schedule::remove(&domain, home, thread);
            }
            thread.state.set(&domain, State::Dead);
        }
        State::New | State::Kept => thread.state.set(&domain, State::Dead),
        State::Dead => {}
        // It began to wait again before we had the lock: next time.
        State::Sending(_) | State::SendingUnbound(_) | State::Receiving(_) | State::Calling => return false,
    }
    home.timeouts.disarm(&domain, Owner::Thread(thread));
    if home.current() != Some(thread) {
        return true;
    }
    home.due.store(true, Ordering::Release);
    if home.number() != Cpu::this().number() {
        machine_poke(home.number());
    }
    false
}

fn fail_senders(thread: Ref<Thread>, budget: &mut u32) -> bool {
    loop {
        let sender = {
            let domain = Domain::lock_with(thread);
            match thread.senders.get(&domain).head {
                Some(sender) => sender,
                None => return true,
            }
        };
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        let domain = Domain::lock_homes(thread, sender);
        if sender.state.get(&domain) == State::Sending(thread) {
            queue::remove(&domain, &thread.senders, sender);
            ipc::fail_send(&domain, sender, IpcError::NotExistent);
        }
    }
}
