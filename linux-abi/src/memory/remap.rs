//! `mremap`: mappings that change their size or place.

use l4::PAGE_SIZE;
use l4::region::Access;

use super::mapping::free_range;
use super::{checked, pages};
use crate::process::Answer;
use crate::table::Arguments;
use crate::{Contents, Errno, Mapping, Place, Process, System};

const MAY_MOVE: u64 = 1;
const FIXED: u64 = 2;

/// `mremap(address, old size, new size, flags, new address)`. Only anonymous memory grows or moves; to move it, it is
/// copied.
pub(crate) fn mremap<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    let [start, old, new, flags, target, _] = *arguments;
    if flags & !(MAY_MOVE | FIXED) != 0 || (flags & FIXED != 0 && flags & MAY_MOVE == 0) {
        return Err(Errno::INVAL);
    }
    let system = &mut process.system;
    let old = checked(system, start, old)?;
    let new = pages(new)?;
    if new == 0 {
        return Err(Errno::INVAL);
    }
    if flags & FIXED != 0 {
        checked(system, target, new)?;
        let is_apart = target + new <= start || start + old <= target;
        if !is_apart {
            return Err(Errno::INVAL);
        }
        let region = covering(system, start, old)?;
        system.detach(target, new)?;
        return relocate(system, &region, start, old, target, new);
    }
    if new <= old {
        if new < old {
            system.detach(start + new, old - new)?;
        }
        return Ok(start);
    }
    grow(system, start, old, new, flags & MAY_MOVE != 0)
}

fn grow(system: &mut impl System, start: u64, old: u64, new: u64, may_move: bool) -> Answer {
    let region = covering(system, start, old)?;
    let place = Place::At(start + old);
    let tail_is_allowed = checked(system, start + old, new - old).is_ok();
    if tail_is_allowed
        && system
            .attach(place, new - old, region.access, Contents::Anonymous)
            .is_ok()
    {
        return Ok(start);
    }
    if !may_move {
        return Err(Errno::NOMEM);
    }
    let target = free_range(system, 0, new)?;
    relocate(system, &region, start, old, target, new)
}

/// The anonymous region that covers a range.
fn covering(system: &mut impl System, start: u64, size: u64) -> Result<Mapping, Errno> {
    let region = system
        .find(start)
        .filter(|region| region.start <= start)
        .ok_or(Errno::FAULT)?;
    if region.start + region.size < start + size {
        return Err(Errno::FAULT);
    }
    if region.anonymous {
        Ok(region)
    } else {
        Err(Errno::NOMEM)
    }
}

/// Moves a range of anonymous memory to a free one.
fn relocate(
    system: &mut impl System,
    region: &Mapping,
    start: u64,
    old: u64,
    target: u64,
    new: u64,
) -> Answer {
    let kept = old.min(new);
    let is_readable = region.access.contains(Access::READ);
    let access = if is_readable {
        Access::READ_WRITE
    } else {
        region.access
    };
    system.attach(Place::At(target), new, access, Contents::Anonymous)?;
    if is_readable {
        for offset in (0..kept).step_by(PAGE_SIZE as usize) {
            system.copy(target + offset, start + offset, PAGE_SIZE)?;
        }
        if access != region.access {
            system.protect(target, new, region.access)?;
        }
    }
    system.detach(start, old)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use crate::testing::{BASE, OWN, call, process};

    const RW_ANONYMOUS: [u64; 4] = [3, 0x22, u64::MAX, 0];

    fn map(process: &mut crate::Process<crate::testing::FakeSystem>, size: u64) -> u64 {
        let [prot, flags, fd, offset] = RW_ANONYMOUS;
        call(process, 9, &[0, size, prot, flags, fd, offset]).unwrap()
    }

    #[test]
    fn grows_in_place_where_there_is_room() {
        let mut process = process();
        let start = map(&mut process, 4096);
        process.system.poke(start, b"kept");
        assert_eq!(call(&mut process, 25, &[start, 4096, 8192, 0]), Ok(start));
        assert_eq!(process.system.peek(start, 4), b"kept");
        assert_eq!(process.system.peek(start + 8190, 2), [0; 2]);
        assert_eq!(call(&mut process, 25, &[start, 8192, 4096, 0]), Ok(start));
        assert!(process.system.peek_fault(start + 4096));
    }

    #[test]
    fn moves_with_its_contents_where_there_is_none() {
        let mut process = process();
        let start = map(&mut process, 4096);
        let neighbour = call(&mut process, 9, &[start + 4096, 4096, 3, 0x22, 0, 0]).unwrap();
        assert_eq!(neighbour, start + 4096);
        process.system.poke(start, b"kept");
        assert_eq!(call(&mut process, 25, &[start, 4096, 8192, 0]), Err(12));
        let moved = call(&mut process, 25, &[start, 4096, 8192, 1]).unwrap();
        assert_ne!(moved, start);
        assert_eq!(process.system.peek(moved, 4), b"kept");
        assert!(process.system.peek_fault(start));
    }

    #[test]
    fn moves_to_where_it_is_told() {
        let mut process = process();
        let start = map(&mut process, 8192);
        process.system.poke(start + 4096, b"kept");
        let target = start + (1 << 30);
        assert_eq!(
            call(&mut process, 25, &[start, 8192, 8192, 3, target]),
            Ok(target)
        );
        assert_eq!(process.system.peek(target + 4096, 4), b"kept");
        assert_eq!(call(&mut process, 25, &[target, 8192, 8192, 3, OWN]), Err(22));
        assert_eq!(
            call(&mut process, 25, &[target, 8192, 8192, 3, target + 4096]),
            Err(22)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let mut process = process();
        assert_eq!(call(&mut process, 25, &[0x5000_0000, 4096, 8192, 1]), Err(14));
        assert_eq!(call(&mut process, 25, &[BASE, 4096, 0, 1]), Err(22));
        assert_eq!(call(&mut process, 25, &[BASE, 4096, 8192, 2, BASE]), Err(22));
        assert_eq!(call(&mut process, 25, &[BASE, 4096, 8192, 8]), Err(22));
    }
}
