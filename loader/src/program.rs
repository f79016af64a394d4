//! A file that was made ready to become tasks.

use crate::elf::page_down;
use crate::{ElfError, Image, Kind, LoadError, MAX_SEGMENTS, Segment, Step};
use heapless::Vec;
use l4::object::Dataspace;
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, PAGE_SIZE};
use l4re::OwnedCap;
use l4re::memory::{self, SealedView};

/// Where relocatable programs are moved to: above what the linker gives fixed ones, and below 2 GiB.
const RELOCATABLE_BASE: u64 = 0x1000_0000;
/// Most regions of a program: whole file pages, a last page of its own, and zeroes, for each segment.
const MAX_REGIONS: usize = 3 * MAX_SEGMENTS;

/// An image and the dataspaces that its regions show. Keep it as long as tasks are to be made of it.
#[derive(Debug)]
pub struct Program {
    image: Image,
    regions: Vec<Region, MAX_REGIONS>,
    /// Copies of last pages whose rest is not zero in the file.
    _tails: Vec<OwnedCap, MAX_SEGMENTS>,
}

/// What a segment's memory consists of.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// Pages that the file has as they are to be.
    file: Option<(u64, u64)>,
    /// A page that starts with the last bytes of the file's part: its address and their number.
    tail: Option<(u64, usize)>,
    /// Zeroes.
    zero: Option<(u64, u64)>,
}

impl Program {
    /// Makes the file in a sealed dataspace ready. `file_size` is its size in bytes, if it is known to be smaller than
    /// the dataspace, whose size is a multiple of the page size.
    ///
    /// The capability must stay where it is while tasks are made of the program.
    ///
    /// # Errors
    /// [`LoadError::Elf`] if the file is no program; [`LoadError::Kernel`] if the dataspace is not sealed, or there is
    /// no memory for copies of last pages (a page for each writable segment, from the task's own factory).
    pub fn prepare(dataspace: Dataspace, file_size: Option<u64>) -> Result<Program, LoadError> {
        let view = SealedView::attach(dataspace).map_err(Step::View.failed())?;
        Program::from_view(dataspace, view.bytes(), file_size)
    }

    /// [`Self::prepare`] with a view of the whole dataspace that is there already.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn from_view(
        dataspace: Dataspace,
        bytes: &[u8],
        file_size: Option<u64>,
    ) -> Result<Program, LoadError> {
        let size = file_size.unwrap_or(bytes.len() as u64).min(bytes.len() as u64);
        let mut image = Image::parse(bytes, size)?;
        if image.kind == Kind::Relocatable {
            image = image.moved(RELOCATABLE_BASE)?;
        }
        let mut program = Program {
            image,
            regions: Vec::new(),
            _tails: Vec::new(),
        };
        for index in 0..program.image.segments.len() {
            let segment = program.image.segments[index];
            program.add(segment, dataspace.0, bytes)?;
        }
        Ok(program)
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The regions that show it, by rising address.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn add(&mut self, segment: Segment, dataspace: CapIndex, bytes: &[u8]) -> Result<(), LoadError> {
        let parts = split(&segment, bytes);
        if let Some((start, size)) = parts.file {
            let backing = if segment.access.contains(Access::WRITE) {
                Backing::Private
            } else {
                Backing::Shared
            };
            let offset = page_down(segment.file_offset);
            self.push(Region {
                start,
                size,
                access: segment.access,
                backing,
                search: false,
                dataspace,
                offset,
            })?;
        }
        if let Some((start, count)) = parts.tail {
            let from = (page_down(segment.file_offset) + (start - segment.first_page())) as usize;
            let tail = copy_of(&bytes[from..from + count]).map_err(Step::Tail.failed())?;
            self.push(Region {
                start,
                size: PAGE_SIZE,
                access: segment.access,
                backing: Backing::Private,
                search: false,
                dataspace: tail.index(),
                offset: 0,
            })?;
            self._tails.push(tail).map_err(|_| ElfError::TooManySegments)?;
        }
        if let Some((start, size)) = parts.zero {
            self.push(Region {
                start,
                size,
                access: segment.access,
                backing: Backing::Anonymous,
                search: false,
                dataspace: CapIndex(0),
                offset: 0,
            })?;
        }
        Ok(())
    }

    fn push(&mut self, region: Region) -> Result<(), LoadError> {
        self.regions
            .push(region)
            .map_err(|_| ElfError::TooManySegments.into())
    }
}

