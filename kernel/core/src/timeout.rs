//! Deadlines: per CPU a pairing heap of the timers of threads and notifications homed there.
//!
//! Arming a timer that is not the earliest, and disarming it again before it fires, takes constant time: that is what
//! an IPC with a deadline does (Fredman et al., 'The Pairing Heap', Algorithmica 1986).

use crate::cpu::Domain;
use crate::machine::{machine_cpu, machine_now, machine_poke, machine_set_timer};
use crate::object::Ref;
use crate::objects::Irq;
use crate::sync::Guarded;
use crate::thread::Thread;
use core::sync::atomic::{AtomicU32, Ordering};
use l4::NEVER;

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A blocked thread.
    Thread(Ref<Thread>),
    /// A notification that is to be triggered.
    Irq(Ref<Irq>),
}

impl Owner {
    fn timer(&self) -> &Timer {
        match self {
            Owner::Thread(thread) => &thread.timer,
            Owner::Irq(irq) => &irq.timer,
        }
    }
}

#[derive(Clone, Copy)]
struct Links {
    deadline: u64,
    armed: bool,
    child: Option<Owner>,
    sibling: Option<Owner>,
    /// Parent of a first child, else the sibling before.
    previous: Option<Owner>,
}

/// A deadline that a thread or notification waits for; guarded by its home CPU's lock.
pub struct Timer {
    links: Guarded<Links, Domain>,
}

impl Timer {
    pub(crate) const fn new() -> Timer {
        Timer {
            links: Guarded::new(Links {
                deadline: NEVER,
                armed: false,
                child: None,
                sibling: None,
                previous: None,
            }),
        }
    }

    /// When it fires, if it is armed.
    pub(crate) fn deadline(&self, domain: &Domain) -> Option<u64> {
        let links = self.links.get(domain);
        links.armed.then_some(links.deadline)
    }

    /// Tells whether the timer is armed.
    #[inline]
    pub(crate) fn is_armed(&self, domain: &Domain) -> bool {
        self.links.get(domain).armed
    }
}

/// A CPU's deadlines.
pub struct TimeoutQueue {
    root: Guarded<Option<Owner>, Domain>,
    /// When the hardware timer fires.
    programmed: Guarded<u64, Domain>,
    /// End of the current thread's time slice, if another one of its priority waits.
    slice_end: Guarded<u64, Domain>,
    cpu: AtomicU32,
}

impl TimeoutQueue {
    pub(crate) const fn new() -> TimeoutQueue {
        TimeoutQueue {
            root: Guarded::new(None),
            programmed: Guarded::new(NEVER),
            slice_end: Guarded::new(NEVER),
            cpu: AtomicU32::new(0),
        }
    }

    /// Says whose queue it is.
    pub(crate) fn set_cpu(&self, cpu: u32) {
        self.cpu.store(cpu, Ordering::Relaxed);
    }

    /// Arms the timer of `owner`; [`NEVER`] does nothing.
    #[inline(never)]
    pub(crate) fn arm(&self, domain: &Domain, owner: Owner, deadline: u64) {
        if deadline == NEVER {
            return;
        }
        debug_assert!(!owner.timer().is_armed(domain));
        let links = Links {
            deadline,
            armed: true,
            child: None,
            sibling: None,
            previous: None,
        };
        owner.timer().links.set(domain, links);
        let root = match self.root.get(domain) {
            Some(root) => meld(domain, root, owner),
            None => owner,
        };
        self.root.set(domain, Some(root));
        self.program(domain);
    }

    /// Disarms the timer of `owner`, if it is armed.
    #[inline]
    pub(crate) fn disarm(&self, domain: &Domain, owner: Owner) {
        if owner.timer().is_armed(domain) {
            self.remove(domain, owner);
        }
    }

    #[inline(never)]
    fn remove(&self, domain: &Domain, owner: Owner) {
        let links = owner.timer().links.get(domain);
        let rest = links.child.map(|child| meld_siblings(domain, child));
        if self.root.get(domain) == Some(owner) {
            self.root.set(domain, rest);
        } else {
            unhook(domain, owner, &links);
            if let (Some(root), Some(rest)) = (self.root.get(domain), rest) {
                self.root.set(domain, Some(meld(domain, root, rest)));
            }
        }
        owner.timer().links.set(
            domain,
            Links {
                armed: false,
                child: None,
                ..links
            },
        );
    }

    /// Takes out one timer whose deadline has passed.
    pub(crate) fn take_expired(&self, domain: &Domain, now: u64) -> Option<Owner> {
        let root = self.root.get(domain)?;
        if root.timer().links.get(domain).deadline > now {
            return None;
        }
        self.remove(domain, root);
        Some(root)
    }

    /// Sets the end of the current thread's slice; [`NEVER`] if nobody waits for it.
    pub(crate) fn set_slice_end(&self, domain: &Domain, end: u64) {
        self.slice_end.set(domain, end);
        if end != NEVER {
            self.program(domain);
        }
    }

    /// End of the current thread's slice; [`NEVER`] if nobody of its priority waits.
    #[inline]
    pub(crate) fn slice_end(&self, domain: &Domain) -> u64 {
        self.slice_end.get(domain)
    }

    /// Tells whether the slice is over.
    pub(crate) fn slice_is_over(&self, domain: &Domain, now: u64) -> bool {
        self.slice_end.get(domain) <= now
    }

