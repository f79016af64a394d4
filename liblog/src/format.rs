//! How a message looks.

use core::fmt::{self, Write};
use core::str::FromStr;

use log::Record;

use crate::buffer::Buffer;
use crate::clock::Timestamp;

/// The look of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `INFO  manager: ready`
    #[default]
    Plain,
    /// `2026-11-21T03:04:58.000000Z INFO  manager[7] src/main.rs:31 manager::pool: ready`
    Verbose,
    /// One JSON object per line with `time`, `level`, `package`, `thread`, `file`, `line`, `target` and `message`,
    /// and `"truncated":true` if the message was cut.
    Json,
}

/// No [`Format`] has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown log format; use plain, verbose or json")
    }
}

impl core::error::Error for UnknownFormat {}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "plain" => Ok(Self::Plain),
            "verbose" => Ok(Self::Verbose),
            "json" => Ok(Self::Json),
            _ => Err(UnknownFormat),
        }
    }
}

/// What a message carries besides its record.
pub(crate) struct Origin<'a> {
    pub(crate) package: &'a str,
    pub(crate) time: Timestamp,
    pub(crate) thread: u64,
}

/// Puts the whole message, its line end included, into `buffer`.
pub(crate) fn write_message(format: Format, origin: &Origin<'_>, record: &Record<'_>, buffer: &mut Buffer) {
    let result = match format {
        Format::Plain => write_plain(origin, record, buffer),
        Format::Verbose => write_verbose(origin, record, buffer),
        Format::Json => return write_json(origin, record, buffer),
    };
    let end = match result {
        Err(fmt::Error) => " [formatting failed]\n",
        Ok(()) if buffer.is_cut() => "… [cut]\n",
        Ok(()) => "\n",
    };
    buffer.finish(end);
}

fn write_plain(origin: &Origin<'_>, record: &Record<'_>, buffer: &mut Buffer) -> fmt::Result {
    write!(buffer, "{:<5} {}: ", record.level(), origin.package)?;
    TextEscape(buffer).write_fmt(*record.args())
}

fn write_verbose(origin: &Origin<'_>, record: &Record<'_>, buffer: &mut Buffer) -> fmt::Result {
    let Origin {
        package,
        time,
        thread,
    } = origin;
    let (file, line) = location(record);
    write!(
        buffer,
        "{time} {:<5} {package}[{thread}] {file}:{line} {}: ",
        record.level(),
        record.target()
    )?;
    TextEscape(buffer).write_fmt(*record.args())
}

fn write_json(origin: &Origin<'_>, record: &Record<'_>, buffer: &mut Buffer) {
    let (file, line) = location(record);
    let result = (|| {
        write!(
            buffer,
            r#"{{"time":"{}","level":"{}""#,
            origin.time,
            record.level()
        )?;
        write!(buffer, r#","thread":{},"line":{line}"#, origin.thread)?;
        for (name, value) in [
            ("package", origin.package),
            ("file", file),
            ("target", record.target()),
        ] {
            write!(buffer, r#","{name}":""#)?;
            JsonEscape(buffer).write_str(value)?;
            buffer.push("\"");
        }
        buffer.push(r#","message":""#);
        JsonEscape(buffer).write_fmt(*record.args())
    })();
    let end = match result {
        Err(fmt::Error) => "\",\"formatting_failed\":true}\n",
        Ok(()) if buffer.is_cut() => "\",\"truncated\":true}\n",
        Ok(()) => "\"}\n",
    };
    buffer.finish(end);
}

fn location<'a>(record: &Record<'a>) -> (&'a str, u32) {
    (record.file().unwrap_or("?"), record.line().unwrap_or(0))
}

/// Makes text safe for a console: continuation lines are indented, control characters written out.
struct TextEscape<'a>(&'a mut Buffer);

impl Write for TextEscape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\n' => self.0.push("\n    "),
                '\t' => self.0.push("\t"),
                c if c.is_control() => push_code(self.0, "\\u{", c, "}"),
                c => self.0.push(c.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(())
    }
}

/// Makes text part of a JSON string.
struct JsonEscape<'a>(&'a mut Buffer);

impl Write for JsonEscape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.push("\\\""),
                '\\' => self.0.push("\\\\"),
                '\n' => self.0.push("\\n"),
                '\t' => self.0.push("\\t"),
                c if c.is_control() => push_code(self.0, "\\u", c, ""),
                c => self.0.push(c.encode_utf8(&mut [0; 4])),
            }
        }
        Ok(())
    }
}

/// Pushes a control character's code, four hexadecimal digits between `open` and `close`, as one unit.
fn push_code(buffer: &mut Buffer, open: &str, c: char, close: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut unit = [0; 8];
    let mut length = 0;
    let digits = (0..4).rev().map(|i| DIGITS[(c as usize >> (4 * i)) & 0xf]);
    for byte in open.bytes().chain(digits).chain(close.bytes()) {
        unit[length] = byte;
        length += 1;
    }
    if let Ok(unit) = core::str::from_utf8(&unit[..length]) {
        buffer.push(unit);
    }
}

#[cfg(test)]
mod tests;
