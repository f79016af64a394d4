//! The command line.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use interfaces::manifest::StartMode;

/// What the program does and how its options are written.
pub const HELP: &str = "\
client-workloads: runs functions that compute something, on inputs made from a seed

      --workloads=A,B,...  the functions (what the boot script says)
      --seed=N             the first seed (1)
      --seeds=N            how many consecutive seeds each function gets (1)
      --balanced           a load instead: each function equally often, in random order, each call with a seed of its own
      --calls=N            calls of the load (17000), as far as they can be shared equally
  -t, --threads=N          clients, each with a core of its own, which share the work (1)
      --mode=MODE          boot: start each worker afresh; warm: keep it (as the function's manifest says, else boot)
  -h, --help               print this

Prints a line WORKLOAD {...} with input and result for each call, or BALANCED {...} for each function of a load, then a
table. The exit code is 0 if all calls succeeded, 1 if one did not, 2 for a wrong command line.
";

/// Most clients in one run.
pub const MAX_THREADS: u32 = 64;

/// Most calls, whose durations have to fit into memory.
pub const MAX_CALLS: u32 = 1_000_000;

/// The command line's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The functions' names.
    pub workloads: Vec<String>,
    /// The first seed.
    pub seed: u64,
    /// How many consecutive seeds.
    pub seeds: u32,
    /// Whether the calls come in random order.
    pub balanced: bool,
    /// Calls of a balanced load.
    pub calls: u32,
    /// Clients.
    pub threads: u32,
    /// Start mode, `None` for each function's own.
    pub mode: Option<StartMode>,
    /// Print [`HELP`] and do nothing else.
    pub help: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workloads: Vec::new(),
            seed: 1,
            seeds: 1,
            balanced: false,
            calls: 17_000,
            threads: 1,
            mode: None,
            help: false,
        }
    }
}

/// Why a command line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// No such option.
    Unknown(String),
    /// The option needs a value.
    MissingValue(String),
    /// The option takes no value.
    UnexpectedValue(String),
    /// The value makes no sense; the third field tells what does.
    Value(String, String, &'static str),
    /// No function is named.
    NoWorkload,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Unknown(option) => write!(f, "unknown option '{option}'"),
            UsageError::MissingValue(option) => write!(f, "option '{option}' needs a value"),
            UsageError::UnexpectedValue(option) => write!(f, "option '{option}' takes no value"),
            UsageError::Value(option, value, wanted) => {
                write!(f, "option '{option}': '{value}' is not {wanted}")
            }
            UsageError::NoWorkload => {
                f.write_str("there is no function to call: name some with --workloads=")
            }
        }?;
        f.write_str("; --help lists the options")
    }
}

impl core::error::Error for UsageError {}

impl Options {
    /// Reads the arguments (without the program's name). A later one counts instead of an earlier one.
    ///
    /// # Errors
    /// [`UsageError`] for the first argument that makes no sense.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Options, UsageError> {
        let mut options = Options::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            };
            if let Some(flag) = options.flag(name) {
                *flag = true;
                if value.is_some() {
                    return Err(UsageError::UnexpectedValue(name.to_string()));
                }
            } else if TAKES_VALUE.contains(&name) {
                let value = value
                    .or_else(|| arguments.next())
                    .filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| UsageError::MissingValue(name.to_string()))?;
                options.set(name, value)?;
            } else {
                return Err(UsageError::Unknown(argument.to_string()));
            }
        }
        if options.workloads.is_empty() && !options.help {
            return Err(UsageError::NoWorkload);
        }
        Ok(options)
    }

    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "--balanced" => Some(&mut self.balanced),
            "-h" | "--help" => Some(&mut self.help),
            _ => None,
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UsageError> {
        let wrong = |wanted| UsageError::Value(name.to_string(), value.to_string(), wanted);
        let count = |most| number(value, most).ok_or("");
        match name {
            "--workloads" => {
                self.workloads = names(value).ok_or_else(|| wrong("a list such as fib,matmul"))?
            }
            "--seed" => {
                self.seed = value
                    .parse()
                    .ok()
                    .filter(|seed| *seed <= MAX_SEED)
                    .ok_or_else(|| wrong("a number below 2^53"))?;
            }
            "--seeds" => self.seeds = count(MAX_CALLS).map_err(|_| wrong("a number from 1 to 1000000"))?,
            "--calls" => self.calls = count(MAX_CALLS).map_err(|_| wrong("a number from 1 to 1000000"))?,
            "--mode" => self.mode = Some(mode(value).ok_or_else(|| wrong("boot, warm or snapshot"))?),
            _ => self.threads = count(MAX_THREADS).map_err(|_| wrong("a number from 1 to 64"))?,
        }
        Ok(())
    }
}

/// Largest seed: JSON's numbers are exact up to here in every language.
const MAX_SEED: u64 = (1 << 53) - 1;

const TAKES_VALUE: [&str; 7] = [
    "--workloads",
    "--seed",
    "--seeds",
    "--calls",
    "--mode",
    "-t",
    "--threads",
];

fn number(text: &str, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=most).contains(number))
}

fn mode(text: &str) -> Option<StartMode> {
    match text {
        "boot" => Some(StartMode::Boot),
        "warm" => Some(StartMode::Warm),
        "snapshot" => Some(StartMode::Snapshot),
        _ => None,
    }
}

/// The names of a list; `None` if one is empty or there twice.
fn names(text: &str) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',') {
        if name.is_empty() || names.iter().any(|other| other == name) {
            return None;
        }
        names.push(name.to_string());
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, UsageError> {
        Options::parse(line.split_whitespace())
    }

    #[test]
    fn options_are_understood_and_later_ones_count() {
        let line = "--workloads=a --seed 7 --seeds=3 --balanced --calls=32 -t 2 --mode=warm --workloads=b,c";
        let options = parse(line).unwrap();
        assert_eq!(options.workloads, ["b", "c"]);
        assert_eq!(
            (options.seed, options.seeds, options.calls, options.threads),
            (7, 3, 32, 2)
        );
        assert!(options.balanced && options.mode == Some(StartMode::Warm));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parse("--seed=1"), Err(UsageError::NoWorkload));
        assert_eq!(parse("--nope"), Err(UsageError::Unknown("--nope".to_string())));
        assert_eq!(
            parse("--seed"),
            Err(UsageError::MissingValue("--seed".to_string()))
        );
        assert_eq!(
            parse("--balanced=yes"),
            Err(UsageError::UnexpectedValue("--balanced".to_string()))
        );
        for line in [
            "--workloads=a,,b",
            "--workloads=a,a",
            "--seed=-1",
            "--seed=9007199254740992",
            "--seeds=0",
            "--calls=1000001",
            "--threads=65",
            "--mode=cold",
        ] {
            assert!(matches!(parse(line), Err(UsageError::Value(..))), "{line}");
        }
    }

    #[test]
    fn help_needs_no_workload_and_names_every_option() {
        assert!(parse("--help").unwrap().help);
        for option in TAKES_VALUE.iter().chain(&["-h", "--help", "--balanced"]) {
            assert!(HELP.contains(option), "{option}");
        }
    }
}
