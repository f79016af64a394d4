//! Files of the program's own below `/tmp`, in memory that its account pays for.
//!
//! Contents are kept in pages; pages that were never written are not there and read as zeroes. A file that is removed
//! while it is open stays until it is closed.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::process::Answer;
use crate::{Caller, Errno};

/// The directory.
pub(super) const ROOT: &str = "/tmp";
/// Bytes of a page.
const PAGE: u64 = 4096;
/// Largest file: far more than there is room for, and small enough for its list of pages.
const SIZE_MAX: u64 = 1 << 30;
/// Most files and directories.
const ENTRIES_MAX: usize = 1 << 16;

/// What a path below [`ROOT`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    /// The file with this number.
    File(usize),
}

/// A file's contents.
#[derive(Debug, Default)]
struct File {
    pages: Vec<Vec<u8>>,
    size: u64,
    /// Paths and open files that it has.
    users: usize,
}

/// All files below [`ROOT`].
#[derive(Debug, Default)]
pub(crate) struct Temporary {
    /// By their normalized paths; [`ROOT`] itself is not among them.
    entries: BTreeMap<String, Entry>,
    files: Vec<Option<File>>,
}

/// The directory that a path is in.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Tells whether a path is that of a directory or in it.
fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Temporary {
    /// What a normalized path names.
    pub(super) fn get(&self, path: &str) -> Option<Entry> {
        if path == ROOT {
            return Some(Entry::Directory);
        }
        self.entries.get(path).copied()
    }

    /// All paths in a directory and in its directories, and whether each is a directory itself.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, bool)> {
        self.entries
            .range::<str, _>((core::ops::Bound::Included(prefix), core::ops::Bound::Unbounded))
            .map(|(path, entry)| (path.as_str(), *entry == Entry::Directory))
            .take_while(move |(path, _)| path.starts_with(prefix))
    }

    fn check_new(&self, path: &str) -> Result<(), Errno> {
        match self.get(parent(path)) {
            _ if !is_within(path, ROOT) => Err(Errno::ROFS),
            Some(Entry::Directory) if self.entries.len() >= ENTRIES_MAX => Err(Errno::NOSPC),
            Some(Entry::Directory) if self.get(path).is_some() => Err(Errno::EXIST),
            Some(Entry::Directory) => Ok(()),
            Some(Entry::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// Makes an empty file. Returns its number.
    pub(super) fn create(&mut self, path: &str) -> Result<usize, Errno> {
        self.check_new(path)?;
        let number = match self.files.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                self.files.push(None);
                self.files.len() - 1
            }
        };
        self.files[number] = Some(File {
            users: 1,
            ..File::default()
        });
        self.entries.insert(String::from(path), Entry::File(number));
        Ok(number)
    }

    /// Makes a directory.
    pub(super) fn make_directory(&mut self, path: &str) -> Result<(), Errno> {
        self.check_new(path)?;
        self.entries.insert(String::from(path), Entry::Directory);
        Ok(())
    }

    /// Removes a file's path.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), Errno> {
        match self.get(path) {
            Some(Entry::File(number)) => {
                self.entries.remove(path);
                self.release(number);
                Ok(())
            }
            Some(Entry::Directory) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, path: &str) -> Result<(), Errno> {
        match self.get(path) {
            _ if path == ROOT => Err(Errno::BUSY),
            Some(Entry::Directory) if !self.is_empty(path) => Err(Errno::NOTEMPTY),
            Some(Entry::Directory) => {
                self.entries.remove(path);
                Ok(())
            }
            Some(Entry::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    fn is_empty(&self, directory: &str) -> bool {
        self.below(&alloc::format!("{directory}/")).next().is_none()
    }

    /// Gives a file or directory another path, and removes what has that.
    pub(super) fn rename(&mut self, from: &str, to: &str, may_replace: bool) -> Result<(), Errno> {
        let entry = self.get(from).ok_or(Errno::NOENT)?;
        if from == to {
            return Ok(());
        }
        if from == ROOT || to == ROOT {
            return Err(Errno::BUSY);
        }
        if is_within(to, from) {
            return Err(Errno::INVAL);
        }
        match (entry, self.get(to)) {
            (_, None) => self.check_new(to)?,
            (_, Some(_)) if !may_replace => return Err(Errno::EXIST),
            (Entry::File(_), Some(_)) => self.remove(to)?,
            (Entry::Directory, Some(_)) => self.remove_directory(to)?,
        }
        self.entries.remove(from);
        self.entries.insert(String::from(to), entry);
        let prefix = alloc::format!("{from}/");
        let inside: Vec<String> = self.below(&prefix).map(|(path, _)| String::from(path)).collect();
        for path in inside {
            if let Some(entry) = self.entries.remove(&path) {
                let moved = alloc::format!("{to}/{}", &path[prefix.len()..]);
                self.entries.insert(moved, entry);
            }
        }
        Ok(())
    }

    fn file(&mut self, number: usize) -> Result<&mut File, Errno> {
        self.files
            .get_mut(number)
            .and_then(Option::as_mut)
            .ok_or(Errno::BADF)
    }

    /// Notes a further open file.
    pub(super) fn acquire(&mut self, number: usize) {
        if let Ok(file) = self.file(number) {
            file.users += 1;
        }
    }

    /// Notes that an open file or path is gone; the last one's contents go with it.
    pub(super) fn release(&mut self, number: usize) {
        if let Ok(file) = self.file(number) {
            file.users -= 1;
            if file.users == 0 {
                self.files[number] = None;
            }
        }
    }

    /// Size in bytes.
    pub(crate) fn size(&self, number: usize) -> u64 {
        self.files
            .get(number)
            .and_then(Option::as_ref)
            .map_or(0, |file| file.size)
    }

    /// Changes the size. What is added reads as zeroes.
    pub(super) fn set_size(&mut self, number: usize, size: u64) -> Result<(), Errno> {
        if size > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let file = self.file(number)?;
        file.pages.truncate(size.div_ceil(PAGE) as usize);
        if size < file.size
            && let Some(page) = file.pages.get_mut((size / PAGE) as usize)
            && let Some(rest) = page.get_mut((size % PAGE) as usize..)
        {
            rest.fill(0);
        }
        file.size = size;
        Ok(())
    }

    /// Copies from a file to the program's memory, up to the file's end.
    pub(crate) fn read(
        &mut self,
        caller: &mut impl Caller,
        number: usize,
        offset: u64,
        address: u64,
        size: u64,
    ) -> Answer {
        let file = self.file(number)?;
        let size = size.min(file.size.saturating_sub(offset));
        let mut done = 0;
        while done < size {
            let at = offset + done;
            let start = (at % PAGE) as usize;
            let length = (size - done).min(PAGE - start as u64) as usize;
            let target = address.checked_add(done).ok_or(Errno::FAULT)?;
            match file
                .pages
                .get((at / PAGE) as usize)
                .filter(|page| !page.is_empty())
            {
                Some(page) => caller.write(target, &page[start..start + length])?,
                None => caller.write(target, &[0; PAGE as usize][..length])?,
            }
            done += length as u64;
        }
        Ok(size)
    }

    /// Copies from the program's memory to a file, which grows as needed.
    pub(super) fn write(
        &mut self,
        caller: &mut impl Caller,
        number: usize,
        offset: u64,
        address: u64,
        size: u64,
    ) -> Answer {
        let end = offset.checked_add(size).filter(|end| *end <= SIZE_MAX);
        let end = end.ok_or(Errno::FBIG)?;
        let file = self.file(number)?;
        let mut done = 0;
        while done < size {
            let at = offset + done;
            let start = (at % PAGE) as usize;
            let length = (size - done).min(PAGE - start as u64) as usize;
            let source = address.checked_add(done).ok_or(Errno::FAULT)?;
            let result = file
                .page((at / PAGE) as usize)
                .and_then(|page| caller.read(source, &mut page[start..start + length]));
            match result {
                Ok(()) => done += length as u64,
                // What was written before an error counts.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if done > 0 {
            file.size = file.size.max(if done == size { end } else { offset + done });
        }
        Ok(done)
    }
}

impl File {
    /// A page of the file, which is there from now on.
    fn page(&mut self, index: usize) -> Result<&mut Vec<u8>, Errno> {
        if index >= self.pages.len() {
            let further = index + 1 - self.pages.len();
            self.pages.try_reserve(further).map_err(|_| Errno::NOSPC)?;
            self.pages.resize_with(index + 1, Vec::new);
        }
        let page = &mut self.pages[index];
        if page.is_empty() {
            page.try_reserve_exact(PAGE as usize).map_err(|_| Errno::NOSPC)?;
            page.resize(PAGE as usize, 0);
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{BASE, FakeSystem};

    #[test]
    fn contents_are_those_of_an_array() {
        let mut system = FakeSystem::new();
        let mut temporary = Temporary::default();
        let number = temporary.create("/tmp/file").unwrap();
        let mut model: Vec<u8> = Vec::new();
        let mut seed = 12345u64;
        for round in 0..300u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
            let offset = (seed >> 33) % 20_000;
            let size = (seed >> 20) % 9000;
            if round % 7 == 0 {
                temporary.set_size(number, offset).unwrap();
                model.resize(offset as usize, 0);
            }
            let bytes: Vec<u8> = (0..size).map(|index| (index * round) as u8).collect();
            system.poke(BASE, &bytes);
            assert_eq!(temporary.write(&mut system, number, offset, BASE, size), Ok(size));
            if size > 0 {
                let end = model.len().max((offset + size) as usize);
                model.resize(end, 0);
                model[offset as usize..(offset + size) as usize].copy_from_slice(&bytes);
            }
            assert_eq!(temporary.size(number), model.len() as u64);
            let from = (seed >> 40) % 20_000;
            let read = temporary.read(&mut system, number, from, BASE, 8192).unwrap();
            let expected = model.get(from as usize..).unwrap_or_default();
            let expected = &expected[..expected.len().min(8192)];
            assert_eq!(system.peek(BASE, read as usize), expected, "round {round}");
        }
    }

    #[test]
    fn directories_are_moved_with_what_is_in_them() {
        let mut temporary = Temporary::default();
        for path in ["/tmp/a", "/tmp/a/b", "/tmp/ab"] {
            temporary.make_directory(path).unwrap();
        }
        let number = temporary.create("/tmp/a/b/file").unwrap();
        assert_eq!(temporary.rename("/tmp/a", "/tmp/a/b/c", true), Err(Errno::INVAL));
        assert_eq!(temporary.rename("/tmp/a", "/tmp/ab", false), Err(Errno::EXIST));
        assert_eq!(temporary.rename("/tmp/a", "/tmp/ab", true), Ok(()));
        assert_eq!(temporary.get("/tmp/ab/b/file"), Some(Entry::File(number)));
        assert_eq!(temporary.get("/tmp/a"), None);
        assert_eq!(temporary.remove_directory("/tmp/ab"), Err(Errno::NOTEMPTY));
        assert_eq!(temporary.remove_directory("/tmp"), Err(Errno::BUSY));
        assert_eq!(temporary.remove("/tmp/ab"), Err(Errno::ISDIR));
        temporary.remove("/tmp/ab/b/file").unwrap();
        temporary.remove_directory("/tmp/ab/b").unwrap();
        temporary.remove_directory("/tmp/ab").unwrap();
        assert!(temporary.entries.is_empty() && temporary.files.iter().all(Option::is_none));
    }

    #[test]
    fn a_removed_file_stays_while_it_is_open() {
        let mut system = FakeSystem::new();
        let mut temporary = Temporary::default();
        let number = temporary.create("/tmp/file").unwrap();
        temporary.acquire(number);
        temporary.remove("/tmp/file").unwrap();
        assert_eq!(temporary.write(&mut system, number, 0, BASE, 10), Ok(10));
        let other = temporary.create("/tmp/file").unwrap();
        assert_ne!(number, other);
        temporary.release(number);
        assert_eq!(temporary.read(&mut system, number, 0, BASE, 10), Err(Errno::BADF));
        assert_eq!(temporary.create("/tmp/file"), Err(Errno::EXIST));
        assert_eq!(temporary.create("/tmp/file/below"), Err(Errno::NOTDIR));
        assert_eq!(temporary.create("/tmp/absent/file"), Err(Errno::NOENT));
        assert_eq!(
            temporary.write(&mut system, other, SIZE_MAX, BASE, 1),
            Err(Errno::FBIG)
        );
        assert_eq!(temporary.write(&mut system, other, 0, 8, 1), Err(Errno::FAULT));
        assert_eq!(temporary.size(other), 0);
    }
}
