//! The end of what a worker logged.

/// Bytes of a worker's log that are kept.
pub const CAPACITY: usize = interfaces::faas::LOG_TAIL_MAX;

/// The last bytes of a log, in a ring.
#[derive(Debug)]
pub struct LogTail {
    ring: [u8; CAPACITY],
    written: u64,
}

impl Default for LogTail {
    fn default() -> LogTail {
        LogTail::EMPTY
    }
}

impl LogTail {
    /// The log of who logged nothing.
    pub const EMPTY: LogTail = LogTail {
        ring: [0; CAPACITY],
        written: 0,
    };

    /// Forgets everything. The bytes stay in the ring, but are out of reach.
    pub fn clear(&mut self) {
        self.written = 0;
    }

    /// Appends bytes; the oldest give way.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.ring[(self.written % CAPACITY as u64) as usize] = *byte;
            self.written += 1;
        }
    }

    /// Number of all bytes that were logged.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Number of bytes kept.
    pub fn len(&self) -> usize {
        self.written.min(CAPACITY as u64) as usize
    }

    /// Tells whether nothing was logged.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Copies the last bytes into `out`, as many as fit, from the start of a line if the first of them is cut.
    /// Returns how many there are.
    pub fn copy_last(&self, out: &mut [u8]) -> usize {
        let length = self.len().min(out.len());
        let first = self.written - length as u64;
        for (offset, byte) in (first..self.written).zip(out.iter_mut()) {
            *byte = self.ring[(offset % CAPACITY as u64) as usize];
        }
        if first == 0 {
            return length;
        }
        // A line that lost its beginning misleads; a single endless line is better than nothing.
        match out[..length].iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 < length => {
                out.copy_within(end + 1..length, 0);
                length - end - 1
            }
            _ => length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn last(tail: &LogTail, most: usize) -> Vec<u8> {
        let mut out = vec![0; most];
        let length = tail.copy_last(&mut out);
        out.truncate(length);
        out
    }

    #[test]
    fn short_logs_are_kept_whole() {
        let mut tail = LogTail::default();
        assert!(tail.is_empty() && last(&tail, 10).is_empty());
        tail.push(b"one\n");
        tail.push(b"two\n");
        assert_eq!(last(&tail, 100), b"one\ntwo\n");
    }

    #[test]
    fn cut_lines_are_dropped() {
        let mut tail = LogTail::default();
        tail.push(b"first line\nsecond line\nthird\n");
        assert_eq!(last(&tail, 17), b"third\n");
        assert_eq!(
            last(&tail, 4),
            b"ird\n",
            "a line longer than the room keeps its end"
        );
    }

    #[test]
    fn the_ring_keeps_the_end() {
        let mut tail = LogTail::default();
        for number in 0..1000 {
            tail.push(std::format!("line {number}\n").as_bytes());
        }
        let text = last(&tail, CAPACITY);
        assert!(text.starts_with(b"line ") && text.ends_with(b"line 999\n"));
        assert!(text.len() > CAPACITY - 16);
        assert!(tail.written() > CAPACITY as u64);
        tail.clear();
        assert!(last(&tail, CAPACITY).is_empty());
    }
}
