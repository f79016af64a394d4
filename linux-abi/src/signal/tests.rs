use super::*;
use crate::identity::PID;
use crate::registers::{Machine, Registers, VECTOR_SIZE};
use crate::testing::{BASE, FakeSystem, call, outcome, process};
use crate::{Errno, Outcome};

const SIGABRT: u64 = 6;
const SIGUSR1: u64 = 10;
const SIGSEGV: u64 = 11;
const SIGTERM: u64 = 15;
const SIGNAL: u64 = 34;

/// Where actions and sets are for calls.
const ARGUMENT: u64 = BASE + 0x3000;
const HANDLER: u64 = 0x40_1000;
const RESTORER_ADDRESS: u64 = 0x40_2000;
/// The program's stack pointer.
const POINTER: u64 = BASE + 0x2008;
/// Offsets in the frame: information, context, and in this the vector state's address.
const INFO: u64 = 312;
const CONTEXT: u64 = 8;
const VECTORS: u64 = CONTEXT + 40 + 184;

fn act(process: &mut Process<FakeSystem>, signal: u64, handler: u64, flags: u64, mask: u64) {
    let words = [handler, flags | RESTORER, RESTORER_ADDRESS, mask];
    user::write_words(&mut process.system, ARGUMENT, &words).unwrap();
    assert_eq!(call(process, 13, &[signal, ARGUMENT, 0, 8]), Ok(0));
}

fn mask(process: &mut Process<FakeSystem>, how: u64, set: u64) -> Outcome {
    user::write_words(&mut process.system, ARGUMENT, &[set]).unwrap();
    outcome(process, 14, &[how, ARGUMENT, 0, 8])
}

/// The calling thread's state.
struct Thread {
    registers: Registers,
    vectors: [u8; VECTOR_SIZE],
}

impl Thread {
    fn new() -> Thread {
        let registers = Registers {
            rax: 1,
            rbx: 2,
            rcx: 3,
            r11: 4,
            r15: 5,
            rsp: POINTER,
            rip: 0x40_0010,
            rflags: 0x246,
            ..Registers::default()
        };
        let mut vectors = [0; VECTOR_SIZE];
        vectors[160] = 0xaa;
        vectors[512] = 7;
        vectors[600] = 0xbb;
        Thread { registers, vectors }
    }

    fn machine(&mut self) -> Machine<'_> {
        Machine {
            registers: &mut self.registers,
            vectors: &mut self.vectors,
            has_xsave: true,
        }
    }

    fn attend(&mut self, process: &mut Process<FakeSystem>, call: Option<u64>) -> Outcome {
        process.deliver_signals(process.system.thread, &mut self.machine(), call)
    }
}

fn word(process: &mut Process<FakeSystem>, address: u64) -> u64 {
    user::read_words::<1>(&mut process.system, address).unwrap()[0]
}

#[test]
fn actions_are_kept() {
    let mut process = process();
    user::write_words(&mut process.system, BASE, &[1, 2, 3, 4]).unwrap();
    assert_eq!(call(&mut process, 13, &[11, BASE, BASE + 64, 8]), Ok(0));
    assert_eq!(call(&mut process, 13, &[11, 0, BASE + 32, 8]), Ok(0));
    assert_eq!(user::read_words(&mut process.system, BASE + 32), Ok([1, 2, 3, 4]));
    assert_eq!(user::read_words(&mut process.system, BASE + 64), Ok([0; 4]));
    for bad in [[0, 0, 0, 8], [65, 0, 0, 8], [9, BASE, 0, 8], [11, 0, 0, 4]] {
        assert_eq!(call(&mut process, 13, &bad), Err(22), "{bad:?}");
    }
}

#[test]
fn abort_ends_the_program_with_134() {
    let mut process = process();
    assert_eq!(
        outcome(&mut process, 234, &[PID, PID, SIGABRT]),
        Outcome::Exit(134)
    );
}

#[test]
fn ignored_and_harmless_signals_do_nothing() {
    let mut process = process();
    act(&mut process, SIGTERM, HANDLER_IGNORE, 0, 0);
    for signal in [0, SIGTERM, 17, 28] {
        assert_eq!(call(&mut process, 62, &[PID, signal]), Ok(0));
    }
    assert_eq!(call(&mut process, 62, &[99, SIGTERM]), Err(3));
    assert_eq!(call(&mut process, 62, &[PID, 65]), Err(22));
    assert!(process.is_running() && process.system.interrupted.is_empty());
}

