//! The heap that `brk` moves the end of.

use l4::PAGE_SIZE;
use l4::region::Access;

use super::pages;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Contents, Place, Process, System};

/// Memory is attached this many bytes ahead, so that most calls only move a number. It costs nothing until touched.
const STEP: u64 = 1 << 20;

/// Heap of a program: `start..end` is what the program has, up to `attached` there is memory.
#[derive(Debug)]
pub(crate) struct Heap {
    start: u64,
    end: u64,
    attached: u64,
}

impl Heap {
    /// An empty heap at a page-aligned address.
    pub(crate) const fn new(start: u64) -> Heap {
        Heap {
            start,
            end: start,
            attached: start,
        }
    }

    /// Moves the end. `None` if there is no room.
    fn move_end(&mut self, system: &mut impl System, end: u64) -> Option<()> {
        if end < self.start {
            return None;
        }
        if end > self.attached {
            self.grow(system, end)?;
        } else if end < self.end {
            // What comes back later must read as zeroes; the rest of the last page as well, as on Linux it stays.
            let first = end.next_multiple_of(PAGE_SIZE);
            let last = self.end.next_multiple_of(PAGE_SIZE);
            if first < last {
                system.discard(first, last - first).ok()?;
            }
        }
        self.end = end;
        Some(())
    }

    fn grow(&mut self, system: &mut impl System, end: u64) -> Option<()> {
        let need = pages(end).ok()? - self.attached;
        let comfortable = need.checked_next_multiple_of(STEP)?;
        [comfortable, need].into_iter().find_map(|size| {
            let place = Place::At(self.attached);
            if system.is_own(self.attached, size) {
                return None;
            }
            system
                .attach(place, size, Access::READ_WRITE, Contents::Anonymous)
                .ok()?;
            self.attached += size;
            Some(())
        })
    }
}

/// `brk(end)`: answers the end that is in force, which is the old one if the new one can't be had.
pub(crate) fn brk<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    // A failure shows in the answer, as Linux does it.
    let _moved = process.heap.move_end(&mut process.system, arguments[0]);
    Ok(process.heap.end)
}

#[cfg(test)]
mod tests {
    use crate::testing::{HEAP, call, process};

    #[test]
    fn the_heap_grows_and_shrinks() {
        let mut process = process();
        assert_eq!(call(&mut process, 12, &[0]), Ok(HEAP));
        assert_eq!(call(&mut process, 12, &[HEAP + 5000]), Ok(HEAP + 5000));
        process.system.poke(HEAP, b"first");
        process.system.poke(HEAP + 4990, b"last");
        assert_eq!(call(&mut process, 12, &[HEAP + 10]), Ok(HEAP + 10));
        assert_eq!(call(&mut process, 12, &[HEAP + 5000]), Ok(HEAP + 5000));
        assert_eq!(process.system.peek(HEAP, 5), b"first");
        assert_eq!(process.system.peek(HEAP + 4990, 4), [0; 4]);
    }

    #[test]
    fn most_calls_need_no_new_region() {
        let mut process = process();
        for end in (HEAP..HEAP + (1 << 20)).step_by(0x21000) {
            assert_eq!(call(&mut process, 12, &[end]), Ok(end));
        }
        assert_eq!(process.system.attached, 1);
    }

    #[test]
    fn an_impossible_end_leaves_the_old_one() {
        let mut process = process();
        call(&mut process, 12, &[HEAP + 10]).unwrap();
        for end in [HEAP - 1, u64::MAX, crate::testing::OWN] {
            assert_eq!(call(&mut process, 12, &[end]), Ok(HEAP + 10), "{end:#x}");
        }
    }
}
