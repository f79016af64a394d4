//! Errors: what a server or kernel object answers, and what the IPC itself reports.

use core::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The result of an operation that went wrong; on the wire the negated number is the reply's label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[$doc])* $name,)*
            /// The message did not get through.
            Ipc(IpcError),
            /// A number that this version does not know.
            Other(i32),
        }

        impl Error {
            /// The positive error number.
            pub const fn number(self) -> i64 {
                match self {
                    $(Error::$name => $number,)*
                    Error::Ipc(code) => 2000 + code.code() as i64,
                    Error::Other(number) => number as i64,
                }
            }

            /// The error with a positive number.
            pub const fn from_number(number: i64) -> Error {
                match number {
                    $($number => Error::$name,)*
                    2000..=2031 => Error::Ipc(IpcError::from_code((number - 2000) as u64)),
                    _ => Error::Other(number as i32),
                }
            }

            const fn text(self) -> &'static str {
                match self {
                    $(Error::$name => $text,)*
                    Error::Ipc(code) => code.text(),
                    Error::Other(_) => "unknown error",
                }
            }
        }
    };
}

errors! {
    /// The capability lacks a right that the operation needs.
    NotPermitted = 1, "operation not permitted: the capability lacks a right";
    /// No such thing.
    NotFound = 2, "not found";
    /// Input or output failed.
    Io = 5, "input/output error";
    /// The argument is too long.
    TooBig = 7, "argument too big";
    /// Not now; try again.
    Again = 11, "try again";
    /// The account's limit or the machine's memory is used up.
    NoMemory = 12, "out of memory: the account's limit is reached";
    /// The access is not allowed.
    AccessDenied = 13, "access denied";
    /// An address that can't be used.
    BadAddress = 14, "bad address";
    /// In use.
    Busy = 16, "busy";
    /// Exists already.
    Exists = 17, "exists already";
    /// No such kind of object.
    NoDevice = 19, "no such kind of object";
    /// An argument makes no sense.
    Invalid = 22, "invalid argument";
    /// No room left.
    NoSpace = 28, "no space left";
    /// Outside the permitted range.
    Range = 34, "out of range";
    /// The name is too long.
    NameTooLong = 36, "name too long";
    /// Not implemented by this object.
    NoSystemCall = 38, "operation not implemented by this object";
    /// The object does not speak this protocol.
    BadProtocol = 39, "the object does not speak this protocol";
    /// The message has fewer words than the operation needs.
    MessageTooShort = 1001, "message too short";
    /// The message does not fit.
    MessageTooLong = 1002, "message too long";
    /// A capability is missing from the message.
    MissingArgument = 1003, "a capability is missing from the message";
}

impl Error {
    /// The label of a reply that carries this error.
    pub const fn label(self) -> i64 {
        -self.number()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Other(number) => write!(f, "unknown error {number}"),
            other => f.write_str(other.text()),
        }
    }
}

impl core::error::Error for Error {}

/// Why a message did not get through. The code's lowest bit tells the phase: 0 sending, 1 receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpcError {
    /// The deadline passed while sending.
    SendTimeout,
    /// The deadline passed while receiving.
    ReceiveTimeout,
    /// The partner does not exist, or stopped existing while we waited for it.
    NotExistent,
    /// The same, noticed while receiving: who was to answer is gone.
    PartnerGone,
    /// Someone cancelled the operation while it was sending.
    SendCanceled,
    /// Someone cancelled the operation while it was receiving.
    ReceiveCanceled,
    /// The receiver had no buffer for a capability (told to the sender).
    SendCut,
    /// There was no buffer for a capability (told to the receiver).
    ReceiveCut,
    /// A capability could not be stored: quota or rights (told to the sender).
    SendMapFailed,
    /// A capability could not be stored: quota or rights (told to the receiver).
    ReceiveMapFailed,
    /// A spawn gate did not begin a clone; the tag's label is the negated [`Error`] that says why.
    CloneRefused,
    /// The clone that a spawn gate began ended without an answer; the message is a
    /// [`CloneFailure`](crate::object::CloneFailure).
    CloneFailed,
    /// A code that this version does not know.
    Unknown(u8),
}

impl IpcError {
    /// The code in the UTCB's error word.
    pub const fn code(self) -> u64 {
        match self {
            IpcError::SendTimeout => 2,
            IpcError::ReceiveTimeout => 3,
            IpcError::NotExistent => 4,
            IpcError::PartnerGone => 5,
            IpcError::SendCanceled => 6,
            IpcError::ReceiveCanceled => 7,
            IpcError::SendCut => 8,
            IpcError::ReceiveCut => 9,
            IpcError::SendMapFailed => 0x10,
            IpcError::ReceiveMapFailed => 0x11,
            IpcError::CloneRefused => 0x12,
            IpcError::CloneFailed => 0x13,
            IpcError::Unknown(code) => code as u64,
        }
    }

    /// The error with a code of the UTCB's error word.
    pub const fn from_code(code: u64) -> IpcError {
        match code & 0x1f {
            2 => IpcError::SendTimeout,
            3 => IpcError::ReceiveTimeout,
            4 => IpcError::NotExistent,
            5 => IpcError::PartnerGone,
            6 => IpcError::SendCanceled,
            7 => IpcError::ReceiveCanceled,
            8 => IpcError::SendCut,
            9 => IpcError::ReceiveCut,
            0x10 => IpcError::SendMapFailed,
            0x11 => IpcError::ReceiveMapFailed,
            0x12 => IpcError::CloneRefused,
            0x13 => IpcError::CloneFailed,
            other => IpcError::Unknown(other as u8),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            IpcError::SendTimeout => "deadline passed while sending",
            IpcError::ReceiveTimeout => "deadline passed while waiting for an answer",
            IpcError::NotExistent => "the partner does not exist",
            IpcError::PartnerGone => "the partner is gone without an answer",
            IpcError::SendCanceled | IpcError::ReceiveCanceled => "the operation was cancelled",
            IpcError::SendCut | IpcError::ReceiveCut => "no receive buffer for a capability",
            IpcError::SendMapFailed | IpcError::ReceiveMapFailed => "a capability could not be passed",
            IpcError::CloneRefused => "the spawn gate began no clone",
            IpcError::CloneFailed => "the clone ended without an answer",
            IpcError::Unknown(_) => "unknown IPC error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_wire() {
        for number in (1..1100).chain(2000..2032) {
            let error = Error::from_number(number);
            assert_eq!(error.number(), number, "{error:?}");
        }
    }

    #[test]
    fn messages_name_the_cause() {
        assert_eq!(
            std::format!("{}", Error::NoMemory),
            "out of memory: the account's limit is reached"
        );
        assert_eq!(std::format!("{}", Error::Other(77)), "unknown error 77");
    }
}
