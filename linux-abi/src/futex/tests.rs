use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::*;
use crate::testing::{BASE, EPOCH, FakeSystem};

/// Words of memory and the threads' permits to go on, for tests with several threads.
struct World {
    words: Vec<AtomicU32>,
    permits: Vec<(Mutex<bool>, Condvar)>,
    futexes: Futexes,
    start: Instant,
}

impl World {
    fn new() -> World {
        World {
            words: (0..256).map(|_| AtomicU32::new(0)).collect(),
            permits: (0..16).map(|_| (Mutex::new(false), Condvar::new())).collect(),
            futexes: Futexes::new(),
            start: Instant::now(),
        }
    }

    fn word(&self, address: u64) -> Result<&AtomicU32, Errno> {
        self.words.get(address as usize / 4).ok_or(Errno::FAULT)
    }
}

/// One thread of a [`World`].
struct Member<'a>(&'a World, u32);

impl Member<'_> {
    fn call(&mut self, operation: u64, address: u64, value: u64) -> Answer {
        futex(
            self,
            &self.0.futexes,
            &[address, operation, value, 0, 0, u64::MAX],
        )
    }
}

impl Caller for Member<'_> {
    fn thread(&self) -> u32 {
        self.1
    }
    fn stack_pointer(&self) -> u64 {
        0
    }

    fn is_interrupted(&self) -> bool {
        false
    }

    fn tid(&self) -> u32 {
        self.1 + 2
    }
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        for (index, chunk) in bytes.chunks_mut(4).enumerate() {
            let word = self.load(address + index as u64 * 4)?;
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        for (index, chunk) in bytes.chunks(4).enumerate() {
            let word = u32::from_le_bytes(chunk.try_into().map_err(|_| Errno::FAULT)?);
            self.0
                .word(address + index as u64 * 4)?
                .store(word, Ordering::SeqCst);
        }
        Ok(())
    }
    fn load(&mut self, address: u64) -> Result<u32, Errno> {
        Ok(self.0.word(address)?.load(Ordering::SeqCst))
    }
    fn compare_exchange(&mut self, address: u64, expected: u32, new: u32) -> Result<u32, Errno> {
        let word = self.0.word(address)?;
        Ok(word
            .compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst)
            .unwrap_or_else(|found| found))
    }
    fn now(&mut self) -> u64 {
        self.0.start.elapsed().as_nanos() as u64
    }
    fn epoch(&mut self) -> u64 {
        0
    }
    fn cpu_time(&mut self) -> Result<u64, l4::Error> {
        Ok(0)
    }
    fn random(&mut self) -> Result<[u64; 4], l4::Error> {
        Ok([4; 4])
    }
    fn set_fs_base(&mut self, _: u64) -> Result<(), l4::Error> {
        Ok(())
    }
    fn cpus(&mut self) -> u64 {
        1
    }
    fn cpu(&mut self) -> u32 {
        0
    }
    fn sleep_until(&mut self, _: u64) {}
    fn yield_now(&mut self) {
        std::thread::yield_now();
    }
    fn pause(&mut self) {
        std::thread::yield_now();
    }
    fn park(&mut self, deadline: u64) {
        let (permit, changed) = &self.0.permits[self.1 as usize];
        let now = self.now();
        let mut permit = permit.lock().unwrap();
        if !*permit {
            // A wake that is lost must fail the test, not hang it.
            let limit = Duration::from_nanos(deadline.saturating_sub(now)).min(Duration::from_secs(20));
            let (guard, result) = changed.wait_timeout(permit, limit).unwrap();
            assert!(!result.timed_out() || deadline != NEVER, "a wake was lost");
            permit = guard;
        }
        *permit = false;
    }
    fn unpark(&mut self, thread: u32) {
        let (permit, changed) = &self.0.permits[thread as usize];
        *permit.lock().unwrap() = true;
        changed.notify_one();
    }
}

