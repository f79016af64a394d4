//! The end of the program.

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Process, System};

/// Exit code of a program that a signal ended: this plus the signal's number, as shells show it.
pub(crate) const SIGNALLED: i32 = 128;

/// `exit_group(code)`.
pub(crate) fn exit_group<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    process.exit = Some(exit_code(arguments));
    Ok(0)
}

/// `exit(code)`: ends the calling thread, and with the last thread the program.
pub(crate) fn exit_thread<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    match process.threads.remove_current() {
        Some((departure, signals)) => {
            process.departure = Some(departure);
            process.system.leave();
            process.pass_on_signals(signals);
        }
        None => process.exit = Some(exit_code(arguments)),
    }
    Ok(0)
}

fn exit_code(arguments: &Arguments) -> i32 {
    (arguments[0] & 0xff) as i32
}

#[cfg(test)]
mod tests {
    use crate::Outcome;
    use crate::testing::{BASE, process};

    #[test]
    fn exit_writes_what_is_still_in_the_line_buffer() {
        let mut process = process();
        process.system.poke(BASE, b"half a line");
        process.system_call(0, 1, &[1, BASE, 11, 0, 0, 0]);
        assert_eq!(process.system.log_text(), "");
        assert_eq!(
            process.system_call(0, 231, &[0x107, 0, 0, 0, 0, 0]),
            Outcome::Exit(7)
        );
        assert_eq!(process.system.log_text(), "half a line\n");
    }
}
