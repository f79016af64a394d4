//! What the standard library needs.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("the heap gives, grows and takes back", heap),
    ("hash maps work and are seeded differently", hash_maps),
    ("clocks go on, and sleeping takes its time", clocks),
    ("thread-local variables keep their values", thread_locals),
    ("numbers are formatted", formatting),
    ("the stack is as deep as usual", deep_stack),
    ("ids and limits are told", identity),
    ("unknown calls are refused", unknown_calls),
];

fn heap() {
    let mut all = Vec::new();
    for size in 1..2000usize {
        let mut block = vec![size as u8; size];
        block.extend_from_slice(&[7; 100]);
        all.push(block);
    }
    all.retain(|block| block.len() % 3 == 0);
    assert!(
        all.iter()
            .all(|block| block[0] == (block.len() - 100) as u8 && block.ends_with(&[7; 100]))
    );
    let mut large = vec![1u8; 4 << 20];
    large.resize(16 << 20, 2);
    assert_eq!((large[0], large[(4 << 20) - 1], large[4 << 20]), (1, 1, 2));
}

fn hash_maps() {
    let map: HashMap<String, usize> = (0..1000).map(|number| (number.to_string(), number)).collect();
    assert!((0..1000).all(|number| map[&number.to_string()] == number));
    let order = |map: &HashMap<String, usize>| map.keys().take(50).cloned().collect::<Vec<_>>();
    let other: HashMap<String, usize> = map.clone().into_iter().collect();
    assert_ne!(order(&map), order(&other), "two maps have the same random keys");
}

fn clocks() {
    let before = Instant::now();
    std::thread::sleep(Duration::from_millis(5));
    let elapsed = before.elapsed();
    assert!(
        elapsed >= Duration::from_millis(5) && elapsed < Duration::from_secs(5),
        "{elapsed:?}"
    );
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    assert!(
        since_epoch > Duration::from_secs(1_600_000_000),
        "{since_epoch:?}"
    );
}

fn thread_locals() {
    thread_local!(static COUNT: Cell<u64> = const { Cell::new(40) });
    COUNT.with(|count| count.set(count.get() + 2));
    std::thread::yield_now();
    assert_eq!(COUNT.get(), 42);
}

fn formatting() {
    assert_eq!(
        format!(
            "{:.3} {:e} {:#x}",
            black_box(2.0f64).sqrt(),
            black_box(1e100),
            255
        ),
        "1.414 1e100 0xff"
    );
}

/// Calls itself `depth` times, each with a KiB of stack.
pub(crate) fn descend(depth: u64) -> u64 {
    let mut room = [depth; 128];
    black_box(&mut room);
    if depth == 0 {
        0
    } else {
        descend(depth - 1) + 1 + (room[5] - depth)
    }
}

fn deep_stack() {
    assert_eq!(descend(4000), 4000);
}

fn identity() {
    assert_eq!(std::process::id(), 2);
    assert_eq!(std::env::current_dir().expect("there is one").to_str(), Some("/"));
    assert_eq!(
        std::thread::available_parallelism().map(usize::from).ok(),
        Some(1)
    );
}

fn unknown_calls() {
    // SAFETY: There is no such call.
    #[expect(unsafe_code, reason = "a raw system call")]
    let result = unsafe { libc::syscall(499) };
    let error = std::io::Error::last_os_error();
    assert_eq!((result, error.raw_os_error()), (-1, Some(libc::ENOSYS)));
}
