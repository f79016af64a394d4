//! A table that grows in pieces up to a limit, with a list of the free places.

use crate::action::NONE;
use crate::pieces::Pieces;

/// A table whose places are taken and given back in constant time. It allocates when all the places that it has are
/// taken, and gives its memory back when it is [emptied](Slab::shrink).
#[derive(Debug)]
pub struct Slab<T> {
    places: Pieces<Place<T>>,
    /// First free place; others are linked behind it.
    free: u16,
    taken: usize,
    limit: u16,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: u16 },
}

impl<T> Default for Place<T> {
    fn default() -> Place<T> {
        Place::Free { next: NONE }
    }
}

impl<T> Slab<T> {
    /// An empty table that may grow up to `limit` places.
    pub fn new(limit: u16) -> Slab<T> {
        Slab {
            places: Pieces::default(),
            free: NONE,
            taken: 0,
            limit,
        }
    }

    /// Puts a value into a free place; the value comes back if there is none.
    ///
    /// # Errors
    /// The value, if the table is full.
    pub fn insert(&mut self, value: T) -> Result<u16, T> {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        match self.places.get_mut(index) {
            Some(place @ Place::Free { .. }) if index != NONE => {
                if let Place::Free { next } = *place {
                    self.free = next;
                }
                *place = Place::Taken(value);
                self.taken += 1;
                Ok(index)
            }
            _ => Err(value),
        }
    }

    /// Adds a piece of free places, unless the limit is reached.
    fn grow(&mut self) {
        let first = self.places.len();
        let limit = usize::from(self.limit);
        if first >= limit {
            return;
        }
        self.places.grow();
        // The lowest place is to be taken first.
        for index in (first..self.places.len().min(limit)).rev() {
            self.places[index as u16] = Place::Free { next: self.free };
            self.free = index as u16;
        }
    }

    /// Takes a value out; its place is free again.
    pub fn remove(&mut self, index: u16) -> Option<T> {
        let place = self.places.get_mut(index)?;
        if let Place::Free { .. } = place {
            return None;
        }
        let next = core::mem::replace(&mut self.free, index);
        self.taken -= 1;
        match core::mem::replace(place, Place::Free { next }) {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// The value at a place, if it is taken.
    #[inline]
    pub fn get(&self, index: u16) -> Option<&T> {
        match self.places.get(index)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// The value at a place, if it is taken.
    #[inline]
    pub fn get_mut(&mut self, index: u16) -> Option<&mut T> {
        match self.places.get_mut(index)? {
            Place::Taken(value) => Some(value),
            Place::Free { .. } => None,
        }
    }

    /// Number of places taken.
    pub fn len(&self) -> usize {
        self.taken
    }

    /// Tells whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Tells whether as many places are taken as may be.
    pub fn is_full(&self) -> bool {
        self.taken >= usize::from(self.limit)
    }

    /// Places that the table has now, taken and free: all that are taken are below.
    pub fn places(&self) -> u16 {
        self.places.len().min(usize::from(self.limit)) as u16
    }

    /// Places that it may have.
    pub fn limit(&self) -> u16 {
        self.limit
    }

    /// The values with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        (0u16..).zip(self.places.iter()).filter_map(|(index, place)| {
            if let Place::Taken(value) = place {
                Some((index, value))
            } else {
                None
            }
        })
    }

    /// Gives the memory of an empty table back; one that is not empty stays as it is.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.places.clear();
            self.free = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((any::<bool>(), 0..6u16), 0..200)) {
            let mut slab = Slab::new(4);
            let mut model = BTreeMap::new();
            for (number, (insert, index)) in steps.into_iter().enumerate() {
                if insert {
                    match slab.insert(number) {
                        Ok(index) => prop_assert!(model.insert(index, number).is_none()),
                        Err(value) => prop_assert_eq!((value, model.len()), (number, 4)),
                    }
                } else {
                    prop_assert_eq!(slab.remove(index), model.remove(&index));
                    slab.shrink();
                }
                prop_assert_eq!(slab.len(), model.len());
                prop_assert_eq!(slab.is_full(), model.len() == 4);
                let contents: BTreeMap<u16, usize> = slab.iter().map(|(index, value)| (index, *value)).collect();
                prop_assert_eq!(&contents, &model);
            }
        }
    }

    #[test]
    fn grows_as_far_as_it_may_and_gives_everything_back() {
        let mut slab = Slab::new(u16::MAX);
        assert_eq!(slab.places(), 0);
        for number in 0..usize::from(u16::MAX) {
            assert_eq!(slab.insert(number), Ok(number as u16));
        }
        assert_eq!(
            (slab.insert(1), slab.is_full(), slab.places()),
            (Err(1), true, u16::MAX)
        );
        assert!((0..u16::MAX).all(|index| slab.remove(index) == Some(usize::from(index))));
        slab.shrink();
        assert_eq!((slab.places(), slab.len(), slab.get(0)), (0, 0, None));
        assert_eq!(slab.insert(5), Ok(0));
    }
}
