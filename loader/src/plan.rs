//! Where everything of a task lies.

use crate::{ElfError, Image, LoadError, Program, Step};
use heapless::Vec;
use l4::info_page::InfoPage;
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE, utcb};
use l4re::env::AT_L4_IMAGE_END;

/// Size of the stack of a program that does not say what it wants, in bytes.
pub const DEFAULT_STACK_SIZE: u64 = 64 << 10;

/// End of the stack of small programs: in the page table that also holds the image, the info page and the UTCB.
const LOW_STACK_TOP: u64 = 0x3f_c000;
const LOW_END: u64 = 0x40_0000;
/// Where things go whose place is taken by the image.
const HIGH_STACK_TOP: u64 = 0x7fff_e000_0000;
const HIGH_INFO_PAGE: u64 = 0x7fff_f000_0000;
const HIGH_UTCB: u64 = HIGH_INFO_PAGE + PAGE_SIZE;
const MAX_STACK_SIZE: u64 = 1 << 30;
/// Most regions of a task at its start: small programs have seven, a Linux program with its runner fifteen.
const MAX_REGIONS: usize = 24;

const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_ENTRY: u64 = 9;
const AT_CLKTCK: u64 = 17;
const AT_SECURE: u64 = 23;

/// All that tasks of one program have in common. The programs that it was made of must be kept.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The stack is the last one.
    pub(crate) regions: Vec<Region, MAX_REGIONS>,
    pub(crate) stack_top: u64,
    pub(crate) utcb: u64,
    pub(crate) info_page: u64,
    pub(crate) start: u64,
    pub(crate) auxiliary: [(u64, u64); 8],
}

impl Plan {
    /// Lays out a task for `program`. If `runner` is given, both are loaded and the thread starts in the runner, which
    /// finds the program's first instruction and headers in the auxiliary vector: so Linux programs are run.
    /// `info_page` is the dataspace of the kernel info page in the launcher's capability space.
    ///
    /// # Errors
    /// [`LoadError::ImagesOverlap`]; [`LoadError::Kernel`] with [`Error::TooBig`] for a stack above 1 GiB.
    pub fn new(
        program: &Program,
        runner: Option<&Program>,
        stack_size: u64,
        info_page: CapIndex,
    ) -> Result<Plan, LoadError> {
        let images = [Some(program.image()), runner.map(Program::image)];
        if let [Some(one), Some(other)] = images {
            let (start, end) = other.bounds();
            if one.touches(start, end) {
                return Err(LoadError::ImagesOverlap);
            }
        }
        let is_free = |start, end| {
            images
                .iter()
                .flatten()
                .all(|image: &&Image| !image.touches(start, end))
        };
        let stack_size = stack_size.max(1).next_multiple_of(PAGE_SIZE);
        if stack_size > MAX_STACK_SIZE {
            return Err(Step::Stack.failed()(Error::TooBig));
        }
        let (info_address, utcb) = if is_free(InfoPage::ADDRESS, LOW_END) {
            (InfoPage::ADDRESS, utcb::FIRST_ADDRESS)
        } else {
            (HIGH_INFO_PAGE, HIGH_UTCB)
        };
        let stack_top = stack_top(stack_size, is_free);
        let mut plan = Plan {
            regions: Vec::new(),
            stack_top,
            utcb,
            info_page: info_address,
            start: runner.unwrap_or(program).image().entry,
            auxiliary: auxiliary(program.image()),
        };
        for part in [Some(program), runner].into_iter().flatten() {
            plan.regions
                .extend_from_slice(part.regions())
                .map_err(|_| ElfError::TooManySegments)?;
        }
        let bottom = stack_top - stack_size;
        for region in [
            region(info_address, PAGE_SIZE, Access::READ, Backing::Shared, info_page),
            region(
                bottom - PAGE_SIZE,
                PAGE_SIZE,
                Access::empty(),
                Backing::Reserved,
                CapIndex(0),
            ),
            region(
                bottom,
                stack_size,
                Access::READ_WRITE,
                Backing::Anonymous,
                CapIndex(0),
            ),
        ] {
            plan.regions.push(region).map_err(|_| ElfError::TooManySegments)?;
        }
        Ok(plan)
    }

    /// Tells whether a program that is started with a stack of zeroes finds the info page.
    pub(crate) fn has_usual_places(&self) -> bool {
        self.info_page == InfoPage::ADDRESS
    }
}

/// The low place if nothing is there, for the stack and an unmapped page below it; else the high one.
fn stack_top(size: u64, is_free: impl Fn(u64, u64) -> bool) -> u64 {
    match LOW_STACK_TOP.checked_sub(size + 2 * PAGE_SIZE) {
        Some(bottom) if is_free(bottom, LOW_STACK_TOP) => LOW_STACK_TOP,
        _ => HIGH_STACK_TOP,
    }
}

fn region(start: u64, size: u64, access: Access, backing: Backing, dataspace: CapIndex) -> Region {
    Region {
        start,
        size,
        access,
        backing,
        search: false,
        dataspace,
        offset: 0,
    }
}

fn auxiliary(image: &Image) -> [(u64, u64); 8] {
    [
        (AT_PHDR, image.headers),
        (AT_PHENT, Image::HEADER_ENTRY_SIZE),
        (AT_PHNUM, image.header_count as u64),
        (AT_PAGESZ, PAGE_SIZE),
        (AT_ENTRY, image.entry),
        (AT_CLKTCK, 100),
        (AT_SECURE, 0),
        (AT_L4_IMAGE_END, image.bounds().1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Segment};

    #[test]
    fn a_moved_program_is_told_its_new_addresses() {
        let segment = Segment {
            address: 0,
            memory_size: 0x2345,
            file_offset: 0,
            file_size: 0x1234,
            access: Access::READ_EXECUTE,
        };
        let image = Image {
            kind: Kind::Relocatable,
            entry: 0x100,
            headers: 0x40,
            header_count: 5,
            is_native: false,
            segments: Vec::from_slice(&[segment]).unwrap(),
        };
        let told = auxiliary(&image.moved(0x1000_0000).unwrap());
        let value = |key| told.iter().find(|entry| entry.0 == key).map(|entry| entry.1);
        assert_eq!(value(AT_PHDR), Some(0x1000_0040));
        assert_eq!((value(AT_PHENT), value(AT_PHNUM)), (Some(56), Some(5)));
        assert_eq!(value(AT_ENTRY), Some(0x1000_0100));
        assert_eq!(value(AT_L4_IMAGE_END), Some(0x1000_3000));
    }

    #[test]
    fn small_stacks_lie_low() {
        let image_end = 0x20_5000;
        let is_free = |start: u64, _| start >= image_end;
        assert_eq!(stack_top(0x1_0000, is_free), LOW_STACK_TOP);
        assert_eq!(
            stack_top(LOW_STACK_TOP - image_end - 2 * PAGE_SIZE, is_free),
            LOW_STACK_TOP
        );
        assert_eq!(
            stack_top(LOW_STACK_TOP - image_end - PAGE_SIZE, is_free),
            HIGH_STACK_TOP
        );
        assert_eq!(stack_top(MAX_STACK_SIZE, is_free), HIGH_STACK_TOP);
    }
}