/// Decides which pages of a segment come from the file and which are zeroes. The page where both meet is the file's
/// if what follows there in the file is zero anyhow.
fn split(segment: &Segment, bytes: &[u8]) -> Parts {
    let first = segment.first_page();
    let end = segment.end_page();
    if segment.file_size == 0 {
        return Parts {
            file: None,
            tail: None,
            zero: Some((first, end - first)),
        };
    }
    let file_end = segment.address + segment.file_size;
    let used = (file_end % PAGE_SIZE) as usize;
    let in_file = (segment.file_offset + segment.file_size) as usize;
    let rest = &bytes[in_file
        ..bytes
            .len()
            .min(in_file + (PAGE_SIZE as usize - used) % PAGE_SIZE as usize)];
    let is_clean =
        used == 0 || segment.memory_size == segment.file_size || rest.iter().all(|&byte| byte == 0);
    let whole_end = if is_clean {
        page_down(file_end + PAGE_SIZE - 1)
    } else {
        page_down(file_end)
    };
    let tail = (!is_clean).then_some((whole_end, used));
    let zero_start = if is_clean {
        whole_end
    } else {
        whole_end + PAGE_SIZE
    };
    Parts {
        file: (whole_end > first).then_some((first, whole_end - first)),
        tail,
        zero: (end > zero_start).then_some((zero_start, end - zero_start)),
    }
}

/// A sealed dataspace of one page that starts with `bytes`.
fn copy_of(bytes: &[u8]) -> Result<OwnedCap, l4::Error> {
    let tail = memory::create_dataspace(PAGE_SIZE)?;
    Dataspace(tail.index()).write(0, bytes)?;
    Dataspace(tail.index()).seal()?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(address: u64, file_size: u64, memory_size: u64) -> Segment {
        Segment {
            address,
            memory_size,
            file_offset: 0x2000 + address % PAGE_SIZE,
            file_size,
            access: Access::READ_WRITE,
        }
    }

    /// The parts of a segment whose file continues behind it with `rest`.
    fn parts(segment: &Segment, rest: u8) -> Parts {
        let mut bytes = vec![rest; 0x8000];
        let start = segment.file_offset as usize;
        bytes[start..start + segment.file_size as usize].fill(1);
        split(segment, &bytes)
    }

    const NOTHING: Parts = Parts {
        file: None,
        tail: None,
        zero: None,
    };

    #[test]
    fn whole_pages_come_from_the_file() {
        let file = Some((0x10000, 0x2000));
        assert_eq!(
            parts(&segment(0x10000, 0x2000, 0x2000), 9),
            Parts { file, ..NOTHING }
        );
        let (file, zero) = (Some((0x10000, 0x1000)), Some((0x11000, 0x2000)));
        assert_eq!(
            parts(&segment(0x10000, 0x1000, 0x3000), 9),
            Parts {
                file,
                zero,
                ..NOTHING
            }
        );
        assert_eq!(
            parts(&segment(0x10123, 0x100, 0x100), 9),
            Parts { file, ..NOTHING }
        );
    }

    #[test]
    fn only_zeroes_need_no_file() {
        let zero = Some((0x10000, 0x3000));
        assert_eq!(parts(&segment(0x10010, 0, 0x2000), 9), Parts { zero, ..NOTHING });
    }

    #[test]
    fn a_dirty_last_page_is_copied() {
        let (file, tail) = (Some((0x10000, 0x1000)), Some((0x11000, 0x223)));
        let zero = Some((0x12000, 0x2000));
        assert_eq!(
            parts(&segment(0x10123, 0x1100, 0x3000), 9),
            Parts { file, tail, zero }
        );
        let tail = Some((0x10000, 0x133));
        assert_eq!(parts(&segment(0x10123, 0x10, 0x11), 9), Parts { tail, ..NOTHING });
    }

    #[test]
    fn a_clean_last_page_is_not() {
        let (file, zero) = (Some((0x10000, 0x2000)), Some((0x12000, 0x2000)));
        assert_eq!(
            parts(&segment(0x10123, 0x1100, 0x3000), 0),
            Parts {
                file,
                zero,
                ..NOTHING
            }
        );
        let file = Some((0x10000, 0x1000));
        assert_eq!(parts(&segment(0x10123, 0x10, 0x11), 0), Parts { file, ..NOTHING });
    }

    #[test]
    fn a_file_that_ends_inside_its_last_page_is_clean_behind() {
        let segment = segment(0x10000, 0x1100, 0x3000);
        let bytes = vec![1; 0x3100];
        assert_eq!(split(&segment, &bytes).file, Some((0x10000, 0x2000)));
    }
}
