//! The last messages, kept in memory.

use core::fmt;

use spin::Mutex;

use crate::logger::Sink;

/// The last `N` bytes of a stream of lines. Of what is older only the number of bytes is known.
///
/// ```
/// let mut tail: liblog::Tail<16> = liblog::Tail::new();
/// tail.push(b"first line\n");
/// tail.push(b"second\nthird\n");
/// let mut copy = [0; 16];
/// assert_eq!(tail.copy_lines(&mut copy), b"second\nthird\n");
/// ```
#[derive(Clone)]
pub struct Tail<const N: usize> {
    ring: [u8; N],
    /// All bytes ever pushed.
    total: u64,
}

impl<const N: usize> Tail<N> {
    /// One that holds nothing yet.
    pub const fn new() -> Self {
        Self {
            ring: [0; N],
            total: 0,
        }
    }

    /// Appends `bytes`; the oldest ones make room.
    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(N)..];
        let mut position = self.position(self.total + (bytes.len() - kept.len()) as u64);
        for byte in kept {
            self.ring[position] = *byte;
            position = if position + 1 == N { 0 } else { position + 1 };
        }
        self.total += bytes.len() as u64;
    }

    /// Forgets everything, for the next user.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Copies what is kept to `target`, without a first line whose beginning is lost, and returns the used part.
    /// If `target` is shorter than what is kept, the newest lines that fit.
    pub fn copy_lines<'a>(&self, target: &'a mut [u8]) -> &'a [u8] {
        let kept = self.total.min(N as u64).min(target.len() as u64) as usize;
        let start = self.total - kept as u64;
        for (offset, byte) in target[..kept].iter_mut().enumerate() {
            *byte = self.ring[self.position(start + offset as u64)];
        }
        let kept = &target[..kept];
        if self.begins_a_line(start) {
            return kept;
        }
        match kept.iter().position(|byte| *byte == b'\n') {
            Some(end) => &kept[end + 1..],
            None => kept, // one line longer than the room: a part of it says more than nothing
        }
    }

    /// The number of bytes pushed since the start or [`clear`](Self::clear).
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether the byte at `start` is known to be the first of its line.
    fn begins_a_line(&self, start: u64) -> bool {
        start == 0 || (self.total - start < N as u64 && self.ring[self.position(start - 1)] == b'\n')
    }

    fn position(&self, offset: u64) -> usize {
        if N == 0 { 0 } else { (offset % N as u64) as usize }
    }
}

impl<const N: usize> Default for Tail<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Tail<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("size", &N)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

/// A [`Sink`] that keeps the last `N` bytes of messages, for instance those of one invocation.
///
/// It holds a spin lock while it copies a message. Threads that share one should have the same priority: on one CPU, a
/// thread that spins keeps a less urgent holder from running.
#[derive(Debug, Default)]
pub struct Capture<const N: usize>(Mutex<Tail<N>>);

impl<const N: usize> Capture<N> {
    /// One that holds nothing yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Tail::new()))
    }

    /// As [`Tail::copy_lines`].
    pub fn copy_lines<'a>(&self, target: &'a mut [u8]) -> &'a [u8] {
        self.0.lock().copy_lines(target)
    }

    /// Forgets everything, for the next invocation.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

impl<const N: usize> Sink for Capture<N> {
    fn write(&self, message: &[u8]) {
        self.0.lock().push(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cut_first_line_is_left_out() {
        let mut tail: Tail<8> = Tail::new();
        let mut copy = [0; 8];
        tail.push(b"abc\ndef\n");
        assert_eq!(tail.copy_lines(&mut copy), b"abc\ndef\n");
        tail.push(b"g\n");
        assert_eq!(tail.copy_lines(&mut copy), b"def\ng\n");
        assert_eq!(tail.copy_lines(&mut copy[..3]), b"g\n");
        assert_eq!(tail.copy_lines(&mut copy[..2]), b"g\n");
    }

    #[test]
    fn a_line_longer_than_the_room_is_kept_in_part() {
        let mut tail: Tail<4> = Tail::new();
        tail.push(b"abcdefgh");
        assert_eq!(tail.copy_lines(&mut [0; 4]), b"efgh");
        assert_eq!(tail.total(), 8);
        tail.clear();
        assert_eq!(tail.copy_lines(&mut [0; 4]), b"");
    }

    #[test]
    fn a_tail_without_room_holds_nothing() {
        let mut tail: Tail<0> = Tail::new();
        tail.push(b"abc");
        assert_eq!(tail.copy_lines(&mut [0; 4]), b"");
    }

    proptest! {
        #[test]
        fn is_the_end_of_everything_pushed(pushes in prop::collection::vec("[ab\n]{0,20}", 0..20), room in 0..24usize) {
            let mut tail: Tail<16> = Tail::new();
            pushes.iter().for_each(|text| tail.push(text.as_bytes()));
            let everything = pushes.concat();
            let mut copy = vec![0; room];
            let lines = tail.copy_lines(&mut copy);
            prop_assert!(everything.as_bytes().ends_with(lines));
            let kept = room.min(16).min(everything.len());
            let whole = &everything.as_bytes()[everything.len() - kept..];
            let lost_line = whole.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            prop_assert!(lines.len() >= kept - lost_line);
        }
    }
}
