//! The checks; each panics if something is not as it should be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn, spawn_blocking, yield_now};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio::{fs, select};

type Check = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Names and checks.
pub(crate) const ALL: [(&str, Check); 11] = [
    ("1,000 tasks run", || Box::pin(tasks())),
    ("timers go off in order", || Box::pin(timers())),
    (
        "blocking calls have threads of their own",
        || Box::pin(blocking()),
    ),
    ("channels of each kind carry messages", || Box::pin(channels())),
    ("select takes what comes first", || Box::pin(selecting())),
    ("locks, permits and barriers", || Box::pin(locks())),
    ("panics and cancellations end their task alone", || {
        Box::pin(endings())
    }),
    ("files in /tmp", || Box::pin(files())),
    ("bytes flow through a pipe of the program's own", || {
        Box::pin(streams())
    }),
    (
        "connected sockets wake who waits for them",
        || Box::pin(sockets()),
    ),
    (
        "a signal of the program's own is a future",
        || Box::pin(signals()),
    ),
];

async fn tasks() {
    let count = Arc::new(AtomicUsize::new(0));
    let mut all = JoinSet::new();
    for number in 0..1000usize {
        let count = count.clone();
        all.spawn(async move {
            yield_now().await;
            count.fetch_add(1, Ordering::Relaxed);
            number
        });
    }
    let mut sum = 0;
    while let Some(number) = all.join_next().await {
        sum += number.expect("it ends");
    }
    assert_eq!((sum, count.load(Ordering::Relaxed)), (499_500, 1000));
}

async fn timers() {
    let start = Instant::now();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for milliseconds in [30, 10, 20] {
        let sender = sender.clone();
        spawn(async move {
            sleep(Duration::from_millis(milliseconds)).await;
            sender.send(Instant::now()).expect("it is received");
        });
    }
    drop(sender);
    for least in [10, 20, 30] {
        let at = receiver.recv().await.expect("three are sent");
        assert!(at - start >= Duration::from_millis(least));
    }
    let mut ticks = interval(Duration::from_millis(2));
    for _ in 0..5 {
        ticks.tick().await;
    }
    assert!(
        timeout(Duration::from_millis(3), std::future::pending::<()>())
            .await
            .is_err()
    );
    assert_eq!(timeout(Duration::from_secs(60), async { 7 }).await.ok(), Some(7));
}

async fn blocking() {
    let calls: Vec<_> = (0..8u64)
        .map(|number| {
            spawn_blocking(move || {
                std::thread::sleep(Duration::from_millis(2));
                (std::thread::current().id(), number)
            })
        })
        .collect();
    let mut sum = 0;
    for call in calls {
        let (thread, number) = call.await.expect("it ends");
        assert_ne!(thread, std::thread::current().id());
        sum += number;
    }
    assert_eq!(sum, 28);
}

async fn channels() {
    let (sender, mut receiver) = mpsc::channel(4);
    let producer = spawn(async move {
        for number in 0..500u32 {
            sender.send(number).await.expect("it is received");
        }
    });
    let mut next = 0;
    while let Some(number) = receiver.recv().await {
        assert_eq!(number, next);
        next += 1;
    }
    producer.await.expect("it ends");
    let (sender, receiver) = oneshot::channel();
    spawn(async move { sender.send("once") });
    assert_eq!((next, receiver.await), (500, Ok("once")));
    let (sender, mut first) = broadcast::channel(16);
    let mut second = sender.subscribe();
    sender.send(5).expect("two listen");
    assert_eq!((first.recv().await, second.recv().await), (Ok(5), Ok(5)));
    let (sender, mut receiver) = watch::channel(0);
    spawn(async move { sender.send(9) });
    receiver.changed().await.expect("it changes");
    assert_eq!(*receiver.borrow(), 9);
}

async fn selecting() {
    let (sender, mut receiver) = mpsc::channel::<u32>(1);
    let (mut received, mut expired) = (0, 0);
    let sending = spawn(async move {
        for number in 0..3 {
            sleep(Duration::from_millis(4)).await;
            sender.send(number).await.expect("it is received");
        }
    });
    loop {
        select! {
            message = receiver.recv() => match message {
                Some(_) => received += 1,
                None => break,
            },
            () = sleep(Duration::from_millis(1)) => expired += 1,
        }
    }
    sending.await.expect("it ends");
    assert!(received == 3 && expired > 0, "{received} {expired}");
}

async fn locks() {
    let (total, table) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new(Vec::new())));
    let (permits, barrier) = (Arc::new(Semaphore::new(3)), Arc::new(Barrier::new(10)));
    let mut all = JoinSet::new();
    for number in 0..10 {
        let (total, table) = (total.clone(), table.clone());
        let (permits, barrier) = (permits.clone(), barrier.clone());
        all.spawn(async move {
            barrier.wait().await;
            for _ in 0..20 {
                let _permit = permits.acquire().await.expect("it is open");
                let mut total = total.lock().await;
                yield_now().await;
                *total += 1;
            }
            table.write().await.push(number);
        });
    }
    while let Some(result) = all.join_next().await {
        result.expect("it ends");
    }
    assert_eq!((*total.lock().await, table.read().await.len()), (200, 10));
    let notify = Arc::new(Notify::new());
    let waiter = spawn({
        let notify = notify.clone();
        async move { notify.notified().await }
    });
    notify.notify_one();
    waiter.await.expect("it ends");
}

async fn endings() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let error = spawn(async { panic!("as asked for") }).await;
    assert!(error.expect_err("it panics").is_panic());
    std::panic::set_hook(hook);
    let endless = spawn(std::future::pending::<()>());
    endless.abort();
    assert!(endless.await.expect_err("it is aborted").is_cancelled());
}

async fn files() {
    let path = "/tmp/tokio";
    fs::write(path, "written in a thread for that")
        .await
        .expect("there is room");
    let text = fs::read_to_string(path).await.expect("it is there");
    fs::remove_file(path).await.expect("it is there");
    assert_eq!(text, "written in a thread for that");
    assert!(fs::metadata(path).await.is_err());
}

async fn streams() {
    let (mut one, mut other) = tokio::io::duplex(64);
    let writer = spawn(async move { one.write_all(&[7; 10_000]).await });
    let mut bytes = Vec::new();
    other.read_to_end(&mut bytes).await.expect("it is a pipe");
    writer.await.expect("it ends").expect("it is a pipe");
    assert_eq!(bytes, [7; 10_000]);
}

async fn sockets() {
    let (mut one, mut other) = UnixStream::pair().expect("there are pairs");
    let echo = spawn(async move {
        let mut bytes = [0; 1000];
        let mut count = 0;
        loop {
            let size = other.read(&mut bytes).await.expect("it is open");
            if size == 0 {
                return count;
            }
            other.write_all(&bytes[..size]).await.expect("it is open");
            count += size;
        }
    });
    let (mut back, sent) = (vec![0; 100_000], vec![5; 100_000]);
    let (mut reader, mut writer) = one.split();
    let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
    assert!(written.is_ok() && read.is_ok() && back == sent);
    drop(one);
    assert_eq!(echo.await.expect("it ends"), 100_000);
}

async fn signals() {
    let mut seen = signal(SignalKind::user_defined1()).expect("handlers are there");
    let send = spawn(async {
        // SAFETY: The signal has a handler.
        #[expect(unsafe_code, reason = "the standard library sends no signals")]
        let result = unsafe { libc::raise(libc::SIGUSR1) };
        result
    });
    assert_eq!((seen.recv().await, send.await.ok()), (Some(()), Some(0)));
}
