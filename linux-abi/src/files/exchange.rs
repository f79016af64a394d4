//! A program that serves one request: standard input is the request, standard output the response.
//!
//! Which bytes these are is the [`System`]'s matter; here is only how many there are. A program with a supervisor of its
//! own making ([`take_over`]) gets the ordinary streams of a program instead.

use interfaces::faas::PAYLOAD_MAX;

use super::descriptor::Kind;
use crate::process::Answer;
use crate::{Errno, Process, System};

/// How far a program is with its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// Something of the request was asked for.
    is_fetched: bool,
    /// Bytes that were written to standard output.
    pub(crate) written: u64,
}

/// Reads the request from `offset` on.
pub(super) fn read<S: System>(process: &mut Process<S>, offset: u64, address: u64, size: u64) -> Answer {
    let length = process.system.request()?;
    if let Some(exchange) = &mut process.exchange {
        exchange.is_fetched = true;
    }
    let size = size.min(length.saturating_sub(offset));
    if size > 0 {
        process.system.read_request(offset, address, size)?;
    }
    Ok(size)
}

/// Adds to the response. One that is longer than responses may be ends the program.
pub(super) fn write<S: System>(process: &mut Process<S>, address: u64, size: u64) -> Answer {
    let Process { system, exchange, .. } = process;
    let Some(exchange) = exchange else {
        return Err(Errno::BADF);
    };
    let length = exchange.written.saturating_add(size);
    if length > PAYLOAD_MAX {
        exchange.written = length;
        process.exit = Some(0);
        return Err(Errno::FBIG);
    }
    if size > 0 {
        system.write_response(exchange.written, address, size)?;
    }
    exchange.written = length;
    Ok(size)
}

/// The program talks to its supervisor itself from now on: its input is empty, its output goes to the log.
///
/// # Errors
/// [`Errno::INVAL`] if nobody supervises it, [`Errno::BUSY`] if it has read or written already.
pub(crate) fn take_over<S: System>(process: &mut Process<S>) -> Answer {
    match process.exchange {
        None => Err(Errno::INVAL),
        Some(exchange) if exchange != Exchange::default() => Err(Errno::BUSY),
        Some(_) => {
            process.exchange = None;
            for file in process.files.iter_mut() {
                match file.kind {
                    Kind::Request => file.kind = Kind::Input,
                    Kind::Response => file.kind = Kind::Output(alloc::vec::Vec::new()),
                    _ => {}
                }
            }
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::testing::{BASE, FILE, FakeSystem, call, serving};
    use interfaces::faas::PR_SUPERVISE;

    fn exit(process: &mut Process<FakeSystem>, code: u64) -> Outcome {
        process.system_call(0, 231, &[code, 0, 0, 0, 0, 0])
    }

    #[test]
    fn the_request_is_read_once_to_its_end() {
        let mut process = serving();
        let mut read = Vec::new();
        loop {
            let size = call(&mut process, 0, &[0, BASE, 10]).unwrap() as usize;
            if size == 0 {
                break;
            }
            read.extend(process.system.peek(BASE, size));
        }
        assert_eq!(read, FILE);
        assert_eq!(call(&mut process, 0, &[0, BASE, 10]), Ok(0));
        assert_eq!(call(&mut process, 8, &[0, 0, 0]), Err(29));
        assert_eq!(call(&mut process, 17, &[0, BASE, 1, 0]), Err(29));
        assert_eq!(call(&mut process, 1, &[0, BASE, 1]), Err(9));
    }

    #[test]
    fn what_is_written_to_standard_output_is_the_response() {
        let mut process = serving();
        process.system.poke(BASE, b"one\ntwo");
        assert_eq!(call(&mut process, 1, &[1, BASE, 4]), Ok(4));
        assert_eq!(call(&mut process, 32, &[1]), Ok(3));
        assert_eq!(call(&mut process, 1, &[3, BASE + 4, 3]), Ok(3));
        assert_eq!(call(&mut process, 1, &[2, BASE, 4]), Ok(4));
        assert_eq!(process.system.log_text(), "one\n");
        assert_eq!(call(&mut process, 0, &[1, BASE, 3]), Err(9));
        assert_eq!(exit(&mut process, 0), Outcome::Respond(7));
        assert_eq!(process.system.response, b"one\ntwo");
    }

    #[test]
    fn a_bad_exit_code_is_no_response() {
        let mut process = serving();
        assert_eq!(call(&mut process, 1, &[1, BASE, 4]), Ok(4));
        assert_eq!(exit(&mut process, 3), Outcome::Exit(3));
    }

    #[test]
    fn a_response_may_have_a_mebibyte_and_no_byte_more() {
        let mut process = serving();
        for _ in 0..PAYLOAD_MAX / 4096 {
            assert_eq!(call(&mut process, 1, &[1, BASE, 4096]), Ok(4096));
        }
        assert_eq!(
            process.system_call(0, 1, &[1, BASE, 5, 0, 0, 0]),
            Outcome::TooLong(PAYLOAD_MAX + 5)
        );
    }

    #[test]
    fn a_program_can_talk_to_its_supervisor_itself() {
        let mut process = serving();
        assert_eq!(call(&mut process, 157, &[PR_SUPERVISE]), Ok(0));
        assert_eq!(call(&mut process, 157, &[PR_SUPERVISE]), Err(22));
        assert_eq!(call(&mut process, 0, &[0, BASE, 10]), Ok(0));
        process.system.poke(BASE, b"a line\n");
        assert_eq!(call(&mut process, 1, &[1, BASE, 7]), Ok(7));
        assert_eq!(process.system.log_text(), "a line\n");
        assert_eq!(exit(&mut process, 0), Outcome::Exit(0));
        let mut process = serving();
        assert_eq!(call(&mut process, 0, &[0, BASE, 1]), Ok(1));
        assert_eq!(call(&mut process, 157, &[PR_SUPERVISE]), Err(16));
    }
}
