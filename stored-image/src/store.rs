//! A file from a snapshot.

use crate::format::{DIGEST_WORD, Entry, From, HEAD_BYTES, MAX_REGIONS};
use crate::{Digest, Identity, StoreError, StoredImage};
use alloc::vec;
use alloc::vec::Vec;
use l4::object::{Dataspace, Shown, Snapshot, StoredBacking, StoredRegion};
use l4::region::Backing;
use l4::{CapIndex, Error, PAGE_SIZE};

/// Gaps of so many pages between stored ones are stored as well, so that there are few regions; the next number is tried if
/// there are still too many.
const GAPS: [u64; 4] = [4, 16, 64, 256];

/// What is stored.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Dataspaces that whoever loads the file has as well, in this order; at most eight.
    pub named: &'a [CapIndex],
    /// Slots in which whoever loads the file gives clones capabilities.
    pub slots: &'a [CapIndex],
    /// Who can load the file.
    pub identity: Identity,
    /// Its clones serve one request each.
    pub is_single: bool,
}

/// Pages to be copied to the file.
struct Piece {
    start: u64,
    size: u64,
    /// Also those that are as the region's dataspace has them.
    whole: bool,
    offset: u64,
}

/// What the file is to be.
struct Plan {
    regions: Vec<Entry>,
    pieces: Vec<Piece>,
    /// Length up to now.
    length: u64,
    gap: u64,
}

/// Stores a snapshot at the start of a dataspace of `size` bytes, and returns the file's length. If that is more than `size`,
/// nothing was written.
///
/// # Errors
/// [`StoreError`]; there is no file then.
pub fn store(source: &Source<'_>, to: Dataspace, size: u64) -> Result<u64, StoreError> {
    check_slots(source)?;
    let registers = source.snapshot.registers()?;
    let regions = all_regions(source)?;
    let mut plan = Err(StoreError::TooManyRegions);
    for gap in GAPS {
        plan = Plan::new(source, &regions, gap);
        if !matches!(plan, Err(StoreError::TooManyRegions)) {
            break;
        }
    }
    let plan = plan?;
    if plan.length > size {
        return Ok(plan.length);
    }
    to.clear(0, plan.length)?;
    for piece in &plan.pieces {
        copy(source.snapshot, piece, to)?;
    }
    let image = StoredImage {
        identity: source.identity,
        is_single: source.is_single,
        length: plan.length,
        // The first piece of all.
        utcb_offset: HEAD_BYTES,
        registers,
        regions: plan.regions,
    };
    write_head(&image, to)?;
    Ok(image.length)
}

/// Refuses snapshots whose clones have capabilities that whoever loads the file would not give them.
fn check_slots(source: &Source<'_>) -> Result<(), StoreError> {
    let mut next = CapIndex(1);
    while let Some(slot) = source.snapshot.slot_from(next)? {
        if !source.slots.contains(&slot) {
            return Err(StoreError::Capability(slot));
        }
        next = CapIndex(slot.0 + 1);
    }
    Ok(())
}

fn all_regions(source: &Source<'_>) -> Result<Vec<StoredRegion>, StoreError> {
    let mut regions = Vec::new();
    let mut at = 0;
    loop {
        match source.snapshot.region(at, source.named) {
            Ok(region) => {
                at = region.start + region.size;
                regions.push(region);
            }
            Err(Error::NotFound) => return Ok(regions),
            Err(error) => return Err(error.into()),
        }
    }
}

fn copy(snapshot: Snapshot, piece: &Piece, to: Dataspace) -> Result<(), Error> {
    let (mut at, end) = (piece.start, piece.start + piece.size);
    while at < end {
        let offset = piece.offset + (at - piece.start);
        at = snapshot
            .pages(at, end - at, piece.whole, Some((to, offset)))?
            .next;
    }
    Ok(())
}

/// Writes the head, with the digest of all.
fn write_head(image: &StoredImage, to: Dataspace) -> Result<(), Error> {
    let mut head = image.head();
    let mut digest = Digest::new();
    let all = head.iter().enumerate().filter(|(index, _)| *index != DIGEST_WORD);
    all.for_each(|(_, word)| digest.add(*word));
    let mut page = vec![0; PAGE_SIZE as usize];
    for offset in (HEAD_BYTES..image.length).step_by(PAGE_SIZE as usize) {
        to.read(offset, &mut page)?;
        digest.add_words(page.as_chunks::<8>().0);
    }
    head[DIGEST_WORD] = digest.finish();
    let bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    to.write(0, &bytes)
}