#[test]
fn blocked_signals_wait_until_they_are_unblocked() {
    let mut process = process();
    assert_eq!(
        mask(&mut process, SET_BLOCK, 1 << (SIGTERM - 1)),
        Outcome::Return(0)
    );
    assert_eq!(call(&mut process, 62, &[PID, SIGTERM]), Ok(0));
    assert_eq!(call(&mut process, 127, &[BASE, 8]), Ok(0));
    assert_eq!(word(&mut process, BASE), 1 << (SIGTERM - 1));
    assert_eq!(mask(&mut process, SET_MASK, 0), Outcome::Return(0));
    assert_eq!(process.system.interrupted, [0]);
    assert_eq!(Thread::new().attend(&mut process, None), Outcome::Exit(143));
}

#[test]
fn a_frame_keeps_everything_and_its_return_brings_it_back() {
    let mut process = process();
    act(&mut process, SIGUSR1, HANDLER, 0, 1 << (SIGTERM - 1));
    assert_eq!(call(&mut process, 234, &[PID, PID, SIGUSR1]), Ok(0));
    let mut thread = Thread::new();
    let before = Thread::new();
    assert_eq!(thread.attend(&mut process, None), Outcome::Return(0));
    assert!(process.system.interrupted.is_empty(), "it has been looked at");
    let frame = thread.registers.rsp;
    assert!(frame + 128 < POINTER && frame % 16 == 8);
    assert_eq!(thread.registers.rip, HANDLER);
    assert_eq!(
        (thread.registers.rdi, thread.registers.rsi),
        (SIGUSR1, frame + INFO)
    );
    assert_eq!(thread.registers.rdx, frame + CONTEXT);
    assert_eq!(word(&mut process, frame), RESTORER_ADDRESS);
    assert_eq!(word(&mut process, frame + INFO) as u32, SIGUSR1 as u32);
    let state = word(&mut process, frame + VECTORS);
    assert_eq!(state % 64, 0);
    assert_eq!(word(&mut process, state + 464) as u32, 0x4650_5853);
    assert_eq!(process.system.peek(state + 832, 4), 0x4650_5845u32.to_le_bytes());
    assert_eq!(process.threads.current().signals.blocked, 1 << 9 | 1 << 14);
    // The handler returns.
    thread.registers = Registers {
        rsp: frame + CONTEXT,
        ..Registers::default()
    };
    thread.vectors.fill(0);
    assert_eq!(outcome(&mut process, 15, &[]), Outcome::ReturnFromHandler);
    assert_eq!(
        process.return_from_handler(0, &mut thread.machine()),
        Outcome::Return(0)
    );
    assert_eq!(thread.registers, before.registers);
    assert_eq!((thread.vectors[160], thread.vectors[600]), (0xaa, 0xbb));
    assert_eq!(process.threads.current().signals.blocked, 0);
}

#[test]
fn frames_that_lie_end_the_program_or_are_put_right() {
    for (offset, value, expected) in [
        // An address that no instruction can have; flags that a program cannot set; a vector state that is not there.
        (CONTEXT + 40 + 128, u64::MAX, Outcome::Exit(139)),
        (CONTEXT + 40 + 136, u64::MAX, Outcome::Return(0)),
        (VECTORS, 8, Outcome::Exit(139)),
        (VECTORS, 0, Outcome::Return(0)),
    ] {
        let mut process = process();
        act(&mut process, SIGUSR1, HANDLER, 0, 0);
        assert_eq!(call(&mut process, 200, &[PID, SIGUSR1]), Ok(0));
        let mut thread = Thread::new();
        assert_eq!(thread.attend(&mut process, None), Outcome::Return(0));
        let frame = thread.registers.rsp;
        process.system.poke(frame + offset, &value.to_le_bytes());
        thread.registers.rsp = frame + CONTEXT;
        assert_eq!(process.return_from_handler(0, &mut thread.machine()), expected);
        assert_eq!(thread.registers.rflags & 0x3000, 0);
    }
}

#[test]
fn calls_are_restarted_as_the_handlers_flags_say() {
    for (flags, result, expected) in [
        (0, Errno::RESTART, (Errno::INTR.result(), 0x40_0010)),
        (RESTART, Errno::RESTART, (77, 0x40_000e)),
        (
            RESTART,
            Errno::RESTART_UNHANDLED,
            (Errno::INTR.result(), 0x40_0010),
        ),
        (RESTART, Errno::AGAIN, (Errno::AGAIN.result(), 0x40_0010)),
    ] {
        let mut process = process();
        act(&mut process, SIGUSR1, HANDLER, flags, 0);
        assert_eq!(call(&mut process, 62, &[0, SIGUSR1]), Ok(0));
        let mut thread = Thread::new();
        thread.registers.rax = result.result();
        assert_eq!(thread.attend(&mut process, Some(77)), Outcome::Return(0));
        let context = thread.registers.rdx + 40;
        assert_eq!(
            (
                word(&mut process, context + 13 * 8),
                word(&mut process, context + 16 * 8)
            ),
            expected
        );
    }
    // Nothing was to be done after all.
    let mut thread = Thread::new();
    thread.registers.rax = Errno::RESTART_UNHANDLED.result();
    assert_eq!(thread.attend(&mut process(), Some(77)), Outcome::Return(0));
    assert_eq!((thread.registers.rax, thread.registers.rip), (77, 0x40_000e));
}

