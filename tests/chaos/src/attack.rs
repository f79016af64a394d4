//! The attacker: makes random system calls with random arguments, some near to sensible ones, and never waits for long.

use fastrand::Rng;
use l4::protocol::{
    DATASPACE, DEBUG, EXCEPTION, FACTORY, GATE, ICU, IRQ, IRQ_CONTROL, PLATFORM, SCHEDULER, TASK, THREAD,
    VCON,
};
use l4::syscall::{self, Received};
use l4::{CapIndex, POLL, Selector, Tag, Utcb, cap, utcb};
use l4re::clock;

/// First word of the message with which an attacker ends. Random words don't equal it.
pub(crate) const DONE: u64 = 0x6b8f_0d52_91c7_3ae4;

/// Longest wait of a system call in nanoseconds.
const WAIT_NS: u64 = 20_000;

/// The protocols of kernel objects.
const PROTOCOLS: [i64; 13] = [
    DATASPACE,
    DEBUG,
    EXCEPTION,
    FACTORY,
    GATE,
    ICU,
    IRQ,
    IRQ_CONTROL,
    PLATFORM,
    SCHEDULER,
    TASK,
    THREAD,
    VCON,
];

/// Where what an attacker may have is, and what it speaks; the last one is the neighbour.
const HELD: [(CapIndex, i64); 6] = [
    (CapIndex::TASK, TASK),
    (CapIndex::THREAD, THREAD),
    (CapIndex::FACTORY, FACTORY),
    (CapIndex::SCHEDULER, SCHEDULER),
    (CapIndex::PARENT, 1),
    (CapIndex::FIRST_FREE, 1),
];

/// Addresses, sizes and numbers at which implementations go wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    0xfff,
    0x1000,
    0x3f_f000,
    0x40_0000,
    0x6000_0000_0000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_ffff_8000_0000,
    0xffff_ffff_ffff_f000,
    1 << 63,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// What became of the system calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    succeeded: u64,
    refused: u64,
    not_delivered: u64,
}

impl Tally {
    fn count(&mut self, received: Received) {
        if received.tag.is_error() {
            self.not_delivered += 1;
        } else if received.tag.label() < 0 {
            self.refused += 1;
        } else {
            self.succeeded += 1;
        }
    }
}

/// Makes `rounds` random system calls, reports to the parent, and sleeps.
pub(crate) fn run(seed: u64, rounds: u64) -> ! {
    let mut random = Rng::with_seed(seed);
    let mut tally = Tally::default();
    for _ in 0..rounds {
        tally.count(call(&mut random));
    }
    report(&tally);
    loop {
        syscall::sleep_until(l4::NEVER);
    }
}

fn report(tally: &Tally) {
    let utcb = Utcb::current();
    utcb.set_receive_slots(&[]);
    utcb.set_reply_slot(None);
    utcb.write(0, &[DONE, tally.succeeded, tally.refused, tally.not_delivered]);
    syscall::call(CapIndex::PARENT, Tag::new(0, 4, 0));
}

/// One random system call.
fn call(random: &mut Rng) -> Received {
    fill_utcb(random);
    let (selector, tag) = if random.u64(..2) == 0 {
        plausible(random)
    } else {
        (selector(random), tag(random))
    };
    let (send, receive) = (deadline(random), deadline(random));
    syscall::invoke(selector, tag, send, receive)
}

/// Random words in message and buffer registers; some of those of the previous call stay.
fn fill_utcb(random: &mut Rng) {
    let utcb = Utcb::current();
    let operation = match random.u64(..4) {
        0 => value(random),
        // Kernel objects' operations have small numbers; factories are asked for kinds, which are protocols.
        1 => PROTOCOLS[random.usize(..PROTOCOLS.len())] as u64,
        _ => random.u64(..20),
    };
    utcb.set_word(0, operation);
    let count = if random.u64(..16) == 0 {
        utcb::MESSAGE_WORDS
    } else {
        9
    };
    for index in 1..count {
        utcb.set_word(index, value(random));
    }
    let buffers = random.u64(..4) as usize;
    for index in 0..buffers {
        let buffer = if random.u64(..4) == 0 {
            value(random)
        } else {
            cap::receive_buffer(slot(random))
        };
        utcb.set_word(utcb::BUFFER_WORDS + index, buffer);
    }
    utcb.set_word(utcb::BUFFER_WORDS + buffers, 0);
    let reply = if random.u64(..8) == 0 {
        value(random) << 32
    } else {
        0
    };
    utcb.set_word(utcb::BUFFER_DESCRIPTOR, reply);
}

fn value(random: &mut Rng) -> u64 {
    match random.u64(..6) {
        0 => random.u64(..),
        1 => EDGES[random.usize(..EDGES.len())],
        2 => EDGES[random.usize(..EDGES.len())]
            .wrapping_add(random.u64(..0x4000))
            .wrapping_sub(0x2000),
        3 => random.u64(..64) << 12,
        // A capability item's or flexpage's words.
        4 => slot(random).word() << 12 | random.u64(..0x1000),
        _ => slot(random).word(),
    }
}

/// A slot that is likely to hold something, or any other number.
fn slot(random: &mut Rng) -> CapIndex {
    match random.u64(..8) {
        0 => CapIndex(random.u64(..) as u32),
        1 => CapIndex(random.u64(..u64::from(CapIndex::LIMIT)) as u32),
        2 | 3 => CapIndex(CapIndex::FIRST_FREE.0 + random.u64(..16) as u32),
        _ => CapIndex(random.u64(..u64::from(CapIndex::FIRST_FREE.0)) as u32),
    }
}

/// A call of something that the attacker may have, or made before, in the language that this understands.
fn plausible(random: &mut Rng) -> (Selector, Tag) {
    let (cap, protocol) = if random.u64(..3) == 0 {
        let made = CapIndex(CapIndex::FIRST_FREE.0 + random.u64(..16) as u32);
        (made, PROTOCOLS[random.usize(..PROTOCOLS.len())])
    } else {
        HELD[random.usize(..HELD.len())]
    };
    let words = 1 + random.u64(..9) as usize;
    (
        Selector::new(cap, Selector::SEND | Selector::RECEIVE),
        Tag::new(protocol, words, 0),
    )
}

fn selector(random: &mut Rng) -> Selector {
    let phases = if random.u64(..2) == 0 {
        Selector::SEND | Selector::RECEIVE
    } else {
        random.u64(..16)
    };
    match random.u64(..8) {
        0 => Selector(random.u64(..)),
        1 => Selector::own(phases),
        _ => Selector::new(slot(random), phases),
    }
}

fn tag(random: &mut Rng) -> Tag {
    if random.u64(..8) == 0 {
        return Tag(random.u64(..));
    }
    let label = match random.u64(..8) {
        0 => random.u64(..) as i64 >> 16,
        1 => random.u64(..8) as i64,
        _ => PROTOCOLS[random.usize(..PROTOCOLS.len())],
    };
    let items = if random.u64(..4) == 0 { random.u64(..8) } else { 0 };
    Tag::new(label, random.u64(..12) as usize, items as usize)
}

fn deadline(random: &mut Rng) -> u64 {
    match random.u64(..4) {
        0 => clock::after(random.u64(..WAIT_NS)),
        1 => random.u64(..WAIT_NS),
        _ => POLL,
    }
}
