//! What a message carries: words, label, capabilities; and what it must not carry.
#![expect(unsafe_code, reason = "vector registers are looked at in assembly")]

use crate::harness::{Failure, Test, TestResult, other_cpu};
use crate::partner::{LABEL, Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use l4::cap::SendItem;
use l4::object::{MapEntry, Placement, Task};
use l4::{CapIndex, Error, IpcError, NEVER, POLL, Rights, Tag, Utcb, syscall};
use l4re::thread::Builder;
use l4re::{OwnedCap, Slot, clock, server};

pub(crate) const TESTS: &[Test] = tests![messages:
    all_lengths_arrive,
    words_beyond_the_message_stay,
    labels_and_flags_arrive_as_they_should,
    too_long_messages_are_refused,
    the_label_tells_the_rights_of_the_capability,
    a_minted_label_replaces_the_gates,
    minting_needs_the_server_right,
    capabilities_arrive_in_the_offered_slots,
    void_items_keep_their_place,
    more_items_than_slots_are_cut,
    an_empty_slot_passes_nothing,
    rights_only_shrink_on_the_way,
    a_gate_without_strong_passes_none,
    a_granted_capability_moves,
    a_received_capability_replaces_the_old_one,
    an_answer_brings_capabilities,
    vector_registers_carry_nothing,
    control_words_are_kept,
    a_utcb_that_changes_meanwhile_harms_nobody,
];

const OWN: Task = Task(CapIndex::TASK);

fn all_lengths_arrive() -> TestResult {
    for place in Place::all()? {
        let partner = Partner::start(Role::Echo, place)?;
        for length in 0..=Tag::MAX_WORDS {
            let words: [u64; Tag::MAX_WORDS] = core::array::from_fn(|index| (index * 0x101 + length) as u64);
            let received = partner.call(&words[..length])?;
            check_eq!(received.tag.words(), length);
            let mut answer = [0; Tag::MAX_WORDS];
            Utcb::current().read(0, &mut answer[..length]);
            check_eq!(answer[..length], words[..length]);
        }
    }
    Ok(())
}

fn words_beyond_the_message_stay() -> TestResult {
    for place in Place::all()? {
        let partner = Partner::start(Role::Describe, place)?;
        for length in [0, 1, 7, 62, 63] {
            partner.call(&[0x11; Tag::MAX_WORDS][..length])?;
            check_eq!(Utcb::current().word(2), 0);
        }
    }
    Ok(())
}

fn labels_and_flags_arrive_as_they_should() -> TestResult {
    let partner = Partner::start(Role::Describe, Place::TASK)?;
    for label in [0, 1, 0x4000, -99, i64::MAX >> 16, i64::MIN >> 16] {
        let tag = Tag::new(label, 0, 0).with(Tag::ERROR | Tag::SCHEDULE);
        syscall::call(partner.gate.index(), tag).result()?;
        let arrived = Tag(Utcb::current().word(1));
        check_eq!(arrived.label(), label);
        check!(!arrived.is_error());
    }
    let echo = Partner::start(Role::Echo, Place::TASK)?;
    check_eq!(
        syscall::call(echo.gate.index(), Tag::new(-13, 0, 0)).result(),
        Err(Error::AccessDenied)
    );
    check_eq!(
        syscall::call(echo.gate.index(), Tag::new(13, 0, 0)).result(),
        Ok(13)
    );
    Ok(())
}

fn too_long_messages_are_refused() -> TestResult {
    let partner = Partner::start(Role::Echo, Place::HERE)?;
    for (words, items) in [(62, 1), (63, 31), (0, 32), (63, 63)] {
        let error = syscall::call(partner.gate.index(), Tag::new(1, words, items)).result();
        check_eq!(error, Err(Error::MessageTooLong));
    }
    Ok(())
}

/// A copy of a capability in this task.
fn copy(cap: CapIndex, rights: Rights, label: u64) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| {
        OWN.map(&[MapEntry {
            from: cap,
            to: slot,
            rights,
            grant: false,
            label,
        }])
    })
}

/// The label that the partner sees when it is called through `cap`.
fn seen_label(cap: CapIndex) -> Result<u64, Error> {
    syscall::call(cap, Tag::new(1, 0, 0)).result()?;
    Ok(Utcb::current().word(0))
}

