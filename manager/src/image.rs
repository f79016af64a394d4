//! Images: functions that were stopped where they asked for their first request. Workers begin as clones of them.

use crate::action::{ActionId, NONE};
use crate::platform::DirectCalls;
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
    /// Clones that had begun without the manager when it was looked for the image that was not used for longest.
    begun_directly: u64,
    /// Calls without the manager that were counted up to now.
    pub counted: DirectCalls,
    /// Among the current images, the ones that were used next before and next after it.
    before: u16,
    after: u16,
}

impl<Memory> Image<Memory> {
    fn is_unneeded(&self) -> bool {
        !self.is_current && self.users == 0
    }
}

/// The images of a client. Current ones stand in a list by their last use, so that to use one and to find the one that was not
/// used for the longest time both take constant time.
#[derive(Debug)]
pub struct Images<Memory> {
    table: Slab<Image<Memory>>,
    /// Memory of those that are current, in bytes.
    bytes: u64,
    /// Number of those that are current.
    current: usize,
    /// Ends of the list of those that are current.
    oldest: u16,
    newest: u16,
}

impl<Memory> Images<Memory> {
    /// No images, and room for `capacity`.
    pub fn new(capacity: u16) -> Images<Memory> {
        Images {
            table: Slab::new(capacity),
            bytes: 0,
            current: 0,
            oldest: NONE,
            newest: NONE,
        }
    }

    /// Adds an image that is current from now on.
    ///
    /// # Errors
    /// The memory, if there is no room.
    pub fn insert(&mut self, frozen: Frozen<Memory>, action: ActionId) -> Result<u16, Memory> {
        let bytes = frozen.info.bytes;
        let image = Image {
            frozen,
            action,
            users: 0,
            is_current: true,
            begun_directly: 0,
            counted: DirectCalls::default(),
            before: NONE,
            after: NONE,
        };
        let index = self.table.insert(image).map_err(|image| image.frozen.memory)?;
        self.bytes += bytes;
        self.current += 1;
        self.append(index);
        Ok(index)
    }

    /// The image at a place.
    pub fn get(&self, index: u16) -> Option<&Image<Memory>> {
        self.table.get(index)
    }

    /// Notes that a worker begins from an image.
    pub fn take_into_use(&mut self, index: u16) {
        if let Some(image) = self.table.get_mut(index) {
            image.users += 1;
            self.note_use(index);
        }
    }

    /// Notes how many clones of an image have begun without the manager. Tells whether there were any since the last time, which
    /// makes it the one that was used last.
    pub fn note_direct_calls(&mut self, index: u16, begun: u64) -> bool {
        let Some(image) = self.table.get_mut(index) else {
            return false;
        };
        let is_used = core::mem::replace(&mut image.begun_directly, begun) != begun;
        if is_used {
            self.note_use(index);
        }
        is_used
    }

    fn note_use(&mut self, index: u16) {
        if index != self.newest && self.table.get(index).is_some_and(|image| image.is_current) {
            self.unlink(index);
            self.append(index);
        }
    }

    /// Puts an image at the end of the list.
    fn append(&mut self, index: u16) {
        let before = core::mem::replace(&mut self.newest, index);
        match self.table.get_mut(before) {
            Some(last) => last.after = index,
            None => self.oldest = index,
        }
        if let Some(image) = self.table.get_mut(index) {
            (image.before, image.after) = (before, NONE);
        }
    }

    /// Takes an image out of the list.
    fn unlink(&mut self, index: u16) {
        let Some(&Image { before, after, .. }) = self.table.get(index) else {
            return;
        };
        match self.table.get_mut(before) {
            Some(neighbour) => neighbour.after = after,
            None => self.oldest = after,
        }
        match self.table.get_mut(after) {
            Some(neighbour) => neighbour.before = before,
            None => self.newest = before,
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
        let is_unneeded = image.users == 0;
        if core::mem::take(&mut image.is_current) {
            self.bytes -= image.frozen.info.bytes;
            self.current -= 1;
            self.unlink(index);
        }
        is_unneeded
    }

    /// Takes an image out that nobody needs any more.
    pub fn remove(&mut self, index: u16) -> Option<Memory> {
        self.table.get(index).filter(|image| image.is_unneeded())?;
        self.table.remove(index).map(|image| image.frozen.memory)
    }

    /// Places of the table: all images are below.
    pub fn places(&self) -> u16 {
        self.table.places()
    }

    /// All images.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Image<Memory>)> {
        self.table.iter()
    }

    /// The current image, other than that of `but`, that has not been used for the longest time, as far as uses were noted.
    pub fn least_recently_used(&self, but: ActionId) -> Option<u16> {
        let mut index = self.oldest;
        // One action has one current image at most.
        while let Some(image) = self.table.get(index) {
            if image.action != but {
                return Some(index);
            }
            index = image.after;
        }
        None
    }

    /// Memory of the current images, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of images that workers can begin from.
    pub fn current(&self) -> usize {
        self.current
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

    fn three_images() -> (Images<u32>, [u16; 3]) {
        let mut images = Images::new(3);
        let places = [1, 2, 3].map(|serial| images.insert(frozen(serial, 1), action(serial)).unwrap());
        (images, places)
    }

    /// Retires images until there is none; returns their memories in that order.
    fn give_up_all(images: &mut Images<u32>) -> std::vec::Vec<u32> {
        core::iter::from_fn(|| {
            let index = images.least_recently_used(action(9))?;
            assert!(images.retire(index) || images.get(index).unwrap().users > 0);
            images.get(index).map(|image| image.frozen.memory)
        })
        .collect()
    }

    #[test]
    fn a_retired_image_goes_with_its_last_user() {
        let mut images = Images::new(2);
        let index = images.insert(frozen("old", 10), action(1)).unwrap();
        images.take_into_use(index);
        images.take_into_use(index);
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
        let (mut images, places) = three_images();
        for place in [places[1], places[0], places[2], places[2]] {
            images.take_into_use(place);
        }
        assert_eq!(images.least_recently_used(action(9)), Some(places[1]));
        assert_eq!(images.least_recently_used(action(2)), Some(places[0]));
        assert!(images.insert(frozen(4, 1), action(4)).is_err());
        assert_eq!((images.bytes(), images.current()), (3, 3));
        assert_eq!(give_up_all(&mut images), [2, 1, 3]);
        assert_eq!((images.bytes(), images.current()), (0, 0));
    }

    #[test]
    fn calls_without_the_manager_are_uses() {
        let (mut images, places) = three_images();
        assert!(images.note_direct_calls(places[0], 5) && images.note_direct_calls(places[1], 1));
        assert!(!images.note_direct_calls(places[0], 5), "none since");
        assert_eq!(give_up_all(&mut images), [3, 1, 2]);
    }

    #[test]
    fn what_is_not_current_stays_out_of_the_list() {
        let (mut images, places) = three_images();
        images.take_into_use(places[1]);
        assert!(!images.retire(places[1]), "it has a user");
        images.take_into_use(places[1]);
        assert!(!images.note_direct_calls(9, 1));
        images.note_direct_calls(places[1], 3);
        let again = images.retire(places[0]) && images.remove(places[0]).is_some();
        assert!(again);
        assert_eq!(images.insert(frozen(4, 1), action(4)), Ok(places[0]));
        assert_eq!(give_up_all(&mut images), [3, 4]);
    }
}
