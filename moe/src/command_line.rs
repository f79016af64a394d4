//! What the boot image's description says about the root task: `moe [--init=rom/NAME] [argument of init …]`.

use core::fmt;

/// The module that is started if none is named.
pub const DEFAULT_INIT: &str = "ned";

/// A root task's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// Module to start.
    pub init: &'a str,
    /// Its arguments, separated by spaces.
    arguments: &'a str,
}

/// What is wrong with a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLineError<'a> {
    /// An option that does not exist.
    UnknownOption(&'a str),
    /// `--init=` does not name a module.
    NoModule(&'a str),
}

impl fmt::Display for CommandLineError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandLineError::UnknownOption(option) => {
                write!(f, "unknown option '{option}'; the only one is --init=rom/NAME")
            }
            CommandLineError::NoModule(value) => {
                write!(f, "--init={value} names no module; write --init=rom/NAME")
            }
        }
    }
}

impl core::error::Error for CommandLineError<'_> {}

impl<'a> CommandLine<'a> {
    /// Reads a command line, whose first word is the root task's own name. Options come first; everything from the
    /// first other word on belongs to init.
    ///
    /// # Errors
    /// [`CommandLineError`] names the bad word.
    pub fn parse(line: &'a str) -> Result<CommandLine<'a>, CommandLineError<'a>> {
        let mut init = DEFAULT_INIT;
        let mut rest = split_word(line).1;
        loop {
            let (word, behind) = split_word(rest);
            if !word.starts_with("--") || word == "--" {
                return Ok(CommandLine {
                    init,
                    arguments: rest,
                });
            }
            let value = word
                .strip_prefix("--init=")
                .ok_or(CommandLineError::UnknownOption(word))?;
            init = match value.strip_prefix("rom/") {
                Some(name) if !name.is_empty() => name,
                _ => return Err(CommandLineError::NoModule(value)),
            };
            rest = behind;
        }
    }

    /// The arguments of init.
    pub fn arguments(&self) -> impl Iterator<Item = &'a str> {
        self.arguments.split_ascii_whitespace()
    }
}

/// The first word and what follows it.
fn split_word(line: &str) -> (&str, &str) {
    let line = line.trim_ascii_start();
    match line.split_once(|character: char| character.is_ascii_whitespace()) {
        Some((word, rest)) => (word, rest.trim_ascii_start()),
        None => (line, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(&str, Vec<&str>), CommandLineError<'_>> {
        CommandLine::parse(line).map(|parsed| (parsed.init, parsed.arguments().collect()))
    }

    #[test]
    fn words_go_to_init() {
        assert_eq!(parse(""), Ok(("ned", vec![])));
        assert_eq!(parse("moe rom/x.cfg"), Ok(("ned", vec!["rom/x.cfg"])));
        assert_eq!(
            parse("moe  rom/x.cfg -- --threads=2  a "),
            Ok(("ned", vec!["rom/x.cfg", "--", "--threads=2", "a"]))
        );
        assert_eq!(
            parse("moe -- --init=rom/a"),
            Ok(("ned", vec!["--", "--init=rom/a"]))
        );
    }

    #[test]
    fn init_can_be_another_module() {
        assert_eq!(parse("moe --init=rom/bench"), Ok(("bench", vec![])));
        assert_eq!(
            parse("moe --init=rom/a/b --c"),
            Err(CommandLineError::UnknownOption("--c"))
        );
        assert_eq!(parse("moe --init=rom/a/b x --c"), Ok(("a/b", vec!["x", "--c"])));
    }

    #[test]
    fn mistakes_are_named() {
        for value in ["", "ned", "rom/"] {
            let line = format!("moe --init={value}");
            assert_eq!(parse(&line), Err(CommandLineError::NoModule(value)));
        }
        let error = parse("moe --quiet rom/x.cfg").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown option '--quiet'; the only one is --init=rom/NAME"
        );
    }
}
