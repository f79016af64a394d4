//! The command line.

/// How to call the program.
pub const USAGE: &str = "usage: ned [--exit | --wait-and-exit] [-e LUA] [rom/SCRIPT.cfg …] [-- ARGUMENT …]";

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Scripts to run, in order.
    pub scripts: Vec<String>,
    /// Lua text to run after the scripts.
    pub statements: Vec<String>,
    /// Don't wait for tasks that still run after the scripts.
    pub exit_at_once: bool,
    /// What follows `--`: for the scripts, as `L4.args`.
    pub arguments: Vec<String>,
}

impl Options {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// A text that names the bad word.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--" => {
                    options.arguments.extend(words);
                    break;
                }
                "--exit" | "-x" => options.exit_at_once = true,
                "--wait-and-exit" | "-w" => options.exit_at_once = false,
                "-e" | "--execute" => {
                    let statement = words
                        .next()
                        .ok_or_else(|| format!("{word} needs Lua text behind it"))?;
                    options.statements.push(statement);
                }
                option if option.starts_with('-') => {
                    return Err(format!("unknown option '{option}'; {USAGE}"));
                }
                _ => options.scripts.push(word),
            }
        }
        if options.scripts.is_empty() && options.statements.is_empty() {
            return Err(format!("there is no script to run; {USAGE}"));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split(' ').map(String::from))
    }

    #[test]
    fn scripts_and_their_arguments_are_told_apart() {
        let options = parse("--exit rom/a.cfg rom/b.cfg -- --threads=2 -x").unwrap();
        assert_eq!(options.scripts, ["rom/a.cfg", "rom/b.cfg"]);
        assert_eq!(options.arguments, ["--threads=2", "-x"]);
        assert!(options.exit_at_once);
        assert!(!parse("-x -w rom/a.cfg").unwrap().exit_at_once);
        assert_eq!(parse("-e print(1)").unwrap().statements, ["print(1)"]);
    }

    #[test]
    fn bad_words_are_named() {
        assert!(parse("--foo rom/a.cfg").unwrap_err().contains("'--foo'"));
        assert!(parse("rom/a.cfg -e").unwrap_err().contains("-e needs Lua text"));
        assert!(parse("--exit").unwrap_err().contains("no script"));
        assert!(parse("-- x").unwrap_err().contains("no script"));
    }
}
