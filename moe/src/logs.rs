//! Logs: consoles that share the kernel's, line by line.

use alloc::string::String;
use alloc::vec::Vec;
use interfaces::log::{Colour, LogError, TAG_MAX};

/// Tags are padded to this width, so that lines stand below each other.
const TAG_WIDTH: usize = 8;
/// A line that grows longer is shown in pieces.
const LINE_LIMIT: usize = 2048;
/// Most logs.
pub const LIMIT: usize = 512;

#[derive(Debug)]
struct Log {
    tag: String,
    colour: Colour,
    /// The part of a line that was written so far and is not shown yet.
    pending: Vec<u8>,
    /// A part of the line was shown already.
    is_continued: bool,
}

/// All logs. Lines of different logs never mix.
#[derive(Debug, Default)]
pub struct Logs {
    logs: Vec<Log>,
    /// The log whose line is the console's last one and has no end yet.
    open: Option<usize>,
}

impl Logs {
    /// Makes a log; returns its number. Without a tag its lines are shown as they are.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn create(&mut self, tag: &str, colour: Colour) -> Result<usize, LogError> {
        if tag.len() > TAG_MAX || tag.chars().any(char::is_control) {
            return Err(LogError::InvalidTag);
        }
        if self.logs.len() >= LIMIT {
            return Err(LogError::TooManyLogs);
        }
        self.logs.push(Log {
            tag: tag.into(),
            colour,
            pending: Vec::new(),
            is_continued: false,
        });
        Ok(self.logs.len() - 1)
    }

    /// Undoes the last [`Self::create`].
    pub fn remove_last(&mut self) {
        self.logs.pop();
    }

    /// Takes what was written to log `number`; `console` gets what is to be shown now. Returns whether there is such a
    /// log.
    pub fn write(&mut self, number: usize, bytes: &[u8], console: &mut impl FnMut(&[u8])) -> bool {
        if number >= self.logs.len() {
            return false;
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let pending = &mut self.logs[number].pending;
            pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") || pending.len() >= LINE_LIMIT {
                self.show(number, console);
            }
        }
        true
    }

    /// Shows all that was held back; for the end.
    pub fn flush(&mut self, console: &mut impl FnMut(&[u8])) {
        for number in 0..self.logs.len() {
            if !self.logs[number].pending.is_empty() {
                self.show(number, console);
            }
        }
        if self.open.take().is_some() {
            console(b"\n");
        }
    }

    fn show(&mut self, number: usize, console: &mut impl FnMut(&[u8])) {
        let log = &mut self.logs[number];
        let mut line = Vec::with_capacity(log.pending.len() + 32);
        if self.open != Some(number) {
            if self.open.is_some() {
                line.push(b'\n');
            }
            log.put_prefix(&mut line);
        }
        line.append(&mut log.pending);
        log.is_continued = !line.ends_with(b"\n");
        self.open = log.is_continued.then_some(number);
        console(&line);
    }
}

impl Log {
    fn put_prefix(&self, line: &mut Vec<u8>) {
        if self.tag.is_empty() {
            return;
        }
        let escape = self.colour.escape();
        line.extend_from_slice(escape.as_bytes());
        line.extend_from_slice(self.tag.as_bytes());
        let padding = TAG_WIDTH.saturating_sub(self.tag.chars().count());
        line.resize(line.len() + padding, b' ');
        line.push(if self.is_continued { b':' } else { b'|' });
        if !escape.is_empty() {
            line.extend_from_slice(b"\x1b[0m");
        }
        line.push(b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes in turn; returns what the console shows.
    fn shown(tags: &[(&str, Colour)], writes: &[(usize, &str)]) -> String {
        let mut logs = Logs::default();
        for (tag, colour) in tags {
            logs.create(tag, *colour).unwrap();
        }
        let mut console = Vec::new();
        for (number, text) in writes {
            assert!(logs.write(*number, text.as_bytes(), &mut |bytes| {
                console.extend_from_slice(bytes)
            }));
        }
        logs.flush(&mut |bytes| console.extend_from_slice(bytes));
        String::from_utf8(console).unwrap()
    }

    const PLAIN: Colour = Colour::NONE;

    #[test]
    fn lines_carry_the_tag() {
        assert_eq!(
            shown(&[("hello", PLAIN)], &[(0, "Hello\nWorld\n")]),
            "hello   | Hello\nhello   | World\n"
        );
        assert_eq!(shown(&[("", PLAIN)], &[(0, "as it is\n")]), "as it is\n");
        assert_eq!(
            shown(&[("a-rather-long-tg", PLAIN)], &[(0, "x\n")]),
            "a-rather-long-tg| x\n"
        );
        let green = Colour::parse("green").unwrap();
        assert_eq!(
            shown(&[("ned", green)], &[(0, "x\n")]),
            "\x1b[32mned     |\x1b[0m x\n"
        );
    }

    #[test]
    fn lines_of_different_logs_never_mix() {
        let writes = [(0, "one "), (1, "two "), (0, "line\n"), (1, "lines\n")];
        assert_eq!(
            shown(&[("a", PLAIN), ("b", PLAIN)], &writes),
            "a       | one line\nb       | two lines\n"
        );
    }

    #[test]
    fn what_has_no_end_is_shown_at_the_end() {
        let writes = [(0, "no end"), (1, "neither")];
        assert_eq!(
            shown(&[("a", PLAIN), ("b", PLAIN)], &writes),
            "a       | no end\nb       : neither\n".replace("b       :", "b       |")
        );
    }

    #[test]
    fn a_long_line_is_shown_in_pieces() {
        let long = "x".repeat(LINE_LIMIT);
        let whole = shown(&[("a", PLAIN)], &[(0, &long), (0, "y\n")]);
        assert_eq!(whole, format!("a       | {long}y\n"));
        let interrupted = shown(
            &[("a", PLAIN), ("b", PLAIN)],
            &[(0, &long), (1, "z\n"), (0, "y\n")],
        );
        assert_eq!(
            interrupted,
            format!("a       | {long}\nb       | z\na       : y\n")
        );
    }

    #[test]
    fn bad_tags_numbers_and_too_many_logs_are_refused() {
        let mut logs = Logs::default();
        assert_eq!(logs.create("a-tag-of-17-bytes", PLAIN), Err(LogError::InvalidTag));
        assert_eq!(logs.create("a\nb", PLAIN), Err(LogError::InvalidTag));
        assert!(!logs.write(0, b"x\n", &mut |_| panic!("there is no log")));
        for number in 0..LIMIT {
            assert_eq!(logs.create("x", PLAIN), Ok(number));
        }
        assert_eq!(logs.create("x", PLAIN), Err(LogError::TooManyLogs));
    }
}
