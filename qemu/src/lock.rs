//! Files that one process at a time has.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::Error;

/// How often who waits looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until no other process has the file, which is created if need be. It is locked until the returned one is closed, which
/// the system does when the process ends, however it does. If it has to wait, it calls `waiting` first, which returns the
/// flag that ends that.
///
/// # Errors
/// The file cannot be opened or locked; [`Error::Interrupted`] if the flag was set; those of `waiting`.
pub fn lock<E: From<Error>>(
    path: &Path,
    waiting: impl FnOnce() -> Result<Arc<AtomicBool>, E>,
) -> Result<File, E> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let try_lock = |file: &File| match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(io(error)),
    };
    let file = File::options().create(true).append(true).open(path).map_err(io)?;
    if try_lock(&file)? {
        return Ok(file);
    }
    let interrupt = waiting()?;
    while !try_lock(&file)? {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use tempfile::TempDir;

    #[test]
    fn who_comes_second_waits_until_the_first_is_done() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lock");
        let nobody = || -> Result<_, Error> { panic!("nobody else is there") };
        let first = lock(&path, nobody).unwrap();
        let (tell, told) = mpsc::channel();
        let second = thread::spawn(move || {
            lock::<Error>(&path, || {
                tell.send(()).unwrap();
                Ok(Arc::new(AtomicBool::new(false)))
            })
            .unwrap();
        });
        told.recv().unwrap();
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap();
    }

    #[test]
    fn who_waits_can_give_up() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lock");
        let stop = || Ok::<_, Error>(Arc::new(AtomicBool::new(true)));
        let _first = lock(&path, stop).unwrap();
        assert!(matches!(lock(&path, stop), Err(Error::Interrupted)));
    }
}
