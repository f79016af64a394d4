//! Linux's error numbers.

use l4::{Error, IpcError};

/// An error number as Linux programs know it (`errno(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub u16);

impl Errno {
    /// Operation not permitted.
    pub const PERM: Errno = Errno(1);
    /// No such file or directory.
    pub const NOENT: Errno = Errno(2);
    /// No such process.
    pub const SRCH: Errno = Errno(3);
    /// Interrupted system call.
    pub const INTR: Errno = Errno(4);
    /// Input/output error.
    pub const IO: Errno = Errno(5);
    /// Bad file descriptor.
    pub const BADF: Errno = Errno(9);
    /// No child processes.
    pub const CHILD: Errno = Errno(10);
    /// Try again.
    pub const AGAIN: Errno = Errno(11);
    /// Cannot allocate memory.
    pub const NOMEM: Errno = Errno(12);
    /// Permission denied.
    pub const ACCES: Errno = Errno(13);
    /// Bad address.
    pub const FAULT: Errno = Errno(14);
    /// Device or resource busy.
    pub const BUSY: Errno = Errno(16);
    /// File exists.
    pub const EXIST: Errno = Errno(17);
    /// No such device.
    pub const NODEV: Errno = Errno(19);
    /// Not a directory.
    pub const NOTDIR: Errno = Errno(20);
    /// Is a directory.
    pub const ISDIR: Errno = Errno(21);
    /// Invalid argument.
    pub const INVAL: Errno = Errno(22);
    /// Too many open files.
    pub const MFILE: Errno = Errno(24);
    /// Inappropriate ioctl for device.
    pub const NOTTY: Errno = Errno(25);
    /// File too large.
    pub const FBIG: Errno = Errno(27);
    /// No space left on device.
    pub const NOSPC: Errno = Errno(28);
    /// Illegal seek.
    pub const SPIPE: Errno = Errno(29);
    /// Read-only file system.
    pub const ROFS: Errno = Errno(30);
    /// Broken pipe.
    pub const PIPE: Errno = Errno(32);
    /// Numerical result out of range.
    pub const RANGE: Errno = Errno(34);
    /// File name too long.
    pub const NAMETOOLONG: Errno = Errno(36);
    /// Function not implemented.
    pub const NOSYS: Errno = Errno(38);
    /// Too many levels of symbolic links, or of epolls.
    pub const LOOP: Errno = Errno(40);
    /// Directory not empty.
    pub const NOTEMPTY: Errno = Errno(39);
    /// Socket operation on non-socket.
    pub const NOTSOCK: Errno = Errno(88);
    /// Protocol not available.
    pub const NOPROTOOPT: Errno = Errno(92);
    /// Protocol not supported.
    pub const PROTONOSUPPORT: Errno = Errno(93);
    /// Address family not supported by protocol.
    pub const AFNOSUPPORT: Errno = Errno(97);
    /// Operation not supported.
    pub const OPNOTSUPP: Errno = Errno(95);
    /// Transport endpoint is already connected.
    pub const ISCONN: Errno = Errno(106);
    /// Connection timed out.
    pub const TIMEDOUT: Errno = Errno(110);

    /// Interrupted; no program sees this: the call is made again, unless a handler without `SA_RESTART` runs.
    pub const RESTART: Errno = Errno(512);
    /// Interrupted; no program sees this: the call is made again, unless a handler runs.
    pub const RESTART_UNHANDLED: Errno = Errno(514);

    /// Whether the call is perhaps to be made again.
    pub(crate) fn is_restart(self) -> bool {
        matches!(self, Errno::RESTART | Errno::RESTART_UNHANDLED)
    }

    /// The error number that a system call left in rax.
    pub(crate) fn from_result(value: u64) -> Option<Errno> {
        match value.wrapping_neg() {
            error @ 1..=4095 => Some(Errno(error as u16)),
            _ => None,
        }
    }

    /// The value that the system call leaves in rax.
    pub const fn result(self) -> u64 {
        (-(self.0 as i64)) as u64
    }
}

/// What Linux would say where the kernel or a server refused.
impl From<Error> for Errno {
    fn from(error: Error) -> Errno {
        match error {
            Error::NotPermitted => Errno::PERM,
            Error::NotFound => Errno::NOENT,
            Error::NoMemory | Error::NoSpace => Errno::NOMEM,
            Error::AccessDenied => Errno::ACCES,
            Error::BadAddress => Errno::FAULT,
            Error::Exists => Errno::EXIST,
            Error::Again | Error::Ipc(IpcError::SendTimeout | IpcError::ReceiveTimeout) => Errno::AGAIN,
            Error::NoDevice => Errno::NODEV,
            Error::Invalid => Errno::INVAL,
            Error::Range => Errno::RANGE,
            Error::NameTooLong => Errno::NAMETOOLONG,
            _ => Errno::IO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_small_negative_numbers() {
        assert_eq!(Errno::NOSYS.result() as i64, -38);
        assert_eq!(Errno::from(Error::NoMemory), Errno::NOMEM);
        assert_eq!(Errno::from(Error::Ipc(IpcError::PartnerGone)), Errno::IO);
    }
}
