//! The kernel's own page tables, and physical memory through the direct map.
//!
//! No page is writable and executable at the same virtual address. All kernel mappings are global.

// UNSAFETY: builds and activates page tables.
#![allow(
    unsafe_code,
    reason = "page tables are built in raw memory and loaded into CR3"
)]

use core::sync::atomic::{AtomicU64, Ordering};

use platform::memory_map::{MapError, MemoryMap};
use platform::physical::PhysicalMemory;
use x86_64::structures::paging::page_table::PageTableEntry;
use x86_64::structures::paging::{PageTable, PageTableFlags};
use x86_64::{PhysAddr, VirtAddr};

use super::features::Features;

/// Virtual address of physical address 0 in the direct map.
pub(crate) const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Virtual minus physical address of the image.
const IMAGE_BASE: u64 = 0xffff_ffff_8000_0000;
/// What the boot tables map: the first 4 GiB. Devices are there, and structures that are taken at boot.
pub(crate) const LOW_BYTES: u64 = 4 << 30;

const PAGE: u64 = 4 << 10;
const LARGE_PAGE: u64 = 2 << 20;
const HUGE_PAGE: u64 = 1 << 30;

const DATA: PageTableFlags = PageTableFlags::PRESENT
    .union(PageTableFlags::WRITABLE)
    .union(PageTableFlags::GLOBAL)
    .union(PageTableFlags::NO_EXECUTE);
const CODE: PageTableFlags = PageTableFlags::PRESENT.union(PageTableFlags::GLOBAL);
const CONSTANTS: PageTableFlags = CODE.union(PageTableFlags::NO_EXECUTE);
const DEVICE: PageTableFlags = DATA
    .union(PageTableFlags::NO_CACHE)
    .union(PageTableFlags::WRITE_THROUGH);

unsafe extern "C" {
    static image_start: u8;
    static text_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static data_end: u8;
    static image_end: u8;
    static boot_pml4: u8;
}

/// Physical address of the kernel's top-level table; 0 until it is built.
static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);

/// Physical address of the top-level table that maps only the kernel.
#[inline]
pub(crate) fn kernel_root() -> u64 {
    KERNEL_ROOT.load(Ordering::Relaxed)
}

/// Physical addresses of the image: first byte, one past the last.
pub(crate) fn image() -> (u64, u64) {
    // The addresses of these symbols are physical.
    (&raw const image_start as u64, &raw const image_end as u64)
}

/// Whether code of the kernel lies at a virtual address.
pub(crate) fn is_kernel_code(address: u64) -> bool {
    (&raw const text_start as u64..&raw const text_end as u64).contains(&address)
}

/// Where RAM, rather than devices or nothing, answers. Decides how the direct map is cached.
pub(crate) trait RamLayout {
    /// Whether any byte of `start..end` is RAM.
    fn any(&self, start: u64, end: u64) -> bool;
    /// Whether every byte of `start..end` is RAM.
    fn all(&self, start: u64, end: u64) -> bool;
    /// One past the last byte of RAM.
    fn end(&self) -> u64;
}

/// Physical memory below 4 GiB, read through the direct map.
pub(crate) struct LowMemory;

impl PhysicalMemory for LowMemory {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let end = address.checked_add(length as u64)?;
        // SAFETY: both the boot tables and the kernel's map all of the first 4 GiB readable. What is read
        // are the boot loader's and the firmware's structures, which nobody writes while the kernel boots.
        (end <= LOW_BYTES)
            .then(|| unsafe { core::slice::from_raw_parts((DIRECT_MAP + address) as *const u8, length) })
    }
}

/// Takes `bytes` of usable memory above 1 MiB and below 4 GiB, zeroed.
///
/// # Errors
/// If there is not that much.
pub(crate) fn take_zeroed(memory: &mut MemoryMap, bytes: u64) -> Result<u64, MapError> {
    let address = memory.take(bytes, 1 << 20..LOW_BYTES)?;
    // SAFETY: the memory was usable RAM that nobody else has now, and is mapped below 4 GiB.
    unsafe { core::ptr::write_bytes((DIRECT_MAP + address) as *mut u8, 0, bytes as usize) };
    Ok(address)
}

/// The tables while they are built.
pub(crate) struct KernelTables<'m> {
    memory: &'m mut MemoryMap,
    root: u64,
}

