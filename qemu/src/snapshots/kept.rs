//! The folder where snapshots are kept that were stored before, in the hands of one build at a time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use interfaces::manifest;
use stored_image::StoredImage;

use super::{SnapshotError, io};
use crate::lock::lock;

/// How many snapshots of functions of one name are kept. Those of other builds are of no use any more.
const KEPT: usize = 8;

/// The folder, and a folder in it for what is made on the way to a snapshot.
///
/// The system releases the lock when the build ends, however it does. So who has it knows that all other folders are what builds
/// left that were killed.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    work: PathBuf,
    /// Locked, until it is closed.
    _lock: File,
}

impl Kept {
    /// Waits until no other build has the folder, and removes what killed ones left there. If it has to wait, it calls `waiting`
    /// first, which returns the flag that ends that.
    ///
    /// # Errors
    /// The folder cannot be made or locked; [`Error::Interrupted`] if the user gave up waiting.
    pub(super) fn open(
        folder: PathBuf,
        waiting: impl FnOnce() -> Result<Arc<AtomicBool>, SnapshotError>,
    ) -> Result<Self, SnapshotError> {
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let lock = lock(&folder.join("lock"), waiting)?;
        for entry in fs::read_dir(&folder).map_err(io(&folder))? {
            let path = entry.map_err(io(&folder))?.path();
            if path.is_dir() {
                // It may be of another user, and takes space only.
                let _ = fs::remove_dir_all(path);
            }
        }
        // A killed build's machine may still write, to a folder with that build's number.
        let work = folder.join(format!("work-{}", std::process::id()));
        fs::create_dir_all(&work).map_err(io(&work))?;
        Ok(Self {
            folder,
            work,
            _lock: lock,
        })
    }

    /// Where to make what is not to be kept.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// Where the console of a function's machine is kept.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The snapshot in this file; `None` if there is none, or not all of it.
    pub(super) fn read(&self, file_name: &str) -> Option<Vec<u8>> {
        let file = fs::read(self.folder.join(file_name)).ok()?;
        let image = StoredImage::read(&file).ok()?;
        (image.length() == file.len() as u64).then_some(file)
    }

    /// Keeps a function's snapshot in a file of this name, and forgets the function's oldest ones.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(super) fn keep(&self, name: &str, file_name: &str, file: &[u8]) -> Result<(), SnapshotError> {
        let kept = self.folder.join(file_name);
        // A build that is killed leaves it whole or not at all.
        let draft = self.work.join("draft");
        fs::write(&draft, file).map_err(io(&draft))?;
        fs::rename(&draft, &kept).map_err(io(&kept))?;
        forget_old(&self.folder, name)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The next build tries again.
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// Removes all but the youngest snapshots of functions of this name.
fn forget_old(folder: &Path, name: &str) -> Result<(), SnapshotError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let hash = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(manifest::SNAPSHOT_SUFFIX));
        if hash.is_some_and(|hash| u64::from_str_radix(hash, 16).is_ok())
            && let Ok(time) = entry.metadata().and_then(|metadata| metadata.modified())
        {
            files.push((time, entry.path()));
        }
    }
    files.sort();
    for (_, path) in files.iter().rev().skip(KEPT) {
        fs::remove_file(path).map_err(io(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Kept, forget_old};
    use crate::error::Error;
    use crate::snapshots::SnapshotError;
    use std::cell::Cell;
    use std::fs::{self, File};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, SystemTime};
    use tempfile::TempDir;

    fn open(folder: &TempDir) -> Kept {
        Kept::open(folder.path().to_owned(), || panic!("nobody else is there")).unwrap()
    }

    #[test]
    fn what_killed_builds_left_goes_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("work-1/symbols")).unwrap();
        fs::write(path("work-1/symbols/kernel"), "large").unwrap();
        fs::create_dir(path("hello-2")).unwrap();
        fs::write(path("hello-0000000000000003.snapshot"), "kept").unwrap();
        let kept = open(&folder);
        assert!(!path("work-1").exists() && !path("hello-2").exists());
        assert!(kept.work().is_dir());
        assert!(path("hello-0000000000000003.snapshot").exists());
        let work = kept.work().to_owned();
        drop(kept);
        assert!(!work.exists());
    }

    #[test]
    fn a_second_build_waits_and_says_so() {
        let folder = TempDir::new().unwrap();
        let first = open(&folder);
        let said = Cell::new(0);
        let second = Kept::open(folder.path().to_owned(), || {
            said.update(|count| count + 1);
            Ok(Arc::new(AtomicBool::new(true)))
        });
        assert!(
            matches!(&second, Err(SnapshotError::Image(Error::Interrupted))),
            "{second:?}"
        );
        assert_eq!(said.get(), 1);
        assert!(first.work().is_dir(), "its work is not a killed one's");
        drop(first);
        open(&folder);
    }

    #[test]
    fn the_oldest_files_of_a_name_go() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for number in 0..KEPT as u64 + 2 {
            let file = File::create(path(&format!("a-{number:016x}.snapshot"))).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - number);
            file.set_modified(time).unwrap();
        }
        let others = ["a-b-0000000000000001.snapshot", "a.log", "a-x.snapshot"];
        for name in others {
            fs::write(path(name), "").unwrap();
        }
        forget_old(folder.path(), "a").unwrap();
        for number in 0..KEPT as u64 + 2 {
            let is_kept = path(&format!("a-{number:016x}.snapshot")).exists();
            assert_eq!(is_kept, number < KEPT as u64, "{number}");
        }
        assert!(others.iter().all(|name| path(name).exists()));
    }
}
