//! Sockets, which there are none of yet: a program that asks is told what Linux would say without any family of addresses.

use crate::process::Answer;
use crate::table::Arguments;
use crate::{Errno, Process, System, user};

/// `socket(family, …)`, `socketpair(family, …)`.
pub(crate) fn socket<S: System>(_: &mut Process<S>, _: &Arguments) -> Answer {
    Err(Errno::AFNOSUPPORT)
}

/// Calls on a socket, whose descriptor is their first argument: whatever it stands for is none.
pub(crate) fn on_socket<S: System>(process: &mut Process<S>, arguments: &Arguments) -> Answer {
    process.files.get(user::int(arguments[0]))?;
    Err(Errno::NOTSOCK)
}

#[cfg(test)]
mod tests {
    use crate::testing::{call, process};

    #[test]
    fn there_are_no_sockets() {
        let mut process = process();
        for number in [41, 53] {
            assert_eq!(call(&mut process, number, &[1, 1, 0, 0]), Err(97));
        }
        for number in [42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 54, 55, 288] {
            assert_eq!(call(&mut process, number, &[0, 0, 0]), Err(88), "{number}");
            assert_eq!(call(&mut process, number, &[77, 0, 0]), Err(9), "{number}");
        }
    }
}
