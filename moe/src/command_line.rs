//! What the boot image's description says about the root task: `moe [--init=rom/NAME] [argument of init …]`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The module that is started if none is named.
pub const DEFAULT_INIT: &str = "ned";

/// A root task's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// Module to start.
    pub init: &'a str,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What is wrong with a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLineError<'a> {
    /// An option that does not exist.
    UnknownOption(&'a str),
    /// `--init=` does not name a module.
    NoModule(&'a str),
    /// A quotation mark has no partner.
    OpenQuote(&'a str),
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
            CommandLineError::OpenQuote(arguments) => {
                write!(f, "a quotation mark is not closed: {arguments}")
            }
        }
    }
}

impl core::error::Error for CommandLineError<'_> {}

impl<'a> CommandLine<'a> {
    /// Reads a command line, whose first word is the root task's own name. Options come first; everything from the
    /// first other word on belongs to init: quotation marks and backslashes mean what they mean to a shell, so that an argument
    /// can have spaces.
    ///
    /// # Errors
    /// [`CommandLineError`] names the bad word.
    pub fn parse(line: &'a str) -> Result<CommandLine<'a>, CommandLineError<'a>> {
        let mut init = DEFAULT_INIT;
        let mut rest = split_word(line).1;
        loop {
            let (word, behind) = split_word(rest);
            if !word.starts_with("--") || word == "--" {
                let arguments = shlex::split(rest).ok_or(CommandLineError::OpenQuote(rest))?;
                return Ok(CommandLine { init, arguments });
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

    fn parse(line: &str) -> Result<(&str, Vec<String>), CommandLineError<'_>> {
        CommandLine::parse(line).map(|parsed| (parsed.init, parsed.arguments))
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| String::from(*word)).collect()
    }

    #[test]
    fn quoted_words_keep_their_spaces() {
        for (line, last) in [
            (
                r#"moe a "--payload=text:hello world""#,
                "--payload=text:hello world",
            ),
            (r"moe a --payload='text:a  b'", "--payload=text:a  b"),
            (r"moe a --payload=text:a\ b", "--payload=text:a b"),
            (r"moe a --payload=text:a#b", "--payload=text:a#b"),
            (r"moe a ''", ""),
        ] {
            assert_eq!(parse(line), Ok(("ned", words(&["a", last]))), "{line}");
        }
        assert_eq!(parse("moe a 'b c"), Err(CommandLineError::OpenQuote("a 'b c")));
    }

    #[test]
    fn words_go_to_init() {
        assert_eq!(parse(""), Ok(("ned", words(&[]))));
        assert_eq!(parse("moe rom/x.cfg"), Ok(("ned", words(&["rom/x.cfg"]))));
        assert_eq!(
            parse("moe  rom/x.cfg -- --threads=2  a "),
            Ok(("ned", words(&["rom/x.cfg", "--", "--threads=2", "a"])))
        );
        assert_eq!(
            parse("moe -- --init=rom/a"),
            Ok(("ned", words(&["--", "--init=rom/a"])))
        );
    }

    #[test]
    fn init_can_be_another_module() {
        assert_eq!(parse("moe --init=rom/bench"), Ok(("bench", words(&[]))));
        assert_eq!(
            parse("moe --init=rom/a/b --c"),
            Err(CommandLineError::UnknownOption("--c"))
        );
        assert_eq!(
            parse("moe --init=rom/a/b x --c"),
            Ok(("a/b", words(&["x", "--c"])))
        );
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
