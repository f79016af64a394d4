use crate::testing::{BASE, FakeSystem, call, outcome, process};
use crate::{Outcome, Process, user};

const NOT_WAITING: u64 = 0o4000;

/// Descriptors of a pair.
fn pair(process: &mut Process<FakeSystem>, kind: u64) -> [u64; 2] {
    assert_eq!(call(process, 53, &[1, kind, 0, BASE]), Ok(0));
    let [word] = user::read_words::<1>(&mut process.system, BASE).unwrap();
    [word & 0xffff_ffff, word >> 32]
}

fn events(process: &mut Process<FakeSystem>, fd: u64) -> u16 {
    let asked = (fd | 0x2005 << 32).to_le_bytes();
    process.system.poke(BASE + 0x100, &asked);
    call(process, 7, &[BASE + 0x100, 1, 0]).unwrap();
    let entry = process.system.peek(BASE + 0x100, 8);
    u16::from_le_bytes([entry[6], entry[7]])
}

#[test]
fn a_pair_carries_bytes_both_ways() {
    let mut process = process();
    let [one, other] = pair(&mut process, 1);
    process.system.poke(BASE, b"there and back");
    assert_eq!(call(&mut process, 1, &[one, BASE, 5]), Ok(5));
    assert_eq!(
        call(&mut process, 44, &[other, BASE + 10, 4, 0x4000, 0, 0]),
        Ok(4)
    );
    assert_eq!((events(&mut process, one), events(&mut process, other)), (5, 5));
    assert_eq!(call(&mut process, 0, &[other, BASE + 64, 100]), Ok(5));
    assert_eq!(process.system.peek(BASE + 64, 5), b"there");
    assert_eq!(
        call(
            &mut process,
            45,
            &[one, BASE + 64, 100, 0, BASE + 128, BASE + 136]
        ),
        Ok(4)
    );
    assert_eq!(process.system.peek(BASE + 64, 4), b"back");
    assert_eq!((events(&mut process, one), events(&mut process, other)), (4, 4));
    assert_eq!(call(&mut process, 8, &[one, 0, 1]), Err(29));
}

#[test]
fn reading_waits_unless_told_not_to() {
    let mut process = process();
    let [one, _] = pair(&mut process, 1);
    assert!(matches!(
        outcome(&mut process, 0, &[one, BASE, 1]),
        Outcome::Wait(_)
    ));
    assert_eq!(call(&mut process, 45, &[one, BASE, 1, 0x40, 0, 0]), Err(11));
    let [quick, _] = pair(&mut process, 1 | NOT_WAITING);
    assert_eq!(call(&mut process, 0, &[quick, BASE, 1]), Err(11));
    while call(&mut process, 44, &[quick, BASE, 4096, 0x40, 0, 0]).is_ok() {}
    assert_eq!(call(&mut process, 44, &[quick, BASE, 4096, 0x40, 0, 0]), Err(11));
    assert_eq!(events(&mut process, quick) & 4, 0);
}

#[test]
fn an_end_learns_that_the_other_is_gone() {
    let mut process = process();
    let [one, other] = pair(&mut process, 1);
    assert_eq!(call(&mut process, 1, &[other, BASE, 3]), Ok(3));
    assert_eq!(call(&mut process, 48, &[other, 1]), Ok(0));
    assert_eq!(call(&mut process, 1, &[other, BASE, 3]), Err(32));
    assert_eq!(events(&mut process, one), 0x2005, "it may still write");
    assert_eq!(call(&mut process, 0, &[one, BASE, 9]), Ok(3));
    assert_eq!(call(&mut process, 0, &[one, BASE, 9]), Ok(0));
    assert_eq!(call(&mut process, 1, &[one, BASE, 2]), Ok(2));
    assert_eq!(call(&mut process, 0, &[other, BASE, 9]), Ok(2));
    assert_eq!(call(&mut process, 3, &[other]), Ok(0));
    assert_eq!(events(&mut process, one) & 0x10, 0x10);
    assert_eq!(call(&mut process, 44, &[one, BASE, 1, 0x4000, 0, 0]), Err(32));
    assert_eq!(call(&mut process, 48, &[one, 3]), Err(22));
    // Nothing is left: the pipes of the next pair are the same.
    let before = process.files.pipes.len();
    assert_eq!(call(&mut process, 3, &[one]), Ok(0));
    let [one, other] = pair(&mut process, 1);
    assert_eq!(call(&mut process, 48, &[one, 2]), Ok(0));
    assert_eq!(call(&mut process, 0, &[other, BASE, 1]), Ok(0));
    assert_eq!(process.files.pipes.len(), before);
}

#[test]
fn a_pair_tells_what_it_is() {
    let mut process = process();
    let [one, _] = pair(&mut process, 1);
    for (option, value) in [(3, 1u32), (4, 0), (7, 65536), (8, 65536), (39, 1)] {
        process.system.poke(BASE + 64, &4u32.to_le_bytes());
        assert_eq!(call(&mut process, 55, &[one, 1, option, BASE, BASE + 64]), Ok(0));
        assert_eq!(process.system.peek(BASE, 4), value.to_le_bytes());
    }
    assert_eq!(call(&mut process, 55, &[one, 6, 1, BASE, BASE + 64]), Err(92));
    for number in [51, 52] {
        process.system.poke(BASE + 64, &16u32.to_le_bytes());
        assert_eq!(call(&mut process, number, &[one, BASE, BASE + 64]), Ok(0));
        assert_eq!(process.system.peek(BASE, 2), [1, 0]);
        assert_eq!(process.system.peek(BASE + 64, 4), [2, 0, 0, 0]);
    }
    assert_eq!(call(&mut process, 44, &[one, BASE, 1, 0, BASE, 2]), Err(106));
    assert_eq!(call(&mut process, 45, &[one, BASE, 1, 2, 0, 0]), Err(95));
}

#[test]
fn a_pair_that_cannot_be_told_leaves_nothing() {
    let mut process = process();
    assert_eq!(call(&mut process, 53, &[1, 1, 0, 16]), Err(14));
    let [one, other] = pair(&mut process, 1);
    assert_eq!((one, other, process.files.pipes.len()), (3, 4, 2));
}

#[test]
fn there_are_no_other_sockets() {
    let mut process = process();
    assert_eq!(call(&mut process, 41, &[2, 1, 0]), Err(97));
    assert_eq!(call(&mut process, 53, &[2, 1, 0, BASE]), Err(97));
    assert_eq!(call(&mut process, 53, &[1, 2, 0, BASE]), Err(93));
    let [one, _] = pair(&mut process, 1);
    for number in [42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 54, 55, 288] {
        assert_eq!(call(&mut process, number, &[0, 0, 0]), Err(88), "{number}");
        assert_eq!(call(&mut process, number, &[77, 0, 0]), Err(9), "{number}");
    }
    for number in [42, 43, 46, 47, 49, 50, 54, 288] {
        assert_eq!(call(&mut process, number, &[one, 0, 0]), Err(95), "{number}");
    }
}
