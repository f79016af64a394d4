//! A table of a fixed number of places with a list of the free ones.

use alloc::vec::Vec;

/// A table whose places are taken and given back in constant time, without allocating.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u16>,
}

impl<T> Slab<T> {
    /// A table of `capacity` free places.
    pub fn new(capacity: u16) -> Slab<T> {
        Slab {
            places: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
        }
    }

    /// Puts a value into a free place; the value comes back if there is none.
    ///
    /// # Errors
    /// The value, if the table is full.
    pub fn insert(&mut self, value: T) -> Result<u16, T> {
        match self.free.pop() {
            Some(index) => {
                self.places[usize::from(index)] = Some(value);
                Ok(index)
            }
            None => Err(value),
        }
    }

    /// Takes a value out; its place is free again.
    pub fn remove(&mut self, index: u16) -> Option<T> {
        let value = self.places.get_mut(usize::from(index))?.take()?;
        self.free.push(index);
        Some(value)
    }

    /// The value at a place, if it is taken.
    pub fn get(&self, index: u16) -> Option<&T> {
        self.places.get(usize::from(index))?.as_ref()
    }

    /// The value at a place, if it is taken.
    pub fn get_mut(&mut self, index: u16) -> Option<&mut T> {
        self.places.get_mut(usize::from(index))?.as_mut()
    }

    /// Number of places taken.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Tells whether no place is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Number of places.
    pub fn capacity(&self) -> usize {
        self.places.len()
    }

    /// The first place that is taken.
    pub fn first(&self) -> Option<u16> {
        self.iter().next().map(|(index, _)| index)
    }

    /// The values with their places.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        (0u16..)
            .zip(&self.places)
            .filter_map(|(index, place)| Some((index, place.as_ref()?)))
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
                }
                prop_assert_eq!(slab.len(), model.len());
                prop_assert_eq!(slab.is_full(), model.len() == 4);
                let contents: BTreeMap<u16, usize> = slab.iter().map(|(index, value)| (index, *value)).collect();
                prop_assert_eq!(&contents, &model);
            }
        }
    }
}
