//! `mmap` and what changes mappings.

use l4::region::Access;
use l4::{Error, PAGE_SIZE};

use super::{checked, pages};
use crate::files::Mappable;
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Contents, Errno, Place, Process, System, user};

/// Where the search for free addresses starts.
pub(super) const SEARCH_START: u64 = 0x7f00_0000_0000;

const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
/// Bits that name an access; the others (`PROT_GROWSDOWN` …) are not supported.
const PROT_ALL: u64 = PROT_READ | PROT_WRITE | PROT_EXEC;

const MAP_SHARED: u64 = 1;
const MAP_PRIVATE: u64 = 2;
const MAP_SHARED_VALIDATE: u64 = 3;
const MAP_TYPE: u64 = 0xf;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

/// The access of `PROT_…` bits. Memory is never writable and executable at once.
fn access(prot: u64) -> Result<Access, Errno> {
    if prot & !PROT_ALL != 0 {
        return Err(Errno::INVAL);
    }
    if prot & PROT_WRITE != 0 && prot & PROT_EXEC != 0 {
        return Err(Errno::ACCES);
    }
    let mut access = Access::empty();
    // The processor can't permit writing or execution without reading.
    access.set(Access::READ, prot != 0);
    access.set(Access::WRITE, prot & PROT_WRITE != 0);
    access.set(Access::EXECUTE, prot & PROT_EXEC != 0);
    Ok(access)
}

/// A range that is taken has another meaning for `mmap` than for files.
fn mapping_error(error: Error) -> Errno {
    match error {
        // More than a program's memory can ever hold is no bad address either: the caller gave a size.
        Error::Exists | Error::Busy | Error::NotFound | Error::Range | Error::NoSpace | Error::BadAddress => {
            Errno::NOMEM
        }
        other => Errno::from(other),
    }
}

/// `mmap(address, size, prot, flags, fd, offset)`.
pub(crate) fn mmap<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [hint, size, prot, flags, fd, offset] = *arguments;
    let size = pages(size)?;
    if size == 0 || !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::INVAL);
    }
    let access = access(prot)?;
    let (contents, shown) = contents(process, flags, user::int(fd), offset, access)?;
    let copied = match process.files.mappable(user::int(fd)) {
        Ok(Mappable::Temporary(number)) if flags & MAP_ANONYMOUS == 0 => Some(number),
        _ => None,
    };
    let system = &mut process.system;
    let first = shown.min(size);
    let place = if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0 {
        checked(system, hint, size)?;
        if flags & MAP_FIXED_NOREPLACE == 0 {
            system.detach(hint, size).map_err(mapping_error)?;
        } else if !is_free(system, hint, size) {
            return Err(Errno::EXIST);
        }
        hint
    } else {
        free_range(system, hint, size)?
    };
    if first > 0 {
        // A copy is written before the program has its own access to it.
        let before = if copied.is_some() {
            Access::READ_WRITE
        } else {
            access
        };
        system
            .attach(Place::At(place), first, before, contents)
            .map_err(mapping_error)?;
    }
    if let Some(number) = copied
        && first > 0
    {
        process
            .files
            .temporary
            .read(system, number, offset, place, first)?;
        system.protect(place, first, access).map_err(mapping_error)?;
    }
    if first < size {
        // Behind the end of a file there is nothing; an access is an error, as on Linux.
        let rest = system.attach(
            Place::At(place + first),
            size - first,
            Access::empty(),
            Contents::Anonymous,
        );
        rest.map_err(mapping_error)?;
    }
    Ok(place)
}

/// What a mapping shows, and how many bytes of it there are.
fn contents<S: System>(
    process: &Process<S>,
    flags: u64,
    fd: i32,
    offset: u64,
    access: Access,
) -> Result<(Contents, u64), Errno> {
    let is_shared = match flags & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::INVAL),
    };
    if flags & MAP_ANONYMOUS != 0 {
        return Ok((Contents::Anonymous, u64::MAX));
    }
    let file = match process.files.mappable(fd)? {
        Mappable::Rom(file) => file,
        // It would have to change with the file.
        Mappable::Temporary(_) if is_shared => return Err(Errno::NODEV),
        Mappable::Temporary(number) => {
            let size = pages(process.files.temporary.size(number))?;
            return Ok((Contents::Anonymous, size.saturating_sub(offset)));
        }
    };
    if is_shared && access.contains(Access::WRITE) {
        return Err(Errno::ACCES);
    }
    let shown = pages(file.size)?.saturating_sub(offset);
    Ok(if is_shared {
        (Contents::Shared(file, offset), shown)
    } else {
        (Contents::Private(file, offset), shown)
    })
}

/// Finds a free range, at the hint if that is possible.
pub(super) fn free_range(system: &mut impl System, hint: u64, size: u64) -> Answer {
    let hint = hint / PAGE_SIZE * PAGE_SIZE;
    if hint != 0 && checked(system, hint, size).is_ok() && is_free(system, hint, size) {
        return Ok(hint);
    }
    // The kernel finds a range by attaching to it; detached, it is ours, because the program has one thread in here.
    let reserve = system.attach(
        Place::From(SEARCH_START),
        size,
        Access::empty(),
        Contents::Anonymous,
    );
    let start = reserve.map_err(mapping_error)?;
    system.detach(start, size).map_err(mapping_error)?;
    Ok(start)
}