impl Plan {
    fn new(source: &Source<'_>, regions: &[StoredRegion], gap: u64) -> Result<Plan, StoreError> {
        let mut plan = Plan {
            regions: Vec::new(),
            pieces: Vec::new(),
            length: HEAD_BYTES,
            gap: gap * PAGE_SIZE,
        };
        let utcb = regions
            .iter()
            .find(|region| region.backing == StoredBacking::Utcb);
        let utcb = utcb.ok_or(StoreError::Kernel(Error::NotFound))?;
        plan.take(utcb.start, utcb.size, true);
        for region in regions {
            plan.add(source, region)?;
            if plan.regions.len() > MAX_REGIONS {
                return Err(StoreError::TooManyRegions);
            }
        }
        Ok(plan)
    }

    fn add(&mut self, source: &Source<'_>, region: &StoredRegion) -> Result<(), StoreError> {
        let base = |backing, from, offset| Entry {
            start: region.start,
            size: region.size,
            access: region.access,
            backing,
            from,
            offset,
        };
        let zeroes = base(Backing::Anonymous, From::Nothing, 0);
        match (region.backing, region.shown) {
            (StoredBacking::Utcb, _) => Ok(()),
            (StoredBacking::Reserved, _) => {
                self.regions.push(base(Backing::Reserved, From::Nothing, 0));
                Ok(())
            }
            (_, Shown::Changing) => Err(StoreError::ChangingMemory(region.start)),
            (StoredBacking::Shared, Shown::Named(place)) => {
                let shown = base(Backing::Shared, From::Named(place), region.offset);
                self.regions.push(shown);
                Ok(())
            }
            (StoredBacking::Private, Shown::Named(place)) => {
                let shown = base(Backing::Private, From::Named(place), region.offset);
                self.overlay(source, shown, false)
            }
            // Nobody has this dataspace later: its contents are stored.
            (_, Shown::Sealed) => self.overlay(source, zeroes, true),
            _ => self.overlay(source, zeroes, false),
        }
    }

    /// Adds a region with the pages over it that differ from it.
    fn overlay(&mut self, source: &Source<'_>, base: Entry, whole: bool) -> Result<(), StoreError> {
        let end = base.start + base.size;
        let (mut at, mut behind) = (base.start, base.start);
        let mut run: Option<(u64, u64)> = None;
        while at < end {
            let found = source.snapshot.pages(at, end - at, whole, None)?;
            for address in found.addresses() {
                match &mut run {
                    Some((_, last)) if *address - *last <= self.gap => *last = address + PAGE_SIZE,
                    _ => {
                        self.add_run(&base, whole, run, &mut behind);
                        run = Some((*address, address + PAGE_SIZE));
                    }
                }
            }
            at = found.next;
        }
        self.add_run(&base, whole, run, &mut behind);
        self.add_base(&base, behind, end);
        Ok(())
    }

    /// Adds a run of stored pages, and what is between it and `behind`, where the last one ended.
    fn add_run(&mut self, base: &Entry, whole: bool, run: Option<(u64, u64)>, behind: &mut u64) {
        let Some((start, end)) = run else { return };
        self.add_base(base, *behind, start);
        // What a gap shows of the dataspace below is stored, too.
        let offset = self.take(start, end - start, whole || base.from != From::Nothing);
        self.regions.push(Entry {
            start,
            size: end - start,
            backing: Backing::Private,
            from: From::File,
            offset,
            ..*base
        });
        *behind = end;
    }

    fn add_base(&mut self, base: &Entry, start: u64, end: u64) {
        if start < end {
            let skipped = if base.from == From::Nothing {
                0
            } else {
                start - base.start
            };
            self.regions.push(Entry {
                start,
                size: end - start,
                offset: base.offset + skipped,
                ..*base
            });
        }
    }

    /// Finds a place in the file for pages.
    fn take(&mut self, start: u64, size: u64, whole: bool) -> u64 {
        let offset = self.length;
        self.pieces.push(Piece {
            start,
            size,
            whole,
            offset,
        });
        self.length += size;
        offset
    }
}