fn the_label_tells_the_rights_of_the_capability() -> TestResult {
    let partner = Partner::start(Role::Describe, Place::TASK)?;
    for (rights, bits) in [
        (Rights::all(), 3),
        (Rights::CLIENT, 3),
        (Rights::READ, 0),
        (Rights::READ | Rights::WRITE, 1),
        (Rights::READ | Rights::STRONG, 2),
    ] {
        let cap = copy(partner.gate.index(), rights, 0)?;
        check_eq!(seen_label(cap.index())?, LABEL | bits);
    }
    Ok(())
}

fn a_minted_label_replaces_the_gates() -> TestResult {
    let partner = Partner::start(Role::Describe, Place::TASK)?;
    let minted = copy(partner.gate.index(), Rights::CLIENT, 0x1230)?;
    check_eq!(seen_label(minted.index())?, 0x1233);
    let copied = copy(minted.index(), Rights::READ, 0)?;
    check_eq!(seen_label(copied.index())?, 0x1230);
    check_eq!(
        copy(partner.gate.index(), Rights::CLIENT, 0x1231).err(),
        Some(Error::Invalid)
    );
    Ok(())
}

fn minting_needs_the_server_right() -> TestResult {
    let partner = Partner::start(Role::Describe, Place::TASK)?;
    let client = copy(partner.gate.index(), Rights::CLIENT, 0)?;
    check!(copy(client.index(), Rights::CLIENT, 0x1230).is_err());
    // Without the server right even the gate's own operations are messages to the server.
    Utcb::current().set_word(0, l4::protocol::gate::GET_INFO);
    syscall::call(client.index(), Tag::new(l4::protocol::GATE, 1, 0)).result()?;
    check_eq!(Tag(Utcb::current().word(1)).label(), l4::protocol::GATE);
    Ok(())
}

/// Calls a partner with items; returns what it says: items, first slot full, second slot full, error.
fn pass(cap: CapIndex, items: &[[u64; 2]]) -> Result<[u64; 4], Error> {
    let utcb = Utcb::current();
    for (index, item) in items.iter().enumerate() {
        utcb.write(2 * index, item);
    }
    syscall::call(cap, Tag::new(1, 0, items.len())).result()?;
    let mut words = [0; 4];
    utcb.read(0, &mut words);
    Ok(words)
}

fn capabilities_arrive_in_the_offered_slots() -> TestResult {
    let item = SendItem::map(CapIndex::DEBUG, Rights::READ).words();
    for place in Place::all()? {
        let partner = Partner::start(Role::TakeCaps, place)?;
        check_eq!(pass(partner.gate.index(), &[])?, [0, 0, 0, 0]);
        check_eq!(pass(partner.gate.index(), &[item])?, [1, 1, 0, 0]);
        check_eq!(pass(partner.gate.index(), &[item, item])?, [2, 1, 1, 0]);
    }
    Ok(())
}

fn void_items_keep_their_place() -> TestResult {
    let item = SendItem::map(CapIndex::DEBUG, Rights::READ).words();
    let partner = Partner::start(Role::TakeCaps, Place::TASK)?;
    check_eq!(pass(partner.gate.index(), &[[0, 0], item])?, [2, 0, 1, 0]);
    Ok(())
}

fn more_items_than_slots_are_cut() -> TestResult {
    let item = SendItem::map(CapIndex::DEBUG, Rights::READ).words();
    for place in Place::all()? {
        let partner = Partner::start(Role::TakeCaps, place)?;
        let cap = partner.gate.index();
        let cut = pass(cap, &[item, item, item]);
        check_eq!(cut, Err(Error::Ipc(IpcError::SendCut)));
        check_eq!(pass(cap, &[item])?, [1, 1, 0, 0]);
    }
    Ok(())
}

fn an_empty_slot_passes_nothing() -> TestResult {
    let partner = Partner::start(Role::TakeCaps, Place::TASK)?;
    let cap = partner.gate.index();
    let empty = SendItem::map(CapIndex(0xf07), Rights::READ).words();
    for item in [empty, [u64::MAX, u64::MAX], [8, u64::MAX]] {
        // Refused, or nothing arrives.
        check!(
            pass(cap, &[item]).is_err_and(|error| error == Error::Ipc(IpcError::SendMapFailed))
                || pass(cap, &[item])? == [1, 0, 0, 0]
        );
    }
    check_eq!(pass(cap, &[])?, [0, 0, 0, 0]);
    Ok(())
}

