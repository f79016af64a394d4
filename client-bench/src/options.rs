//! The command line.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use interfaces::manifest::{Copying, Runtime};

/// What the program does and how its options are written.
pub const HELP: &str = "\
client-bench: invokes a function again and again and shows how long each phase took

  -t, --threads=N        clients, each with a thread and a core of its own (1)
  -i, --iterations=N     measured invocations of each client (1000)
      --warmup=N         invocations of each client before, not measured (10)
      --in-flight=N      invoke asynchronously, so many at once (0: one after the other, waiting for each)
      --function=NAME    function from the boot image's functions/ (noop)
      --create=NAME      use the module NAME of the boot image as the function's code
      --runtime=NAME     what runs such a module: native, linux or python (native)
      --also=NAME        create this function too, for those that call others; may be given more than once
      --mode=MODE        snapshot: begin each time from the initialised function; boot: load it afresh each time;
                         warm: keep it (as the function's manifest says, else snapshot, if that is possible);
                         hold: keep many alive at once, and show what each takes and the time to wake it; needs 'debug'
      --copying=WHEN         eager: begin from the snapshot with copies of the pages that the first two invocations changed;
                         lazy: copy each page when it is changed (as the function's manifest says, else eager)
      --instances=N      so many in mode hold (100)
      --by-manager       have the manager make each call, also those that don't need it
      --payload=SIZE     send SIZE bytes (0); K and M may follow the number
      --payload=text:T   send the text T
      --timeout=TIME     give up after TIME: us, ms or s must follow the number (as the manifest says)
      --memory=SIZE      memory limit of a worker (as the manifest says)
      --format=FORMAT    table, json, both, or none: what is printed at the end (both)
      --show             print each reply or error, and what the snapshot takes
      --figures          print what invocations of the image's functions cost, for 'make bench', and nothing else
      --check-leaks      do it again, up to four times, and fail if the machine has more in use after each; needs 'debug'
      --expect=KIND      succeed if and only if everything fails with an error of this kind, e.g. fault
  -h, --help             print this

The exit code is 0 if all invocations went as expected, 1 if one did not, 2 for a wrong command line.
";

/// Most clients in one run.
pub const MAX_THREADS: u32 = 64;

/// Most measured invocations of one client: what their samples need must fit into memory.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// Most instances in mode `hold`: the service numbers those of a client with 16 bits.
pub const MAX_INSTANCES: u32 = 65_535;

/// Most asynchronous invocations at once of one client, numbered likewise.
pub const MAX_IN_FLIGHT: u32 = 65_535;

/// Largest payload in bytes, the limit of the service.
pub const MAX_PAYLOAD: u64 = 1 << 20;

/// How a worker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Loaded afresh for each invocation.
    Boot,
    /// Kept between invocations.
    Warm,
    /// Cloned from a snapshot.
    Snapshot,
    /// Kept, many at once.
    Hold,
}

/// What is printed at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The table of percentiles only.
    Table,
    /// The raw figures only.
    Json,
    /// Both.
    Both,
    /// Nothing.
    None,
}

impl Format {
    /// Tells whether the table is wanted.
    pub fn table(self) -> bool {
        matches!(self, Format::Table | Format::Both)
    }

    /// Tells whether the raw figures are wanted.
    pub fn json(self) -> bool {
        matches!(self, Format::Json | Format::Both)
    }
}

/// What each invocation sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A pattern of so many bytes.
    Size(u64),
    /// A text.
    Text(String),
}

/// The command line's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Clients.
    pub threads: u32,
    /// Measured invocations of each client.
    pub iterations: u32,
    /// Invocations of each client before the measured ones.
    pub warmup: u32,
    /// Asynchronous invocations at once; 0 for synchronous ones.
    pub in_flight: u32,
    /// The manager makes each call.
    pub by_manager: bool,
    /// Name of the function.
    pub function: String,
    /// Module to take the code from instead of `functions/NAME`.
    pub create: Option<String>,
    /// What runs such code.
    pub runtime: Runtime,
    /// Further functions to create.
    pub also: Vec<String>,
    /// Start mode, `None` for the function's own.
    pub mode: Option<Mode>,
    /// When pages are copied, `None` for the function's own.
    pub copying: Option<Copying>,
    /// Instances in [`Mode::Hold`].
    pub instances: u32,
    /// What is sent.
    pub payload: Payload,
    /// Time limit of an invocation in nanoseconds, `None` for the function's own.
    pub timeout_ns: Option<u64>,
    /// Memory limit of a worker in bytes, `None` for the function's own.
    pub memory: Option<u64>,
    /// What is printed at the end.
    pub format: Format,
    /// Print each reply or error.
    pub show: bool,
    /// Do it twice and compare what the machine has in use.
    pub check_leaks: bool,
    /// Print the figures of `make bench` instead.
    pub figures: bool,
    /// Kind of error that everything must end with.
    pub expect: Option<String>,
    /// Print [`HELP`] and do nothing else.
    pub help: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: 1,
            iterations: 1000,
            warmup: 10,
            in_flight: 0,
            by_manager: false,
            function: "noop".to_string(),
            create: None,
            runtime: Runtime::Native,
            also: Vec::new(),
            mode: None,
            copying: None,
            instances: 100,
            payload: Payload::Size(0),
            timeout_ns: None,
            memory: None,
            format: Format::Both,
            show: false,
            figures: false,
            check_leaks: false,
            expect: None,
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
    /// The value makes no sense; the second field tells what does.
    Value(String, String, &'static str),
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
        }?;
        f.write_str("; --help lists the options")
    }
}

