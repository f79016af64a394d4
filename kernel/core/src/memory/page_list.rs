//! A list of page addresses, last in, first out, in blocks that an account pays for.
#![expect(unsafe_code, reason = "blocks are made and freed by hand")]

use crate::account::{Account, UNIT};
use core::cell::Cell;
use core::ptr::NonNull;

/// Addresses of a block: with its head, 1 KiB.
const ENTRIES: usize = 126;
/// Most blocks. Whoever has more pages than they name finds them as fast in the tables.
const MAX_BLOCKS: u32 = 4;
const BLOCK_UNITS: u32 = size_of::<Block>().div_ceil(UNIT) as u32;

struct Block {
    older: Option<NonNull<Block>>,
    count: usize,
    addresses: [u64; ENTRIES],
}

/// The list. Whoever drops it has emptied it.
pub(super) struct PageList {
    newest: Cell<Option<NonNull<Block>>>,
    blocks: Cell<u32>,
}

// SAFETY: The blocks belong to the value alone.
unsafe impl Send for PageList {}

impl PageList {
    pub(super) const fn new() -> PageList {
        PageList {
            newest: Cell::new(None),
            blocks: Cell::new(0),
        }
    }

    /// Adds an address. False if there is no room, or `account` can't pay for it.
    pub(super) fn push(&self, address: u64, account: &Account) -> bool {
        let newest = self.newest.get();
        if let Some(mut block) = newest {
            // SAFETY: Blocks in the list are the list's alone, and nobody refers to one.
            let block = unsafe { block.as_mut() };
            if let Some(free) = block.addresses.get_mut(block.count) {
                *free = address;
                block.count += 1;
                return true;
            }
        }
        self.blocks.get() < MAX_BLOCKS && self.push_block(address, account)
    }

    #[cold]
    fn push_block(&self, address: u64, account: &Account) -> bool {
        const { assert!(align_of::<Block>() <= UNIT) };
        let Ok(memory) = account.allocate_units(BLOCK_UNITS) else {
            return false;
        };
        let block = memory.cast::<Block>();
        let place = block.as_ptr();
        // SAFETY: The memory is new, large and aligned enough; addresses from the count on are not read before they are written.
        unsafe {
            (&raw mut (*place).older).write(self.newest.get());
            (&raw mut (*place).count).write(1);
            (&raw mut (*place).addresses).cast::<u64>().write(address);
        }
        self.newest.set(Some(block));
        self.blocks.set(self.blocks.get() + 1);
        true
    }

    /// All addresses.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        // SAFETY: As in `push`; they stay until the list changes, which is borrowed.
        let block = |block: NonNull<Block>| unsafe { block.as_ref() };
        core::iter::successors(self.newest.get().map(block), move |newer| newer.older.map(block))
            .flat_map(|block| block.addresses[..block.count].iter().copied())
    }

    /// Takes the newest address out.
    #[inline]
    pub(super) fn pop(&self, account: &Account) -> Option<u64> {
        let mut newest = self.newest.get()?;
        // SAFETY: As in `push`. No block in the list is empty.
        let (address, is_empty) = unsafe {
            let block = newest.as_mut();
            block.count -= 1;
            (block.addresses.get(block.count).copied(), block.count == 0)
        };
        if is_empty {
            self.drop_block(newest, account);
        }
        address
    }

    fn drop_block(&self, newest: NonNull<Block>, account: &Account) {
        // SAFETY: The block is the list's newest and came from this account; it is in no list any more.
        unsafe {
            self.newest.set((*newest.as_ptr()).older);
            account.free_units(newest.cast(), BLOCK_UNITS);
        }
        self.blocks.set(self.blocks.get() - 1);
    }

    /// Forgets all addresses.
    pub(super) fn clear(&self, account: &Account) {
        while let Some(newest) = self.newest.get() {
            self.drop_block(newest, account);
        }
    }
}
