//! Logs: consoles whose lines carry a tag.

use core::fmt;

use l4::object::Vcon;
use l4_rpc::{Cap, interface};
use serde::{Deserialize, Serialize};

/// Longest tag in bytes; shorter ones are padded so that lines stand below each other.
pub const TAG_MAX: usize = 16;

/// Makes logs.
#[interface(protocol = 0x4003)]
pub trait LogFactory {
    /// A log whose lines start with `tag` in `colour`. Lines of different logs never mix.
    #[op(1)]
    fn create(&self, tag: &str, colour: Colour) -> Result<Cap<Vcon>, LogError>;
}

/// Colour of a tag: 0 the terminal's own, 1 to 7 red, green, yellow, blue, magenta, cyan, white; 8 more is bright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Colour(u8);

impl Colour {
    /// The terminal's own.
    pub const NONE: Colour = Colour(0);
    const NAMES: [&str; 8] = [
        "normal", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
    ];
    const BRIGHT: u8 = 8;

    /// The colour with this name or first letter (a capital makes it bright), or with this number (0 to 15).
    pub fn parse(text: &str) -> Option<Colour> {
        if let Ok(number) = text.parse::<u8>() {
            return Colour::try_from(number).ok();
        }
        let bright = text.starts_with(|first: char| first.is_ascii_uppercase());
        let is_meant = |name: &str| text.eq_ignore_ascii_case(name) || text.eq_ignore_ascii_case(&name[..1]);
        let number = Self::NAMES.iter().position(|name| is_meant(name))? as u8;
        Some(Colour(if bright { number + Self::BRIGHT } else { number }))
    }

    /// The terminal's escape sequence that switches the colour on, empty for its own; `"\x1b[0m"` switches it off.
    pub const fn escape(self) -> &'static str {
        match self.0 {
            1 => "\x1b[31m",
            2 => "\x1b[32m",
            3 => "\x1b[33m",
            4 => "\x1b[34m",
            5 => "\x1b[35m",
            6 => "\x1b[36m",
            7 => "\x1b[37m",
            8 => "\x1b[1m",
            9 => "\x1b[31;1m",
            10 => "\x1b[32;1m",
            11 => "\x1b[33;1m",
            12 => "\x1b[34;1m",
            13 => "\x1b[35;1m",
            14 => "\x1b[36;1m",
            15 => "\x1b[37;1m",
            _ => "",
        }
    }
}

impl TryFrom<u8> for Colour {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Colour, &'static str> {
        if number < 16 {
            Ok(Colour(number))
        } else {
            Err("colours have numbers from 0 to 15")
        }
    }
}

impl From<Colour> for u8 {
    fn from(colour: Colour) -> u8 {
        colour.0
    }
}

/// Why there is no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogError {
    /// The tag is longer than [`TAG_MAX`] or has control characters.
    InvalidTag,
    /// The factory cannot make more logs.
    TooManyLogs,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::InvalidTag => {
                write!(f, "a tag has at most {TAG_MAX} bytes and no control characters")
            }
            LogError::TooManyLogs => f.write_str("no more logs can be made; share one"),
        }
    }
}

impl core::error::Error for LogError {}

#[cfg(test)]
mod tests {
    use super::Colour;

    #[test]
    fn colours_have_names_letters_and_numbers() {
        assert_eq!(Colour::parse("blue"), Some(Colour(4)));
        assert_eq!(Colour::parse("Blue"), Some(Colour(12)));
        assert_eq!(Colour::parse("y"), Some(Colour(3)));
        assert_eq!(Colour::parse("N"), Some(Colour(8)));
        assert_eq!(Colour::parse("15"), Some(Colour(15)));
        for nonsense in ["", "bl", "ü", "16", "-1"] {
            assert_eq!(Colour::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn each_colour_has_its_own_escape_sequence() {
        let all: std::collections::BTreeSet<_> = (0..16).map(|number| Colour(number).escape()).collect();
        assert_eq!(all.len(), 16);
    }

    #[test]
    fn numbers_beyond_the_last_colour_are_refused_on_the_wire() {
        let bytes = postcard::to_allocvec(&Colour(15)).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(Colour(15)));
        assert!(postcard::from_bytes::<Colour>(&[16]).is_err());
    }
}
