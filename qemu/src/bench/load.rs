//! How busy the host is with other things: times that are measured meanwhile say little.

use std::time::Duration;

/// Clock ticks a second in `/proc/stat`.
const TICKS: f64 = 100.0;
/// How long the host is watched.
const WATCHED: Duration = Duration::from_secs(1);
/// CPUs that may be busy without a word about it.
const QUIET: f64 = 0.2;

/// What to tell the user if the host is not idle enough to measure time on. Watches it for a second.
pub(super) fn warning() -> Option<String> {
    let before = busy_ticks(&std::fs::read_to_string("/proc/stat").ok()?)?;
    std::thread::sleep(WATCHED);
    let after = busy_ticks(&std::fs::read_to_string("/proc/stat").ok()?)?;
    let cpus = (after - before) / TICKS / WATCHED.as_secs_f64();
    (cpus > QUIET).then(|| {
        format!(
            "note: other programs keep {cpus:.1} of this host's CPUs busy; times and scaling need an idle one"
        )
    })
}

/// Ticks that all CPUs together were not idle.
fn busy_ticks(stat: &str) -> Option<f64> {
    let total = stat.lines().next()?.strip_prefix("cpu ")?;
    let values: Result<Vec<f64>, _> = total.split_whitespace().map(str::parse).collect();
    // user, nice, system, idle, iowait, interrupts, soft interrupts, stolen; guests are in `user` already.
    match values.ok()?.as_slice() {
        [user, nice, system, _, _, rest @ ..] => {
            Some(user + nice + system + rest.iter().take(3).sum::<f64>())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::busy_ticks;

    #[test]
    fn idle_and_waiting_time_is_not_busy() {
        let stat = "cpu  100 20 3 5000 600 7 8 9 1000 2000\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(147.0));
        assert_eq!(busy_ticks("intr 5\n"), None);
        assert_eq!(busy_ticks(""), None);
    }
}
