//! A list that grows in pieces: what is in it never moves, and nothing is copied when it gets longer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Entries of a piece.
const PIECE: usize = 64;

/// A list of entries by their places, which begin as [`Default`] says.
#[derive(Debug)]
pub struct Pieces<T> {
    pieces: Vec<Box<[T; PIECE]>>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Pieces<T> {
        Pieces { pieces: Vec::new() }
    }
}

impl<T: Default> Pieces<T> {
    /// The entry at a place; the list grows as far as that if it is shorter.
    #[inline]
    pub fn reach(&mut self, index: u16) -> &mut T {
        if self.pieces.len() <= usize::from(index) / PIECE {
            self.grow_to(index);
        }
        &mut self[index]
    }

    #[cold]
    fn grow_to(&mut self, index: u16) {
        while self.len() <= usize::from(index) {
            self.grow();
        }
    }

    /// Makes the list longer by a piece.
    pub fn grow(&mut self) {
        let piece: Box<[T]> = (0..PIECE).map(|_| T::default()).collect();
        // It has as many entries as a piece has.
        self.pieces.extend(piece.try_into());
    }
}

impl<T> Pieces<T> {
    /// The entry at a place, if the list is as long.
    #[inline]
    pub fn get(&self, index: u16) -> Option<&T> {
        let index = usize::from(index);
        self.pieces.get(index / PIECE).map(|piece| &piece[index % PIECE])
    }

    /// The entry at a place, if the list is as long.
    #[inline]
    pub fn get_mut(&mut self, index: u16) -> Option<&mut T> {
        let index = usize::from(index);
        self.pieces
            .get_mut(index / PIECE)
            .map(|piece| &mut piece[index % PIECE])
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.pieces.len() * PIECE
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// Drops all entries and gives their memory back.
    pub fn clear(&mut self) {
        self.pieces = Vec::new();
    }
}

impl<T> Index<u16> for Pieces<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u16) -> &T {
        &self.pieces[usize::from(index) / PIECE][usize::from(index) % PIECE]
    }
}

impl<T> IndexMut<u16> for Pieces<T> {
    #[inline]
    fn index_mut(&mut self, index: u16) -> &mut T {
        &mut self.pieces[usize::from(index) / PIECE][usize::from(index) % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_where_they_are_while_it_grows() {
        let mut list = Pieces::<u32>::default();
        assert!(list.is_empty() && list.get(0).is_none());
        *list.reach(5) = 7;
        let place: *const u32 = &list[5];
        *list.reach(u16::MAX) = 9;
        assert!(core::ptr::eq(place, &list[5]));
        assert_eq!((list[5], list[u16::MAX], list[6]), (7, 9, 0));
        assert_eq!((list.len(), list.iter().sum::<u32>()), (1 << 16, 16));
        list.clear();
        assert!(list.is_empty() && list.get_mut(5).is_none());
    }
}
