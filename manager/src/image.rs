//! Images: functions that were stopped where they asked for their first request. Workers begin as clones of them.

use crate::action::ActionId;
use crate::slab::Slab;
use interfaces::faas::ImageInfo;

/// A worker that was frozen.
#[derive(Debug)]
pub struct Frozen<Memory> {
    /// What the machine knows of it.
    pub memory: Memory,
    /// What clients are told about it.
    pub info: ImageInfo,
    /// It said that it ends with its first request, and so do its clones.
    pub is_single: bool,
}

/// An image, and who uses it.
#[derive(Debug)]
pub struct Image<Memory> {
    /// What workers begin from.
    pub frozen: Frozen<Memory>,
    /// The action that it was prepared for.
    pub action: ActionId,
    /// Workers that began from it and are not ended.
    pub users: u32,
    /// New workers begin from it. Otherwise it goes with its last user.
    pub is_current: bool,
    /// When a worker last began from it, in nanoseconds of the kernel clock.
    pub used_ns: u64,
}

impl<Memory> Image<Memory> {
    fn is_unneeded(&self) -> bool {
        !self.is_current && self.users == 0
    }
}

/// The images of a client.
#[derive(Debug)]
pub struct Images<Memory> {
    table: Slab<Image<Memory>>,
    /// Memory of those that are current, in bytes.
    bytes: u64,
}

impl<Memory> Images<Memory> {
    /// No images, and room for `capacity`.
    pub fn new(capacity: u16) -> Images<Memory> {
        Images {
            table: Slab::new(capacity),
            bytes: 0,
        }
    }

    /// Adds an image that is current from now on.
    ///
    /// # Errors
    /// The memory, if there is no room.
    pub fn insert(&mut self, frozen: Frozen<Memory>, action: ActionId, now: u64) -> Result<u16, Memory> {
        let bytes = frozen.info.bytes;
        let image = Image {
            frozen,
            action,
            users: 0,
            is_current: true,
            used_ns: now,
        };
        let index = self.table.insert(image).map_err(|image| image.frozen.memory)?;
        self.bytes += bytes;
        Ok(index)
    }

    /// The image at a place.
    pub fn get(&self, index: u16) -> Option<&Image<Memory>> {
        self.table.get(index)
    }

    /// Notes that a worker begins from an image.
    pub fn take_into_use(&mut self, index: u16, now: u64) {
        if let Some(image) = self.table.get_mut(index) {
            image.users += 1;
            image.used_ns = now;
        }
    }

    /// The image at a place.
    pub fn get_mut(&mut self, index: u16) -> Option<&mut Image<Memory>> {
        self.table.get_mut(index)
    }

    /// Notes that a worker which began from an image has ended. Tells whether nobody needs the image any more.
    pub fn leave(&mut self, index: u16) -> bool {
        self.table.get_mut(index).is_some_and(|image| {
            image.users -= 1;
            image.is_unneeded()
        })
    }

    /// Has no new workers begin from an image. Tells whether nobody needs it any more.
    pub fn retire(&mut self, index: u16) -> bool {
        let Some(image) = self.table.get_mut(index) else {
            return false;
        };
        if core::mem::take(&mut image.is_current) {
            self.bytes -= image.frozen.info.bytes;
        }
        image.is_unneeded()
    }

    /// Takes an image out that nobody needs any more.
    pub fn remove(&mut self, index: u16) -> Option<Memory> {
        self.table.get(index).filter(|image| image.is_unneeded())?;
        self.table.remove(index).map(|image| image.frozen.memory)
    }

    /// All images.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Image<Memory>)> {
        self.table.iter()
    }

    /// The current image, other than that of `but`, that has not been used for the longest time.
    pub fn least_recently_used(&self, but: ActionId) -> Option<u16> {
        self.table
            .iter()
            .filter(|(_, image)| image.is_current && image.action != but)
            .min_by_key(|(_, image)| image.used_ns)
            .map(|(index, _)| index)
    }

    /// Memory of the current images, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of images that workers can begin from.
    pub fn current(&self) -> usize {
        self.table.iter().filter(|(_, image)| image.is_current).count()
    }

    /// Gives the memory of the table back if there is no image left.
    pub fn shrink(&mut self) {
        self.table.shrink();
    }

    /// Tells whether there is no image left, current or not.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn action(serial: u32) -> ActionId {
        ActionId { index: 0, serial }
    }

    fn frozen<Memory>(memory: Memory, bytes: u64) -> Frozen<Memory> {
        Frozen {
            memory,
            info: ImageInfo {
                bytes,
                ..ImageInfo::default()
            },
            is_single: false,
        }
    }

    #[test]
    fn a_retired_image_goes_with_its_last_user() {
        let mut images = Images::new(2);
        let index = images.insert(frozen("old", 10), action(1), 0).unwrap();
        images.take_into_use(index, 5);
        images.take_into_use(index, 6);
        assert!(!images.leave(index) && !images.retire(index));
        assert_eq!(
            (images.bytes(), images.current(), images.remove(index)),
            (0, 0, None)
        );
        assert!(!images.retire(index), "twice is as good as once");
        assert!(images.leave(index));
        assert_eq!(images.remove(index), Some("old"));
        assert!(images.is_empty());
    }

    #[test]
    fn the_one_unused_for_longest_is_found() {
        let mut images = Images::new(3);
        let places = [1, 2, 3].map(|serial| images.insert(frozen(serial, 1), action(serial), 0).unwrap());
        for (time, place) in [(1, places[1]), (2, places[0]), (3, places[2])] {
            images.take_into_use(place, time);
        }
        assert_eq!(images.least_recently_used(action(9)), Some(places[1]));
        assert_eq!(images.least_recently_used(action(2)), Some(places[0]));
        assert!(images.insert(frozen(4, 1), action(4), 0).is_err());
        assert_eq!(images.bytes(), 3);
    }
}