#[test]
fn waits_end_when_a_signal_is_due() {
    let mut process = process();
    act(&mut process, SIGUSR1, HANDLER, 0, 0);
    assert_eq!(outcome(&mut process, 34, &[]), Outcome::Wait(l4::NEVER));
    assert_eq!(call(&mut process, 62, &[0, SIGUSR1]), Ok(0));
    let interrupted = Outcome::Return(Errno::RESTART_UNHANDLED.result());
    assert_eq!(outcome(&mut process, 34, &[]), interrupted);
    user::write_words(&mut process.system, BASE, &[5, 0]).unwrap();
    assert_eq!(outcome(&mut process, 35, &[BASE, BASE + 16]), interrupted);
    assert_eq!(word(&mut process, BASE + 16), 5);
}

#[test]
fn a_fault_enters_its_handler_unless_it_is_blocked() {
    let mut process = process();
    let fault = Fault {
        vector: 14,
        error: 6,
        address: 0x1234,
    };
    let mut thread = Thread::new();
    assert_eq!(process.deliver_fault(0, &mut thread.machine(), fault), None);
    act(&mut process, SIGSEGV, HANDLER, RESET, 0);
    let entered = process.deliver_fault(0, &mut thread.machine(), fault);
    assert_eq!(entered, Some(Outcome::Return(0)));
    let info = thread.registers.rsi;
    assert_eq!(word(&mut process, info + 8) as u32, 1, "SEGV_MAPERR");
    assert_eq!(word(&mut process, info + 16), 0x1234);
    assert_eq!(
        word(&mut process, thread.registers.rdx + 40 + 22 * 8),
        0x1234,
        "cr2"
    );
    // In its handler the signal is blocked, and the handler was for once.
    assert_eq!(
        process.deliver_fault(0, &mut Thread::new().machine(), fault),
        None
    );
    act(&mut process, SIGSEGV, HANDLER, 0, 0);
    assert_eq!(
        process.deliver_fault(0, &mut Thread::new().machine(), fault),
        None
    );
    assert_eq!(mask(&mut process, SET_MASK, 0), Outcome::Return(0));
    let mut lost = Thread::new();
    lost.registers.rsp = 0x100;
    assert_eq!(process.deliver_fault(0, &mut lost.machine(), fault), None);
    let there = Fault {
        address: BASE,
        ..fault
    };
    assert!(process.deliver_fault(0, &mut thread.machine(), there).is_some());
    assert_eq!(
        word(&mut process, thread.registers.rsi + 8) as u32,
        2,
        "SEGV_ACCERR"
    );
}

#[test]
fn handlers_run_on_the_alternate_stack_once() {
    let mut process = process();
    user::write_words(&mut process.system, BASE, &[BASE + 0x800, 0, 0x1000]).unwrap();
    assert_eq!(call(&mut process, 131, &[BASE, 0]), Ok(0));
    act(&mut process, SIGUSR1, HANDLER, ON_STACK | NO_DEFER, 0);
    let mut thread = Thread::new();
    let mut last = BASE + 0x1800;
    for _ in 0..2 {
        assert_eq!(call(&mut process, 62, &[0, SIGUSR1]), Ok(0));
        assert_eq!(thread.attend(&mut process, None), Outcome::Return(0));
        assert!((BASE + 0x800..last).contains(&thread.registers.rsp));
        last = thread.registers.rsp;
    }
    // A third one has no room.
    assert_eq!(call(&mut process, 62, &[0, SIGUSR1]), Ok(0));
    thread.registers.rsp = 0x80;
    user::write_words(&mut process.system, BASE, &[BASE - 0x800, 0, 2048]).unwrap();
    process.system.stack_pointer = 0;
    assert_eq!(call(&mut process, 131, &[BASE, 0]), Ok(0));
    assert_eq!(thread.attend(&mut process, None), Outcome::Exit(139));
}