/// Receives one message with a capability into a fresh slot, sent by another thread through `through`.
fn receive_from(through: CapIndex, item: SendItem) -> Result<OwnedCap, Failure> {
    let sender = Builder {
        placement: Placement {
            cpu: 0,
            priority: 101,
            slice_us: 0,
        },
        ..Builder::default()
    }
    .spawn(move || {
        Utcb::current().write(0, &item.words());
        syscall::send(through, Tag::new(1, 0, 1), NEVER);
    })?;
    let slot = Slot::allocate()?;
    Utcb::current().set_receive_slots(&[slot.index()]);
    let received = syscall::wait(clock::after(1_000_000_000)).result();
    Utcb::current().set_receive_slots(&[]);
    sender.join()?;
    received?;
    Ok(slot.filled())
}

fn rights_only_shrink_on_the_way() -> TestResult {
    let gate = server::create_gate(0)?;
    let readable = copy(CapIndex::FACTORY, Rights::READ, 0)?;
    let received = receive_from(gate.index(), SendItem::map(readable.index(), Rights::all()))?;
    let slot = Slot::allocate()?;
    let refused = l4::object::Factory(received.index()).create_task(slot.index());
    check_eq!(refused, Err(Error::NotPermitted));
    let weakened = receive_from(gate.index(), SendItem::map(CapIndex::FACTORY, Rights::READ))?;
    let refused = l4::object::Factory(weakened.index()).create_task(slot.index());
    check_eq!(refused, Err(Error::NotPermitted));
    let whole = receive_from(gate.index(), SendItem::map(CapIndex::FACTORY, Rights::all()))?;
    check!(
        l4::object::Factory(whole.index())
            .create_task(slot.index())
            .is_ok()
    );
    slot.filled().delete()?;
    Ok(())
}

fn a_gate_without_strong_passes_none() -> TestResult {
    let gate = server::create_gate(0)?;
    let weak = copy(gate.index(), Rights::READ | Rights::WRITE, 0)?;
    let received = receive_from(weak.index(), SendItem::map(CapIndex::FACTORY, Rights::all()))?;
    let slot = Slot::allocate()?;
    let refused = l4::object::Factory(received.index()).create_task(slot.index());
    check_eq!(refused, Err(Error::NotPermitted));
    Ok(())
}

fn a_granted_capability_moves() -> TestResult {
    let gate = server::create_gate(0)?;
    let moving = copy(CapIndex::DEBUG, Rights::CLIENT, 0)?;
    let received = receive_from(gate.index(), SendItem::grant(moving.index()))?;
    check_eq!(OWN.is_valid(moving.index()), Ok(false));
    check_eq!(OWN.is_equal(received.index(), CapIndex::DEBUG), Ok(true));
    Ok(())
}

fn a_received_capability_replaces_the_old_one() -> TestResult {
    let partner = Partner::start(Role::TakeCaps, Place::TASK)?;
    let item = SendItem::map(CapIndex::DEBUG, Rights::READ).words();
    let dataspace = l4re::memory::create_dataspace(0x1000)?;
    let before = crate::harness::settled_counters()?.dataspaces;
    let slot = CapIndex(0xf00);
    OWN.map(&[MapEntry::copy(dataspace.index(), slot, Rights::all())])?;
    drop(dataspace);
    Task(partner.task()).map(&[MapEntry {
        grant: true,
        ..MapEntry::copy(slot, slot, Rights::all())
    }])?;
    check_eq!(pass(partner.gate.index(), &[item])?, [1, 1, 0, 0]);
    check_eq!(crate::harness::settled_counters()?.dataspaces, before - 1);
    Ok(())
}

fn an_answer_brings_capabilities() -> TestResult {
    let gate = server::create_gate(0)?;
    let cap = gate.index();
    let slot = Slot::allocate()?;
    let into = slot.index();
    let client = Builder {
        placement: Placement {
            cpu: 0,
            priority: 101,
            slice_us: 0,
        },
        ..Builder::default()
    }
    .spawn(move || {
        Utcb::current().set_receive_slots(&[into]);
        syscall::call(cap, Tag::new(1, 0, 0));
    })?;
    syscall::wait(clock::after(1_000_000_000)).result()?;
    Utcb::current().write(0, &SendItem::map(CapIndex::DEBUG, Rights::READ).words());
    syscall::reply(None, Tag::new(0, 0, 1)).result()?;
    client.join()?;
    check_eq!(OWN.is_equal(into, CapIndex::DEBUG), Ok(true));
    drop(slot.filled());
    Ok(())
}

