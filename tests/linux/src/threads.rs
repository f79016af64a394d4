//! Threads, as the standard library makes and synchronises them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("a thread runs and returns a value", join),
    ("64 threads live at once", many_at_once),
    (
        "2,000 threads live one after another and leave nothing",
        many_in_turn,
    ),
    (
        "threads end on one processor while others start on another",
        many_crowds,
    ),
    ("scoped threads borrow", scoped),
    ("a mutex excludes", mutex),
    ("conditions are waited for, or not long enough", conditions),
    ("readers share, a writer is alone", readers_and_writers),
    ("channels carry all messages in order", channels),
    ("a barrier lets all go at once", barriers),
    ("threads are parked and unparked", parking),
    (
        "thread-local variables are dropped with their threads",
        thread_locals,
    ),
    ("panics unwind, are caught, and end their thread alone", panics),
    ("something happens once", once),
    ("threads have names and ids of their own", names),
    ("a vector state is each thread's own", vectors),
    ("maps are built by several threads", maps),
];

fn join() {
    let text = String::from("moved in");
    let length = thread::spawn(move || text.len());
    assert_eq!(length.join().expect("it ends"), 8);
}

fn many_at_once() {
    let all = Arc::new(Barrier::new(65));
    let threads: Vec<_> = (0..64u64)
        .map(|number| {
            let all = all.clone();
            thread::spawn(move || {
                all.wait();
                number * number
            })
        })
        .collect();
    all.wait();
    let sum: u64 = threads
        .into_iter()
        .map(|thread| thread.join().expect("it ends"))
        .sum();
    assert_eq!(sum, (0..64).map(|number| number * number).sum());
}

fn many_in_turn() {
    let used = || {
        use l4::object::Factory;
        Factory(l4::CapIndex::FACTORY).info().expect("an account").used
    };
    let spawn = |number: u64| thread::spawn(move || number + 1).join().expect("it ends");
    for number in 0..100 {
        assert_eq!(spawn(number), number + 1);
    }
    let before = used();
    for number in 100..2000 {
        assert_eq!(spawn(number), number + 1);
    }
    let after = used();
    // The kernel may be about to free the last threads.
    assert!(
        after <= before + (256 << 10),
        "{} KiB more are in use",
        (after - before) >> 10
    );
}

fn many_crowds() {
    let crowd = |first: u64| -> u64 {
        let member = |number| thread::spawn(move || number).join().expect("it ends");
        (first..first + 250).map(member).sum()
    };
    let crowds = [0, 250, 500, 750].map(|first| thread::spawn(move || crowd(first)));
    let sum: u64 = crowds
        .into_iter()
        .map(|crowd| crowd.join().expect("it ends"))
        .sum();
    assert_eq!(sum, (0..1000).sum());
}

fn scoped() {
    let numbers: Vec<u64> = (0..1000).collect();
    let (front, back) = numbers.split_at(500);
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| front.iter().sum::<u64>());
        let other = scope.spawn(|| back.iter().sum::<u64>());
        (one.join().expect("it ends"), other.join().expect("it ends"))
    });
    assert_eq!(one + other, 499_500);
}

fn mutex() {
    let counter = Mutex::new(0u64);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..2000u32 {
                    let mut value = counter.lock().expect("not poisoned");
                    *value += 1;
                    if round % 64 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(*counter.lock().expect("not poisoned"), 16_000);
}

fn conditions() {
    let turn = (Mutex::new(0u32), Condvar::new());
    thread::scope(|scope| {
        for player in 0..4u32 {
            let (value, changed) = &turn;
            scope.spawn(move || {
                for round in 0..50 {
                    let mut now = value.lock().expect("not poisoned");
                    while *now != round * 4 + player {
                        now = changed.wait(now).expect("not poisoned");
                    }
                    *now += 1;
                    changed.notify_all();
                }
            });
        }
    });
    let (value, changed) = &turn;
    let value = value.lock().expect("not poisoned");
    assert_eq!(*value, 200);
    let before = Instant::now();
    let limit = Duration::from_millis(5);
    let (_value, outcome) = changed
        .wait_timeout_while(value, limit, |_| true)
        .expect("not poisoned");
    assert!(outcome.timed_out() && before.elapsed() >= limit);
}

fn readers_and_writers() {
    let pair = RwLock::new((0u64, 0u64));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let pair = pair.read().expect("not poisoned");
                    assert_eq!(pair.0, pair.1);
                }
            });
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut pair = pair.write().expect("not poisoned");
                    pair.0 += 1;
                    std::hint::black_box(&pair);
                    pair.1 += 1;
                }
            });
        }
    });
    assert_eq!(*pair.read().expect("not poisoned"), (1500, 1500));
}

fn channels() {
    let (sender, receiver) = mpsc::sync_channel(4);
    let threads: Vec<_> = (0..4u32)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                (0..250u32).for_each(|index| sender.send((number, index)).expect("a receiver"))
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; 4];
    for (number, index) in receiver {
        assert_eq!(index, next[number as usize]);
        next[number as usize] += 1;
    }
    assert_eq!(next, [250; 4]);
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("it ends"));
    let (_sender, receiver) = mpsc::channel::<()>();
    let outcome = receiver.recv_timeout(Duration::from_millis(2));
    assert_eq!(outcome, Err(mpsc::RecvTimeoutError::Timeout));
}

