//! The command line.

use core::fmt;

/// What the program does and how its options are written.
pub const HELP: &str = "\
manager: runs functions for clients, each in a fresh task on the client's own core

      --client-memory=SIZE  account of each client, workers included (an equal share for each core)
      --share-cores[=N]     let up to N clients share a core (2)
      --show-logs           show what workers log, not only to who asks for it
      --no-spares           start no runtime ahead for a client's next function in Python
  -h, --help                print this
";

/// Most clients that may share a core.
const MAX_SHARE: u32 = 16;
/// Least memory of a client in bytes.
const MIN_MEMORY: u64 = 1 << 20;

/// The command line's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory of a client in bytes; `None` for an equal share.
    pub client_memory: Option<u64>,
    /// Clients on one core.
    pub clients_per_cpu: u32,
    /// Show what workers log.
    pub show_logs: bool,
    /// Start runtimes ahead.
    pub spares: bool,
    /// Print [`HELP`] and do nothing else.
    pub help: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            client_memory: None,
            clients_per_cpu: 1,
            show_logs: false,
            spares: true,
            help: false,
        }
    }
}

/// Why a command line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageError<'a> {
    /// No such option.
    Unknown(&'a str),
    /// The option's value makes no sense; the second field tells what does.
    Value(&'a str, &'static str),
}

impl fmt::Display for UsageError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Unknown(option) => write!(f, "unknown option '{option}'; --help lists the options"),
            UsageError::Value(option, wanted) => write!(f, "'{option}': the value must be {wanted}"),
        }
    }
}

impl core::error::Error for UsageError<'_> {}

impl Options {
    /// Reads the arguments (without the program's name).
    ///
    /// # Errors
    /// [`UsageError`] for the first argument that makes no sense.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Options, UsageError<'a>> {
        let mut options = Options::default();
        for argument in arguments {
            match argument
                .split_once('=')
                .map_or((argument, None), |(name, value)| (name, Some(value)))
            {
                ("--client-memory", value) => {
                    let size = value.and_then(size).filter(|size| *size >= MIN_MEMORY);
                    let wrong = UsageError::Value(argument, "a size of 1M or more, e.g. 64M");
                    options.client_memory = Some(size.ok_or(wrong)?);
                }
                ("--share-cores", None) => options.clients_per_cpu = 2,
                ("--share-cores", Some(count)) => {
                    let count = count.parse().ok().filter(|count| (1..=MAX_SHARE).contains(count));
                    options.clients_per_cpu =
                        count.ok_or(UsageError::Value(argument, "a number from 1 to 16"))?;
                }
                ("--show-logs", None) => options.show_logs = true,
                ("--no-spares", None) => options.spares = false,
                ("-h" | "--help", None) => options.help = true,
                _ => return Err(UsageError::Unknown(argument)),
            }
        }
        Ok(options)
    }
}

/// Bytes, from a number with an optional K, M or G behind it.
fn size(text: &str) -> Option<u64> {
    let unit = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => 1 << 10,
        b'M' => 1 << 20,
        b'G' => 1 << 30,
        _ => 1,
    };
    let digits = if unit == 1 {
        text
    } else {
        text.get(..text.len() - 1)?
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        assert_eq!(Options::parse([]), Ok(Options::default()));
        let options = Options::parse(["--client-memory=64M", "--share-cores=3", "--show-logs"]).unwrap();
        assert_eq!(
            (options.client_memory, options.clients_per_cpu, options.show_logs),
            (Some(64 << 20), 3, true)
        );
        assert_eq!(Options::parse(["--share-cores"]).unwrap().clients_per_cpu, 2);
        assert!(!Options::parse(["--no-spares"]).unwrap().spares);
        assert!(Options::parse(["-h"]).unwrap().help);
    }

    #[test]
    fn nonsense_is_named() {
        for wrong in [
            "--client-memory",
            "--client-memory=1K",
            "--client-memory=ü",
            "--share-cores=0",
            "--share-cores=17",
        ] {
            assert!(
                matches!(Options::parse([wrong]), Err(UsageError::Value(name, _)) if name == wrong),
                "{wrong}"
            );
        }
        for wrong in ["x", "--show-logs=1", "--help=2"] {
            assert_eq!(Options::parse([wrong]), Err(UsageError::Unknown(wrong)));
        }
    }
}