impl core::error::Error for UsageError {}

impl Options {
    /// Reads the arguments (without the program's name).
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
            if options.set_flag(name, value)? {
                continue;
            }
            if !TAKES_VALUE.contains(&name) {
                return Err(UsageError::Unknown(argument.to_string()));
            }
            let value = value
                .or_else(|| arguments.next())
                .filter(|value| !value.is_empty());
            options.set(
                name,
                value.ok_or_else(|| UsageError::MissingValue(name.to_string()))?,
            )?;
        }
        if options.mode == Some(Mode::Hold) && options.threads > 1 {
            let (option, value) = ("--threads".to_string(), options.threads.to_string());
            return Err(UsageError::Value(
                option,
                value,
                "1, as in mode hold there is one client",
            ));
        }
        Ok(options)
    }

    /// Sets an option without value; `false` if `name` is none.
    fn set_flag(&mut self, name: &str, value: Option<&str>) -> Result<bool, UsageError> {
        let flag = match name {
            "--show" => &mut self.show,
            "--by-manager" => &mut self.by_manager,
            "--check-leaks" => &mut self.check_leaks,
            "--figures" => &mut self.figures,
            "-h" | "--help" => &mut self.help,
            _ => return Ok(false),
        };
        if value.is_some() {
            return Err(UsageError::UnexpectedValue(name.to_string()));
        }
        *flag = true;
        Ok(true)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), UsageError> {
        let wrong = |wanted| UsageError::Value(name.to_string(), value.to_string(), wanted);
        match name {
            "-t" | "--threads" => {
                self.threads = number(value, 1, MAX_THREADS).ok_or_else(|| wrong("a number from 1 to 64"))?;
            }
            "-i" | "--iterations" => {
                self.iterations =
                    number(value, 1, MAX_ITERATIONS).ok_or_else(|| wrong("a number from 1 to 1000000"))?;
            }
            "--warmup" => {
                self.warmup =
                    number(value, 0, MAX_ITERATIONS).ok_or_else(|| wrong("a number from 0 to 1000000"))?;
            }
            "--in-flight" => {
                self.in_flight =
                    number(value, 0, MAX_IN_FLIGHT).ok_or_else(|| wrong("a number from 0 to 65535"))?;
            }
            "--instances" => {
                self.instances =
                    number(value, 2, MAX_INSTANCES).ok_or_else(|| wrong("a number from 2 to 65535"))?;
            }
            "--function" => self.function = value.to_string(),
            "--create" => self.create = Some(value.to_string()),
            "--runtime" => self.runtime = runtime(value).ok_or_else(|| wrong("native, linux or python"))?,
            "--also" => self.also.push(value.to_string()),
            "--expect" => self.expect = Some(value.to_string()),
            "--mode" => self.mode = Some(mode(value).ok_or_else(|| wrong("boot, warm, snapshot or hold"))?),
            "--copying" => self.copying = Some(copying(value).ok_or_else(|| wrong("eager or lazy"))?),
            "--format" => self.format = format(value).ok_or_else(|| wrong("table, json, both or none"))?,
            "--payload" => {
                self.payload = payload(value).ok_or_else(|| wrong("a size up to 1M, or text:TEXT"))?
            }
            "--timeout" => {
                self.timeout_ns =
                    Some(duration(value).ok_or_else(|| wrong("a time such as 500us, 75ms or 3s"))?);
            }
            _ => self.memory = Some(size(value).ok_or_else(|| wrong("a size such as 512K or 4M"))?),
        }
        Ok(())
    }
}

const TAKES_VALUE: [&str; 18] = [
    "-t",
    "--threads",
    "-i",
    "--iterations",
    "--warmup",
    "--function",
    "--create",
    "--runtime",
    "--in-flight",
    "--instances",
    "--also",
    "--expect",
    "--mode",
    "--copying",
    "--format",
    "--payload",
    "--timeout",
    "--memory",
];

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

fn copying(text: &str) -> Option<Copying> {
    match text {
        "eager" => Some(Copying::Eager),
        "lazy" => Some(Copying::Lazy),
        _ => None,
    }
}