/// Runs `body` in as many threads as there are numbers.
fn together(world: &World, count: u32, body: impl Fn(Member<'_>) + Sync) {
    std::thread::scope(|scope| {
        for number in 0..count {
            let body = &body;
            scope.spawn(move || body(Member(world, number)));
        }
    });
}

/// A mutex as C libraries make it: 0 free, 1 taken, 2 taken and somebody waits.
fn lock(member: &mut Member<'_>, address: u64) {
    let mut found = member.compare_exchange(address, 0, 1).unwrap();
    while found != 0 {
        let word = member.0.word(address).unwrap();
        if found == 2 || word.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst) != Err(0) {
            let _ = member.call(WAIT, address, 2);
        }
        found = member.compare_exchange(address, 0, 2).unwrap();
    }
}

fn unlock(member: &mut Member<'_>, address: u64) {
    if member.0.word(address).unwrap().swap(0, Ordering::SeqCst) == 2 {
        member.call(WAKE, address, 1).unwrap();
    }
}

#[test]
fn no_wake_is_lost_between_threads_that_contend() {
    let world = World::new();
    together(&world, 8, |mut member| {
        for _ in 0..2000 {
            lock(&mut member, 0);
            let counter = member.0.word(4).unwrap();
            let value = counter.load(Ordering::Relaxed);
            std::hint::spin_loop();
            counter.store(value + 1, Ordering::Relaxed);
            unlock(&mut member, 0);
        }
    });
    assert_eq!(world.words[1].load(Ordering::Relaxed), 16_000);
}

