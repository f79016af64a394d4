//! Points in time of what stands in a table, the earliest first.

use crate::pieces::Pieces;

/// "Not in the heap", and the reason that a table has no place of this number.
const ABSENT: u16 = u16::MAX;

/// The points in time of places in a table, each of which has at most one. Changes take logarithmic time at most, constant
/// time mostly: what came last often goes first, and otherwise usually ends last.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// What came last. The others are in the heap.
    latest: Option<(u64, u16)>,
    heap: Pieces<(u64, u16)>,
    length: u16,
    /// Where in the heap each place is.
    positions: Pieces<Position>,
}

#[derive(Clone, Copy, Debug)]
struct Position(u16);

impl Default for Position {
    fn default() -> Position {
        Position(ABSENT)
    }
}

impl Deadlines {
    /// Notes the time of a place, instead of the one that it had.
    #[inline]
    pub fn set(&mut self, place: u16, time: u64) {
        self.clear(place);
        if let Some(other) = self.latest.replace((time, place)) {
            self.push(other);
        }
    }

    fn push(&mut self, entry: (u64, u16)) {
        let end = self.length;
        self.length += 1;
        self.positions.reach(entry.1);
        self.heap.reach(end);
        self.rise(end, entry);
    }

    /// Forgets the time of a place, if it has one.
    #[inline]
    pub fn clear(&mut self, place: u16) {
        match self.latest {
            Some((_, latest)) if latest == place => self.latest = None,
            _ if self.length > 0 => self.remove(place),
            _ => {}
        }
    }

    fn remove(&mut self, place: u16) {
        let position = match self.positions.get_mut(place) {
            Some(position) => core::mem::take(position).0,
            None => ABSENT,
        };
        if position == ABSENT {
            return;
        }
        self.length -= 1;
        if position < self.length {
            self.settle(position, self.heap[self.length]);
        }
    }

    /// The earliest time, with its place.
    pub fn first(&self) -> Option<(u64, u16)> {
        let in_heap = self.heap.get(0).copied().filter(|_| self.length > 0);
        match (self.latest, in_heap) {
            (Some(latest), Some(in_heap)) => Some(latest.min(in_heap)),
            (latest, in_heap) => latest.or(in_heap),
        }
    }

    /// The earliest time; [`l4::NEVER`] if there is none.
    pub fn earliest(&self) -> u64 {
        self.first().map_or(l4::NEVER, |(time, _)| time)
    }

    /// Number of places that have a time.
    pub fn len(&self) -> usize {
        usize::from(self.length) + usize::from(self.latest.is_some())
    }

    /// Tells whether no place has a time.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0 && self.latest.is_none()
    }

    /// Gives the memory of an empty one back; one that is not empty stays as it is.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.heap.clear();
            self.positions.clear();
        }
    }

    /// Puts an entry where it belongs, a position being there for it.
    fn settle(&mut self, position: u16, entry: (u64, u16)) {
        let mut at = position;
        while let Some(child) = self.earlier_child(at)
            && self.heap[child] < entry
        {
            at = self.follow(at, child);
        }
        self.rise(at, entry);
    }

    /// Puts an entry where it belongs, a position being there for it that is not too far up.
    fn rise(&mut self, position: u16, entry: (u64, u16)) {
        let mut at = position;
        while at > 0 && self.heap[(at - 1) / 2] > entry {
            at = self.follow(at, (at - 1) / 2);
        }
        self.heap[at] = entry;
        self.positions[entry.1] = Position(at);
    }

    /// Moves the entry at `from` to `to`; returns where there is room now.
    fn follow(&mut self, to: u16, from: u16) -> u16 {
        let moved = self.heap[from];
        self.heap[to] = moved;
        self.positions[moved.1] = Position(to);
        from
    }

    fn earlier_child(&self, position: u16) -> Option<u16> {
        let left = position.checked_mul(2)?.checked_add(1)?;
        let right = left.saturating_add(1);
        if left >= self.length {
            None
        } else if right < self.length && self.heap[right] < self.heap[left] {
            Some(right)
        } else {
            Some(left)
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
        fn the_earliest_is_always_known(steps in prop::collection::vec((0..100u16, prop::option::of(0..50u64)), 0..400)) {
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            for (place, time) in steps {
                match time {
                    Some(time) => {
                        deadlines.set(place, time);
                        model.insert(place, time);
                    }
                    None => {
                        deadlines.clear(place);
                        model.remove(&place);
                    }
                }
                let earliest = model.iter().map(|(place, time)| (*time, *place)).min();
                prop_assert_eq!(deadlines.first(), earliest);
                prop_assert_eq!((deadlines.len(), deadlines.is_empty()), (model.len(), model.is_empty()));
            }
            while let Some((time, place)) = deadlines.first() {
                prop_assert_eq!(model.remove(&place), Some(time));
                prop_assert!(model.values().all(|other| *other >= time));
                deadlines.clear(place);
            }
            prop_assert!(model.is_empty());
            deadlines.shrink();
            prop_assert_eq!(deadlines.earliest(), l4::NEVER);
        }
    }

    #[test]
    fn a_full_table_has_room() {
        let mut deadlines = Deadlines::default();
        for place in 0..u16::MAX {
            deadlines.set(place, u64::from(u16::MAX - place));
        }
        assert_eq!(deadlines.first(), Some((1, u16::MAX - 1)));
        for place in (0..u16::MAX).rev() {
            assert_eq!(deadlines.first().map(|(_, first)| first), Some(place));
            deadlines.clear(place);
        }
        assert!(deadlines.is_empty());
    }
}
