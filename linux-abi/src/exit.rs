//! The end of the program.

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Process, System};

/// Exit code of a program that a signal ended: this plus the signal's number, as shells show it.
pub(crate) const SIGNALLED: i32 = 128;

/// `exit(code)` and `exit_group(code)`: with one thread the same.
pub(crate) fn exit<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    process.exit = Some((arguments[0] & 0xff) as i32);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::Outcome;
    use crate::testing::{BASE, process};

    #[test]
    fn exit_writes_what_is_still_in_the_line_buffer() {
        let mut process = process();
        process.system.poke(BASE, b"half a line");
        process.system_call(1, &[1, BASE, 11, 0, 0, 0]);
        assert_eq!(process.system.log_text(), "");
        assert_eq!(
            process.system_call(231, &[0x107, 0, 0, 0, 0, 0]),
            Outcome::Exit(7)
        );
        assert_eq!(process.system.log_text(), "half a line\n");
    }
}