impl<'m> KernelTables<'m> {
    /// Tables with the image and the direct map. All entries of the upper half that are ever used are made
    /// now, since each task's table has copies of them.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub(crate) fn build(memory: &'m mut MemoryMap, ram: &impl RamLayout) -> Result<Self, MapError> {
        let root = take_zeroed(memory, PAGE)?;
        let mut tables = Self { memory, root };
        tables.map_image()?;
        tables.map_directly(ram)?;
        Ok(tables)
    }

    /// Takes zeroed memory for `start..end` (virtual, whole pages) and maps it there.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub(crate) fn map_new(&mut self, start: u64, end: u64) -> Result<(), MapError> {
        let physical = take_zeroed(self.memory, end - start)?;
        self.map_pages(start, end, physical, DATA)
    }

    /// Activates the tables on this CPU, and makes the boot tables, with which other CPUs start, map the same
    /// in the upper half.
    ///
    /// # Safety
    /// Nothing in the lower half may be in use. Called once, by the first CPU.
    pub(crate) unsafe fn activate(self) {
        let boot = &raw const boot_pml4 as u64 - IMAGE_BASE;
        for index in 256..512 {
            let entry = self.entry(self.root, index).clone();
            *self.entry(boot, index) = entry;
        }
        KERNEL_ROOT.store(self.root, Ordering::Relaxed);
        // SAFETY: the tables map the running code, its stack and data where they were before.
        unsafe { load_root(self.root) };
    }

    fn map_image(&mut self) -> Result<(), MapError> {
        let sections = [
            (&raw const text_start, &raw const text_end, CODE),
            (&raw const text_end, &raw const rodata_end, CONSTANTS),
            (&raw const rodata_end, &raw const data_end, DATA),
        ];
        for (start, end, flags) in sections {
            self.map_pages(start as u64, end as u64, start as u64 - IMAGE_BASE, flags)?;
        }
        Ok(())
    }

    fn map_directly(&mut self, ram: &impl RamLayout) -> Result<(), MapError> {
        let end = ram.end().max(LOW_BYTES);
        for start in (0..end).step_by(HUGE_PAGE as usize) {
            let limit = start + HUGE_PAGE;
            let any = ram.any(start, limit);
            let uniform = ram.all(start, limit) || (!any && start < LOW_BYTES);
            if uniform && Features::GIB_PAGES.present() {
                let flags = if any { DATA } else { DEVICE };
                self.map(DIRECT_MAP + start, start, 3, flags | PageTableFlags::HUGE_PAGE)?;
                continue;
            }
            for page in (start..limit).step_by(LARGE_PAGE as usize) {
                let flags = match ram.any(page, page + LARGE_PAGE) {
                    true => DATA,
                    false if page < LOW_BYTES => DEVICE,
                    false => continue,
                };
                self.map(DIRECT_MAP + page, page, 2, flags | PageTableFlags::HUGE_PAGE)?;
            }
        }
        Ok(())
    }

    fn map_pages(
        &mut self,
        start: u64,
        end: u64,
        physical: u64,
        flags: PageTableFlags,
    ) -> Result<(), MapError> {
        (start..end)
            .step_by(PAGE as usize)
            .try_for_each(|page| self.map(page, physical + (page - start), 1, flags))
    }

    /// Writes the entry for `address` in the table of `level` (1: 4 KiB, 2: 2 MiB, 3: 1 GiB).
    fn map(
        &mut self,
        address: u64,
        physical: u64,
        level: u32,
        flags: PageTableFlags,
    ) -> Result<(), MapError> {
        let index = |level: u32| (address >> (12 + 9 * (level - 1)) & 511) as usize;
        let mut table = self.root;
        for upper in (level + 1..=4).rev() {
            if self.entry(table, index(upper)).is_unused() {
                let new = take_zeroed(self.memory, PAGE)?;
                let rights = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
                self.entry(table, index(upper))
                    .set_addr(PhysAddr::new(new), rights);
            }
            table = self.entry(table, index(upper)).addr().as_u64();
        }
        self.entry(table, index(level))
            .set_addr(PhysAddr::new(physical), flags);
        Ok(())
    }

    #[allow(
        clippy::mut_from_ref,
        reason = "entries lie outside of self, and one is used at a time"
    )]
    fn entry(&self, table: u64, index: usize) -> &mut PageTableEntry {
        // SAFETY: `table` is a table of this hierarchy or the boot tables' root, below 4 GiB and thus mapped;
        // only this CPU runs, and every caller is done with the entry before it asks for another.
        let table = unsafe { &mut *((DIRECT_MAP + table) as *mut PageTable) };
        &mut table[index]
    }
}

/// Loads a top-level table. Drops all translations of this CPU that are not global.
///
/// # Safety
/// The table's upper half is the kernel's.
#[inline]
pub(crate) unsafe fn load_root(root: u64) {
    // SAFETY: by the caller's promise the kernel's own mappings stay as they are.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Drops this CPU's translation of `address` in the active address space.
#[inline]
pub(crate) fn flush_page(address: u64) {
    x86_64::instructions::tlb::flush(VirtAddr::new_truncate(address));
}

/// Drops this CPU's translations that are not global.
#[inline]
pub(crate) fn flush_all() {
    x86_64::instructions::tlb::flush_all();
}