fn is_free(system: &mut impl System, start: u64, size: u64) -> bool {
    system.find(start).is_none_or(|next| next.start >= start + size)
}

/// `munmap(address, size)`.
pub(crate) fn munmap<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [start, size, ..] = *arguments;
    let size = checked(&process.system, start, size)?;
    process.system.detach(start, size).map_err(mapping_error)?;
    Ok(0)
}

/// `mprotect(address, size, prot)`.
pub(crate) fn mprotect<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [start, size, prot, ..] = *arguments;
    let access = access(prot)?;
    if size == 0 && start.is_multiple_of(PAGE_SIZE) {
        return Ok(0);
    }
    let size = checked(&process.system, start, size)?;
    process
        .system
        .protect(start, size, access)
        .map_err(mapping_error)?;
    Ok(0)
}

/// `mlock(address, size)` and its relatives, `msync(address, size, flags)`: memory is never written elsewhere, and files do
/// not change with it.
pub(crate) fn accept<S: System>(_: &mut Process<S>, _: &Arguments) -> Answer {
    Ok(0)
}

/// `mincore(address, size, vector)`: all of a mapping counts as there.
pub(crate) fn mincore<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [start, size, vector, ..] = *arguments;
    let size = checked(&process.system, start, size)?;
    for offset in (0..size).step_by(PAGE_SIZE as usize) {
        let address = start + offset;
        let mapping = process.system.find(address);
        if mapping.is_none_or(|mapping| mapping.start > address) {
            return Err(Errno::NOMEM);
        }
        let target = vector.checked_add(offset / PAGE_SIZE).ok_or(Errno::FAULT)?;
        process.system.write(target, &[1])?;
    }
    Ok(0)
}

const MADV_NORMAL: u64 = 0;
const MADV_WILLNEED: u64 = 3;
const MADV_DONTNEED: u64 = 4;
const MADV_FREE: u64 = 8;
/// `MADV_DONTFORK` to `MADV_DODUMP`, `MADV_WIPEONFORK`, `MADV_KEEPONFORK`, `MADV_COLD`: advice that changes nothing.
const MADV_WITHOUT_EFFECT: [core::ops::RangeInclusive<u64>; 2] = [10..=20, 21..=25];

