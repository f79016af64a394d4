//! Descriptors that threads wait for: pipes, event counters, `poll` and `epoll`.
#![expect(unsafe_code, reason = "the standard library has no such calls")]

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("a pipe carries a megabyte from thread to thread", pipes),
    ("a poll ends with an event or its time", polls),
    ("an epoll waits for several files", epolls),
    ("timers wake an epoll inside another", timers),
];

/// What is written in all.
const TOTAL: usize = 1 << 20;

fn pipes() {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let writing = thread::spawn(move || {
        let bytes: Vec<u8> = (0..TOTAL).map(|index| (index % 251) as u8).collect();
        bytes
            .chunks(70_001)
            .for_each(|piece| writer.write_all(piece).expect("a reader"));
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).expect("it can be read");
    writing.join().expect("it ends");
    assert_eq!(all.len(), TOTAL);
    assert!(
        all.iter()
            .enumerate()
            .all(|(index, byte)| *byte == (index % 251) as u8)
    );
}

fn event_counter() -> OwnedFd {
    // SAFETY: The call takes two numbers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: The descriptor is new, so nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn add(fd: RawFd, value: u64) {
    // SAFETY: The buffer has 8 bytes.
    let size = unsafe { libc::write(fd, (&raw const value).cast(), 8) };
    assert_eq!(size, 8);
}

fn polls() {
    let counter = event_counter();
    let fd = counter.as_raw_fd();
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let before = Instant::now();
    // SAFETY: There is one entry.
    assert_eq!(unsafe { libc::poll(&raw mut entry, 1, 5) }, 0);
    assert!(before.elapsed() >= Duration::from_millis(5));
    let adding = thread::spawn(move || {
        thread::sleep(Duration::from_millis(2));
        add(fd, 3);
    });
    // SAFETY: There is one entry.
    assert_eq!(unsafe { libc::poll(&raw mut entry, 1, -1) }, 1);
    assert_eq!(entry.revents, libc::POLLIN);
    adding.join().expect("it ends");
}

fn epolls() {
    // SAFETY: The call takes a number.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: The descriptor is new, so nobody else has it.
    let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
    let counters: Vec<OwnedFd> = (0..4).map(|_| event_counter()).collect();
    for (index, counter) in counters.iter().enumerate() {
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLET) as u32,
            u64: index as u64,
        };
        // SAFETY: The event is one.
        let result = unsafe {
            libc::epoll_ctl(
                epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                counter.as_raw_fd(),
                &raw mut event,
            )
        };
        assert_eq!(result, 0);
    }
    thread::scope(|scope| {
        for counter in &counters {
            scope.spawn(|| {
                for _ in 0..25 {
                    add(counter.as_raw_fd(), 1);
                    thread::yield_now();
                }
            });
        }
        let mut sums = [0; 4];
        while sums != [25; 4] {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 3];
            // SAFETY: There is room for three events.
            let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), 3, 20_000) };
            assert!(count > 0, "an event was lost: {sums:?}");
            for event in &events[..count as usize] {
                let index = event.u64 as usize;
                let mut value = 0u64;
                // SAFETY: The buffer has 8 bytes.
                let size = unsafe { libc::read(counters[index].as_raw_fd(), (&raw mut value).cast(), 8) };
                // An edge may be told of when its value was taken with the one before.
                if size == 8 {
                    sums[index] += value;
                }
            }
        }
    });
}

/// Has one file wait for another's input.
fn watch(epoll: &OwnedFd, file: &OwnedFd, data: u64) {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: data,
    };
    // SAFETY: The event is one.
    let result = unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            file.as_raw_fd(),
            &raw mut event,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn timers() {
    let new = |fd: i32| {
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: The descriptor is new, so nobody else has it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    // SAFETY: The calls take numbers.
    let (outer, inner, timer) = unsafe {
        (
            new(libc::epoll_create1(libc::EPOLL_CLOEXEC)),
            new(libc::epoll_create1(libc::EPOLL_CLOEXEC)),
            new(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)),
        )
    };
    watch(&outer, &inner, 7);
    watch(&inner, &timer, 8);
    let moment = libc::timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    let setting = libc::itimerspec {
        it_interval: moment,
        it_value: moment,
    };
    let before = Instant::now();
    // SAFETY: The setting is one.
    let result = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &setting, std::ptr::null_mut()) };
    assert_eq!(result, 0);
    let mut expirations = 0;
    while expirations < 3 {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: There is room for an event.
        let count = unsafe { libc::epoll_wait(outer.as_raw_fd(), &raw mut event, 1, 20_000) };
        assert_eq!((count, { event.u64 }), (1, 7));
        let mut value = 0u64;
        // SAFETY: The buffer has 8 bytes.
        let size = unsafe { libc::read(timer.as_raw_fd(), (&raw mut value).cast(), 8) };
        assert_eq!(size, 8);
        expirations += value;
    }
    assert!(before.elapsed() >= Duration::from_millis(6));
}
