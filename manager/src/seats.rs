//! Seats: the cores that clients can have.
//!
//! A seat is a core with a manager thread of its own. The registry's thread hands seats out, a seat's own thread
//! gives it back after it has cleaned up after its client, and nothing else is shared between them.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const BROKEN: u8 = 2;

/// One seat.
#[derive(Debug)]
struct Seat {
    cpu: u32,
    state: AtomicU8,
}

/// All seats of the machine.
#[derive(Debug)]
pub struct Seats {
    seats: Vec<Seat>,
}

impl Seats {
    /// `clients_per_cpu` seats on each CPU whose bit is set in `cpus`.
    ///
    /// The order in which they are handed out: each CPU gets its first client before one gets a second; higher CPUs
    /// come first, because CPU 0 also does the housekeeping.
    pub fn new(cpus: u64, clients_per_cpu: u32) -> Seats {
        let cpus = (0..u64::BITS).rev().filter(move |cpu| cpus >> cpu & 1 != 0);
        let seats = (0..clients_per_cpu).flat_map(|_| cpus.clone());
        Seats {
            seats: seats
                .map(|cpu| Seat {
                    cpu,
                    state: AtomicU8::new(FREE),
                })
                .collect(),
        }
    }

    /// Takes the next free seat.
    pub fn take(&self) -> Option<usize> {
        self.seats.iter().position(|seat| {
            seat.state
                .compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// Gives a taken seat back. `false` if it was not taken.
    pub fn give_back(&self, seat: usize) -> bool {
        self.change(seat, TAKEN, FREE)
    }

    /// Takes a seat out of service, because its thread is gone. `false` if it was not taken.
    pub fn retire(&self, seat: usize) -> bool {
        self.change(seat, TAKEN, BROKEN)
    }

    /// Puts a retired seat back into service. `false` if it was not retired.
    pub fn repair(&self, seat: usize) -> bool {
        self.change(seat, BROKEN, FREE)
    }

    /// Tells whether a seat was retired.
    pub fn is_broken(&self, seat: usize) -> bool {
        self.seats
            .get(seat)
            .is_some_and(|seat| seat.state.load(Ordering::Acquire) == BROKEN)
    }

    /// Number of seats that are taken.
    pub fn taken(&self) -> usize {
        self.seats
            .iter()
            .filter(|seat| seat.state.load(Ordering::Relaxed) == TAKEN)
            .count()
    }

    /// The CPU of a seat.
    pub fn cpu(&self, seat: usize) -> Option<u32> {
        self.seats.get(seat).map(|seat| seat.cpu)
    }

    /// Number of seats in service, taken or free.
    pub fn in_service(&self) -> usize {
        self.seats
            .iter()
            .filter(|seat| seat.state.load(Ordering::Relaxed) != BROKEN)
            .count()
    }

    /// Number of seats.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Tells whether there are no seats at all.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    fn change(&self, seat: usize, from: u8, to: u8) -> bool {
        self.seats.get(seat).is_some_and(|seat| {
            seat.state
                .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(seats: &Seats) -> Vec<u32> {
        core::iter::from_fn(|| seats.take())
            .filter_map(|seat| seats.cpu(seat))
            .collect()
    }

    #[test]
    fn the_highest_cpu_comes_first_and_the_housekeeper_last() {
        assert_eq!(cpus(&Seats::new(0b1011, 1)), [3, 1, 0]);
        assert_eq!(cpus(&Seats::new(1 << 63 | 1, 1)), [63, 0]);
    }

    #[test]
    fn sharing_starts_when_each_cpu_has_a_client() {
        assert_eq!(cpus(&Seats::new(0b11, 2)), [1, 0, 1, 0]);
    }

    #[test]
    fn seats_come_back_once() {
        let seats = Seats::new(0b11, 1);
        let (first, second) = (seats.take().unwrap(), seats.take().unwrap());
        assert_eq!(seats.take(), None);
        assert!(seats.give_back(first) && !seats.give_back(first));
        assert_eq!(seats.take(), Some(first));
        assert!(seats.retire(second) && !seats.give_back(second));
        assert_eq!(
            (seats.take(), seats.in_service(), seats.len(), seats.taken()),
            (None, 1, 2, 1)
        );
        assert!(seats.is_broken(second) && seats.repair(second) && !seats.repair(first));
        assert_eq!(seats.take(), Some(second));
        assert!(!seats.give_back(9) && seats.cpu(9).is_none());
    }

    #[test]
    fn racing_takers_never_share_a_seat() {
        let seats = Seats::new(u64::MAX, 1);
        let taken: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| core::iter::from_fn(|| seats.take()).collect()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut all: Vec<usize> = taken.into_iter().flatten().collect();
        all.sort_unstable();
        assert_eq!(all, (0..64).collect::<Vec<_>>());
    }
}