/// `madvise(address, size, advice)`.
pub(crate) fn madvise<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [start, size, advice, ..] = *arguments;
    if size == 0 && start.is_multiple_of(PAGE_SIZE) {
        return Ok(0);
    }
    let size = checked(&process.system, start, size)?;
    match advice {
        MADV_DONTNEED | MADV_FREE => {
            process.system.discard(start, size).map_err(mapping_error)?;
            Ok(0)
        }
        MADV_NORMAL..=MADV_WILLNEED => Ok(0),
        other if MADV_WITHOUT_EFFECT.iter().any(|range| range.contains(&other)) => Ok(0),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Caller;
    use crate::testing::{BASE, FILE, OWN, call, process};

    const ANONYMOUS: u64 = MAP_PRIVATE | MAP_ANONYMOUS;
    const READ_WRITE: u64 = PROT_READ | PROT_WRITE;

    #[test]
    fn files_of_tmp_are_mapped_as_copies() {
        let mut process = process();
        process.system.poke(BASE, b"/tmp/file\0");
        assert_eq!(call(&mut process, 2, &[BASE, 0o102]), Ok(3));
        assert_eq!(call(&mut process, 18, &[3, BASE, 9, 4096]), Ok(9));
        let size = 3 * PAGE_SIZE;
        let map = [0, size, PROT_READ, MAP_PRIVATE, 3, PAGE_SIZE];
        let start = call(&mut process, 9, &map).unwrap();
        assert_eq!(process.system.peek(start, 10), b"/tmp/file\0");
        assert!(process.system.write(start, &[1]).is_err(), "read-only");
        assert!(
            process.system.peek_fault(start + PAGE_SIZE),
            "behind the file's end"
        );
        assert_eq!(call(&mut process, 18, &[3, BASE + 1, 3, 4096]), Ok(3));
        assert_eq!(process.system.peek(start, 3), b"/tm");
        let shared = [0, size, PROT_READ, MAP_SHARED, 3, 0];
        assert_eq!(call(&mut process, 9, &shared), Err(19));
        assert_eq!(call(&mut process, 27, &[start, size, BASE + 64]), Ok(0));
        assert_eq!(process.system.peek(BASE + 64, 4), [1, 1, 1, 0]);
        assert_eq!(
            call(&mut process, 27, &[start + size, PAGE_SIZE, BASE + 64]),
            Err(12)
        );
        assert_eq!(call(&mut process, 26, &[start, size, 4]), Ok(0));
    }

    #[test]
    fn anonymous_memory_is_zero_and_can_be_unmapped() {
        let mut process = process();
        let start = call(&mut process, 9, &[0, 10_000, READ_WRITE, ANONYMOUS, u64::MAX, 0]).unwrap();
        assert!(start >= SEARCH_START && start.is_multiple_of(PAGE_SIZE));
        assert_eq!(process.system.peek(start, 12288), [0; 12288]);
        process.system.poke(start, b"x");
        assert_eq!(call(&mut process, 11, &[start, 10_000]), Ok(0));
        assert_eq!(process.system.read(start, &mut [0]), Err(Errno::FAULT));
    }

    #[test]
    fn hints_are_honoured_where_nothing_is() {
        let mut process = process();
        let hint = 0xc0_0000_0000;
        assert_eq!(call(&mut process, 9, &[hint, 4096, 3, ANONYMOUS, 0, 0]), Ok(hint));
        let other = call(&mut process, 9, &[hint, 4096, 3, ANONYMOUS, 0, 0]).unwrap();
        assert_ne!(other, hint);
        let own = call(&mut process, 9, &[OWN, 4096, 3, ANONYMOUS, 0, 0]).unwrap();
        assert!(own >= SEARCH_START);
    }

    #[test]
    fn fixed_mappings_replace_but_never_this_layer() {
        let mut process = process();
        process.system.poke(BASE, b"old");
        let fixed = ANONYMOUS | MAP_FIXED;
        assert_eq!(call(&mut process, 9, &[BASE, 4096, 3, fixed, 0, 0]), Ok(BASE));
        assert_eq!(process.system.peek(BASE, 3), [0; 3]);
        assert_eq!(call(&mut process, 9, &[OWN, 4096, 3, fixed, 0, 0]), Err(22));
        assert_eq!(call(&mut process, 11, &[OWN, 4096]), Err(22));
        let noreplace = ANONYMOUS | MAP_FIXED_NOREPLACE;
        assert_eq!(call(&mut process, 9, &[BASE, 4096, 3, noreplace, 0, 0]), Err(17));
    }

    #[test]
    fn reservations_become_memory_piece_by_piece() {
        let mut process = process();
        let start = call(&mut process, 9, &[0, 128 << 20, 0, ANONYMOUS, 0, 0]).unwrap();
        assert_eq!(process.system.read(start, &mut [0]), Err(Errno::FAULT));
        assert_eq!(call(&mut process, 10, &[start, 8192, READ_WRITE]), Ok(0));
        process.system.poke(start, b"data");
        assert_eq!(call(&mut process, 28, &[start, 8192, MADV_DONTNEED]), Ok(0));
        assert_eq!(process.system.peek(start, 4), [0; 4]);
        assert_eq!(
            process.system.write(start + 8192, b"x"),
            Err(Errno::FAULT),
            "the rest is still only reserved"
        );
    }

    #[test]
    fn files_are_shown_read_only_or_as_a_private_copy() {
        let mut process = process();
        process.system.poke(BASE, b"/rom/data\0");
        let fd = call(&mut process, 2, &[BASE, 0]).unwrap();
        let start = call(&mut process, 9, &[0, 8192, PROT_READ, MAP_PRIVATE, fd, 0]).unwrap();
        assert_eq!(process.system.peek(start, FILE.len()), FILE);
        assert_eq!(
            process.system.read(start + 4096, &mut [0]),
            Err(Errno::FAULT),
            "behind the file's end there is nothing"
        );
        assert_eq!(call(&mut process, 9, &[0, 4096, 3, MAP_SHARED, fd, 0]), Err(13));
        assert_eq!(call(&mut process, 9, &[0, 4096, 1, MAP_PRIVATE, 77, 0]), Err(9));
        assert_eq!(call(&mut process, 9, &[0, 4096, 1, MAP_PRIVATE, 1, 0]), Err(19));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut process = process();
        let bad: [([u64; 6], u16); 7] = [
            ([0, 0, 3, ANONYMOUS, 0, 0], 22),
            ([0, 4096, 3, ANONYMOUS, 0, 7], 22),
            ([0, 4096, 8, ANONYMOUS, 0, 0], 22),
            ([0, 4096, 7, ANONYMOUS, 0, 0], 13),
            ([0, 4096, 3, MAP_ANONYMOUS, 0, 0], 22),
            ([0, u64::MAX - 5, 3, ANONYMOUS, 0, 0], 12),
            ([0, 1 << 62, 3, ANONYMOUS, 0, 0], 12),
        ];
        for (arguments, error) in bad {
            assert_eq!(
                call(&mut process, 9, &arguments),
                Err(error.into()),
                "{arguments:x?}"
            );
        }
        assert_eq!(call(&mut process, 11, &[BASE + 1, 4096]), Err(22));
        assert_eq!(call(&mut process, 11, &[BASE, 0]), Err(22));
        assert_eq!(call(&mut process, 10, &[0x5000_0000, 4096, 3]), Err(12));
        assert_eq!(call(&mut process, 28, &[BASE, 4096, 999]), Err(22));
    }
}