    /// Programs the hardware timer if something is due before it fires. Firing too early does no harm.
    pub(crate) fn program(&self, domain: &Domain) {
        let earliest = self
            .root
            .get(domain)
            .map_or(NEVER, |root| root.timer().links.get(domain).deadline);
        self.program_at(domain, earliest.min(self.slice_end.get(domain)));
    }

    /// Makes the hardware timer fire at `deadline` or before.
    pub(crate) fn program_at(&self, domain: &Domain, deadline: u64) {
        if deadline < self.programmed.get(domain) {
            self.programmed.set(domain, deadline);
            let cpu = self.cpu.load(Ordering::Relaxed);
            if cpu == machine_cpu() {
                machine_set_timer(deadline);
            } else {
                // Another CPU's timer is that CPU's to program.
                machine_poke(cpu);
            }
        }
    }

    /// The hardware timer fired: what is programmed counts no more.
    pub(crate) fn fired(&self, domain: &Domain) {
        self.programmed.set(domain, NEVER);
    }

    /// Programs the timer anew, whatever was programmed by others on this CPU's behalf.
    pub(crate) fn reprogram(&self, domain: &Domain) {
        let before = self.programmed.get(domain);
        self.fired(domain);
        self.program(domain);
        // Time for dying objects is in no queue.
        self.program_at(domain, before);
    }
}

/// Present time if `deadline` needs it: whether it has passed.
#[inline]
pub(crate) fn has_passed(deadline: u64) -> bool {
    match deadline {
        NEVER => false,
        l4::POLL => true,
        _ => deadline <= machine_now(),
    }
}

fn meld(domain: &Domain, one: Owner, other: Owner) -> Owner {
    let (first, second) = (one.timer().links.get(domain), other.timer().links.get(domain));
    if second.deadline < first.deadline {
        adopt(domain, other, one)
    } else {
        adopt(domain, one, other)
    }
}

/// Makes `child` the first child of `parent`.
fn adopt(domain: &Domain, parent: Owner, child: Owner) -> Owner {
    let old = parent.timer().links.get(domain);
    let links = child.timer().links.get(domain);
    child.timer().links.set(
        domain,
        Links {
            sibling: old.child,
            previous: Some(parent),
            ..links
        },
    );
    if let Some(next) = old.child {
        let links = next.timer().links.get(domain);
        next.timer().links.set(
            domain,
            Links {
                previous: Some(child),
                ..links
            },
        );
    }
    parent.timer().links.set(
        domain,
        Links {
            child: Some(child),
            ..old
        },
    );
    parent
}

/// Takes a timer that is not the root out of its siblings.
fn unhook(domain: &Domain, owner: Owner, links: &Links) {
    if let Some(previous) = links.previous {
        let before = previous.timer().links.get(domain);
        let changed = if before.child == Some(owner) {
            Links {
                child: links.sibling,
                ..before
            }
        } else {
            Links {
                sibling: links.sibling,
                ..before
            }
        };
        previous.timer().links.set(domain, changed);
    }
    if let Some(next) = links.sibling {
        let after = next.timer().links.get(domain);
        next.timer().links.set(
            domain,
            Links {
                previous: links.previous,
                ..after
            },
        );
    }
}

/// Melds a list of siblings in two passes: pairs first, then all pairs, last to first.
fn meld_siblings(domain: &Domain, first: Owner) -> Owner {
    let mut pairs: Option<Owner> = None;
    let mut rest = Some(first);
    while let Some(one) = rest {
        rest = detach(domain, one);
        let pair = match rest {
            Some(other) => {
                rest = detach(domain, other);
                meld(domain, one, other)
            }
            None => one,
        };
        // The pairs are kept in a list, last first, by their sibling links.
        let links = pair.timer().links.get(domain);
        pair.timer().links.set(
            domain,
            Links {
                sibling: pairs,
                ..links
            },
        );
        pairs = Some(pair);
    }
    let mut result = first;
    let mut started = false;
    while let Some(pair) = pairs {
        pairs = detach(domain, pair);
        result = if started { meld(domain, result, pair) } else { pair };
        started = true;
    }
    result
}

/// Cuts a timer off its siblings and returns the next of them.
fn detach(domain: &Domain, owner: Owner) -> Option<Owner> {
    let links = owner.timer().links.get(domain);
    owner.timer().links.set(
        domain,
        Links {
            sibling: None,
            previous: None,
            ..links
        },
    );
    links.sibling
}

#[cfg(test)]
impl TimeoutQueue {
    /// Whose timers are in the heap, with their deadlines. Checks that the heap is one.
    pub(crate) fn armed(&self, domain: &Domain) -> std::vec::Vec<(Owner, u64)> {
        let mut found = std::vec::Vec::new();
        let mut open: std::vec::Vec<_> = self
            .root
            .get(domain)
            .map(|root| (root, None))
            .into_iter()
            .collect();
        while let Some((owner, before)) = open.pop() {
            let links = owner.timer().links.get(domain);
            assert!(links.armed, "a timer in the heap is not armed");
            let previous = before.map(|(previous, _)| previous);
            assert_eq!(links.previous, previous, "links of the heap disagree");
            assert!(
                before.is_none_or(|(_, least)| least <= links.deadline),
                "a parent is later"
            );
            let least = before.map_or(0, |(_, least)| least);
            open.extend(links.sibling.map(|sibling| (sibling, Some((owner, least)))));
            open.extend(links.child.map(|child| (child, Some((owner, links.deadline)))));
            found.push((owner, links.deadline));
        }
        found
    }
}
