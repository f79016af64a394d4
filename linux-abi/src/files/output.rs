//! Standard output and error: whole lines to the log.

use alloc::vec::Vec;

use super::descriptor::Kind;
use crate::{Process, System};

/// A line longer than this is written in pieces.
const LONGEST_LINE: usize = 1024;

/// Adds bytes to a line buffer and writes what is complete.
pub(super) fn write(system: &mut impl System, line: &mut Vec<u8>, bytes: &[u8]) {
    line.extend_from_slice(bytes);
    let complete = match line.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if line.len() >= LONGEST_LINE => line.len(),
        None => return,
    };
    system.log(&line[..complete]);
    line.drain(..complete);
}

/// Writes an incomplete line and ends it.
pub(super) fn write_rest(system: &mut impl System, line: &[u8]) {
    if !line.is_empty() {
        let mut line = line.to_vec();
        line.push(b'\n');
        system.log(&line);
    }
}

impl<S: System> Process<S> {
    /// Writes all incomplete lines.
    pub(crate) fn flush_output(&mut self) {
        for file in self.files.iter_mut() {
            if let Kind::Output(line) = &mut file.kind {
                write_rest(&mut self.system, line);
                line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{BASE, call, process};

    #[test]
    fn lines_are_written_whole() {
        let mut process = process();
        for (fd, piece, log) in [
            (1, "one ", ""),
            (2, "error\n", "error\n"),
            (1, "line\nand", "error\none line\n"),
            (1, " more\n\n", "error\none line\nand more\n\n"),
        ] {
            process.system.poke(BASE, piece.as_bytes());
            assert_eq!(
                call(&mut process, 1, &[fd, BASE, piece.len() as u64]),
                Ok(piece.len() as u64)
            );
            assert_eq!(process.system.log_text(), log);
        }
    }

    #[test]
    fn endless_lines_are_cut() {
        let mut process = process();
        process.system.poke(BASE, &[b'x'; 3000]);
        assert_eq!(call(&mut process, 1, &[1, BASE, 3000]), Ok(3000));
        assert_eq!(process.system.log_text().len(), 3000);
    }
}
