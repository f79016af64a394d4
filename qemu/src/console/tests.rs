use super::{Interest, Outcome, TAIL_LINES, Verdict, Watch, read_log};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn observe(line: &str) -> Interest {
    match line.split(' ').next() {
        Some("mark") => Interest::Keep,
        Some("enough") => Interest::Stop,
        _ => Interest::None,
    }
}

/// Runs a shell script in QEMU's place.
fn run(script: &str, silence_ms: u64, limit_ms: u64, interrupt: &Arc<AtomicBool>) -> (Outcome, String) {
    let folder = TempDir::new().unwrap();
    let watch = Watch {
        log: folder.path().join("logs/console.log"),
        is_shown: false,
        silence: Some(Duration::from_millis(silence_ms)),
        limit: Some(Duration::from_millis(limit_ms)),
        interrupt: Arc::clone(interrupt),
    };
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let outcome = watch.run(command, observe).unwrap();
    let log = read_log(&watch.log).unwrap();
    (outcome, log)
}

fn verdict(script: &str) -> Verdict {
    run(script, 20_000, 20_000, &Arc::default()).0.verdict
}

#[test]
fn only_the_guests_word_is_success() {
    assert_eq!(verdict("exit 33"), Verdict::Success);
    assert_eq!(verdict("exit 35"), Verdict::Failure);
    assert_eq!(verdict("exit 0"), Verdict::NoVerdict);
    assert_eq!(verdict("exit 1"), Verdict::Emulator(1));
    assert_eq!(verdict("kill -KILL $$"), Verdict::Killed(9));
}

#[test]
fn a_log_on_a_full_disk_is_named_and_the_machine_ended() {
    let folder = TempDir::new().unwrap();
    let watch = Watch {
        log: folder.path().join("console.log"),
        is_shown: false,
        silence: None,
        limit: None,
        interrupt: Arc::default(),
    };
    std::os::unix::fs::symlink("/dev/full", &watch.log).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "yes | head -c 100000; exec sleep 60"]);
    let begun = Instant::now();
    let error = watch.run(command, observe).unwrap_err().to_string();
    let expected = format!("{}: No space left on device", watch.log.display());
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("; free space there, and try again"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_silent_machine_is_ended() {
    let begun = Instant::now();
    let (outcome, log) = run("echo up; exec sleep 60", 300, 20_000, &Arc::default());
    assert_eq!(outcome.verdict, Verdict::Hang(Duration::from_millis(300)));
    assert_eq!(log, "up\n");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_babbling_machine_is_ended() {
    let (outcome, _) = run(
        "while :; do echo x; sleep 0.05; done",
        10_000,
        500,
        &Arc::default(),
    );
    assert_eq!(outcome.verdict, Verdict::TooLong(Duration::from_millis(500)));
}

#[test]
fn an_interrupt_ends_the_machine() {
    let interrupt = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupt);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        run("exec sleep 60", 20_000, 20_000, &interrupt).0.verdict,
        Verdict::Interrupted
    );
}

#[test]
fn the_tail_has_the_last_lines_of_both_outputs() {
    let script =
        "i=0; while [ $i -lt 70 ]; do echo line $i; i=$((i+1)); done; sleep 0.3; echo broken >&2; exit 1";
    let (outcome, log) = run(script, 20_000, 20_000, &Arc::default());
    assert_eq!(outcome.tail.len(), TAIL_LINES);
    assert_eq!(outcome.tail.first().map(String::as_str), Some("line 21"));
    assert_eq!(outcome.tail.last().map(String::as_str), Some("broken"));
    assert_eq!(log.lines().count(), 70);
}

#[test]
fn marks_have_times_and_odd_bytes_do_no_harm() {
    let (outcome, log) = run(
        "printf 'mark a\\r\\n\\377\\0\\nmark b'; exit 33",
        20_000,
        20_000,
        &Arc::default(),
    );
    let marks: Vec<_> = outcome.marks.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(marks, ["mark a", "mark b"]);
    assert!(outcome.marks[0].0 <= outcome.elapsed);
    assert_eq!(log, "mark a\n\u{fffd}\0\nmark b");
}

#[test]
fn an_observer_can_end_the_run() {
    let (outcome, _) = run("echo enough now; exec sleep 60", 20_000, 20_000, &Arc::default());
    assert_eq!(outcome.verdict, Verdict::Stopped);
    assert_eq!(outcome.marks[0].1, "enough now");
}
