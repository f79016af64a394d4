//! Capabilities: a task's table of slots, and who derived what from whom.
//!
//! A slot's object word is read without a lock and checked again after its label was read; its counter half makes
//! that check sound. Slots of one object form its derivation tree: a list in preorder, each with its depth, guarded by
//! the object's derivation lock. A slot becomes full under its table's lock and the derivation lock, and empty under
//! the derivation lock alone.

mod derivation;
mod slot;
mod table;

#[cfg(test)]
pub(crate) use derivation::tree;
pub use derivation::{Removal, Replace, Target, clear_all, copy, insert_root, remove, revoke};
pub(crate) use derivation::{copy_into, drop_at, drop_slot, fill, hold_in, own_slot, settle};
pub(crate) use slot::Live;
pub use slot::{Capability, Slot, SlotState};
pub use table::CapTable;