#[test]
fn waits_that_time_out_and_wakes_agree_on_who_was_woken() {
    let world = World::new();
    let woken = AtomicU32::new(0);
    let told = AtomicU32::new(0);
    together(&world, 6, |mut member| {
        for round in 0..3000u64 {
            if member.1 < 4 {
                let deadline = member.now() + round % 50 * 1000;
                match member.0.futexes.wait(&mut member, 8, 0, ALL_BITS, deadline) {
                    Ok(_) => drop(woken.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => assert_eq!(error, Errno::TIMEDOUT),
                }
            } else {
                let count = member.call(WAKE, 8, 1 + round % 3).unwrap();
                told.fetch_add(count as u32, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(woken.into_inner(), told.into_inner());
    assert!(
        world
            .futexes
            .queues
            .iter()
            .all(|queue| queue.try_lock().unwrap().is_empty())
    );
}

#[test]
fn requeued_threads_are_woken_where_they_were_moved() {
    let world = World::new();
    together(&world, 5, |mut member| {
        if member.1 > 0 {
            assert_eq!(member.call(WAIT, 16, 0), Ok(0));
            return;
        }
        let waiting = |member: &mut Member<'_>| {
            let queue = member.0.futexes.lock(member, queue_of(16));
            queue.iter().filter(|waiter| waiter.address == 16).count()
        };
        while waiting(&mut member) < 4 {
            std::thread::yield_now();
        }
        let arguments = |expected| [16, CMP_REQUEUE, 1, 2, 400, expected];
        assert_eq!(
            futex(&mut member, &world.futexes, &arguments(9)),
            Err(Errno::AGAIN)
        );
        assert_eq!(futex(&mut member, &world.futexes, &arguments(0)), Ok(3));
        assert_eq!(member.call(WAKE, 16, 9), Ok(1), "one was neither woken nor moved");
        assert_eq!(member.call(WAKE, 400, 9), Ok(2));
        assert_eq!(member.call(WAKE, 400, 9), Ok(0));
    });
}

#[test]
fn bits_choose_who_is_woken() {
    let world = World::new();
    together(&world, 3, |mut member| {
        let bits = 1 << member.1;
        if member.1 > 0 {
            assert_eq!(member.0.futexes.wait(&mut member, 24, 0, bits, NEVER), Ok(0));
            return;
        }
        let wake = |member: &mut Member<'_>, bits| member.0.futexes.wake(member, 24, 9, bits);
        while wake(&mut member, 2) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(wake(&mut member, 2), 0);
        while wake(&mut member, 0b110) == 0 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn wake_op_changes_the_second_word_and_looks_at_what_it_was() {
    let mut system = FakeSystem::new();
    let futexes = Futexes::new();
    // Add 3; compare with greater than 4.
    let encoded = 1 << 28 | 4 << 24 | 3 << 12 | 4;
    system.poke(BASE + 4, &5u32.to_le_bytes());
    let arguments = [BASE, WAKE_OP, 1, 1, BASE + 4, encoded];
    assert_eq!(futex(&mut system, &futexes, &arguments), Ok(0));
    assert_eq!(system.load(BASE + 4), Ok(8));
    let unknown = [BASE, WAKE_OP, 1, 1, BASE + 4, 7 << 28];
    assert_eq!(futex(&mut system, &futexes, &unknown), Err(Errno::NOSYS));
}

#[test]
fn waits_end_at_their_deadlines() {
    let mut system = FakeSystem::new();
    let futexes = Futexes::new();
    system.poke(BASE, &5u32.to_le_bytes());
    crate::user::write_words(&mut system, BASE + 16, &[1, 0]).unwrap();
    system.time = 10;
    let wait = |system: &mut FakeSystem, operation, value, timeout, address, bits| {
        futex(system, &futexes, &[address, operation, value, timeout, 0, bits])
    };
    assert_eq!(wait(&mut system, 128, 4, 0, BASE, 0), Err(Errno::AGAIN));
    assert_eq!(
        wait(&mut system, 128, 5, BASE + 16, BASE, 0),
        Err(Errno::TIMEDOUT)
    );
    assert_eq!(system.time, 10 + time::SECOND, "a period");
    crate::user::write_words(&mut system, BASE + 16, &[3, 0]).unwrap();
    assert_eq!(
        wait(&mut system, 137, 5, BASE + 16, BASE, 1),
        Err(Errno::TIMEDOUT)
    );
    assert_eq!(system.time, 3 * time::SECOND, "a time");
    let realtime = [(EPOCH + 4 * time::SECOND) / time::SECOND, 0];
    crate::user::write_words(&mut system, BASE + 16, &realtime).unwrap();
    assert_eq!(
        wait(&mut system, 137 | 256, 5, BASE + 16, BASE, 1),
        Err(Errno::TIMEDOUT)
    );
    assert_eq!(system.time, 4 * time::SECOND, "a time of the wall clock");
    assert_eq!(wait(&mut system, 129, 1, 0, BASE, 0), Ok(0));
    assert_eq!(wait(&mut system, 137, 5, 0, BASE, 0), Err(Errno::INVAL));
    assert_eq!(wait(&mut system, 128, 5, 0, BASE + 1, 0), Err(Errno::INVAL));
    assert_eq!(wait(&mut system, 128, 5, 0, 16, 0), Err(Errno::FAULT));
    assert_eq!(wait(&mut system, 6, 5, 0, BASE, 0), Err(Errno::NOSYS));
}

#[test]
fn a_thread_that_ends_frees_its_robust_mutexes_and_its_word() {
    let mut system = FakeSystem::new();
    let futexes = Futexes::new();
    let (head, one, other) = (BASE, BASE + 64, BASE + 128);
    // The word of a mutex lies 32 bytes behind its entry.
    for (address, words) in [(head, [one, 32, other]), (one, [head, 0, 0])] {
        crate::user::write_words(&mut system, address, &words).unwrap();
    }
    system.poke(one + 32, &(7 | WAITERS).to_le_bytes());
    system.poke(other + 32, &8u32.to_le_bytes());
    system.poke(BASE + 512, &7u32.to_le_bytes());
    let departure = Departure {
        tid: 7,
        clear: BASE + 512,
        robust: head,
    };
    depart(&mut system, &futexes, departure);
    assert_eq!(system.load(one + 32), Ok(WAITERS | OWNER_DIED));
    assert_eq!(system.load(other + 32), Ok(8), "that one has another owner");
    assert_eq!(system.load(BASE + 512), Ok(0));
    // A list that leads nowhere, or in a circle, ends.
    crate::user::write_words(&mut system, one, &[one]).unwrap();
    depart(&mut system, &futexes, departure);
    depart(
        &mut system,
        &futexes,
        Departure {
            robust: 8,
            ..departure
        },
    );
}