fn vector_registers_carry_nothing() -> TestResult {
    let (low, high): (u64, u64);
    // SAFETY: Only registers that are declared clobbered are changed; the system call sleeps until a time in the past.
    unsafe {
        core::arch::asm!(
            "movq xmm3, {pattern}",
            "movq xmm15, {pattern}",
            "syscall",
            "movq r12, xmm3",
            "movq r13, xmm15",
            pattern = in(reg) 0x1234_5678_9abc_def0u64,
            lateout("r12") low,
            lateout("r13") high,
            inlateout("rax") Tag::NATIVE => _,
            inlateout("rsi") 0u64 => _,
            in("rdx") l4::Selector::own(l4::Selector::RECEIVE).0,
            in("r8") POLL,
            in("r9") POLL,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
    check_eq!((low, high), (0, 0));
    Ok(())
}

fn control_words_are_kept() -> TestResult {
    let partner = Partner::start(Role::Echo, Place::TASK)?;
    let (mut mxcsr, mut control) = (0x5f80u32, 0x0f7fu16);
    let usual = (0x1f80u32, 0x37fu16);
    // SAFETY: The rounding modes are set back below; nothing computes with floating point in between.
    unsafe {
        core::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const mxcsr, in(reg) &raw const control)
    };
    let called = partner.call(&[1]);
    clock::sleep(2_000_000);
    // SAFETY: Stores the control words and restores the usual ones.
    unsafe {
        core::arch::asm!(
            "stmxcsr [{}]", "fnstcw [{}]", "ldmxcsr [{}]", "fldcw [{}]",
            in(reg) &raw mut mxcsr, in(reg) &raw mut control,
            in(reg) &raw const usual.0, in(reg) &raw const usual.1,
        );
    };
    called?;
    check_eq!((mxcsr & 0xffc0, control & 0xf3f), (0x5f80, 0xf3f));
    Ok(())
}

/// Another CPU scribbles over the items of messages while they are sent.
fn a_utcb_that_changes_meanwhile_harms_nobody() -> TestResult {
    let cpu = other_cpu()?;
    let partner = Partner::start(Role::TakeCaps, Place::TASK)?;
    let stop = Arc::new(AtomicBool::new(false));
    let own = Arc::new(AtomicPtr::new(
        core::ptr::from_ref(Utcb::current()).cast_mut().cast::<u64>(),
    ));
    let (ended, target) = (stop.clone(), own.clone());
    // Not the original: a mixture of words may move it.
    let passed = Slot::allocate()?.filled();
    let slot = passed.index();
    let scribbler = Builder {
        placement: Placement {
            cpu,
            priority: 100,
            slice_us: 0,
        },
        ..Builder::default()
    }
    .spawn(move || {
        let words = target.load(Ordering::SeqCst);
        let good = SendItem::map(slot, Rights::READ).words();
        let mut round = 0u64;
        while !ended.load(Ordering::Relaxed) {
            if round.is_multiple_of(256) {
                // It is there unless it was moved.
                let _ = OWN.map(&[MapEntry::copy(CapIndex::DEBUG, slot, Rights::READ)]);
            }
            let bad = [round.rotate_left(20), u64::MAX ^ round];
            for (index, word) in good.into_iter().chain(bad).enumerate() {
                // SAFETY: The first words of the UTCB of a thread of this task that outlives this one. Nobody relies
                // on their contents: that is the test.
                unsafe { words.add((round as usize + index) % 4).write_volatile(word) };
            }
            round += 1;
        }
    })?;
    let mut delivered = 0;
    for _ in 0..2000 {
        let result = pass(partner.gate.index(), &[[8, 0x30], [8, 0x30]]);
        delivered += u64::from(result.is_ok());
    }
    stop.store(true, Ordering::Relaxed);
    // Until it has stopped, it may change the words of any system call.
    while !scribbler.is_finished() {
        core::hint::spin_loop();
    }
    scribbler.join()?;
    check!(delivered > 0);
    check_eq!(pass(partner.gate.index(), &[])?, [0, 0, 0, 0]);
    Ok(())
}
