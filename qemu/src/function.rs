//! `function.toml`: the description of a function folder, checked and turned into a [`Manifest`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use interfaces::manifest::{Copying, Manifest, Runtime, StartMode, WARM_UP_NAME};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Name of the description in a function's folder.
pub const FILE_NAME: &str = "function.toml";

/// Why a function folder cannot be used.
#[derive(Debug, Error)]
pub enum FunctionError {
    /// The description cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The description is wrong.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The folder's name cannot be a function's name.
    #[error("{}: a function's name has 1 to 48 of a-z, 0-9, `-` and `_`, and starts with a letter", .0.display())]
    Name(PathBuf),
}

/// A function folder that was read.
#[derive(Clone, Debug)]
pub struct Function {
    /// The folder's name, by which clients know the function.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The file that holds the code, or the binary of the folder's package; where the description says.
    pub code: Option<String>,
    /// The list of the packages that it needs, in its folder.
    pub packages: Option<String>,
    /// What the system is told.
    pub manifest: Manifest,
}

/// The keys of `function.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Description {
    runtime: Runtime,
    code: Option<String>,
    packages: Option<String>,
    handler: Option<String>,
    memory: Option<Bytes>,
    timeout: Option<Nanoseconds>,
    concurrent_requests: Option<Count>,
    #[serde(default)]
    single_use: bool,
    keepalive: Option<Nanoseconds>,
    mode: Option<StartMode>,
    copying: Option<Copying>,
    reuse_limit: Option<Count>,
    warm_up: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Reads the description in `folder`.
///
/// # Errors
/// An unreadable file; an unknown key, a wrong type or value, with file and line; an unusable name.
pub fn read(folder: &Path) -> Result<Function, FunctionError> {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| is_name(name));
    let name = name
        .ok_or_else(|| FunctionError::Name(folder.to_owned()))?
        .to_owned();
    let path = folder.join(FILE_NAME);
    let text = std::fs::read_to_string(&path).map_err(|source| FunctionError::Read {
        path: path.clone(),
        source,
    })?;
    let description =
        parse(&text).map_err(|(line, message)| FunctionError::Invalid { path, line, message })?;
    Ok(Function {
        name,
        folder: folder.to_owned(),
        code: description.code.clone(),
        packages: description.packages.clone(),
        manifest: description.into_manifest(),
    })
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    name.len() <= 48 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(is_allowed)
}

fn parse(text: &str) -> Result<Description, (usize, String)> {
    let description: Description = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        (line_of(text, start), error.message().replace('\n', " "))
    })?;
    for (name, value) in &description.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let line = text.find("[env]").map_or(1, |at| line_of(text, at));
            return Err((line, format!("`{name}` cannot be an environment variable")));
        }
    }
    if description.packages.is_some() && description.runtime != Runtime::Python {
        let line = text.find("packages").map_or(1, |at| line_of(text, at));
        return Err((line, "`packages` is for the runtime python".into()));
    }
    if let Some(event) = &description.warm_up
        && (description.runtime != Runtime::Python || event.contains('\0'))
    {
        let line = text.find("warm-up").map_or(1, |at| line_of(text, at));
        let message = "`warm-up` is a text without zero bytes, for the runtime python";
        return Err((line, message.into()));
    }
    Ok(description)
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}

impl Description {
    fn into_manifest(self) -> Manifest {
        Manifest {
            runtime: self.runtime,
            handler: self.handler,
            memory_bytes: self.memory.map(|memory| memory.0),
            timeout_ns: self.timeout.map(|timeout| timeout.0),
            concurrent_requests: self.concurrent_requests.map(|count| count.0),
            single_use: self.single_use,
            keepalive_ns: self.keepalive.map(|keepalive| keepalive.0),
            mode: self.mode,
            copying: self.copying,
            reuse_limit: self.reuse_limit.map(|count| u64::from(count.0)),
            environment: self
                .env
                .into_iter()
                .chain(self.warm_up.map(|event| (WARM_UP_NAME.into(), event)))
                .collect(),
        }
    }
}

/// A size such as `"64K"`, `"4M"` or `65536`, more than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes(u64);

/// A time such as `"75ms"`, `"1.5s"` or `"10us"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nanoseconds(u64);

/// A number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Count(u32);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a number")]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let bytes = match TextOrNumber::deserialize(input)? {
            TextOrNumber::Number(bytes) => Some(bytes),
            TextOrNumber::Text(text) => parse_bytes(&text),
        };
        bytes
            .filter(|&bytes| bytes > 0)
            .map(Self)
            .ok_or_else(|| D::Error::custom("not a size; write it as \"64K\", \"4M\" or \"1G\", more than 0"))
    }
}