fn barriers() {
    let barrier = Barrier::new(6);
    let (arrived, leaders) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for round in 1..=20 {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    let leads = barrier.wait().is_leader();
                    assert!(arrived.load(Ordering::SeqCst) >= round * 6);
                    leaders.fetch_add(u64::from(leads), Ordering::SeqCst);
                    barrier.wait();
                }
            });
        }
    });
    assert_eq!(leaders.into_inner(), 20);
}

fn parking() {
    let before = Instant::now();
    thread::park_timeout(Duration::from_millis(3));
    let ready = Arc::new(AtomicU64::new(0));
    let seen = ready.clone();
    let parked = thread::spawn(move || {
        while seen.load(Ordering::Acquire) == 0 {
            thread::park();
        }
    });
    thread::sleep(Duration::from_millis(2));
    assert!(before.elapsed() >= Duration::from_millis(2));
    ready.store(1, Ordering::Release);
    parked.thread().unpark();
    parked.join().expect("it ends");
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

struct Noticed(u64);

impl Drop for Noticed {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0, Ordering::SeqCst);
    }
}

fn thread_locals() {
    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(7) };
        static NOTICED: RefCell<Option<Noticed>> = const { RefCell::new(None) };
    }
    COUNT.set(8);
    let threads: Vec<_> = (1..=4)
        .map(|number| {
            thread::spawn(move || {
                assert_eq!(COUNT.get(), 7);
                COUNT.set(number);
                NOTICED.set(Some(Noticed(number)));
                thread::yield_now();
                assert_eq!(COUNT.get(), number);
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("it ends"));
    assert_eq!((COUNT.get(), DROPPED.load(Ordering::SeqCst)), (8, 10));
}

fn panics() {
    let caught = catch_unwind(|| {
        let _noticed = Noticed(1000);
        resume_unwind(Box::new("a quiet panic"));
    });
    let payload = caught.expect_err("it panicked");
    assert_eq!(payload.downcast_ref(), Some(&"a quiet panic"));
    assert!(DROPPED.load(Ordering::SeqCst) >= 1000, "unwinding drops");
    let ended = thread::spawn(|| resume_unwind(Box::new(5u8))).join();
    assert_eq!(ended.expect_err("it panicked").downcast_ref(), Some(&5u8));
}

fn once() {
    static ONCE: Once = Once::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                ONCE.call_once(|| {
                    thread::sleep(Duration::from_millis(1));
                    COUNT.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(COUNT.load(Ordering::SeqCst), 1);
            });
        }
    });
}

fn names() {
    let gettid = || {
        // SAFETY: The call has no arguments.
        #[expect(unsafe_code, reason = "a raw system call")]
        unsafe {
            libc::syscall(libc::SYS_gettid)
        }
    };
    let named = thread::Builder::new().name("worker".to_owned());
    let other = named.spawn(move || (thread::current().name().map(str::to_owned), gettid()));
    let (name, tid) = other.expect("it starts").join().expect("it ends");
    assert_eq!(name.as_deref(), Some("worker"));
    assert_eq!(gettid(), 2);
    assert!(tid > 2);
}

fn vectors() {
    let work = |seed: u64| {
        let mut values = [seed as f64; 8];
        for round in 0..200_000u64 {
            for value in &mut values {
                *value = *value * 0.999 + round as f64;
            }
        }
        values.map(f64::to_bits)
    };
    let alone: Vec<_> = (0..4).map(work).collect();
    let threads: Vec<_> = (0..4).map(|seed| thread::spawn(move || work(seed))).collect();
    let together: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("it ends"))
        .collect();
    assert_eq!(alone, together);
}

fn maps() {
    let map = Mutex::new(HashMap::new());
    thread::scope(|scope| {
        for part in 0..4u32 {
            let map = &map;
            scope.spawn(move || {
                for key in (part * 500)..(part * 500 + 500) {
                    map.lock()
                        .expect("not poisoned")
                        .insert(key, format!("value {key}"));
                }
            });
        }
    });
    let map = map.into_inner().expect("not poisoned");
    assert!((0..2000).all(|key| map[&key] == format!("value {key}")));
}

/// Starts a thread where there may be none.
pub(crate) fn alone() -> ExitCode {
    let error = thread::Builder::new()
        .spawn(|| ())
        .map(drop)
        .expect_err("no scheduler");
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    ExitCode::SUCCESS
}

/// Writes to an address that is not there, in a second thread.
pub(crate) fn write_to_null_beside() -> ExitCode {
    let outcome = thread::spawn(crate::memory::write_to_null).join();
    println!("the program goes on: {outcome:?}");
    ExitCode::FAILURE
}

/// Ends the program in a second thread, while a third one waits and a fourth one works.
pub(crate) fn exit_beside(code: i32) -> ExitCode {
    thread::spawn(|| thread::sleep(Duration::MAX));
    thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    let outcome = thread::spawn(move || std::process::exit(code)).join();
    println!("the program goes on: {outcome:?}");
    ExitCode::FAILURE
}
