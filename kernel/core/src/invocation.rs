//! Invocations: the clones that calls of spawn gates begin.
//!
//! An invocation is part of its account, which is cut out for it and ends with it. The right to answer the caller is a reply
//! capability in a slot of the clone's task; whoever uses it up says how the call ended, once.

use crate::account::Account;
use crate::cpu::Domain;
use crate::object::Ref;
use crate::objects::{GateLinks, SpawnGate, Task};
use crate::reaper;
use crate::thread::{Content, Thread};
use core::sync::atomic::{AtomicPtr, Ordering};
use l4::CapIndex;
use l4::object::FailureReason;

/// A clone, seen from the call that began it.
pub(crate) struct Invocation {
    /// Counted, and the clone counted by it, until the account's memory is free.
    gate: Ref<SpawnGate>,
    /// The clone's task; nothing before it is made. It is freed before the account.
    task: AtomicPtr<Task>,
    /// Slot of the right to answer.
    pub(crate) answer: CapIndex,
    /// When the clone is ended.
    pub(crate) deadline: u64,
    /// It is the caller's own: who misses it has made it.
    pub(crate) is_callers: bool,
    /// Invocations above this one.
    pub(crate) depth: u64,
    /// The account's place in the gate's list.
    pub(crate) links: GateLinks,
}

/// When a clone has to have answered, and below how many others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// In nanoseconds of the clock.
    pub(crate) deadline: u64,
    /// The caller gave it with the call.
    pub(crate) is_callers: bool,
    pub(crate) depth: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The clone answered. If that reached the caller whole: label and first word.
    Answered(Option<(i64, u64)>),
    /// It ended without an answer.
    Failed(FailureReason),
    /// The caller does not wait any more.
    Abandoned,
}

impl Invocation {
    /// An invocation through a gate that has let it in.
    pub(crate) fn new(gate: Ref<SpawnGate>, terms: Terms) -> Invocation {
        Invocation {
            gate,
            task: AtomicPtr::new(core::ptr::null_mut()),
            answer: gate.answer(),
            deadline: terms.deadline,
            is_callers: terms.is_callers,
            depth: terms.depth,
            links: GateLinks::new(),
        }
    }

    /// Says what the clone's task is.
    pub(crate) fn set_task(&self, task: Ref<Task>) {
        self.task.store(task.as_ptr(), Ordering::Release);
    }

    /// The clone's task.
    pub(crate) fn task(&self) -> Option<Ref<Task>> {
        Ref::load(&self.task)
    }

    /// The account's memory is free.
    pub(crate) fn close(&self) {
        self.gate.remove_clone(&self.links);
        self.gate.leave();
    }
}

/// The account of the clone that `task` is.
pub(crate) fn account_of(task: Ref<Task>) -> Option<Ref<Account>> {
    let account = task.account()?;
    (account.invocation()?.task() == Some(task)).then_some(account)
}

/// Notes how the call of `caller`, which began the clone `task`, has ended, and begins the clone's end. The caller's home is
/// locked, and its reply capability gone.
pub(crate) fn conclude(domain: &Domain, caller: Ref<Thread>, task: Ref<Task>, outcome: Outcome) {
    let mut sending = caller.sending.get(domain);
    sending.content = Content::Message;
    caller.sending.set(domain, sending);
    let Some(account) = task.account() else { return };
    if let Some(invocation) = account.invocation() {
        invocation.gate.count(outcome);
    }
    reaper::destroy_aside(domain, account.erase());
}