#[test]
fn signals_for_all_go_to_who_does_not_block_them() {
    let mut process = process();
    act(&mut process, SIGTERM, HANDLER, 0, 0);
    let thread = [0x5_0f00, BASE + 0x800, BASE, BASE, BASE];
    assert_eq!(call(&mut process, 56, &thread), Ok(3));
    assert_eq!(
        mask(&mut process, SET_BLOCK, 1 << (SIGTERM - 1)),
        Outcome::Return(0)
    );
    assert_eq!(call(&mut process, 62, &[PID, SIGTERM]), Ok(0));
    assert_eq!(process.system.interrupted, [1]);
    // The one that got it blocks it before it looks: nobody else takes it, so it is the program's.
    process.system.thread = 1;
    assert_eq!(
        mask(&mut process, SET_BLOCK, 1 << (SIGTERM - 1)),
        Outcome::Return(0)
    );
    assert_eq!(Thread::new().attend(&mut process, None), Outcome::Return(0));
    process.system.thread = 0;
    assert_eq!(mask(&mut process, SET_MASK, 0), Outcome::Return(0));
    assert_eq!(process.system.interrupted, [0]);
    // The one that got it ends before it looks.
    process.system.thread = 0;
    assert!(matches!(outcome(&mut process, 60, &[0]), Outcome::EndThread(_)));
    process.system.thread = 1;
    assert_eq!(mask(&mut process, SET_MASK, 0), Outcome::Return(0));
    assert!(process.system.interrupted.contains(&1));
    let mut last = Thread::new();
    assert_eq!(last.attend(&mut process, None), Outcome::Return(0));
    assert_eq!(last.registers.rip, HANDLER);
}

#[test]
fn a_signal_that_ends_the_program_acts_at_once() {
    let mut process = process();
    let thread = [0x5_0f00, BASE + 0x800, BASE, BASE, BASE];
    assert_eq!(call(&mut process, 56, &thread), Ok(3));
    assert_eq!(outcome(&mut process, 234, &[PID, 3, SIGABRT]), Outcome::Exit(134));
    assert_eq!(process.system.interrupted, [1], "the other thread stops");
    assert_eq!(
        process.deliver_signals(1, &mut Thread::new().machine(), None),
        Outcome::Stop
    );
}

#[test]
fn queued_signals_are_waited_for_in_their_order() {
    let mut process = process();
    assert_eq!(
        mask(&mut process, SET_BLOCK, 1 << (SIGNAL - 1)),
        Outcome::Return(0)
    );
    for value in [7, 8] {
        let info = [SIGNAL, u64::from(u32::MAX), 2, value];
        user::write_words(&mut process.system, BASE, &info).unwrap();
        assert_eq!(call(&mut process, 129, &[PID, SIGNAL, BASE]), Ok(0));
    }
    user::write_words(&mut process.system, BASE, &[1 << (SIGNAL - 1), 0, 10]).unwrap();
    for value in [7, 8] {
        assert_eq!(call(&mut process, 128, &[BASE, BASE + 64, 0, 8]), Ok(SIGNAL));
        assert_eq!(word(&mut process, BASE + 64 + 24), value);
    }
    assert_eq!(call(&mut process, 128, &[BASE, 0, BASE + 8, 8]), Err(11));
    assert_eq!(process.system.time, 10);
    for value in 0..QUEUE_LIMIT as u64 {
        let info = [SIGNAL, 0, 2, value];
        user::write_words(&mut process.system, BASE, &info).unwrap();
        assert_eq!(call(&mut process, 297, &[PID, PID, SIGNAL, BASE]), Ok(0));
    }
    assert_eq!(call(&mut process, 297, &[PID, PID, SIGNAL, BASE]), Err(11));
}

#[test]
fn what_a_wait_blocks_holds_until_its_handler_runs() {
    let mut process = process();
    act(&mut process, SIGUSR1, HANDLER, 0, 0);
    let own = 1 << (SIGUSR1 - 1);
    assert_eq!(mask(&mut process, SET_BLOCK, own), Outcome::Return(0));
    user::write_words(&mut process.system, BASE, &[0]).unwrap();
    assert_eq!(outcome(&mut process, 130, &[BASE, 8]), Outcome::Wait(l4::NEVER));
    assert_eq!(call(&mut process, 130, &[BASE, 4]), Err(22));
    assert_eq!(outcome(&mut process, 130, &[BASE, 8]), Outcome::Wait(l4::NEVER));
    assert_eq!(process.threads.current().signals.blocked, 0);
    process.send_to_any(Info::by_process(SIGUSR1 as u8)).unwrap();
    let interrupted = Errno::RESTART_UNHANDLED.result();
    assert_eq!(
        outcome(&mut process, 130, &[BASE, 8]),
        Outcome::Return(interrupted)
    );
    let mut thread = Thread::new();
    thread.registers.rax = interrupted;
    assert_eq!(thread.attend(&mut process, Some(130)), Outcome::Return(0));
    assert_eq!(thread.registers.rip, HANDLER);
    assert_eq!(
        word(&mut process, thread.registers.rdx + 296),
        own,
        "restored by the return"
    );
}