fn mode(text: &str) -> Option<Mode> {
    match text {
        "boot" => Some(Mode::Boot),
        "warm" => Some(Mode::Warm),
        "snapshot" => Some(Mode::Snapshot),
        "hold" => Some(Mode::Hold),
        _ => None,
    }
}

fn runtime(text: &str) -> Option<Runtime> {
    match text {
        "native" => Some(Runtime::Native),
        "linux" => Some(Runtime::Linux),
        "python" => Some(Runtime::Python),
        _ => None,
    }
}

fn format(text: &str) -> Option<Format> {
    match text {
        "table" => Some(Format::Table),
        "json" => Some(Format::Json),
        "both" => Some(Format::Both),
        "none" => Some(Format::None),
        _ => None,
    }
}

fn payload(text: &str) -> Option<Payload> {
    let payload = match text.strip_prefix("text:") {
        Some(text) => Payload::Text(text.to_string()),
        None => Payload::Size(size(text)?),
    };
    let length = match &payload {
        Payload::Size(size) => *size,
        Payload::Text(text) => text.len() as u64,
    };
    (length <= MAX_PAYLOAD).then_some(payload)
}

/// Bytes, from a number with an optional K or M behind it.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => text
            .strip_suffix(['M', 'm'])
            .map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Nanoseconds, from a number with its unit behind it.
fn duration(text: &str) -> Option<u64> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix("us") {
        (digits, 1_000)
    } else if let Some(digits) = text.strip_suffix("ms") {
        (digits, 1_000_000)
    } else {
        (text.strip_suffix('s')?, 1_000_000_000)
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn parse(line: &str) -> Result<Options, UsageError> {
        Options::parse(line.split_whitespace())
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        assert_eq!(parse(""), Ok(Options::default()));
    }

    #[test]
    fn values_follow_a_sign_or_a_space() {
        let with_sign = parse("--threads=2 --iterations=100 --mode=warm").unwrap();
        assert_eq!(with_sign, parse("-t 2 -i 100 --mode warm").unwrap());
        assert_eq!(
            (with_sign.threads, with_sign.iterations, with_sign.mode),
            (2, 100, Some(Mode::Warm))
        );
    }

    #[test]
    fn sizes_and_times_have_units() {
        let options = parse("--payload=64K --timeout=75ms --memory=4M --show --format=json").unwrap();
        assert_eq!(options.payload, Payload::Size(65_536));
        assert_eq!(options.timeout_ns, Some(75_000_000));
        assert_eq!(options.memory, Some(4 << 20));
        assert!(options.show && options.format.json() && !options.format.table());
        assert_eq!(parse("--timeout=3s").unwrap().timeout_ns, Some(3_000_000_000));
        assert_eq!(parse("--timeout=9us").unwrap().timeout_ns, Some(9_000));
        assert_eq!(parse("--also=a --also b").unwrap().also, ["a", "b"]);
        assert_eq!(parse("--runtime=linux").unwrap().runtime, Runtime::Linux);
        assert!(parse("--runtime=java").is_err());
        assert_eq!(
            parse("--payload=text:5").unwrap().payload,
            Payload::Text("5".to_string())
        );
    }

    #[test]
    fn instances_are_held_by_one_client() {
        let options = parse("--mode=hold --instances=1000").unwrap();
        assert_eq!((options.mode, options.instances), (Some(Mode::Hold), 1000));
        let error = parse("--threads=2 --mode=hold").unwrap_err();
        assert!(
            matches!(&error, UsageError::Value(option, _, _) if option == "--threads"),
            "{error}"
        );
    }

    #[test]
    fn nonsense_is_named() {
        for line in [
            "--threads=0",
            "--threads=65",
            "--iterations=x",
            "--iterations=-1",
            "--in-flight=65536",
            "--mode=cold",
            "--instances=1",
            "--instances=65536",
            "--format=xml",
            "--payload=2M",
            "--payload=1G",
            "--timeout=5",
            "--timeout=99999999999999s",
            "--memory=big",
        ] {
            let error = parse(line).unwrap_err();
            let value = line.split_once('=').unwrap().1;
            assert!(
                matches!(&error, UsageError::Value(_, given, _) if given == value),
                "{line}: {error}"
            );
        }
        assert_eq!(parse("--nope"), Err(UsageError::Unknown("--nope".to_string())));
        assert_eq!(parse("extra"), Err(UsageError::Unknown("extra".to_string())));
        assert_eq!(
            parse("--threads"),
            Err(UsageError::MissingValue("--threads".to_string()))
        );
        assert_eq!(
            parse("--function="),
            Err(UsageError::MissingValue("--function".to_string()))
        );
        assert_eq!(
            parse("--show=yes"),
            Err(UsageError::UnexpectedValue("--show".to_string()))
        );
    }

    #[test]
    fn help_names_every_option() {
        for option in TAKES_VALUE
            .iter()
            .chain(&["-h", "--help", "--show", "--figures", "--check-leaks"])
        {
            assert!(HELP.contains(option), "{option}");
        }
    }
}
