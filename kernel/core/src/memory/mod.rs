//! Memory: frames, page tables, regions, dataspaces and the address spaces that they make up.
//!
//! Who owns a frame: the [`frame`] allocator while it is free; otherwise one account, through the page tables of an
//! [`AddressSpace`] (tables, and leaves marked as owned), through a [`Dataspace`], or as an arena page of objects.
//! There is no database of mappings: a dataspace knows the regions that show it, and that is how it takes its frames
//! back.
//!
//! Locks: address space, then dataspace, then account, then frame allocator ([`crate::sync::Rank`]). Work on a
//! dataspace's views looks a view up under the dataspace's lock, lets go of it, and then locks the view's space.

pub mod address;
pub mod contents;
pub mod dataspace;
pub mod fault;
pub mod frame;
mod frame_tree;
mod holdings;
mod image;
#[cfg(test)]
mod journal;
mod large;
mod layout;
mod page_list;
pub mod page_table;
pub mod region;
pub mod space;
mod sparse;
mod storing;
#[cfg(test)]
mod tests;
mod views;
mod write_set;

pub use address::{PhysAddr, UserRange};
pub use dataspace::Dataspace;
pub use fault::FaultOutcome;
pub use image::ImageSize;
pub use space::{AddressSpace, RegionInfo};
pub(crate) use sparse::Population;
pub(crate) use storing::ImageRegion;
pub(crate) use write_set::MAX_WRITTEN;