impl<'de> Deserialize<'de> for Nanoseconds {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        parse_duration(&text).map(Self).ok_or_else(|| {
            D::Error::custom("not a duration; write it as \"75ms\", \"2s\", \"1.5s\" or \"10us\"")
        })
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match u32::deserialize(input)? {
            0 => Err(D::Error::custom("must be at least 1")),
            count => Ok(Self(count)),
        }
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn parse_duration(text: &str) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let nanoseconds: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok().filter(|&places| places <= 9)?)?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(nanoseconds)? / scale;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(nanoseconds)?
        .checked_add(fraction)
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::{Copying, FunctionError, Runtime, StartMode, parse, parse_bytes, parse_duration, read};
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn all_keys_reach_the_manifest() {
        let text = "runtime = \"native\"\ncode = \"x\"\nhandler = \"main\"\nmemory = \"4M\"\ntimeout = \"75ms\"\n\
                    concurrent-requests = 2\nsingle-use = true\nkeepalive = \"1.5s\"\nmode = \"warm\"\n\
                    copying = \"lazy\"\nreuse-limit = 9\n[env]\nB = \"2\"\nA = \"1\"\n";
        let description = parse(text).unwrap();
        assert_eq!(description.code.as_deref(), Some("x"));
        let manifest = description.into_manifest();
        assert_eq!(manifest.runtime, Runtime::Native);
        assert_eq!(
            (manifest.memory_bytes, manifest.timeout_ns),
            (Some(4 << 20), Some(75_000_000))
        );
        assert_eq!(
            (manifest.keepalive_ns, manifest.mode),
            (Some(1_500_000_000), Some(StartMode::Warm))
        );
        assert_eq!(manifest.copying, Some(Copying::Lazy));
        assert_eq!(
            (manifest.concurrent_requests, manifest.reuse_limit),
            (Some(2), Some(9))
        );
        assert!(manifest.single_use);
        assert_eq!(
            manifest.environment,
            [("A".into(), "1".into()), ("B".into(), "2".into())]
        );
    }

    #[test]
    fn a_warm_up_is_a_variable_of_functions_in_python() {
        let text = "runtime = \"python\"\nwarm-up = '{\"n\": 1}'\n[env]\nZ = \"1\"\n";
        let manifest = parse(text).unwrap().into_manifest();
        let event = ("AERIE_WARM_UP".into(), "{\"n\": 1}".into());
        assert_eq!(manifest.environment, [("Z".into(), "1".into()), event]);
        let wrong = parse(&text.replace("python", "linux")).unwrap_err();
        assert_eq!(wrong.0, 2, "{wrong:?}");
        let wrong = parse("runtime = \"linux\"\npackages = \"list.txt\"\n").unwrap_err();
        assert_eq!(wrong, (2, "`packages` is for the runtime python".into()));
    }

    #[test]
    fn the_runtime_is_enough() {
        let manifest = parse("runtime = \"linux\"\n").unwrap().into_manifest();
        assert_eq!(
            (manifest.memory_bytes, manifest.mode, manifest.single_use),
            (None, None, false)
        );
    }

    #[test]
    fn wrong_descriptions_name_the_line() {
        let head = "runtime = \"native\"\n";
        for (text, line, part) in [
            ("", 1, "missing field `runtime`"),
            ("runtime = \"java\"\n", 1, "unknown variant `java`"),
            (&format!("{head}\nmemroy = \"4M\"\n"), 3, "unknown field `memroy`"),
            (&format!("{head}memory = \"lots\"\n"), 2, "not a size"),
            (
                &format!("{head}memory = true\n"),
                2,
                "expected a text or a number",
            ),
            (&format!("{head}memory = 0\n"), 2, "not a size"),
            (&format!("{head}timeout = \"75\"\n"), 2, "not a duration"),
            (&format!("{head}timeout = 75\n"), 2, "invalid type"),
            (&format!("{head}concurrent-requests = 0\n"), 2, "at least 1"),
            (&format!("{head}single-use = 1\n"), 2, "invalid type"),
            (&format!("{head}mode = \"cold\"\n"), 2, "unknown variant"),
            (
                &format!("{head}\n[env]\n\"A=B\" = \"1\"\n"),
                3,
                "environment variable",
            ),
            (&format!("{head}code = \n"), 2, ""),
        ] {
            let (actual, message) = parse(text).unwrap_err();
            assert_eq!(actual, line, "{text}: {message}");
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(parse_bytes("64K"), Some(65536));
        assert_eq!(parse_bytes("17179869184G"), None);
        assert_eq!(parse_bytes("-1"), None);
        assert_eq!(parse_duration("0s"), Some(0));
        assert_eq!(parse_duration("10us"), Some(10_000));
        assert_eq!(parse_duration("0.25ms"), Some(250_000));
        assert_eq!(parse_duration("99999999999min"), None);
        assert_eq!(parse_duration(".5s"), None);
        assert_eq!(parse_duration("1.5.2s"), None);
    }

    #[test]
    fn a_folder_names_its_function() {
        let root = TempDir::new().unwrap();
        let folder = root.path().join("greet-2");
        fs::create_dir(&folder).unwrap();
        assert!(matches!(read(&folder), Err(FunctionError::Read { .. })));
        fs::write(folder.join("function.toml"), "runtime = \"python\"\nx = 1\n").unwrap();
        let message = read(&folder).unwrap_err().to_string();
        assert!(
            message.contains("greet-2/function.toml:2: unknown field `x`"),
            "{message}"
        );
        fs::write(folder.join("function.toml"), "runtime = \"python\"\n").unwrap();
        assert_eq!(read(&folder).unwrap().name, "greet-2");
        let bad = root.path().join("Bad Name");
        fs::create_dir(&bad).unwrap();
        assert!(matches!(read(&bad), Err(FunctionError::Name(_))));
    }
}
