//! A scenario's `check`: a command of the host that judges the console's log.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::find_program;

/// Lines of the command's output that a failure shows.
const SHOWN_LINES: usize = 10;

/// What the command says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It ended with 0.
    Right,
    /// It ended otherwise, or could not be started.
    Wrong(String),
    /// Its program is not installed.
    Missing(String),
}

/// Runs `command`, a program and its arguments, in `folder` with the log's path as last argument.
pub(super) fn judge(command: &[String], folder: &Path, log: &Path) -> Judgement {
    let Some((name, arguments)) = command.split_first() else {
        return Judgement::Right;
    };
    let Some(program) = find_program(name) else {
        return Judgement::Missing(name.clone());
    };
    let output = Command::new(program)
        .current_dir(folder)
        .args(arguments)
        .arg(log)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Judgement::Right,
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().take(SHOWN_LINES).collect();
            Judgement::Wrong(format!("`{}` says: {}", command.join(" "), lines.join("; ")))
        }
        Err(error) => Judgement::Wrong(format!("`{name}` cannot be started: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Judgement, judge};
    use std::path::Path;

    fn judged(command: &[&str]) -> Judgement {
        let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
        judge(&command, Path::new("/"), Path::new("the log"))
    }

    #[test]
    fn exit_status_decides() {
        assert_eq!(judged(&["sh", "-c", "test \"$0\" = 'the log'"]), Judgement::Right);
        assert_eq!(
            judged(&["sh", "-c", "echo no good; exit 3"]),
            Judgement::Wrong("`sh -c echo no good; exit 3` says: no good".to_owned())
        );
    }

    #[test]
    fn no_command_and_no_program_are_no_failure() {
        assert_eq!(judged(&[]), Judgement::Right);
        let name = "a-program-that-nobody-has";
        assert_eq!(judged(&[name, "x"]), Judgement::Missing(name.to_owned()));
    }
}
