//! Names for the addresses that a dying kernel prints.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::find_program;

/// What the kernel writes in front of the addresses, which follow as hexadecimal words.
const MARK: &str = "kernel: backtrace";

/// The functions and lines of the addresses in the last backtrace among `lines`, innermost first. Empty if there is no
/// backtrace or no `addr2line`, which comes with the C compiler.
#[must_use]
pub fn explain(lines: &[String], kernel: &Path) -> Vec<String> {
    let addresses = lines
        .iter()
        .rev()
        .find_map(|line| addresses(line))
        .unwrap_or_default();
    let Some(program) = find_program("addr2line").filter(|_| !addresses.is_empty()) else {
        return Vec::new();
    };
    let output = Command::new(program)
        .args(["--functions", "--demangle", "--pretty-print", "--exe"])
        .arg(kernel)
        .args(&addresses)
        .stdin(Stdio::null())
        .output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    addresses
        .iter()
        .zip(text.lines())
        .map(|(address, place)| format!("{address}  {place}"))
        .collect()
}

fn addresses(line: &str) -> Option<Vec<String>> {
    let behind = line.split_once(MARK)?.1;
    let is_address = |word: &&str| {
        word.strip_prefix("0x")
            .is_some_and(|digits| u64::from_str_radix(digits, 16).is_ok())
    };
    Some(
        behind
            .split_whitespace()
            .filter(is_address)
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::{addresses, explain};
    use std::path::Path;

    #[test]
    fn addresses_follow_the_mark() {
        let line = "kernel: backtrace (addr2line -e kernel): 0xffffffff80105000 0xffffffff80105abc 0xno";
        assert_eq!(
            addresses(line).unwrap(),
            ["0xffffffff80105000", "0xffffffff80105abc"]
        );
        assert_eq!(addresses("0xffffffff80105000"), None);
        assert!(explain(&["all is well".into()], Path::new("absent")).is_empty());
    }

    #[test]
    fn a_function_of_this_program_has_its_name() {
        let program = std::env::current_exe().unwrap();
        let nm = std::process::Command::new("nm").arg(&program).output().unwrap();
        let symbols = String::from_utf8_lossy(&nm.stdout).into_owned();
        let main = symbols.lines().find(|line| line.ends_with(" T main")).unwrap();
        let line = format!("kernel: backtrace: 0x{}", main.split(' ').next().unwrap());
        assert!(explain(&[line], &program)[0].contains("main"));
    }
}
